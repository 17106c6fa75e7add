"""An upstream that fails after it has accepted a call, now and then, all the time, or all at once: what may be paid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio

from synth_actors import EngineConfig, GenerationError, Request, SynthActorsError, Usage
from synth_actors.policy.breaker import FAILURES_TO_PAUSE
from synth_actors.policy.concurrency import FIRST_LIMIT_UNSEEN
from synth_actors.providers.base import Call, Fault
from synth_actors.testing import Outage, SimulatedProvider, Step, Trouble
from tests.faults.guarantees import Remote, guaranteed, priced, requests

FAILS_ALWAYS = Trouble(outages=(Outage(start_s=0.0, length_s=1e9, fault=Fault.FAILED),))
WORK_S = 0.5
ACCEPTED_PER_REQUEST = 1.10


def accepted(servers: Sequence[SimulatedProvider]) -> int:
    return sum(server.counts.accepted for server in servers)


@pytest.mark.parametrize("stream", ["never", "always"])
async def test_two_in_a_hundred_failures_lose_nothing(stream: str, autojump_clock: Any) -> None:
    server = SimulatedProvider(trouble=Trouble(failed_share=0.02), seed=1)
    async with guaranteed(priced(server, stream=stream)) as run:
        await run.ask_all(requests(2000))
    assert run.lost == []
    assert run.failures["failed"] >= 20
    assert server.counts.attempts == run.attempts <= ACCEPTED_PER_REQUEST * 2000


@pytest.mark.parametrize("every_s", [0.0, 0.05], ids=["all at once", "20 a second"])
@pytest.mark.parametrize("count", [1, 2], ids=["one endpoint", "two endpoints"])
async def test_when_everything_fails_hardly_anything_is_paid(count: int, every_s: float, autojump_clock: Any) -> None:
    servers = [SimulatedProvider(trouble=FAILS_ALWAYS, seed=n, name=f"s{n}") for n in range(count)]
    async with guaranteed([priced(server) for server in servers]) as run:
        await run.ask_all(requests(1000), every_s=every_s)
    assert len(run.lost) == 1000
    assert all(isinstance(error, GenerationError) and error.retryable for error in run.lost)
    assert accepted(servers) == run.attempts <= ACCEPTED_PER_REQUEST * 1000
    assert accepted(servers) <= 100 * count, "the breaker is open most of the time"


async def test_one_who_asks_alone_while_everything_fails_pays_for_six_attempts(autojump_clock: Any) -> None:
    server = Remote(lambda call: Step(fault=Fault.FAILED, fault_usage=Usage(output_tokens=3), delay_s=WORK_S))
    async with guaranteed(priced(server), EngineConfig(max_attempts=6)) as run:
        await run.ask(requests(1)[0])
    (error,) = run.lost
    assert isinstance(error, GenerationError)
    assert (error.attempts, len(server.calls)) == (6, 6)
    assert error.usage is not None
    assert error.usage.output_tokens == 18, "all that was paid stands on the bill"


@pytest.mark.parametrize("count", [1, 2], ids=["one endpoint", "two endpoints"])
async def test_when_half_fails_the_shared_budget_ends_most_of_the_retries(count: int, autojump_clock: Any) -> None:
    servers = [SimulatedProvider(trouble=Trouble(failed_share=0.5), seed=n, name=f"s{n}") for n in range(count)]
    async with guaranteed([priced(server) for server in servers]) as run:
        await run.ask_all(requests(1000))
    most = 1700 if count == 1 else 1950  # going elsewhere needs no room as long as that one is well
    assert accepted(servers) == run.attempts <= most, "without a budget it would be twice as many as requests"
    assert 0 < sum("retry budget" in str(error) for error in run.lost) <= len(run.lost) < 500


@pytest.mark.parametrize("fails", [2, 20])
async def test_a_few_failures_at_once_are_no_outage(fails: int, autojump_clock: Any) -> None:
    def script(call: Call) -> Step:
        return Step(fault=Fault.FAILED if len(server.calls) <= fails else None, delay_s=WORK_S)

    server = Remote(script)
    async with guaranteed(priced(server)) as run:
        await run.ask_all(requests(200))
        assert trio.current_time() <= 15.0
    assert run.lost == []
    assert run.attempts <= 200 + fails + FAILURES_TO_PAUSE


class Restarting(Remote):
    """Whatever it does when the clock says `at_s` fails; then nobody is there for a second; then all is well."""

    def __init__(self, at_s: float) -> None:
        super().__init__(self._step)
        self.at_s = at_s

    def _step(self, call: Call) -> Step:
        now = trio.current_time()
        if self.at_s - WORK_S <= now < self.at_s:
            return Step(fault=Fault.FAILED, message="the connection broke", delay_s=self.at_s - now)
        if self.at_s <= now < self.at_s + 1.0:
            return Step(fault=Fault.UNREACHABLE, message="no connection", delay_s=0.01)
        return Step(delay_s=WORK_S)


async def test_a_restart_as_the_first_calls_run_loses_nothing(autojump_clock: Any) -> None:
    server = Restarting(at_s=WORK_S)
    async with guaranteed(priced(server)) as run:
        await run.ask_all(requests(100))
    assert run.lost == []
    assert run.failures["failed"] == FIRST_LIMIT_UNSEEN
    assert run.attempts <= 100 + 2 * FIRST_LIMIT_UNSEEN


async def test_a_restart_under_full_load_loses_nothing(autojump_clock: Any) -> None:
    server = Restarting(at_s=8.2)
    async with guaranteed(priced(server)) as run:
        await run.ask_all(requests(2500), every_s=0.005)
    assert run.lost == []
    assert run.failures["failed"] == 100, "all that was under way"
    assert run.failures["unreachable"] <= FIRST_LIMIT_UNSEEN


@pytest.mark.parametrize("fault", [Fault.FAILED, Fault.TIMED_OUT])
async def test_one_request_that_always_fails_never_hurts_its_neighbours(fault: Fault, autojump_clock: Any) -> None:
    def script(call: Call) -> Step:
        return Step(fault=fault if call.request.prompt == "p13" else None, delay_s=WORK_S)

    server = Remote(script)
    async with guaranteed(priced(server)) as run:
        await run.ask_all(requests(100))
    assert len(run.lost) == 1
    assert run.attempts == 99 + 6


async def test_half_an_answer_that_was_read_is_never_continued_by_another(autojump_clock: Any) -> None:
    def script(call: Call) -> Step:
        is_first = sum(earlier.request is call.request for earlier in server.calls) == 1
        return Step(
            text="abcd",
            chunks=4,
            delay_s=WORK_S,
            gap_s=0.1,
            fault=Fault.FAILED if is_first and call.request.prompt == "p3" else None,
            chunks_before_fault=2,
            fault_usage=Usage(output_tokens=2),
        )

    errors: list[SynthActorsError] = []
    wanted: list[Request] = requests(20)
    server = Remote(script)
    async with guaranteed(priced(server)) as run:
        await run.ask_all(wanted, read=True)
        errors += run.lost
    (error,) = errors
    assert isinstance(error, GenerationError)
    assert (error.partial, error.retryable) == ("ab", True)
    assert error.usage is not None
    assert error.usage.output_tokens == 2
