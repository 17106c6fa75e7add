from __future__ import annotations

from dataclasses import dataclass, field
from math import log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_actors.errors import ConfigError
from synth_actors.policy.memory import (
    MIB,
    Fine,
    MemoryPolicy,
    NotReclaimable,
    Recover,
    Shrink,
    Slow,
    Verdict,
    check_limit,
    default_limit,
)

OPEN = 60 * MIB
LIMIT = 560 * MIB  # so the room is 500 MiB, the marks are at 535 and 485
TICK_S = 0.25


@dataclass
class Process:
    """A naive model of a process under a policy: what is resident is the sum of what its parts hold."""

    foreign: int = 0
    cache: int = 0
    refill_per_tick: int = 0
    resident_per_byte: float = 1.25
    gives_back: bool = True  # False: the allocator keeps whatever was once resident
    demand: int = 0
    per_call: int = 0
    full: int = 100
    now: float = 0.0
    in_flight: int = 0
    cap: int = 0
    highest: int = 0
    log: list[Verdict] = field(default_factory=list)
    policy: MemoryPolicy = field(init=False)

    def __post_init__(self) -> None:
        self.policy = MemoryPolicy(LIMIT, OPEN, self.full)
        self.cap = self.full
        self.in_flight = min(self.demand, self.cap)

    @property
    def state(self) -> str:
        return self.policy.state

    @property
    def rss(self) -> int:
        held = OPEN + self.foreign + int(self.cache * self.resident_per_byte) + self.in_flight * self.per_call
        self.highest = max(self.highest, held)
        return held if self.gives_back else self.highest

    def run(self, seconds: float) -> list[Verdict]:
        """Let time pass; returns what was decided in it, without `Fine`."""
        began = len(self.log)
        for _ in range(int(seconds / TICK_S)):
            self.now += TICK_S
            self.cache += self.refill_per_tick
            # calls above the cap end one by one, those below it start at once
            self.in_flight = max(min(self.demand, self.cap), self.in_flight - 5)
            self.obey(self.policy.decide(self.rss, self.cache, self.in_flight, self.now))
        return self.log[began:]

    def obey(self, verdict: Verdict) -> None:
        """Do what was decided, after checking what must hold for every verdict whatever the process does."""
        match verdict:
            case Fine():
                return
            case Shrink(wanted_bytes=wanted):
                assert 0 < wanted <= self.cache // 4
                self.cache -= wanted
            case Slow(cap=cap):
                assert 1 <= cap < self.cap
                self.cap = cap
            case Recover(cap=cap):
                assert self.cap < cap <= self.full
                self.cap = cap
            case NotReclaimable():
                assert self.rss >= self.policy.high_bytes
        self.log.append(verdict)

    def count(self, kind: type[Verdict]) -> int:
        return sum(isinstance(verdict, kind) for verdict in self.log)


def test_a_quiet_process_is_left_alone() -> None:
    process = Process(foreign=100 * MIB, cache=200 * MIB, demand=100, per_call=MIB)
    assert process.run(60) == []
    assert process.state == "ok"


def test_a_cache_that_is_too_large_is_shrunk_below_the_low_mark_and_no_further() -> None:
    process = Process(foreign=50 * MIB, cache=400 * MIB, demand=10)
    process.run(60)
    assert process.state == "ok"
    assert process.rss <= process.policy.low_bytes
    assert process.rss > process.policy.low_bytes - 40 * MIB
    assert process.count(Slow) == process.count(NotReclaimable) == 0
    assert process.count(Shrink) <= 5


def test_between_the_marks_nothing_begins() -> None:
    process = Process(foreign=440 * MIB)  # resident: 500, between 485 and 535
    assert process.run(60) == []


@pytest.mark.parametrize("ratio", [0.8, 1.25, 3.1])
def test_what_an_accounted_byte_is_worth_is_learned(ratio: float) -> None:
    process = Process(cache=int(480 * MIB / ratio), resident_per_byte=ratio, refill_per_tick=MIB)
    process.run(120)
    assert process.policy.rss_per_accounted_byte == pytest.approx(ratio, rel=0.15)
    assert process.rss < LIMIT


def test_a_cache_that_refills_is_held_below_the_limit_without_slowing_anybody() -> None:
    process = Process(cache=200 * MIB, refill_per_tick=2 * MIB, demand=50)
    for _ in range(600):
        process.run(TICK_S)
        assert process.rss < LIMIT
    assert process.count(Slow) == process.count(NotReclaimable) == 0
    assert process.cache > 200 * MIB  # held, not emptied


