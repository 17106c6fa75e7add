"""Whoever is cancelled, at whichever moment: all tokens and places come back, and nobody is left waiting."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing

from synth_actors import (
    Endpoint,
    Engine,
    EngineClosedError,
    EngineConfig,
    RateLimitedError,
    Request,
    Response,
    SynthActorsError,
    open_engine,
)
from synth_actors.providers.base import Fault
from synth_actors.testing import ScriptedProvider, Step
from tests.engine.support import ONE_DOLLAR, assert_idle, dollar_endpoint, idle_problems, spent_usd
from tests.stepping import every_cancellation

CHUNKED = Step(text="abcd", chunks=4, gap_s=0.1, delay_s=0.1)
RETRIED = [Step(fault=Fault.FAILED, delay_s=0.1), Step(fault=Fault.RATE_LIMITED, retry_after_s=0.2), CHUNKED]


class WaitingLog:
    """An attempt log that takes its time, so that there is more to be cancelled in."""

    async def before_send(self, key: bytes, attempt: int, endpoint: str) -> None:
        await trio.sleep(0.05)

    async def received(self, key: bytes, attempt: int, answer: Any, usage: Any) -> None:
        await trio.sleep(0.05)


async def ask(engine: Engine) -> None:
    await engine.generate("same")


async def read(engine: Engine) -> None:
    async with engine.stream("same") as stream:
        async for chunk in stream:
            assert chunk.text
        assert (await stream.response()).text == "abcd"


async def run_batch(engine: Engine) -> None:
    outcomes = await engine.generate_batch(["same", "a", "b", "c", "a"])
    assert [outcome.error for outcome in outcomes] == [None] * 5


WORK = [ask, read, run_batch]


@pytest.mark.parametrize("watch", ["own", "any"])
@pytest.mark.parametrize("work", WORK)
async def test_one_who_is_alone_is_cancelled_anywhere(
    work: Callable[[Engine], Awaitable[None]], watch: Any, autojump_clock: Any
) -> None:
    steps = 0
    for step in every_cancellation(watch):
        config = EngineConfig(max_concurrency=2)
        provider = ScriptedProvider([*RETRIED, *[CHUNKED] * 9])
        async with open_engine(provider, config, attempt_log=WaitingLog()) as engine:
            with step:
                await work(engine)
            await trio.sleep(1)  # `received` is shielded
            await assert_idle(engine)
        steps += 1
    assert steps > 3


@pytest.mark.parametrize("joins_first", [True, False], ids=["leader", "follower"])
@pytest.mark.parametrize("work", WORK)
async def test_one_of_two_is_cancelled_anywhere_and_the_other_is_answered(
    work: Callable[[Engine], Awaitable[None]], joins_first: bool, autojump_clock: Any
) -> None:
    for step in every_cancellation():
        provider = ScriptedProvider(lambda call: CHUNKED)
        async with open_engine(provider, EngineConfig(max_concurrency=2)) as engine:
            answers: list[Response] = []

            async def other(engine: Engine = engine, answers: list[Response] = answers) -> None:
                answers.append(await engine.generate("same"))

            async with trio.open_nursery() as nursery:
                if joins_first:
                    nursery.start_soon(later, other)
                else:
                    nursery.start_soon(other)
                    await trio.testing.wait_all_tasks_blocked()
                with step:
                    await work(engine)
            assert [answer.text for answer in answers] == ["abcd"]
            await assert_idle(engine)


async def later(work: Callable[[], Awaitable[None]]) -> None:
    await trio.sleep(0.01)
    await work()


@pytest.mark.parametrize("watch", ["own", "any"])
async def test_the_engine_is_cancelled_anywhere_and_everybody_who_waits_is_answered(
    watch: Any, autojump_clock: Any
) -> None:
    for step in every_cancellation(watch):
        provider = ScriptedProvider([*RETRIED, *[CHUNKED] * 9])
        ended: list[object] = []
        engines: list[Engine] = []
        async with trio.open_nursery() as nursery:
            with step:
                config = EngineConfig(max_concurrency=2)
                async with open_engine(provider, config, attempt_log=WaitingLog()) as engine:
                    engines.append(engine)
                    for work in WORK:
                        nursery.start_soon(outside, work, engine, ended)
                    await trio.sleep(0.6)
            ended_at = trio.current_time()
            await trio.testing.wait_all_tasks_blocked()
            assert len(ended) == 3 * len(engines)
        assert trio.current_time() - ended_at < 0.5
        for engine in engines:
            assert idle_problems(engine) == []
            assert provider.closed
            assert provider.active == 0


async def outside(work: Callable[[Engine], Awaitable[None]], engine: Engine, ended: list[object]) -> None:
    """Somebody in a task of their own, which the engine's end does not cancel."""
    try:
        await work(engine)
    except (EngineClosedError, RateLimitedError) as exc:  # the latter if a refusal arrived at that very moment
        ended.append(exc)
    except AssertionError:  # a batch whose outcomes are errors
        ended.append("outcomes")
    else:
        ended.append("answered")


