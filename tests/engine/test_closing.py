"""How an engine ends, and what leaves its body."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio
import trio.testing

from synth_actors import Engine, EngineClosedError, EngineConfig, SynthActorsError, open_engine
from synth_actors.testing import ScriptedProvider, Step
from tests.engine.support import idle_problems

RAISED = [
    ValueError("mine"),
    KeyboardInterrupt(),
    SystemExit(3),
    ExceptionGroup("mine", [OSError(), ValueError()]),
    trio.TooSlowError(),
    EngineClosedError("mine"),
    StopAsyncIteration(),
    StopIteration(),
    trio.EndOfChannel(),
]


def own(engine: Engine) -> AbstractAsyncContextManager[Any]:
    return open_engine(ScriptedProvider())


def stream(engine: Engine) -> AbstractAsyncContextManager[Any]:
    return engine.stream("p")


def batch(engine: Engine) -> AbstractAsyncContextManager[Any]:
    return engine.batch(["a", "b"])


def watch(engine: Engine) -> AbstractAsyncContextManager[Any]:
    return engine.watch_metrics()


BODIES = [own, stream, batch, watch]


@pytest.mark.parametrize("raised", RAISED, ids=lambda exc: type(exc).__name__)
@pytest.mark.parametrize("body", BODIES)
async def test_an_exception_in_a_body_leaves_as_itself(
    body: Callable[[Engine], AbstractAsyncContextManager[Any]], raised: BaseException, autojump_clock: Any
) -> None:
    provider = ScriptedProvider(lambda call: Step(delay_s=100.0))
    async with open_engine(provider) as engine:
        with pytest.raises(type(raised)) as caught:  # noqa: PT012
            async with body(engine):
                await trio.sleep(1)
                raise raised
        assert caught.value is raised
        assert trio.current_time() == 1.0


@pytest.mark.parametrize("body", BODIES)
async def test_a_cancellation_from_outside_passes_through_a_body(
    body: Callable[[Engine], AbstractAsyncContextManager[Any]], autojump_clock: Any
) -> None:
    async with open_engine(ScriptedProvider(lambda call: Step(delay_s=100.0))) as engine:
        with trio.move_on_after(2) as scope:
            async with body(engine):
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert trio.current_time() == 2.0


async def test_requests_under_way_may_finish_when_the_body_ends(autojump_clock: Any) -> None:
    ended: list[object] = []

    async def ask(engine: Engine, prompt: str) -> None:
        try:
            ended.append((await engine.generate(prompt)).text)
        except SynthActorsError as exc:
            ended.append(type(exc))

    provider = ScriptedProvider(lambda call: Step(delay_s=float(call.request.prompt or 0)))
    async with trio.open_nursery() as nursery:
        async with open_engine(provider, EngineConfig(drain_timeout_s=5.0, max_concurrency=2)) as engine:
            for prompt in ("1", "2", "3", "100"):
                nursery.start_soon(ask, engine, prompt)
                await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() == 5.0
    assert ended == ["ok", "ok", "ok", EngineClosedError]
    assert idle_problems(engine) == []
    assert provider.closed


async def test_an_idle_engine_closes_at_once(autojump_clock: Any) -> None:
    async with open_engine(ScriptedProvider()) as engine:
        await engine.generate("p")
    assert trio.current_time() == 0.0


async def test_a_closed_engine_says_so_to_whoever_asks() -> None:
    async with open_engine(ScriptedProvider()) as engine:
        await engine.generate("p")
    for call in (lambda: engine.generate("p"), engine.metrics, engine.optimize):
        with pytest.raises(EngineClosedError):
            await call()
    outcomes = await engine.generate_batch(["a", "b"])
    assert [type(outcome.error) for outcome in outcomes] == [EngineClosedError] * 2


async def test_watching_the_metrics_of_an_engine_that_closes_ends_the_watching(autojump_clock: Any) -> None:
    seen: list[float] = []
    after: list[str] = []

    async def look(engine: Engine) -> None:
        async with engine.watch_metrics(1.0) as snapshots:
            async for snapshot in snapshots:
                seen.append(snapshot.taken_at_s)  # noqa: PERF401  (an async comprehension would hide the loop)
            after.append("the loop ended")
            await trio.sleep(1)
            after.append("and the body went on")

    async with trio.open_nursery() as nursery, open_engine(ScriptedProvider()) as engine:
        nursery.start_soon(look, engine)
        await trio.sleep(3.5)
    assert seen == [1.0, 2.0, 3.0]
    assert after == ["the loop ended", "and the body went on"]


async def test_who_closes_the_metrics_channel_may_go_on(autojump_clock: Any) -> None:
    async with open_engine(ScriptedProvider()) as engine, engine.watch_metrics(1.0) as snapshots:
        async with snapshots:
            await snapshots.receive()
        await trio.sleep(5)
        assert (await engine.generate("p")).text == "ok"


async def test_a_slow_watcher_gets_the_newest_snapshot(autojump_clock: Any) -> None:
    async with open_engine(ScriptedProvider()) as engine, engine.watch_metrics(1.0) as snapshots:
        await trio.sleep(5.5)
        assert (await snapshots.receive()).taken_at_s == 5.0
        assert (await snapshots.receive()).taken_at_s == 6.0


async def test_a_provider_that_cannot_close_hides_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Stuck(ScriptedProvider):
        async def aclose(self) -> None:
            raise OSError("connection lost")

    other = ScriptedProvider(name="other")
    with pytest.raises(ZeroDivisionError):
        async with open_engine([Stuck(), other]):
            raise ZeroDivisionError
    assert other.closed
    async with open_engine([Stuck(), other]):
        pass
    assert "connection lost" in caplog.text


async def test_a_provider_that_takes_for_ever_to_close_is_given_up(autojump_clock: Any) -> None:
    class Slow(ScriptedProvider):
        async def aclose(self) -> None:
            await trio.sleep_forever()

    async with open_engine(Slow()):
        pass
    assert trio.current_time() == 2.0


async def test_two_engines_do_not_know_each_other() -> None:
    one, two = ScriptedProvider(), ScriptedProvider()
    async with open_engine(one) as first, open_engine(two) as second:
        await first.generate("p")
        assert not (await second.generate("p")).cached
        assert len(one.calls) == len(two.calls) == 1
