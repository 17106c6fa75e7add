"""Does every record about a request say which one, and what it is about?"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

import pytest
import trio

from synth_actors import EngineConfig, GenerationError, open_engine
from synth_actors.providers.base import Fault
from synth_actors.request_log import FIELDS
from synth_actors.testing import ScriptedProvider, Step
from tests.engine.support import dollar_endpoint

PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """What was given by `extra`."""
    return {name: value for name, value in vars(record).items() if name not in PLAIN}


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "synth_actors")
    return caplog


def records(log: pytest.LogCaptureFixture, level: str) -> list[dict[str, Any]]:
    found = [record for record in log.records if record.levelname == level and record.name == "synth_actors"]
    for record in found:
        assert fields(record).keys() <= set(FIELDS)
        assert "request_id" in fields(record), record.getMessage()
    return [fields(record) for record in found]


async def test_an_answer_is_told_with_its_timings_at_debug(autojump_clock: Any, log: pytest.LogCaptureFixture) -> None:
    endpoint = dollar_endpoint(ScriptedProvider(lambda call: Step(delay_s=1.0)))
    async with open_engine(endpoint) as engine:
        await engine.generate("x", max_tokens=10)
        await engine.generate("x", max_tokens=10)
    call, hit = records(log, "DEBUG")
    assert call == {
        "request_id": "req-1",
        "outcome": "succeeded",
        "source": "call",
        "endpoint": "scripted",
        "model": "script",
        "attempts": 1,
        "queue_s": 0.0,
        "service_s": 1.0,
        "ttft_s": None,
        "total_s": 1.0,
        "input_tokens": 10,
        "output_tokens": 5,
        "cost_usd": pytest.approx(1.0),
    }
    assert (hit["request_id"], hit["source"], hit["attempts"], hit["total_s"]) == ("req-2", "cache", 0, 0.0)


async def test_a_stream_and_those_who_leave_or_fail_are_told_too(
    autojump_clock: Any, log: pytest.LogCaptureFixture
) -> None:
    provider = ScriptedProvider([Step(), Step(delay_s=9.0), Step(fault=Fault.REJECTED)])
    async with open_engine(provider) as engine:
        async with engine.stream("streamed") as stream:
            await stream.response()
        with trio.move_on_after(2.0):
            await engine.generate("left")
        with suppress(GenerationError):
            await engine.generate("rejected")
    streamed, left, rejected = records(log, "DEBUG")
    assert streamed["outcome"] == "succeeded"
    assert left == {"request_id": "req-2", "outcome": "cancelled", "total_s": 2.0}
    assert rejected == {
        "request_id": "req-3",
        "outcome": "failed",
        "error": "GenerationError",
        "endpoint": "scripted",
        "attempts": 1,
        "total_s": 0.0,
    }


async def test_a_failed_attempt_and_its_retry_are_told_at_info(
    autojump_clock: Any, log: pytest.LogCaptureFixture
) -> None:
    steps = [Step(fault=Fault.FAILED, status=500), Step(fault=Fault.OVERLOADED, status=529, retry_after_s=2.0)]
    first = ScriptedProvider(steps, name="first")
    async with open_engine([first]) as engine:
        await engine.generate("x")
    failed, again, refused, later = records(log, "INFO")
    assert failed == {"request_id": "req-1", "endpoint": "first", "attempt": 1, "fault": "failed", "status": 500}
    assert again.pop("delay_s") > 0
    assert again == {"request_id": "req-1", "endpoint": "first", "attempt": 1}
    assert refused == {"request_id": "req-1", "endpoint": "first", "attempt": 2, "fault": "overloaded", "status": 529}
    assert later["delay_s"] == 2.0
    assert "tried again in 2.000 s" in log.text
    assert "it takes no call for a while" in log.text


async def test_a_retry_elsewhere_is_told_without_a_delay(autojump_clock: Any, log: pytest.LogCaptureFixture) -> None:
    bad = ScriptedProvider([Step(fault=Fault.REJECTED)], name="bad")
    async with open_engine([bad, ScriptedProvider(name="good")]) as engine:
        assert (await engine.generate("x")).endpoint == "good"
    _, elsewhere = records(log, "INFO")
    assert elsewhere == {"request_id": "req-1", "endpoint": "bad", "attempt": 1, "delay_s": 0.0}
    assert "req-1: tried elsewhere" in log.text


async def test_a_dead_endpoint_is_told_once_at_error_and_a_bug_at_warning(
    autojump_clock: Any, log: pytest.LogCaptureFixture
) -> None:
    dead = ScriptedProvider(lambda call: Step(fault=Fault.FATAL, status=401), name="dead")
    buggy = ScriptedProvider(lambda call: Step(raises=KeyError("x")), name="buggy")
    async with open_engine([dead, buggy], EngineConfig(max_concurrency=1)) as engine:
        await engine.generate_batch(["a", "b"])
    [error] = records(log, "ERROR")
    assert error == {"request_id": "req-1", "endpoint": "dead", "attempt": 1, "fault": "fatal", "status": 401}
    first, second = records(log, "WARNING")
    assert first == {"request_id": "req-1", "endpoint": "buggy", "attempt": 2, "fault": "bug"}
    assert second["request_id"] == "req-2"


async def test_a_level_that_nobody_listens_to_makes_no_record(
    autojump_clock: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING, "synth_actors")
    made: list[str] = []
    for name in ("front.log_response", "front.log_error", "actors.jobs.log_failed_call", "actors.jobs.log_retry"):
        monkeypatch.setattr(f"synth_actors.{name}", lambda *_, name=name: made.append(name))
    steps = [Step(fault=Fault.FAILED), Step(), Step(fault=Fault.REJECTED)]
    for level, expected in ((logging.WARNING, 0), (logging.DEBUG, 5)):
        caplog.set_level(level, "synth_actors")
        async with open_engine(ScriptedProvider(steps)) as engine:
            await engine.generate_batch(["x"])
            await engine.generate_batch(["y"])
        assert len(made) == expected