async def test_a_cancelled_engine_ends_at_once(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: Step(delay_s=100))
    errors: list[Exception] = []

    async def wait(engine: Engine) -> None:
        try:
            await engine.generate("a")
        except SynthActorsError as exc:
            errors.append(exc)

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(1):
            async with open_engine(provider) as engine:
                nursery.start_soon(wait, engine)
                await trio.sleep_forever()
    assert trio.current_time() == 1.0
    assert [type(error) for error in errors] == [EngineClosedError]
    assert idle_problems(engine) == []


async def test_a_call_that_was_running_when_the_engine_closed_is_billed_by_the_closing_error(
    autojump_clock: Any,
) -> None:
    class Counting(ScriptedProvider):
        async def generate(self, call: Any, emit: Any) -> Any:
            call.note_usage(ONE_DOLLAR)
            return await super().generate(call, emit)

    provider = Counting(lambda call: Step(delay_s=100))
    errors: list[EngineClosedError] = []

    async def wait(engine: Engine) -> None:
        with pytest.raises(EngineClosedError) as caught:
            await engine.generate("a")
        errors.append(caught.value)

    async with trio.open_nursery() as nursery:
        with suppress(ZeroDivisionError):
            async with open_engine(dollar_endpoint(provider)) as engine:
                nursery.start_soon(wait, engine)
                await trio.sleep(1)
                raise ZeroDivisionError
    assert [error.usage.cost_usd for error in errors if error.usage] == [1.0]
    assert spent_usd(engine) == 1.0


async def test_a_request_in_the_queue_of_a_closed_engine_has_cost_nothing(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: Step(delay_s=100))
    errors: list[EngineClosedError] = []

    async def wait(engine: Engine, prompt: str) -> None:
        with pytest.raises(EngineClosedError) as caught:
            await engine.generate(prompt)
        errors.append(caught.value)

    async with trio.open_nursery() as nursery:
        with suppress(ZeroDivisionError):
            async with open_engine(provider, EngineConfig(max_concurrency=1)) as engine:
                nursery.start_soon(wait, engine, "first")
                await trio.sleep(1)
                nursery.start_soon(wait, engine, "queued")
                await trio.sleep(1)
                raise ZeroDivisionError
    assert sorted(error.usage is None for error in errors) == [False, True]
    assert len(provider.calls) == 1


async def test_a_queued_request_that_nobody_waits_for_is_never_sent(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: Step(delay_s=2.0))
    async with open_engine(provider, EngineConfig(max_concurrency=1)) as engine, trio.open_nursery() as nursery:
        nursery.start_soon(ask, engine)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(1):
            await engine.generate("queued")
        await trio.sleep(2)
        assert [call.request.prompt for call in provider.calls] == ["same"]
        await assert_idle(engine)


async def test_a_request_that_is_dropped_before_its_call_begins_never_reaches_the_provider() -> None:
    provider = ScriptedProvider()
    async with open_engine(provider) as engine:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, engine)
                nursery.start_soon(ask, engine)
                await trio.lowlevel.checkpoint()
                scope.cancel()
        await assert_idle(engine)
        counters = (await engine.metrics()).counters
        assert len(provider.calls) <= counters.paid_calls <= 1


async def test_a_failed_attempt_that_nobody_waits_for_is_not_repeated(autojump_clock: Any) -> None:
    class SlowLog(WaitingLog):
        async def received(self, key: bytes, attempt: int, answer: Any, usage: Any) -> None:
            await trio.sleep(5)  # shielded: the answer is paid

    provider = ScriptedProvider(lambda call: Step(text="no JSON"))
    async with open_engine(provider, attempt_log=SlowLog()) as engine:
        with trio.move_on_after(1):
            await engine.generate(Request(prompt="p", output_schema={"type": "object"}))
        await trio.sleep(20)
        assert len(provider.calls) == 1
        await assert_idle(engine)


async def test_a_paid_answer_that_nobody_waits_for_any_more_is_kept(autojump_clock: Any) -> None:
    class SlowLog(WaitingLog):
        async def received(self, key: bytes, attempt: int, answer: Any, usage: Any) -> None:
            await trio.sleep(5)

    provider = ScriptedProvider(lambda call: Step(text="paid"))
    async with open_engine(Endpoint(provider=provider, name="e"), attempt_log=SlowLog()) as engine:
        with trio.move_on_after(1):
            await engine.generate("p")
        await trio.sleep(5)
        assert (await engine.generate("p")).source == "cache"
