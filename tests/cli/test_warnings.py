from __future__ import annotations

import logging

import pytest

from synth_actors.cli.app import run_command
from synth_actors.cli.warnings import warnings_said

logger = logging.getLogger("synth_actors")


def test_warnings_are_said_in_one_line_and_what_is_less_is_not() -> None:
    said: list[str] = []
    with warnings_said(said.append):
        logger.warning("memory is %s:\n not reclaimable", "full")
        logger.error("no more calls")
        logger.info("a call failed")
    logger.warning("too late")
    assert said == ["memory is full: not reclaimable", "no more calls"]


def test_the_inner_one_says_it_alone_and_the_outer_one_again_afterwards() -> None:
    outer: list[str] = []
    inner: list[str] = []
    with warnings_said(outer.append):
        with warnings_said(inner.append):
            logger.warning("during the run")
        logger.warning("after it")
    assert (outer, inner) == (["after it"], ["during the run"])


def test_a_command_leaves_no_handler_behind(capsys: pytest.CaptureFixture[str]) -> None:
    before = list(logger.handlers)
    assert run_command(["--version"]) == 0
    assert logger.handlers == before
    capsys.readouterr()
