from __future__ import annotations

import random
from typing import Any

import pytest
import trio
import trio.testing

from synth_actors import (
    ConfigError,
    DeadlineExceededError,
    Engine,
    EngineClosedError,
    EngineConfig,
    OverloadedError,
    Request,
    SynthActorsError,
    open_engine,
)
from synth_actors.providers.base import Fault
from synth_actors.testing import ScriptedProvider, Step
from tests.engine.support import assert_idle, idle_problems


def slow(delay_s: float = 1.0) -> ScriptedProvider:
    return ScriptedProvider(lambda call: Step(delay_s=delay_s))


async def ask(engine: Engine, prompt: str, ended: dict[str, object]) -> None:
    try:
        await engine.generate(prompt)
        ended[prompt] = trio.current_time()
    except SynthActorsError as exc:
        ended[prompt] = type(exc)


async def test_a_full_engine_refuses_if_told_to(autojump_clock: Any) -> None:
    ended: dict[str, object] = {}
    config = EngineConfig(max_waiting=3, on_full="refuse")
    async with open_engine(slow(), config) as engine:
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(ask, engine, str(number), ended)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(OverloadedError, match="max_waiting=3"):
                await engine.generate("one too many")
            with pytest.raises(OverloadedError):
                async with engine.stream("one too many"):
                    pass
        assert ended == {"0": 1.0, "1": 1.0, "2": 1.0}
        await engine.generate("there is room again")
        counters = (await engine.metrics()).counters
        assert (counters.submitted, counters.succeeded, counters.failed) == (6, 4, 2)
        await assert_idle(engine)


async def test_a_full_engine_lets_callers_wait_first_come_first_served(autojump_clock: Any) -> None:
    provider = slow()
    order: list[str] = []

    async def one(engine: Engine, prompt: str) -> None:
        await engine.generate(prompt)
        order.append(prompt)

    async with open_engine(provider, EngineConfig(max_waiting=2)) as engine:
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(one, engine, str(number))
                await trio.testing.wait_all_tasks_blocked()
            assert provider.active == 2
        assert provider.peak == 2
        assert [{order[i], order[i + 1]} for i in range(0, 10, 2)] == [{str(i), str(i + 1)} for i in range(0, 10, 2)]
        assert trio.current_time() == 5.0
        await assert_idle(engine)


async def test_a_hit_needs_no_place(autojump_clock: Any) -> None:
    for on_full in ("wait", "refuse"):
        config = EngineConfig(max_waiting=1, on_full=on_full)
        async with open_engine(slow(), config) as engine, trio.open_nursery() as nursery:
            await engine.generate("known")
            nursery.start_soon(ask, engine, "slow", {})
            await trio.testing.wait_all_tasks_blocked()
            began = trio.current_time()
            assert (await engine.generate("known")).cached
            async with engine.stream("known") as stream:
                assert (await stream.response()).cached
            assert trio.current_time() == began


async def test_a_deadline_holds_at_the_door_too(autojump_clock: Any) -> None:
    provider = slow(10.0)
    async with open_engine(provider, EngineConfig(max_waiting=1)) as engine, trio.open_nursery() as nursery:
        nursery.start_soon(ask, engine, "first", {})
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(DeadlineExceededError, match="timeout_s=2") as caught:
            await engine.generate("second", timeout_s=2.0)
        assert (trio.current_time(), caught.value.attempts) == (2.0, 0)
        with pytest.raises(DeadlineExceededError):
            async with engine.stream("third", timeout_s=3.0):
                pass
        assert trio.current_time() == 5.0
        with pytest.raises(DeadlineExceededError):
            await engine.generate("fourth", timeout_s=7.0)  # inside from 10 s on, and then too late
        assert trio.current_time() == 12.0
        await assert_idle(engine)
        assert len(provider.calls) == 2


async def test_callers_parked_at_the_door_of_a_closing_engine_are_told(autojump_clock: Any) -> None:
    ended: dict[str, object] = {}
    async with trio.open_nursery() as nursery:
        async with open_engine(slow(), EngineConfig(max_waiting=2)) as engine:
            for number in range(5):
                nursery.start_soon(ask, engine, str(number), ended)
                await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() == 1.0
    assert ended == {"0": 1.0, "1": 1.0, "2": EngineClosedError, "3": EngineClosedError, "4": EngineClosedError}
    assert idle_problems(engine) == []
    with pytest.raises(EngineClosedError):
        await engine.generate("after the end")


async def test_a_place_that_is_handed_over_as_the_door_closes_is_not_lost() -> None:
    from synth_actors.door import FrontDoor

    door = FrontDoor(1, "wait")
    await door.enter()
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(EngineClosedError):
                await door.enter()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        door.place_back()
        door.close(None)
    assert door.waiting == 0


@pytest.mark.parametrize(("seed", "max_waiting"), [(1, 50), (2, 20_000)])
async def test_a_thousand_callers_that_cancel_continuously_overflow_nothing(
    seed: int, max_waiting: int, autojump_clock: Any
) -> None:
    chance = random.Random(seed)
    provider = ScriptedProvider(
        lambda call: Step(delay_s=chance.random(), fault=chance.choice([None, None, None, Fault.FAILED]))
    )
    answered = 0

    async def caller(engine: Engine) -> None:
        nonlocal answered
        for _ in range(4):
            request = Request(prompt=str(chance.randrange(100)), cache=chance.choice(["use", "refresh", "bypass"]))
            with trio.move_on_after(chance.choice([0.0, 0.0001, chance.random(), 3.0])) as scope:
                if chance.random() < 0.2:
                    async with engine.stream(request) as stream:
                        async for _chunk in stream:
                            pass
                else:
                    await engine.generate(request)
            answered += not scope.cancelled_caught

    config = EngineConfig(max_waiting=max_waiting, max_concurrency=20, max_attempts=100)
    async with open_engine(provider, config) as engine:
        async with trio.open_nursery() as nursery:
            for _ in range(1000):
                nursery.start_soon(caller, engine)
        await assert_idle(engine)
        snapshot = await engine.metrics()
        counters = snapshot.counters
        assert counters.submitted == 4000
        assert (counters.succeeded, counters.failed) == (answered, 0)
        assert counters.cancelled == 4000 - answered
        assert 0 < answered < 4000
        ended = sum(e.successes + sum((e.failures or {}).values()) for e in snapshot.router.endpoints.values())
        assert ended == counters.paid_calls, "every fact was delivered"
        assert provider.peak <= 20


async def test_requests_that_nobody_wants_any_more_do_not_pile_up_behind_one_that_waits(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: Step(fault=Fault.RATE_LIMITED, retry_after_s=500.0))
    config = EngineConfig(outage_patience_s=2000.0)
    async with open_engine(provider, config) as engine, trio.open_nursery() as nursery:
        nursery.start_soon(ask, engine, "refused", {})
        await trio.testing.wait_all_tasks_blocked()
        for number in range(500):
            with trio.move_on_after(0.001):
                await engine.generate(str(number))
        await trio.testing.wait_all_tasks_blocked()
        lanes = engine._wiring._router._waiting._line._lanes.values()
        assert sum(len(lane) for lane in lanes) < 100
        nursery.cancel_scope.cancel()


async def test_a_number_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"EngineConfig\.max_waiting: 0 is not valid"):
        EngineConfig(max_waiting=0)
