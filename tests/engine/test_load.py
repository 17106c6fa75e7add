from __future__ import annotations

import pytest
import trio
import trio.testing

from synth_actors import CacheConfig, EngineConfig, open_engine
from synth_actors.messages import SetConcurrencyCap
from synth_actors.providers.base import Fault
from synth_actors.snapshot import RouterSnapshot
from synth_actors.testing import ScriptedProvider, Step


@pytest.mark.parametrize("cap", [4, 2])
async def test_what_is_under_way_and_what_waits_is_summed_over_time(
    autojump_clock: trio.testing.MockClock, cap: int
) -> None:
    """Eight calls of a second at places for `cap`: they wait for a place, be it memory that has left no more."""
    provider = ScriptedProvider(lambda _call: Step(delay_s=1.0))
    async with open_engine(provider, EngineConfig(max_concurrency=4, cache=CacheConfig(enabled=False))) as engine:
        engine._wiring._router_box.tell(SetConcurrencyCap(cap))
        await trio.testing.wait_all_tasks_blocked()
        await engine.generate_batch([str(number) for number in range(8)])
        await trio.sleep(10.0)
        router: RouterSnapshot = (await engine.metrics()).router
    rounds = 8 // cap
    waiting = [min(8 - done * cap, 8) - cap for done in range(rounds)]  # in each round
    assert router.busy_s == pytest.approx(8.0)
    assert router.backlog_s == router.saturated_backlog_s == pytest.approx(sum(waiting))
    assert router.saturated_s == pytest.approx(rounds - 1)
    assert router.active_s == pytest.approx(rounds)
    assert router.closed_backlog_s == 0


async def test_who_waits_until_the_endpoint_takes_calls_again_is_summed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Five failures close it; twenty requests wait until it was proved again, and none for a place."""
    provider = ScriptedProvider([Step(fault=Fault.FAILED, delay_s=1.0)] * 5)
    async with open_engine(provider, EngineConfig(cache=CacheConfig(enabled=False))) as engine:
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(engine.generate, f"first {number}")
            await trio.sleep(1.0)
            await trio.testing.wait_all_tasks_blocked()
            for number in range(20):
                nursery.start_soon(engine.generate, f"second {number}")
        router: RouterSnapshot = (await engine.metrics()).router
    assert router.saturated_s == 0
    assert router.backlog_s >= 20 * 0.5
    assert router.closed_backlog_s == pytest.approx(router.backlog_s)