def test_an_allocator_that_gives_nothing_back_keeps_most_of_the_cache() -> None:
    process = Process(foreign=50 * MIB, cache=400 * MIB, gives_back=False)
    process.run(600)
    assert process.count(Shrink) == 3
    assert process.cache >= 400 * MIB * 0.75**3 * 0.99
    assert process.count(NotReclaimable) == 1
    assert process.state == "not_reclaimable"


def test_foreign_memory_takes_nothing_from_a_small_cache() -> None:
    process = Process(foreign=900 * MIB, cache=20 * MIB)
    assert [type(verdict) for verdict in process.run(600)] == [NotReclaimable]
    assert process.cache == 20 * MIB


def test_foreign_memory_is_said_once_and_concurrency_comes_back() -> None:
    process = Process(foreign=900 * MIB, cache=20 * MIB, demand=100)
    verdicts = process.run(600)
    assert process.count(NotReclaimable) == 1
    assert process.cap == process.full
    assert process.count(Shrink) == 0
    assert process.count(Slow) == 3  # it was tried, since calls were running, and it did not help
    assert len(verdicts) <= 3 + 1 + 8


def test_foreign_memory_with_a_cache_that_matters_does_not_empty_it() -> None:
    process = Process(foreign=600 * MIB, cache=200 * MIB, demand=20)
    process.run(600)
    assert process.state == "not_reclaimable"
    assert process.cache >= 20 * MIB
    assert process.cap == process.full


def test_a_leak_that_never_ends_does_not_empty_the_cache() -> None:
    process = Process(foreign=450 * MIB, cache=100 * MIB, demand=100, gives_back=False)
    for _ in range(1800):
        process.foreign += 300 * 1024  # 1.2 MiB a second, half an hour
        process.run(4 * TICK_S)
    assert process.cache >= 100 * MIB * 0.75**3 * 0.99
    assert process.count(NotReclaimable) <= 20


def test_memory_of_running_calls_is_met_by_slowing_down() -> None:
    process = Process(foreign=100 * MIB, demand=100, per_call=5 * MIB)
    process.run(8)
    assert process.rss < process.policy.high_bytes
    assert process.state == "slowed"
    assert 1 <= process.cap < process.full


def test_slowing_down_never_ends_in_a_fast_swing() -> None:
    process = Process(foreign=100 * MIB, demand=100, per_call=5 * MIB)
    process.run(60)
    assert process.count(Slow) <= 4
    slows_before = process.count(Slow)
    process.run(1800)
    assert process.count(Slow) - slows_before <= 12  # half an hour
    assert process.count(NotReclaimable) == 0


def test_concurrency_recovers_in_steps_once_memory_is_free() -> None:
    process = Process(foreign=100 * MIB, demand=100, per_call=5 * MIB)
    process.run(6)
    assert process.cap < process.full
    process.per_call = 0
    caps = [verdict.cap for verdict in process.run(120) if isinstance(verdict, Recover)]
    assert caps == sorted(caps)
    assert len(caps) >= 2
    assert caps[-1] == process.full
    assert process.state == "ok"


def test_a_cap_lowered_for_nothing_does_not_stay_when_memory_stays_between_the_marks() -> None:
    process = Process(foreign=100 * MIB, demand=100, per_call=5 * MIB)
    process.run(6)
    process.per_call, process.foreign = 0, 440 * MIB
    process.run(1200)
    assert process.cap == process.full
    assert process.state == "ok"


