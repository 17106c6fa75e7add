"""An upstream that is away for a minute: nothing is lost, hardly a call is wasted, and the rate is back at once."""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from typing import Any

import pytest
import trio

from synth_actors import EngineConfig, RateLimitedError, Request
from synth_actors.policy.breaker import LONGEST_PROBE_S
from synth_actors.providers.base import Call, Fault
from synth_actors.testing import Constant, LogNormal, Outage, Pace, SimulatedProvider, Step, Trouble
from tests.faults.guarantees import Remote, guaranteed, priced, requests

STARTS_S, LENGTH_S = 20.0, 60.0
ENDS_S = STARTS_S + LENGTH_S
WASTED = 0.02
RATE_AFTER = 0.95
BACK_WITHIN_S = 5.0
PACE = Pace(ttft_s=LogNormal(median=0.4, sigma=0.2), output_tokens=Constant(value=50))
"""0.9 s for a call: 44 a second, 40 at once."""


def away(fault: Fault, length_s: float = LENGTH_S, retry_after_s: float | None = None) -> Trouble:
    outage = Outage(start_s=STARTS_S, length_s=length_s, fault=fault)
    return Trouble(outages=(outage,), retry_after_s=retry_after_s)


def rate(server: SimulatedProvider, from_s: float, to_s: float) -> float:
    """Calls accepted in a second."""
    times = server.counts.accepted_at_s
    return (bisect_left(times, to_s) - bisect_left(times, from_s)) / (to_s - from_s)


def long_ones(count: int, **fields: Any) -> list[Request]:
    """Requests that take 2.3 s on the average: 43 a second, 100 at once."""
    return requests(count, max_tokens=200, **fields)


CASES = {
    "529": (Fault.OVERLOADED, None, 0.0, "never"),
    "529, streamed": (Fault.OVERLOADED, None, 0.0, "always"),
    "529 with retry-after 2": (Fault.OVERLOADED, 2.0, 0.0, "never"),
    "529, 40 requests a second": (Fault.OVERLOADED, None, 0.025, "never"),
    "no connection": (Fault.UNREACHABLE, None, 0.0, "never"),
}


@pytest.mark.parametrize(("fault", "retry_after_s", "every_s", "stream"), CASES.values(), ids=CASES)
async def test_a_minute_without_the_server_loses_nothing_and_ends_at_once(
    fault: Fault, retry_after_s: float | None, every_s: float, stream: str, autojump_clock: Any
) -> None:
    server = SimulatedProvider(None, PACE, away(fault, retry_after_s=retry_after_s), seed=1)
    async with guaranteed(priced(server, stream=stream), EngineConfig(max_concurrency=40)) as run:
        await run.ask_all(requests(1900), every_s=every_s)
    assert run.lost == []
    assert sum(run.failures.values()) <= WASTED * run.attempts
    usual = rate(server, 8.0, STARTS_S)
    back_s = ENDS_S + BACK_WITHIN_S
    assert rate(server, back_s, back_s + 12.0) >= RATE_AFTER * usual
    assert rate(server, ENDS_S, back_s) >= 0.4 * usual, "already on its way"


async def test_the_second_endpoint_takes_over_and_the_preferred_one_gets_its_calls_back(autojump_clock: Any) -> None:
    first = SimulatedProvider(trouble=away(Fault.OVERLOADED), seed=1, name="first")
    second = SimulatedProvider(seed=2, name="second")
    async with guaranteed([priced(first), priced(second)], EngineConfig(max_concurrency=50)) as run:
        await run.ask_all(long_ones(2000), every_s=0.05)
        assert trio.current_time() <= 2000 * 0.05 + 5.0, "nobody waits for the outage to end"
    assert run.lost == []
    assert sum(run.failures.values()) <= WASTED * run.attempts
    assert rate(second, STARTS_S + BACK_WITHIN_S, ENDS_S - BACK_WITHIN_S) >= RATE_AFTER * 20.0
    assert rate(first, ENDS_S + BACK_WITHIN_S, ENDS_S + BACK_WITHIN_S + 10.0) >= RATE_AFTER * 20.0
    assert {response.endpoint for response in run.responses} == {"first", "second"}


async def test_an_outage_longer_than_the_patience_ends_everybody_with_one_clear_error(autojump_clock: Any) -> None:
    server = SimulatedProvider(trouble=away(Fault.UNREACHABLE, length_s=500.0), seed=1)
    async with guaranteed(priced(server), EngineConfig(outage_patience_s=30.0)) as run:
        await run.ask_all(long_ones(1500))
        assert trio.current_time() <= STARTS_S + 30.0 + 2 * LONGEST_PROBE_S
    assert run.responses
    assert len(run.lost) + len(run.responses) == run.wanted
    assert {type(error) for error in run.lost} == {RateLimitedError}
    texts = {str(error) for error in run.lost}
    assert any("outage_patience_s=30" in text for text in texts)
    assert len(texts) <= 2


async def test_an_endpoint_that_comes_back_after_all_were_lost_is_used_again(autojump_clock: Any) -> None:
    server = SimulatedProvider(trouble=away(Fault.OVERLOADED, length_s=100.0), seed=1)
    async with guaranteed(priced(server), EngineConfig(outage_patience_s=10.0)) as run:
        await run.ask_all(long_ones(1200))
        lost = len(run.lost)
        assert lost > 0
        await trio.sleep_until(STARTS_S + 101.0)
        await run.ask_all(long_ones(1300)[1200:])
    assert len(run.lost) == lost, "those who came after the outage are answered"


async def test_a_deadline_holds_during_an_outage(autojump_clock: Any) -> None:
    server = SimulatedProvider(trouble=away(Fault.OVERLOADED), seed=1)
    async with guaranteed(priced(server)) as run:
        await run.ask_all(long_ones(2000, timeout_s=40.0))
    late = [ending for ending in run.endings if ending.error is not None and not ending.is_bystander]
    assert late
    assert all(ending.took_s == 40.0 for ending in late)


@pytest.mark.parametrize("share", [0.02, 0.3])
async def test_a_server_that_refuses_at_random_is_no_outage(share: float, autojump_clock: Any) -> None:
    server = SimulatedProvider(trouble=Trouble(overloaded_share=share), seed=1)
    async with guaranteed(priced(server)) as run:
        await run.ask_all(long_ones(1000))
    assert run.lost == []
    assert server.counts.accepted == 1000, "a refusal costs nothing and spends nothing"
    assert run.attempts <= 1000 * (1.0 + 2.0 * share)


async def test_only_probes_go_to_a_server_that_is_down(autojump_clock: Any) -> None:
    refused_at: list[float] = []

    def script(call: Call) -> Step:
        if 5.0 <= trio.current_time() < 65.0:
            refused_at.append(trio.current_time())
            return Step(fault=Fault.UNREACHABLE, delay_s=0.01)
        return Step(delay_s=0.5)

    server = Remote(script)
    async with guaranteed(priced(server)) as run:
        await run.ask_all(requests(1500))
    assert run.lost == []
    probes = [at for at in refused_at if at > 7.0]
    assert all(after - before >= 1.9 for before, after in pairwise(probes))
    assert len(probes) <= 60.0 / 2.0 + 1
