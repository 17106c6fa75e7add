"""Whoever leaves, fails, follows or repeats: is every dollar counted, once, and on whose bill is it?

What the provider has written down, the sum over the endpoints and the snapshot's dollars are always the same.  What
responses and errors carried away is all of it for every prompt that nobody has left early; the rest was used for those
who had left, and is in the snapshot, in the endpoint's figures and in an `AttemptLog`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_actors import (
    DeadlineExceededError,
    Engine,
    EngineClosedError,
    EngineConfig,
    OutputInvalidError,
    Request,
    Usage,
    open_engine,
)
from synth_actors.providers.base import Call, Fault
from synth_actors.testing import Constant, Pace, SimulatedProvider, simulate
from tests.engine.ledger import CHEAP, DEAR, Callers, Ledger, Metered, Plan
from tests.engine.support import assert_idle

WHOLE_USD = (7 * 1 + 4 * 4) / 1024  # of the plan as it is, at CHEAP
WHOLE_DEAR_USD = (7 * 3 + 4 * 24) / 1024
FAILS = Plan(fault=Fault.FAILED)


def in_order(*plans: Plan) -> Callable[[Call], Plan]:
    """One after another, then the last one for ever."""
    left = list(plans)
    return lambda _call: left.pop(0) if len(left) > 1 else left[0]


def always(_call: Call) -> Plan:
    return Plan()


async def assert_every_dollar_is_counted(engine: Engine, ledger: Ledger) -> float:
    """Returns what nobody carried away."""
    await assert_idle(engine)
    snapshot = await engine.metrics()
    assert_same(snapshot.counters.cost_usd, ledger.spent_usd)
    assert_same(sum(e.cost_usd or 0.0 for e in snapshot.router.endpoints.values()), ledger.spent_usd)
    return assert_bills(engine, ledger)


def assert_bills(engine: Engine, ledger: Ledger) -> float:
    """What was told to those who stayed, prompt by prompt.  Also of an engine that is closed."""
    assert_same(engine._wiring._counters().cost_usd, ledger.spent_usd)
    for prompt, spent_usd in ledger.spent.items():
        if prompt in ledger.left:
            assert ledger.carried[prompt] <= spent_usd * (1 + 1e-9), prompt
        else:
            assert_same(ledger.carried[prompt], spent_usd)
    claimed_usd = engine._front.claimed.cost_usd
    assert claimed_usd is not None
    assert ledger.carried_usd - 1e-9 <= claimed_usd <= ledger.spent_usd + 1e-9
    return ledger.spent_usd - claimed_usd


def assert_same(left: float | None, right: float) -> None:
    assert left == pytest.approx(right, rel=1e-9, abs=1e-12)


async def test_of_a_thousand_followers_one_pays(autojump_clock: Any) -> None:
    ledger = Ledger()
    async with open_engine(Metered("one", CHEAP, ledger, always).endpoint) as engine:
        callers = Callers(engine, ledger)
        async with trio.open_nursery() as nursery:
            for number in range(1001):
                nursery.start_soon(callers.read if number % 3 == 0 else callers.ask, Request(prompt="p"))
        assert await assert_every_dollar_is_counted(engine, ledger) == 0.0
    assert ledger.carried_usd == WHOLE_USD


async def test_when_leader_after_leader_leaves_the_last_follower_pays_for_all(autojump_clock: Any) -> None:
    ledger = Ledger()
    provider = Metered("one", CHEAP, ledger, in_order(FAILS, FAILS, Plan()))
    async with open_engine(provider.endpoint) as engine:
        callers = Callers(engine, ledger)
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(callers.ask, Request(prompt="p"), 0.1 * (number + 1))
                await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(callers.ask, Request(prompt="p"))
        assert ledger.carried_usd == 3 * WHOLE_USD
        assert await assert_every_dollar_is_counted(engine, ledger) == 0.0


async def test_retries_over_two_endpoints_cost_what_each_of_them_costs(autojump_clock: Any) -> None:
    ledger = Ledger()
    dear = Metered("dear", DEAR, ledger, in_order(FAILS, Plan()))
    cheap = Metered("cheap", CHEAP, ledger, in_order(FAILS, Plan(fault=Fault.RATE_LIMITED, pieces=0), Plan()))
    async with open_engine([cheap.endpoint, dear.endpoint]) as engine:
        callers = Callers(engine, ledger)
        async with trio.open_nursery() as nursery:
            for prompt in "pq":
                for _ in range(3):
                    nursery.start_soon(callers.ask, Request(prompt=prompt))
        assert await assert_every_dollar_is_counted(engine, ledger) == 0.0
        costs = {e.name: e.usage.cost_usd for e in engine._wiring._router.endpoints}
    assert cheap.calls + dear.calls == 5
    assert all(costs.values())


async def test_what_a_call_had_used_when_nobody_waited_any_more_is_counted_and_on_no_bill(autojump_clock: Any) -> None:
    ledger = Ledger()
    async with open_engine(Metered("one", CHEAP, ledger, always).endpoint) as engine:
        callers = Callers(engine, ledger)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(callers.ask, Request(prompt="p"), 2.2)  # two pieces have come
            nursery.start_soon(callers.ask, Request(prompt="q"), 0.5)  # nothing is used so far
            nursery.start_soon(callers.ask, Request(prompt="r"))
        assert await assert_every_dollar_is_counted(engine, ledger) == (7 + 2 * 4) / 1024
    assert dict(ledger.spent) == {"p": (7 + 2 * 4) / 1024, "q": 0.0, "r": WHOLE_USD}


async def test_what_failed_for_one_who_leaves_before_the_next_attempt_is_counted_and_on_no_bill(
    autojump_clock: Any,
) -> None:
    ledger = Ledger()
    provider = Metered("one", CHEAP, ledger, in_order(FAILS, Plan(delay_s=60)))
    async with open_engine(provider.endpoint) as engine:
        await Callers(engine, ledger).ask(Request(prompt="p"), 20)
        assert await assert_every_dollar_is_counted(engine, ledger) == WHOLE_USD
    assert ledger.carried_usd == 0.0


@pytest.mark.parametrize("chunks", [1, 3])
async def test_a_stream_that_is_left_half_read_costs_what_was_made_and_is_on_no_bill(
    chunks: int, autojump_clock: Any
) -> None:
    ledger = Ledger()
    async with open_engine(Metered("one", CHEAP, ledger, always).endpoint) as engine:
        await Callers(engine, ledger).read(Request(prompt="p"), chunks)
        unclaimed_usd = await assert_every_dollar_is_counted(engine, ledger)
    assert unclaimed_usd == (7 + 4 * chunks) / 1024


async def test_a_stream_that_is_left_when_its_failure_is_there_and_was_not_read_has_carried_the_bill(
    autojump_clock: Any,
) -> None:
    ledger = Ledger()
    provider = Metered("one", CHEAP, ledger, lambda _call: Plan(fault=Fault.REJECTED))
    async with open_engine(provider.endpoint) as engine:
        async with engine.stream("p") as stream:
            await stream.receive()
            await trio.sleep(60)
        ledger.left.add("p")
        assert await assert_every_dollar_is_counted(engine, ledger) == 0.0
        counters = (await engine.metrics()).counters
        assert (counters.failed, counters.cancelled) == (1, 0)
    assert ledger.spent_usd == WHOLE_USD


async def test_a_reader_who_finds_the_text_broken_off_carries_what_the_next_attempt_has_used_meanwhile(
    autojump_clock: Any,
) -> None:
    ledger = Ledger()
    provider = Metered("one", CHEAP, ledger, in_order(FAILS, Plan(delay_s=0, gap_s=5)))
    async with open_engine(provider.endpoint) as engine:
        callers = Callers(engine, ledger)
        await callers.read(Request(prompt="p"), pause_s=3.0)  # the last piece is read when the next attempt is on
        assert provider.calls == 2
        assert await assert_every_dollar_is_counted(engine, ledger) == 0.0


async def test_an_output_that_stays_invalid_is_on_the_bill_three_times(autojump_clock: Any) -> None:
    ledger = Ledger()
    provider = Metered("one", CHEAP, ledger, lambda _call: Plan(text="{oh}"))
    async with open_engine(provider.endpoint) as engine:
        with pytest.raises(OutputInvalidError) as caught:
            await engine.generate("p", output_schema={"type": "object"})
        ledger.carry("p", caught.value.usage)
        assert await assert_every_dollar_is_counted(engine, ledger) == 0.0
    assert ledger.carried_usd == 3 * WHOLE_USD


async def test_a_budget_that_ends_in_the_middle_loses_no_dollar(autojump_clock: Any) -> None:
    ledger = Ledger()
    provider = Metered("one", CHEAP, ledger, in_order(FAILS, Plan(), FAILS, Plan()))
    async with open_engine(provider.endpoint, EngineConfig(budget_usd=8 * WHOLE_USD, max_concurrency=3)) as engine:
        callers = Callers(engine, ledger)
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(callers.ask, Request(prompt=f"p{number}", max_tokens=5))
        assert await assert_every_dollar_is_counted(engine, ledger) == 0.0
    assert 0 < ledger.spent_usd <= 8 * WHOLE_USD
    assert provider.calls < 20


async def test_who_is_too_late_carries_what_is_known_when_the_time_is_over(autojump_clock: Any) -> None:
    ledger = Ledger()
    provider = Metered("one", CHEAP, ledger, in_order(FAILS, Plan(delay_s=0, gap_s=2)))
    async with open_engine(provider.endpoint) as engine:
        callers = Callers(engine, ledger)
        async with trio.open_nursery() as nursery:
            for late_s in (2.0, 9.0, 9.0):
                nursery.start_soon(callers.ask, Request(prompt="p", timeout_s=late_s))
        assert provider.calls == 2
        assert await assert_every_dollar_is_counted(engine, ledger) == 0.0
    assert ledger.spent_usd > WHOLE_USD


async def test_what_a_server_says_only_as_it_is_cut_off_is_counted_and_on_no_bill(autojump_clock: Any) -> None:
    pace = Pace(ttft_s=Constant(value=1.0), token_s=Constant(value=1.0), output_tokens=Constant(value=100))
    provider = SimulatedProvider(pace=pace)
    endpoint = Metered("simulated", CHEAP, Ledger(), always).endpoint.model_copy(update={"provider": provider})
    async with open_engine(endpoint) as engine:
        with pytest.raises(DeadlineExceededError) as caught:
            await engine.generate("An otter", timeout_s=31)
        await assert_idle(engine)
        spent = (await engine.metrics()).counters
    told = caught.value.usage
    assert told is not None
    assert told.cost_usd == told.input_tokens / 1024
    assert spent.input_tokens == told.input_tokens
    assert 25 < spent.output_tokens <= 30
    assert spent.cost_usd == (spent.input_tokens + 4 * spent.output_tokens) / 1024


async def test_a_call_that_runs_when_the_engine_closes_is_on_the_bill_of_who_waits_for_it(autojump_clock: Any) -> None:
    ledger = Ledger()
    provider = Metered("one", CHEAP, ledger, in_order(FAILS, Plan(delay_s=0, pieces=40)))
    told: list[Usage | None] = []

    async def ask(engine: Engine) -> None:
        with pytest.raises(EngineClosedError) as caught:
            await engine.generate("p")
        told.append(caught.value.usage)
        ledger.carry("p", caught.value.usage)

    config = EngineConfig(drain_timeout_s=2)
    async with trio.open_nursery() as nursery, open_engine(provider.endpoint, config) as engine:
        for _ in range(5):
            nursery.start_soon(ask, engine)
        await trio.sleep(7)
    assert len(told) == 5
    assert ledger.spent_usd > WHOLE_USD
    assert assert_bills(engine, ledger) == 0.0


class Log:
    """What an `AttemptLog` hears: dollars by call."""

    def __init__(self) -> None:
        self.usd: dict[tuple[bytes, int], float] = {}

    async def before_send(self, key: bytes, attempt: int, endpoint: str) -> None:
        """Nothing is used so far."""

    async def received(self, key: bytes, attempt: int, answer: object, usage: Usage) -> None:
        """It was answered."""
        self.usd[key, attempt] = usage.cost_usd or 0.0

    def ended(self, key: bytes, attempt: int, message: str, usage: Usage, *, free: bool) -> None:
        """It was not, or the answer was of no use."""
        self.usd[key, attempt] = usage.cost_usd or 0.0


async def test_an_attempt_log_names_the_call_of_every_dollar_that_nobody_carried_away(autojump_clock: Any) -> None:
    ledger, log = Ledger(), Log()
    provider = Metered("one", CHEAP, ledger, in_order(FAILS, Plan(), Plan(text="{oh}"), FAILS, Plan()))
    async with open_engine(provider.endpoint, EngineConfig(max_concurrency=2), attempt_log=log) as engine:
        callers = Callers(engine, ledger)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(callers.ask, Request(prompt="left"), 2.2)
            await trio.testing.wait_all_tasks_blocked()
            for number in range(12):
                nursery.start_soon(callers.ask, Request(prompt=f"p{number % 8}"), 2.0 + 1.5 * number)
        assert await assert_every_dollar_is_counted(engine, ledger) > 0.0
    assert_same(sum(log.usd.values()), ledger.spent_usd)


# ------------------------------------------------------------------------------------------------------- at random

FAULTS = (Fault.FAILED, Fault.REJECTED, Fault.RATE_LIMITED, Fault.OVERLOADED, Fault.OUTPUT_INVALID, Fault.UNREACHABLE)
eighths = st.integers(0, 40).map(lambda eighth: eighth / 8)  # which floats hold exactly: things happen at once
plans = st.builds(
    Plan,
    delay_s=eighths.map(lambda delay_s: delay_s + 0.125),  # nothing is used in the moment in which a call begins
    pieces=st.integers(0, 4),
    gap_s=st.sampled_from([0.0, 0.125, 1.0]),
    fault=st.one_of(st.none(), st.none(), st.sampled_from(FAULTS)),
    raises=st.one_of(st.none(), st.none(), st.none(), st.builds(RuntimeError)),
    text=st.sampled_from(["abcd", "{}", ""]),
)
asks = st.fixed_dictionaries(
    {
        "prompt": st.sampled_from("pqr"),
        "at_s": eighths,
        "read": st.booleans(),
        "chunks": st.one_of(st.just(1_000), st.integers(1, 4)),
        "pause_s": st.sampled_from([0.0, 0.0, 2.0003]),
        "leaves_after_s": st.one_of(st.just(1e6), st.just(1e6), eighths),
        "timeout_s": st.one_of(st.none(), st.none(), st.integers(1, 40).map(lambda quarter: quarter / 4)),
        "schema": st.sampled_from([None, None, {"type": "object"}]),
        "cache": st.sampled_from(["use", "use", "refresh", "bypass"]),
    }
)


async def _mix(wanted: list[dict[str, Any]], made: list[Plan], closes_at_s: float | None) -> None:
    ledger, left = Ledger(), iter(made)

    def plan(_call: Call) -> Plan:
        return next(left, Plan())

    endpoints = [Metered("cheap", CHEAP, ledger, plan).endpoint, Metered("dear", DEAR, ledger, plan).endpoint]
    config = EngineConfig(max_concurrency=3, max_waiting=4, outage_patience_s=5.0, drain_timeout_s=1.0)

    async def come(callers: Callers, number: int, ask: dict[str, Any]) -> None:
        await trio.sleep(ask["at_s"])
        # Never in the moment of a step: what a call uses in the moment in which its caller is told is on no bill.
        timeout_s = None if ask["timeout_s"] is None else ask["timeout_s"] + 2.0 ** -(6 + number)
        request = Request(prompt=ask["prompt"], timeout_s=timeout_s, output_schema=ask["schema"], cache=ask["cache"])
        if ask["read"]:
            await callers.read(request, ask["chunks"], ask["leaves_after_s"], ask["pause_s"])
        else:
            await callers.ask(request, ask["leaves_after_s"])

    async with trio.open_nursery() as nursery, open_engine(endpoints, config) as engine:
        callers = Callers(engine, ledger)
        async with trio.open_nursery() as inside:
            for number, ask in enumerate(wanted):
                (inside if closes_at_s is None else nursery).start_soon(come, callers, number, ask)
            if closes_at_s is not None:
                await trio.sleep(closes_at_s)
        if closes_at_s is None:
            await assert_every_dollar_is_counted(engine, ledger)
    assert_bills(engine, ledger)


@given(
    wanted=st.lists(asks, min_size=1, max_size=8),
    made=st.lists(plans, max_size=10),
    closes_at_s=st.one_of(st.none(), st.none(), eighths),
    seed=st.integers(0, 9),
)
@settings(max_examples=60)
def test_whatever_happens_every_dollar_is_counted_once(
    wanted: list[dict[str, Any]], made: list[Plan], closes_at_s: float | None, seed: int
) -> None:
    simulate(_mix, wanted, made, closes_at_s, seed=seed)