def test_a_slow_growth_of_the_cache_is_noticed_beside_memory_that_is_not_the_engine_s() -> None:
    process = Process(foreign=600 * MIB, cache=100 * MIB, refill_per_tick=MIB // 4, demand=100, per_call=2 * MIB)
    process.run(1800)
    assert process.rss < 1100 * MIB
    assert process.cache > 20 * MIB


def test_a_refill_as_fast_as_the_shrinks_is_not_taken_for_memory_that_does_not_come_back() -> None:
    process = Process(demand=100, per_call=MIB, cache=300 * MIB, refill_per_tick=4 * MIB)
    for _ in range(1200):
        process.run(TICK_S)
        assert process.rss < LIMIT
    assert process.count(Slow) == process.count(NotReclaimable) == 0
    assert process.cache > 200 * MIB


def test_what_was_not_reclaimable_is_forgotten_when_it_goes() -> None:
    process = Process(foreign=900 * MIB, cache=20 * MIB, demand=100)
    process.run(120)
    assert process.state == "not_reclaimable"
    process.foreign = 0
    process.run(120)
    assert process.state == "ok"
    assert process.cap == process.full


def test_a_cache_that_grows_after_giving_up_is_shrunk_again() -> None:
    process = Process(foreign=500 * MIB, cache=8 * MIB)
    process.run(60)
    assert process.state == "not_reclaimable"
    process.cache += 200 * MIB
    process.run(60)
    assert process.count(Shrink) > 0
    assert 8 * MIB < process.cache < 100 * MIB


def test_memory_that_came_and_went_does_not_hide_a_cache_that_grows_later() -> None:
    process = Process(foreign=900 * MIB, cache=8 * MIB)
    process.run(10)
    process.foreign = 430 * MIB  # between the marks: the state stays
    process.run(120)
    assert process.state == "not_reclaimable"
    process.cache += 120 * MIB
    process.run(60)
    assert process.count(Shrink) > 0
    assert process.state == "ok"


def test_with_one_call_at_once_there_is_nothing_to_slow() -> None:
    process = Process(foreign=900 * MIB, demand=1, full=1, per_call=MIB)
    assert [type(verdict) for verdict in process.run(60)] == [NotReclaimable]
    assert process.cap == 1


def test_slowing_halves_what_runs_and_not_what_might() -> None:
    process = Process(foreign=500 * MIB, demand=10, per_call=MIB)
    first = process.run(2)[0]
    assert first == Slow(5)


@settings(max_examples=80, deadline=None)
@given(
    foreign=st.integers(0, 1500),
    cache=st.integers(0, 500),
    refill=st.integers(0, 3),
    ratio=st.floats(0.3, 3.5),
    gives_back=st.booleans(),
    demand=st.integers(0, 400),
    per_call=st.integers(0, 6),
    full=st.integers(1, 300),
)
def test_whatever_fills_the_memory_nobody_stays_throttled_and_the_policy_comes_to_rest(
    foreign: int, cache: int, refill: int, ratio: float, gives_back: bool, demand: int, per_call: int, full: int
) -> None:
    process = Process(
        foreign=foreign * MIB,
        cache=cache * MIB,
        refill_per_tick=refill * 64 * 1024,
        resident_per_byte=ratio,
        gives_back=gives_back,
        demand=demand,
        per_call=per_call * MIB,
        full=full,
    )
    process.run(300)
    # it is given up again only after growth by a tenth
    growth = log(max(process.highest, process.policy.high_bytes) / process.policy.high_bytes)
    assert process.count(NotReclaimable) <= 2 + growth / log(1.1)
    # then everything that the engine holds goes away
    process.demand = process.refill_per_tick = 0
    process.foreign, process.highest, process.gives_back = 0, 0, True
    process.cache = min(process.cache, 50 * MIB)
    process.run(900)
    assert process.state == "ok"
    assert process.cap == process.full
    assert process.run(120) == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 600), st.integers(0, 500)), max_size=200))
def test_no_sequence_of_readings_lowers_the_cap_below_one(readings: list[tuple[int, int, int]]) -> None:
    process = Process()
    for tick, (rss, cache, in_flight) in enumerate(readings):
        process.cache = cache * MIB
        process.foreign = max(0, rss * MIB - OPEN - int(process.cache * 1.25))
        process.obey(process.policy.decide(process.rss, process.cache, in_flight, tick * TICK_S))
        assert process.policy.cap == process.cap


def test_the_default_limit_is_the_smaller_of_the_two() -> None:
    assert default_limit(1000 * MIB, 100 * MIB) == 612 * MIB
    assert default_limit(500 * MIB, 100 * MIB) == 400 * MIB


@pytest.mark.parametrize("limit", [OPEN, OPEN - 1, 1])
def test_a_limit_that_is_reached_at_opening_is_refused_with_both_numbers(limit: int) -> None:
    with pytest.raises(ConfigError) as caught:
        check_limit(limit, OPEN)
    message = str(caught.value)
    assert "EngineConfig.memory_limit_bytes" in message
    assert str(limit) in message
    assert str(OPEN) in message
    assert "give at least" in message


def test_a_limit_above_what_is_held_at_opening_is_accepted() -> None:
    check_limit(OPEN + 1, OPEN)
