"""Cancelled at every checkpoint while limits, pauses and retries are in play: the guarantees hold all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from synth_actors import EngineConfig, Request
from synth_actors.providers.base import Call, Fault
from synth_actors.testing import Constant, HiddenLimits, Outage, Pace, SimulatedProvider, Step, Trouble
from tests.faults.guarantees import Remote, Run, guaranteed, priced, requests
from tests.stepping import Step as Cancellation
from tests.stepping import every_cancellation

WORK_S = 0.1
PACE = Pace(ttft_s=Constant(value=WORK_S), token_s=Constant(value=0.01), output_tokens=Constant(value=4), pieces=2)
OTHERS = 3
Upstreams = Callable[[], list[Remote] | list[SimulatedProvider]]


def narrow() -> list[SimulatedProvider]:
    """Three calls, then one every two seconds, with the headers that say so; and one call at once beside it."""
    trickle = HiddenLimits(requests_per_minute=30, capacity_s=6.0)
    return [
        SimulatedProvider(trickle, PACE, name="first"),
        SimulatedProvider(HiddenLimits(max_concurrency=1), PACE, name="second"),
    ]


def in_trouble() -> list[SimulatedProvider]:
    """One is away for two seconds, the other fails as often as it answers."""
    away = Trouble(outages=(Outage(start_s=0.05, length_s=2.0, fault=Fault.UNREACHABLE),))
    return [
        SimulatedProvider(None, PACE, away, name="first"),
        SimulatedProvider(None, PACE, Trouble(failed_share=0.5), name="second", seed=3),
    ]


def refusing() -> list[Remote]:
    """Each kind of refusal and of failure in turn, before anything is answered."""

    def script(call: Call) -> Step:
        faults = [Fault.RATE_LIMITED, Fault.FAILED, Fault.OVERLOADED, Fault.RATE_LIMITED, None, Fault.UNREACHABLE, None]
        fault = faults[sum(len(server.calls) for server in servers) % len(faults)]
        return Step(text="abcd", chunks=2, gap_s=0.05, delay_s=0.05, fault=fault, retry_after_s=0.3 if fault else None)

    servers = [Remote(script, name="first"), Remote(script, name="second")]
    return servers


async def check_step(upstreams: Upstreams, step: Cancellation, *, read: bool, **config: Any) -> None:
    """One who is cancelled at this step, beside others who ask the same and something else, and stay."""
    endpoints = [priced(server, max_concurrency=2) for server in upstreams()]
    *others, last = requests(OTHERS + 1)
    async with guaranteed(endpoints, EngineConfig(max_concurrency=3, **config)) as run:
        with trio.fail_after(500.0):
            async with trio.open_nursery() as nursery:
                for request in others:
                    nursery.start_soon(run.ask, request)
                await trio.testing.wait_all_tasks_blocked()
                with step:
                    await run.ask(last, read=read)
        assert all(ending.response is not None for ending in run.endings if ending.request in others)
        await check_counts(run)


async def check_counts(run: Run) -> None:
    """No server works for nobody."""
    await trio.testing.wait_all_tasks_blocked()
    providers = [endpoint.provider for endpoint in run.engine._wiring._endpoints]
    for provider in providers:
        if isinstance(provider, SimulatedProvider):
            assert provider.in_flight == 0
        elif isinstance(provider, Remote):
            assert provider.active == 0


@pytest.mark.parametrize("read", [False, True], ids=["asking", "reading"])
@pytest.mark.parametrize("upstreams", [narrow, in_trouble, refusing])
async def test_one_who_waits_for_limits_pauses_and_retries_is_cancelled_anywhere(
    upstreams: Upstreams, read: bool, autojump_clock: Any
) -> None:
    steps = 0
    for step in every_cancellation():
        await check_step(upstreams, step, read=read)
        steps += 1
    assert steps > 3


@pytest.mark.parametrize("upstreams", [narrow, in_trouble, refusing])
async def test_one_is_cancelled_after_any_step_of_anybody(upstreams: Upstreams, autojump_clock: Any) -> None:
    steps = 0
    for step in every_cancellation("any"):
        await check_step(upstreams, step, read=False, routing="least_loaded")
        steps += 1
    assert steps > 5


@pytest.mark.parametrize("upstreams", [narrow, in_trouble, refusing])
async def test_all_leave_one_after_the_other_and_nothing_stays_behind(
    upstreams: Upstreams, autojump_clock: Any
) -> None:
    endpoints = [priced(server, max_concurrency=2) for server in upstreams()]
    async with guaranteed(endpoints, EngineConfig(max_concurrency=3)) as run, trio.open_nursery() as nursery:
        for number, request in enumerate(requests(60)):
            nursery.start_soon(leave_after, run, request, number * 0.05)


async def leave_after(run: Run, request: Request, leaves_after_s: float) -> None:
    await run.ask(request, leaves_after_s=leaves_after_s)
