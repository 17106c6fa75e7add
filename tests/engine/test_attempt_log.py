from __future__ import annotations

from typing import Any

import pytest
import trio

from synth_actors import (
    AttemptLog,
    CacheConfig,
    EngineConfig,
    GenerationError,
    OutputInvalidError,
    Request,
    open_engine,
)
from synth_actors.attempt_log import FailureLog
from synth_actors.errors import SynthActorsError
from synth_actors.messages import WRITING_S
from synth_actors.policy.cache_key import cache_key
from synth_actors.providers.base import Call, Fault
from synth_actors.testing import ScriptedProvider, Step
from synth_actors.types import Answer, Usage
from tests.engine.support import ONE_DOLLAR, assert_idle, dollar_endpoint, spent_usd


class Recorder:
    """Writes down what it hears, beside the calls that the provider hears of."""

    def __init__(self, slow_s: float = 0.0) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.keys: set[bytes] = set()
        self.slow_s = slow_s

    async def before_send(self, key: bytes, attempt: int, endpoint: str) -> None:
        self.keys.add(key)
        await trio.sleep(self.slow_s)
        self.heard.append(("before", attempt, endpoint))

    async def received(self, key: bytes, attempt: int, answer: Answer, usage: Usage) -> None:
        self.keys.add(key)
        await trio.sleep(self.slow_s)
        self.heard.append(("received", attempt, answer.text, usage.cost_usd))

    def provider(self, *steps: Step) -> ScriptedProvider:
        plan = iter(steps)

        def script(call: Call) -> Step:
            self.heard.append(("call",))
            return next(plan)

        return ScriptedProvider(script)


async def test_the_wait_for_it_is_part_of_the_time_for_which_a_place_is_held_and_of_no_token(
    autojump_clock: Any,
) -> None:
    provider = ScriptedProvider(lambda _call: Step(text="abcde", delay_s=1.0, chunks=5, gap_s=0.1))
    async with open_engine(provider, EngineConfig(), attempt_log=Recorder(slow_s=2.0)) as engine:
        async with engine.stream("p") as stream:
            response = await stream.response()
        snapshot = await engine.metrics()
    assert response.timings.service_s == pytest.approx(1.5)
    assert snapshot.latency["service"].max_s == pytest.approx(2.0 + 1.5 + 2.0)
    assert snapshot.latency["ttft"].max_s == pytest.approx(2.0 + 1.0)
    assert snapshot.latency["tpot"].max_s == pytest.approx((1.5 - 1.0) / (5 - 1))
    assert snapshot.router.busy_s == pytest.approx(snapshot.latency["service"].max_s)


async def test_it_hears_of_every_call_before_it_and_of_every_whole_answer_after_it(autojump_clock: Any) -> None:
    log = Recorder()
    assert isinstance(log, AttemptLog)
    request = Request(prompt="p", output_schema={"type": "object"})
    provider = log.provider(Step(fault=Fault.FAILED), Step(text="no JSON"), Step(text="{}"))
    async with open_engine(dollar_endpoint(provider), attempt_log=log) as engine:
        await engine.generate(request)
        assert (await engine.generate(request)).cached
    assert log.heard == [
        ("before", 1, "scripted"),
        ("call",),
        ("before", 2, "scripted"),
        ("call",),
        ("received", 2, "no JSON", 1.0),
        ("before", 3, "scripted"),
        ("call",),
        ("received", 3, "{}", 1.0),
    ]
    assert log.keys == {cache_key(request)}


async def test_it_is_told_the_key_of_the_request_as_it_is_whatever_the_cache_goes_by() -> None:
    log = Recorder()
    request = Request(prompt="two  blanks ")
    config = EngineConfig(cache=CacheConfig(normalise_prompts=True))
    async with open_engine(ScriptedProvider(), config, attempt_log=log) as engine:
        await engine.generate(request)
    assert log.keys == {cache_key(request)}


@pytest.mark.parametrize("later", [2, object()])
@pytest.mark.parametrize("step", [Step(), Step(fault=Fault.REJECTED)])
async def test_a_call_has_one_key_although_the_owner_of_its_extra_changes_it_meanwhile(later: Any, step: Step) -> None:
    """An answer written down under another key than its intent would be looked for in vain, and paid again."""

    class Listening(Recorder):
        def ended(self, key: bytes, attempt: int, message: str, usage: Usage, *, free: bool) -> None:
            self.keys.add(key)
            self.heard.append(("ended", attempt))

    def script(call: Call) -> Step:
        call.request.extra["mode"] = later  # type: ignore[index]
        return step

    log = Listening()
    request = Request(prompt="p", extra={"mode": 1})
    key = cache_key(request)
    async with open_engine(ScriptedProvider(script), attempt_log=log) as engine:
        [outcome] = await engine.generate_batch([request])
        assert (outcome.error is None) == (step.fault is None)
        assert (await engine.metrics()).mailboxes["generators"].restarts == 0
        await assert_idle(engine)
    assert log.keys == {key}
    assert log.heard == [("before", 1, "scripted"), ("ended", 1) if step.fault else ("received", 1, "ok", None)]


async def test_a_failure_to_write_the_intent_fails_the_request_before_anything_is_sent() -> None:
    class Broken(Recorder):
        async def before_send(self, key: bytes, attempt: int, endpoint: str) -> None:
            raise OSError("disk full")

    provider = ScriptedProvider()
    async with open_engine(dollar_endpoint(provider), attempt_log=Broken()) as engine:
        with pytest.raises(GenerationError, match="disk full") as caught:
            await engine.generate("p")
        assert isinstance(caught.value.__cause__, OSError)
        assert not caught.value.retryable
        assert provider.calls == []
        assert spent_usd(engine) == 0.0
        await assert_idle(engine)


