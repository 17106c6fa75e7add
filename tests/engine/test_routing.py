from __future__ import annotations

from typing import Any

import trio
import trio.testing

from synth_actors import Endpoint, Engine, EngineConfig, open_engine
from synth_actors.messages import SetConcurrencyCap
from synth_actors.testing import ScriptedProvider, Step
from tests.engine.support import assert_idle


def endpoint(name: str, delay_s: float, max_concurrency: int | None = None) -> tuple[ScriptedProvider, Endpoint]:
    provider = ScriptedProvider(lambda call: Step(delay_s=delay_s), name=name)
    return provider, Endpoint(provider=provider, name=name, max_concurrency=max_concurrency)


async def make(engine: Engine, count: int) -> float:
    """The seconds that `count` different requests take, all asked for at once."""
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(engine.generate, f"p{number}")
    return trio.current_time() - began


async def test_a_slow_endpoint_does_not_hold_the_places_of_a_fast_one(autojump_clock: Any) -> None:
    fast, first = endpoint("fast", 0.05, 60)
    slow, second = endpoint("slow", 5.0, 60)
    async with open_engine([first, second], EngineConfig(max_concurrency=60)) as engine:
        took_s = await make(engine, 2000)
        ideal_s = 2000 * 0.05 / 60
        assert took_s <= 1.05 * ideal_s
        assert (len(fast.calls), len(slow.calls)) == (2000, 0)
        await assert_idle(engine)


async def test_what_the_preferred_endpoint_cannot_take_goes_to_the_next(autojump_clock: Any) -> None:
    fast, first = endpoint("fast", 1.0, 2)
    slow, second = endpoint("slow", 10.0, 3)
    async with open_engine([first, second], EngineConfig(max_concurrency=100)) as engine:
        took_s = await make(engine, 20)
        assert (fast.peak, slow.peak) == (2, 3)
        assert (len(fast.calls), len(slow.calls)) == (17, 3)
        assert took_s == 10.0


async def test_the_slow_one_first_in_preference_takes_what_it_can_and_no_more(autojump_clock: Any) -> None:
    slow, first = endpoint("slow", 5.0, 10)
    fast, second = endpoint("fast", 0.05, 50)
    async with open_engine([first, second], EngineConfig(max_concurrency=60)) as engine:
        took_s = await make(engine, 2000)
        assert took_s <= 5.0 * 1.05
        assert len(slow.calls) == 10
        assert fast.peak == 50


async def test_the_least_loaded_endpoint_by_share_of_its_places(autojump_clock: Any) -> None:
    small, first = endpoint("small", 1.0, 10)
    large, second = endpoint("large", 1.0, 30)
    config = EngineConfig(routing="least_loaded")
    async with open_engine([first, second], config) as engine, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(engine.generate, f"p{number}")
        await trio.testing.wait_all_tasks_blocked()
        assert (small.active, large.active) == (5, 15)


async def test_the_least_loaded_endpoint_by_calls_when_one_has_no_limit(autojump_clock: Any) -> None:
    limited, first = endpoint("limited", 1.0, 100)
    free, second = endpoint("free", 1.0)
    config = EngineConfig(routing="least_loaded")
    async with open_engine([first, second], config) as engine, trio.open_nursery() as nursery:
        for number in range(21):
            nursery.start_soon(engine.generate, f"p{number}")
        await trio.testing.wait_all_tasks_blocked()
        assert (limited.active, free.active) == (11, 10)


async def test_never_more_calls_than_tokens(autojump_clock: Any) -> None:
    provider, only = endpoint("only", 1.0)
    async with open_engine(only, EngineConfig(max_concurrency=7)) as engine:
        assert await make(engine, 70) == 10.0
        assert provider.peak == 7
        assert (await engine.metrics()).router.generators == 7


async def test_generators_are_started_on_demand_and_used_again() -> None:
    _provider, only = endpoint("only", 0.0)
    async with open_engine(only, EngineConfig(max_concurrency=10_000)) as engine:
        for number in range(50):
            await engine.generate(f"p{number}")
        assert (await engine.metrics()).router.generators == 1


async def test_a_lower_cap_lets_running_calls_finish_and_a_higher_one_starts_more_at_once(autojump_clock: Any) -> None:
    provider, only = endpoint("only", 1.0)
    async with open_engine(only, EngineConfig(max_concurrency=8)) as engine, trio.open_nursery() as nursery:
        router, limiter = engine._wiring._router_box, engine._wiring._limiter
        nursery.start_soon(make, engine, 40)
        await trio.testing.wait_all_tasks_blocked()
        assert provider.active == 8
        router.tell(SetConcurrencyCap(3))
        await trio.sleep(0.5)
        assert (provider.active, provider.cancelled) == (8, 0)
        await trio.sleep(1.0)
        assert (provider.active, limiter.borrowed_tokens) == (3, 3)
        assert (await engine.metrics()).router.concurrency_cap == 3
        router.tell(SetConcurrencyCap(0))
        await trio.sleep(1.0)
        assert provider.active == 1, "never below 1"
        router.tell(SetConcurrencyCap(1_000_000))
        await trio.testing.wait_all_tasks_blocked()
        assert provider.active == 8, "never above max_concurrency"
