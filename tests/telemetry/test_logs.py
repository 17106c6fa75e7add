"""Is every line that the formatter writes one JSON object, and does it have what the record carries?"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import synth_actors  # noqa: F401  (for what importing it does to the logger)
from synth_actors import request_log
from synth_actors.telemetry.logs import JsonFormatter


def line_of(text: str, *args: object, **extra: object) -> dict[str, Any]:
    record = logging.getLogger("synth_actors").makeRecord(
        "synth_actors", logging.INFO, "file.py", 1, text, args, None, extra=extra
    )
    line = JsonFormatter().format(record)
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line, parse_constant=pytest.fail)
    return found


def test_a_line_has_time_level_logger_event_and_the_fields() -> None:
    before = datetime.now(UTC)
    line = line_of("%s: failed", "req-7", request_id="req-7", endpoint="local", attempt=2, fault="failed", delay_s=1.5)
    assert list(line)[:4] == ["time", "level", "logger", "event"]
    assert before <= datetime.fromisoformat(line.pop("time")) <= datetime.now(UTC)
    assert line == {
        "level": "INFO",
        "logger": "synth_actors",
        "event": "req-7: failed",
        "request_id": "req-7",
        "endpoint": "local",
        "attempt": 2,
        "fault": "failed",
        "delay_s": 1.5,
    }


def test_a_field_that_is_none_is_left_out() -> None:
    assert "ttft_s" not in line_of("x", ttft_s=None)


def test_an_exception_is_its_class_and_its_traceback() -> None:
    try:
        raise KeyError("gone\nand more")
    except KeyError:
        record = logging.makeLogRecord({"msg": "x", "exc_info": sys.exc_info()})
    line = json.loads(JsonFormatter().format(record))
    assert line["error"] == "KeyError"
    assert "test_logs.py" in line["traceback"]


def test_the_text_of_an_exception_that_a_filter_has_cleaned_is_what_is_written() -> None:
    try:
        raise KeyError("sk-secret")
    except KeyError:
        record = logging.makeLogRecord({"msg": "x", "exc_info": sys.exc_info(), "exc_text": "KeyError: [key]"})
    line = json.loads(JsonFormatter().format(record))
    assert (line["error"], line["traceback"]) == ("KeyError", "KeyError: [key]")


def test_a_text_of_an_exception_without_the_exception_is_written_too() -> None:
    line = json.loads(JsonFormatter().format(logging.makeLogRecord({"msg": "x", "exc_text": "KeyError: [key]"})))
    assert line["traceback"] == "KeyError: [key]"


def test_a_field_may_not_take_the_place_of_the_event() -> None:
    assert line_of("what happened", event="something else")["event"] == "what happened"


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (float("inf"), "inf"),
        ([float("nan")], "[nan]"),
        (b"bytes", "b'bytes'"),
        ({("a", 1): 2}, "{('a', 1): 2}"),
        (2**70, 2**70),
        ("\ud800", "\ud800"),
        ({1: "a"}, {"1": "a"}),
        (Unprintable(), "(cannot be shown: RuntimeError)"),
    ],
)
def test_a_value_that_json_has_no_form_for_is_its_text(value: object, shown: object) -> None:
    assert line_of("x", value=value)["value"] == shown


def test_a_circle_is_its_text() -> None:
    circle: list[object] = []
    circle.append(circle)
    assert line_of("x", value=circle)["value"] == "[[...]]"


@given(text=st.text(), value=st.recursive(st.none() | st.floats() | st.text() | st.binary(), st.lists))
def test_whatever_is_logged_is_one_line_of_json(text: str, value: object) -> None:
    assert line_of("%s", text, value=value)["event"] == text


def test_the_library_installs_a_null_handler_and_no_other() -> None:
    handlers = [type(handler) for handler in request_log.logger.handlers]
    assert logging.NullHandler in handlers
    assert logging.StreamHandler not in handlers
    assert request_log.logger.level == logging.NOTSET