async def test_a_failure_to_write_the_answer_fails_the_request_and_keeps_the_bill() -> None:
    class Broken(Recorder):
        async def received(self, key: bytes, attempt: int, answer: Answer, usage: Usage) -> None:
            raise OSError("disk full")

    provider = ScriptedProvider()
    async with open_engine(dollar_endpoint(provider), attempt_log=Broken()) as engine:
        with pytest.raises(GenerationError, match="disk full") as caught:
            await engine.generate("p")
        assert caught.value.usage is not None
        assert caught.value.usage.cost_usd == spent_usd(engine) == 1.0
        assert len(provider.calls) == 1
        await assert_idle(engine)


async def test_a_paid_answer_is_written_down_although_its_caller_has_left(autojump_clock: Any) -> None:
    log = Recorder(slow_s=5.0)
    async with open_engine(log.provider(Step(text="paid")), attempt_log=log) as engine:
        with trio.move_on_after(7.0):
            await engine.generate("p")
        assert trio.current_time() == 7.0
        await trio.sleep(5.0)
        assert [entry[:3] for entry in log.heard][-1] == ("received", 1, "paid")
        await assert_idle(engine)


async def test_a_paid_answer_is_written_down_although_the_engine_was_cancelled(autojump_clock: Any) -> None:
    log = Recorder(slow_s=5.0)
    with trio.move_on_after(7.0):
        async with open_engine(log.provider(Step(text="paid")), attempt_log=log) as engine:
            await engine.generate("p")
    assert trio.current_time() == 10.0
    assert [entry[0] for entry in log.heard] == ["before", "call", "received"]


async def test_a_caller_who_leaves_before_the_intent_is_written_pays_nothing(autojump_clock: Any) -> None:
    log = Recorder(slow_s=5.0)
    async with open_engine(log.provider(), attempt_log=log) as engine:
        with trio.move_on_after(2.0):
            await engine.generate("p")
        await assert_idle(engine)
    assert log.heard == []


async def test_a_slow_log_slows_calls_and_its_time_is_not_the_attempts(autojump_clock: Any) -> None:
    from synth_actors import Endpoint

    log = Recorder(slow_s=10.0)
    endpoint = Endpoint(provider=log.provider(Step(delay_s=4.0)), name="e", attempt_timeout_s=5.0)
    async with open_engine(endpoint, attempt_log=log) as engine:
        response = await engine.generate("p")
        assert (response.timings.service_s, response.timings.total_s) == (4.0, 24.0)


async def test_an_invalid_answer_is_written_down_too() -> None:
    log = Recorder()
    provider = log.provider(Step(text="cut", stop_reason="max_tokens", usage=ONE_DOLLAR))
    async with open_engine(dollar_endpoint(provider), EngineConfig(), attempt_log=log) as engine:
        with pytest.raises(OutputInvalidError):
            await engine.generate("p", output_schema={"type": "object"})
    assert log.heard[-1] == ("received", 1, "cut", 1.0)


async def test_a_log_that_hangs_cannot_keep_the_engine_from_closing(autojump_clock: Any) -> None:
    class Hanging:
        async def before_send(self, key: bytes, attempt: int, endpoint: str) -> None:
            await trio.lowlevel.checkpoint()

        async def received(self, key: bytes, attempt: int, answer: Any, usage: Any) -> None:
            await trio.sleep_forever()

    with trio.move_on_after(50.0):
        async with open_engine(ScriptedProvider(), EngineConfig(drain_timeout_s=1.0), attempt_log=Hanging()) as engine:
            await engine.generate("p")
    assert 50.0 <= trio.current_time() <= 50.0 + WRITING_S + 5.0


class Forgetful(Recorder):
    """Hears of ends, too; says on purpose that it cannot write."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[tuple[str, bool]] = []
        self.full = False

    async def before_send(self, key: bytes, attempt: int, endpoint: str) -> None:
        if self.full:
            raise SynthActorsError("the disk is full")
        await super().before_send(key, attempt, endpoint)

    def ended(self, key: bytes, attempt: int, message: str, usage: Usage, *, free: bool) -> None:
        self.ends.append((message, free))


@pytest.mark.parametrize(("status", "free"), [(500, True), (503, True), (502, False), (504, False), (None, False)])
async def test_it_hears_how_a_call_ended_that_brought_no_answer_and_whether_it_was_free(
    autojump_clock: Any, status: int | None, free: bool
) -> None:
    log = Forgetful()
    assert isinstance(log, FailureLog)
    provider = log.provider(Step(fault=Fault.FAILED, status=status), Step(text="otters"))
    async with open_engine(provider, attempt_log=log) as engine:
        await engine.generate("p")
    assert [was_free for _, was_free in log.ends] == [free]


async def test_a_log_that_refuses_a_call_on_purpose_is_no_fault_of_the_endpoint() -> None:
    log = Forgetful()
    log.full = True
    async with open_engine(log.provider(), attempt_log=log) as engine:
        with pytest.raises(GenerationError, match="the disk is full") as raised:
            await engine.generate("p")
        line = (await engine.metrics()).router.endpoints["scripted"]
    assert (raised.value.retryable, raised.value.attempts) == (False, 0)
    assert (line.attempts, line.failures) == (0, {})
    assert log.ends == [("the disk is full", True)]


async def test_a_call_that_has_used_something_is_never_free_whatever_its_status(autojump_clock: Any) -> None:
    log = Forgetful()
    used = Usage(input_tokens=10, output_tokens=3)
    provider = log.provider(Step(fault=Fault.FAILED, status=500, fault_usage=used), Step(text="otters"))
    async with open_engine(provider, attempt_log=log) as engine:
        await engine.generate("p")
    assert [was_free for _, was_free in log.ends] == [False]
