"""A bug in an actor: a worker starts again, a decider ends the engine, and everybody who waits is answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from synth_actors import Engine, EngineClosedError, EngineConfig, SynthActorsError, open_engine
from synth_actors.actors.cache import CacheActor
from synth_actors.actors.generator import GeneratorActor, _Taping
from synth_actors.actors.metrics import MetricsActor
from synth_actors.actors.router import RouterActor
from synth_actors.actors.watchdog import MemoryWatchdog
from synth_actors.providers.base import Call, Fault
from synth_actors.samples import SampleBuffer
from synth_actors.testing import ScriptedProvider, Step
from tests.engine.support import assert_idle, idle_problems


class OurBugError(Exception):
    pass


def crash_at(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, nth: int) -> None:
    """Let the `nth` call of a method raise, as a bug of ours would."""
    original: Callable[..., Any] = getattr(owner, method)
    calls = 0

    def crashing(*args: Any, **fields: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth:
            raise OurBugError(method)
        return original(*args, **fields)

    monkeypatch.setattr(owner, method, crashing)


DECIDERS = [
    (CacheActor, "_lookup"),
    (CacheActor, "_lead"),
    (CacheActor, "_follow"),
    (CacheActor, "_let_go"),
    (CacheActor, "_keep"),
    (CacheActor, "_tell_success"),
    (CacheActor, "_tell_failure"),
    (SampleBuffer, "add_call"),
    (SampleBuffer, "add_shared"),
    (RouterActor, "_accept"),
    (RouterActor, "_drop"),
    (RouterActor, "_dispatch_one"),
    (RouterActor, "_start"),
    (RouterActor, "_finished"),
    (RouterActor, "_failed"),
    (RouterActor, "_end"),
]


async def ask(engine: Engine, prompt: str, ended: list[object]) -> None:
    with trio.move_on_after(5.0 if prompt == "impatient" else 100.0) as scope:
        try:
            if prompt.startswith("read"):
                async with engine.stream(prompt) as stream:
                    await stream.response()
            else:
                await engine.generate(prompt)
            ended.append("answered")
        except SynthActorsError as exc:
            ended.append(exc)
    if scope.cancelled_caught:
        ended.append("left" if prompt == "impatient" else "hung")


@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize(("owner", "method"), DECIDERS, ids=lambda value: getattr(value, "__name__", value))
async def test_a_bug_in_a_decider_ends_the_engine_and_answers_everybody(
    owner: type, method: str, nth: int, monkeypatch: pytest.MonkeyPatch, autojump_clock: Any
) -> None:
    def script(call: Call) -> Step:
        fault = Fault.REJECTED if call.request.prompt == "bad" else None
        return Step(delay_s=9.0 if call.request.prompt == "impatient" else 1.0, chunks=2, gap_s=0.1, fault=fault)

    prompts = ["same", "same", "same", "bad", "bad", "read", "read", "impatient", "a", "b", "c", "d"]
    ended: list[object] = []
    crash_at(monkeypatch, owner, method, nth)
    crashed = False
    engine: Engine | None = None
    async with trio.open_nursery() as nursery:
        try:
            async with open_engine(ScriptedProvider(script), EngineConfig(max_concurrency=3)) as engine:
                for prompt in prompts:
                    nursery.start_soon(ask, engine, prompt, ended)
                await trio.sleep(50)
        except OurBugError:
            crashed = True
            assert trio.current_time() < 20.0
    assert engine is not None
    assert len(ended) == len(prompts)
    assert "hung" not in ended
    assert all(isinstance(end.__cause__, OurBugError) for end in ended if isinstance(end, EngineClosedError))
    tokens = [problem for problem in idle_problems(engine) if "tokens" in problem or "waiting" in problem]
    assert tokens == []
    if not crashed:  # that method was not called so often
        assert not any(isinstance(end, EngineClosedError) for end in ended)
    else:
        with pytest.raises(EngineClosedError) as caught:
            await engine.generate("after the end")
        assert isinstance(caught.value.__cause__, OurBugError)


async def test_the_cause_leaves_although_the_body_raised_too(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Any
) -> None:
    crash_at(monkeypatch, CacheActor, "_lookup", 1)
    with pytest.raises(OurBugError):
        async with open_engine(ScriptedProvider()) as engine:
            await engine.generate("p")


@pytest.mark.parametrize("owner", [MetricsActor, MemoryWatchdog])
async def test_a_worker_that_crashes_starts_again(
    owner: type, monkeypatch: pytest.MonkeyPatch, autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    method = "_collect" if owner is MetricsActor else "_read_rss"
    crash_at(monkeypatch, owner, method, 2)
    async with open_engine(ScriptedProvider()) as engine:
        await trio.sleep(5)
        await engine.generate("p")
        snapshot = await engine.metrics()
        assert sum(box.restarts for box in snapshot.mailboxes.values()) == 1
        assert snapshot.counters.succeeded == 1
        assert await engine.optimize() >= 0
    assert "crashed and starts again" in caplog.text


async def test_a_worker_that_always_crashes_ends_the_engine(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(MemoryWatchdog, "_read_rss", lambda self: 1 // 0)
    with trio.fail_after(60), pytest.raises(ZeroDivisionError):
        async with open_engine(ScriptedProvider()):
            await trio.sleep_forever()


@pytest.mark.parametrize("method", ["_attempt", "_judge"])
async def test_a_bug_in_an_attempt_fails_that_request_alone(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    crash_at(monkeypatch, GeneratorActor, method, 2)
    async with open_engine(ScriptedProvider(), EngineConfig(max_concurrency=1)) as engine:
        outcomes = await engine.generate_batch(["a", "b", "c"])
        assert sum(outcome.error is not None for outcome in outcomes) == 1
        await assert_idle(engine)


@pytest.mark.parametrize("method", ["begin", "close", "crashed"])
async def test_a_bug_around_an_attempt_leaves_nobody_waiting(
    method: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    crash_at(monkeypatch, _Taping, method, 1)
    provider = ScriptedProvider([Step(raises=RuntimeError("bug of the provider"))])
    with trio.fail_after(60):
        async with open_engine(provider, EngineConfig(max_concurrency=1)) as engine:
            outcomes = await engine.generate_batch(["a", "b", "c"])
            assert sum(outcome.error is not None for outcome in outcomes) in (1, 2)
            await assert_idle(engine)
