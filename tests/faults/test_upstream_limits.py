"""An upstream that says "not now": 429 with and without retry-after, for one, for all, for ever, at another rate."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import trio

from synth_actors import CacheConfig, EngineConfig, RateLimitedError, Request, open_engine
from synth_actors.policy.breaker import LONGEST_PAUSE_S
from synth_actors.policy.retry import LONGEST_RETRY_AFTER_S
from synth_actors.providers.base import Call, Completion, Emit, Fault
from synth_actors.testing import Constant, HiddenLimits, Pace, SimulatedProvider, Step
from tests.faults.guarantees import Remote, Run, guaranteed, priced, requests

WORK_S = 0.1
REFUSAL_S = 0.02
PACE = Pace(ttft_s=Constant(value=WORK_S), token_s=Constant(value=0.0), output_tokens=Constant(value=20))


class Crowded(Remote):
    """Takes `allowed` calls at once, from `halved_at_s` on half of them, and refuses the others."""

    def __init__(self, allowed: int, halved_at_s: float, retry_after_s: float | None) -> None:
        super().__init__(lambda call: Step(fault=Fault.RATE_LIMITED, retry_after_s=retry_after_s, delay_s=REFUSAL_S))
        self.allowed = allowed
        self.halved_at_s = halved_at_s
        self.refused_at: list[float] = []
        self._working = 0

    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        now = trio.current_time()
        if self._working >= (self.allowed if now < self.halved_at_s else self.allowed // 2):
            self.refused_at.append(now)
            return await super().generate(call, emit)
        self._working += 1
        try:
            await trio.sleep(WORK_S)
        finally:
            self._working -= 1
        return Completion(text="ok", stop_reason="end", usage=Step().usage)


def when_answered(run: Run, prompt: str) -> float:
    """When the first one who asked this and stayed had the answer."""
    return min(e.ended_at for e in run.endings if e.request.prompt == prompt and e.response is not None)


async def test_a_429_with_retry_after_is_waited_out_by_its_own_request_and_by_nobody_else(autojump_clock: Any) -> None:
    refusals = 2

    def script(call: Call) -> Step:
        nonlocal refusals
        if call.request.prompt == "p7" and refusals:
            refusals -= 1
            return Step(fault=Fault.RATE_LIMITED, retry_after_s=3.0, delay_s=REFUSAL_S)
        return Step(delay_s=WORK_S)

    async with guaranteed(priced(Remote(script))) as run:
        await run.ask_all(requests(64))
        assert 6.0 + WORK_S <= when_answered(run, "p7") <= 6.5
        others = [when_answered(run, f"p{number}") for number in range(64) if number != 7]
        assert max(others) <= 1.0
    assert run.lost == []
    assert run.attempts == 64 + 2
    assert run.failures == {"rate_limited": 2}


async def test_a_429_without_retry_after_is_tried_again_ever_more_rarely(autojump_clock: Any) -> None:
    refused_at: list[float] = []

    def script(call: Call) -> Step:
        if len(refused_at) < 5:
            refused_at.append(trio.current_time())
            return Step(fault=Fault.RATE_LIMITED, delay_s=REFUSAL_S)
        return Step(delay_s=WORK_S)

    async with guaranteed(priced(Remote(script))) as run:
        await run.ask(requests(1)[0])
        waits = [after - before for before, after in pairwise(refused_at)]
        assert 0.25 <= waits[0] <= 1.0
        assert all(2.0 * before <= 4.0 * after for before, after in pairwise(waits))
        assert waits[-1] > 2 * waits[0]
    assert (run.lost, run.attempts) == ([], 6)


@pytest.mark.parametrize("retry_after", [True, False], ids=["with retry-after", "without"])
@pytest.mark.parametrize("headers", [True, False], ids=["with headers", "without headers"])
async def test_a_limit_per_minute_is_used_to_the_full(headers: bool, retry_after: bool, autojump_clock: Any) -> None:
    hidden = HiddenLimits(requests_per_minute=600, headers=headers, retry_after=retry_after)
    server = SimulatedProvider(hidden, PACE)
    async with guaranteed(priced(server)) as run:
        await run.ask_all(requests(700))
        assert trio.current_time() <= 10.0 * 1.15, "600 at once and 10 a second: 10 s"
    assert run.lost == []
    assert server.counts.attempts == run.attempts
    assert run.failures["rate_limited"] <= (0 if headers else 0.15 * run.attempts)


@pytest.mark.parametrize("per_minute", [3, 5, 10, 12])
async def test_a_limit_of_few_requests_is_used_to_the_full_though_its_calls_come_in_bursts(
    per_minute: int, autojump_clock: Any
) -> None:
    pace = Pace(ttft_s=Constant(value=5.0), token_s=Constant(value=0.0), output_tokens=Constant(value=20))
    server = SimulatedProvider(HiddenLimits(requests_per_minute=per_minute), pace)
    config = EngineConfig(max_concurrency=20, outage_patience_s=1e6, cache=CacheConfig(enabled=False))
    async with open_engine(server, config) as engine:
        with trio.move_on_after(1800.0):
            await engine.generate_batch([f"prompt {number}" for number in range(40 * per_minute)])
        answered = (await engine.metrics()).router.endpoints[server.name].successes
    assert answered >= 0.95 * 30 * per_minute


async def test_the_first_tokens_of_long_answers_say_that_there_is_room_for_more(autojump_clock: Any) -> None:
    pace = Pace(ttft_s=Constant(value=WORK_S), token_s=Constant(value=0.1), output_tokens=Constant(value=200))
    server = SimulatedProvider(None, pace)
    async with guaranteed(priced(server, stream="always")) as run:
        await run.ask_all(requests(100, max_tokens=200))
        assert trio.current_time() <= 20.0 + 2.0, "all 100 at once, 20 s each, and not 16 first"
    assert (run.lost, server.counts.peak_in_flight) == ([], 100)


@pytest.mark.parametrize("retry_after", [True, False], ids=["with retry-after", "without"])
async def test_a_limit_on_calls_at_once_is_found(retry_after: bool, autojump_clock: Any) -> None:
    server = SimulatedProvider(HiddenLimits(max_concurrency=30, retry_after=retry_after), PACE)
    async with guaranteed(priced(server)) as run:
        await run.ask_all(requests(600))
        assert trio.current_time() <= 2.0 * 1.25, "20 rounds of 30 calls of 0.1 s: 2 s"
    assert run.lost == []
    assert server.counts.peak_in_flight == 30
    assert run.failures["rate_limited"] <= 0.02 * run.attempts


async def test_a_rate_that_is_halved_in_flight_is_followed(autojump_clock: Any) -> None:
    hidden = HiddenLimits(requests_per_minute=1200, capacity_s=5.0, changes=((20.0, 0.5),))
    server = SimulatedProvider(hidden, PACE)
    async with guaranteed(priced(server)) as run:
        await run.ask_all(requests(1000))
        ideal_s = 20.0 + (1000 - 100 - 20 * 20) / 10.0
        assert trio.current_time() <= 1.03 * ideal_s
    assert run.lost == []
    assert run.failures["rate_limited"] <= 0.005 * run.attempts


@pytest.mark.parametrize("retry_after_s", [None, 1.0])
async def test_a_number_of_calls_at_once_that_is_halved_in_flight_is_followed(
    retry_after_s: float | None, autojump_clock: Any
) -> None:
    server = Crowded(allowed=40, halved_at_s=3.0, retry_after_s=retry_after_s)
    async with guaranteed(priced(server)) as run:
        await run.ask_all(requests(2000))
        ideal_s = 3.0 + (2000 - 3.0 * 40 / WORK_S) * WORK_S / 20
        assert trio.current_time() <= 1.2 * ideal_s
    assert run.lost == []
    assert len(server.refused_at) <= 0.03 * run.attempts
    assert sum(at > 4.0 for at in server.refused_at) <= 0.01 * run.attempts, "the halved limit was not learned"


async def test_a_rate_limit_that_never_ends_is_given_up_when_the_patience_is_over(autojump_clock: Any) -> None:
    server = Remote(lambda call: Step(fault=Fault.RATE_LIMITED, retry_after_s=1.0, delay_s=REFUSAL_S))
    async with guaranteed(priced(server), EngineConfig(outage_patience_s=20.0)) as run:
        await run.ask_all(requests(200))
        assert 20.0 <= trio.current_time() <= 20.0 + LONGEST_PAUSE_S
    assert len(run.lost) == 200
    assert {type(error) for error in run.lost} == {RateLimitedError}
    assert all("every endpoint" in str(error) or "scripted: scripted" in str(error) for error in run.lost)
    assert run.attempts <= 100, "it is asked again and again though it never answers"


@pytest.mark.parametrize("others", [0, 1])
async def test_a_wait_of_an_hour_is_not_waited(others: int, autojump_clock: Any) -> None:
    hour = Remote(lambda call: Step(fault=Fault.RATE_LIMITED, retry_after_s=3600.0, delay_s=REFUSAL_S), name="hour")
    good = [Remote(lambda call: Step(delay_s=WORK_S), name="good")] * others
    async with guaranteed([priced(server) for server in (hour, *good)], EngineConfig(outage_patience_s=20.0)) as run:
        await run.ask_all(requests(200))
        assert trio.current_time() < LONGEST_RETRY_AFTER_S / 10
    assert len(run.lost) == (0 if others else 200)
    assert all(isinstance(error, RateLimitedError) for error in run.lost)
    assert len(hour.calls) <= 32
    if not others:
        assert any("3600" in str(error) for error in run.lost)


async def test_waiting_for_a_limit_counts_against_the_timeout_of_the_request_alone(autojump_clock: Any) -> None:
    server = SimulatedProvider(HiddenLimits(requests_per_minute=60, capacity_s=10.0), PACE)
    late = Request(prompt="late", timeout_s=30.0)
    async with guaranteed(priced(server), EngineConfig(outage_patience_s=5.0)) as run:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run.ask_all, requests(90))
            await trio.sleep(1.0)
            nursery.start_soon(run.ask, late)
        assert 80.0 <= trio.current_time() <= 90.0, "one a second"
    assert [e.request for e in run.endings if e.error and not e.is_bystander] == [late], "patience is for closed ones"


async def test_a_limit_of_the_configuration_keeps_the_server_from_refusing(autojump_clock: Any) -> None:
    server = SimulatedProvider(HiddenLimits(requests_per_minute=600, headers=False), PACE)
    async with guaranteed(priced(server, requests_per_minute=600)) as run:
        await run.ask_all(requests(700))
        assert 10.0 <= trio.current_time() <= 10.5
    assert run.lost == []
    assert run.attempts <= 1.005 * 700
