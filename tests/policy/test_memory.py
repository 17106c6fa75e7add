from __future__ import annotations

from dataclasses import dataclass, field
from math import log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_actors.errors import ConfigError
from synth_actors.policy.memory import (
    Fine,
    MemoryPolicy,
    NotReclaimable,
    Reading,
    Recover,
    Shrink,
    Slow,
    Trim,
    Verdict,
)
from synth_actors.policy.memory_limit import LEAST_ROOM_BYTES, MIB, check_limit, default_limit
from synth_actors.policy.memory_thresholds import DEFAULT_THRESHOLDS

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
    calls_bytes: int = 0
    free: int = 0  # what the allocator has free and keeps until it is told
    container: int | None = None  # its limit, beside a neighbour's memory in it
    neighbour: int = 0
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
        held = (
            OPEN
            + self.foreign
            + self.free
            + self.calls_bytes
            + int(self.cache * self.resident_per_byte)
            + self.in_flight * self.per_call
        )
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
            self.look()
        return self.log[began:]

    def look(self) -> None:
        room = 0 if self.container is None else self.container - self.neighbour - self.rss
        reading = Reading(
            rss_bytes=self.rss,
            cache_bytes=self.cache,
            calls_bytes=self.calls_bytes,
            in_flight=self.in_flight,
            container_limit_bytes=self.container,
            container_room_bytes=room,
            now=self.now,
        )
        self.obey(self.policy.decide(reading))

    def obey(self, verdict: Verdict) -> None:
        """Do what was decided, after checking what must hold for every verdict whatever the process does."""
        match verdict:
            case Fine():
                return
            case Shrink(wanted_bytes=wanted):
                assert 0 < wanted <= self.cache // 4
                self.cache -= wanted
            case Trim():
                self.free = 0
            case Slow(cap=cap):
                assert 1 <= cap < self.cap
                self.cap = cap
            case Recover(cap=cap):
                assert self.cap < cap <= self.full
                self.cap = cap
            case NotReclaimable():
                assert self.rss >= self.policy.high_bytes or self.container is not None
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
    assert [type(verdict) for verdict in process.run(600)] == [Trim, NotReclaimable]
    assert process.cache == 20 * MIB


def test_foreign_memory_is_said_once_and_lowers_nothing() -> None:
    process = Process(cache=20 * MIB, demand=100)
    process.run(5)
    process.foreign = 900 * MIB
    assert [type(verdict) for verdict in process.run(600)] == [Trim, NotReclaimable]
    assert process.cap == process.full
    assert process.policy.given_up == 1


def test_a_program_that_grows_by_gigabytes_keeps_its_concurrency() -> None:
    process = Process(cache=10 * MIB, demand=100, full=100)
    process.run(5)
    for _ in range(400):
        process.foreign += 10 * MIB
        process.run(TICK_S)
    assert process.count(Slow) == process.count(Shrink) == 0
    assert process.count(NotReclaimable) <= 1 + log(4100 / 535) / log(1.1)  # once for each tenth that came on top


def test_calls_that_come_and_go_while_the_program_grows_are_not_taken_for_its_memory() -> None:
    process = Process(demand=100)
    for number in range(400):
        process.demand = (7 * number) % 100
        process.foreign += 10 * MIB
        process.run(TICK_S)
    assert process.count(Slow) == 0
    assert process.policy.calls.bytes_per_call < MIB


def test_foreign_memory_that_came_with_the_calls_is_told_apart_by_one_attempt() -> None:
    process = Process(foreign=900 * MIB, cache=20 * MIB, demand=100)
    verdicts = process.run(60)
    assert verdicts[:2] == [Trim(), Slow(88)]
    assert isinstance(verdicts[2], NotReclaimable)
    assert process.count(Slow) == process.count(NotReclaimable) == 1
    assert process.cap == process.full
    assert process.count(Shrink) == 0


def test_accounted_bytes_of_calls_make_slowing_worthwhile() -> None:
    process = Process(foreign=300 * MIB, demand=100)
    process.run(5)
    process.calls_bytes = 200 * MIB  # the answers under way have grown
    assert [type(verdict) for verdict in process.run(1)] == [Trim, Slow]


def test_what_the_allocator_keeps_is_asked_for_before_anybody_is_slowed() -> None:
    process = Process(foreign=100 * MIB, free=200 * MIB, demand=100, per_call=2 * MIB)
    assert [type(verdict) for verdict in process.run(60)] == [Trim]
    assert process.state == "ok"


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
    assert process.count(Slow) <= 5  # the first is the attempt that shows what a call holds
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


def test_a_shrink_whose_room_was_filled_again_before_anybody_looked_tells_nothing() -> None:
    policy = MemoryPolicy(LIMIT, OPEN, 100)
    for tick in range(20):
        reading = Reading(rss_bytes=540 * MIB, cache_bytes=480 * MIB, now=tick * TICK_S)
        assert isinstance(policy.decide(reading), Shrink)
    assert policy.rss_per_accounted_byte == 1.0


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
    assert [type(verdict) for verdict in process.run(60)] == [Trim, NotReclaimable]
    assert process.cap == 1


def test_slowing_halves_what_runs_and_not_what_might() -> None:
    process = Process(foreign=430 * MIB, demand=10, per_call=8 * MIB)
    assert process.run(5) == [Trim(), Slow(9), Slow(4)], "a little first, since it is a guess"


def test_calls_that_are_known_to_hold_much_are_halved_at_once() -> None:
    process = Process(demand=10, per_call=8 * MIB)
    for demand in (0, 10, 0, 10):
        process.demand = demand
        process.run(2)
    process.foreign = 430 * MIB
    assert process.run(1) == [Trim(), Slow(5)]


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
        process.in_flight, process.now = in_flight, tick * TICK_S
        process.look()
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
    assert f"give more than that, for example {OPEN + LEAST_ROOM_BYTES} (124 MiB)" in message
    check_limit(OPEN + LEAST_ROOM_BYTES, OPEN)


def test_a_limit_above_what_is_held_at_opening_is_accepted() -> None:
    check_limit(OPEN + 1, OPEN)


def test_a_limit_lowered_by_a_fifth_takes_about_a_fifth_of_the_cache() -> None:
    process = Process(cache=400 * MIB, resident_per_byte=1.0, demand=10)
    assert process.run(10) == []
    target = OPEN + int(0.8 * 400 * MIB)
    process.policy.set_limit(OPEN + int((target - OPEN) / DEFAULT_THRESHOLDS.low_mark))
    process.run(1)
    assert process.rss <= target
    assert process.cache >= 0.7 * 400 * MIB
    assert process.run(60) == []


def test_a_limit_that_leaves_no_room_is_refused_and_changes_nothing() -> None:
    policy = MemoryPolicy(LIMIT, OPEN, 100)
    with pytest.raises(ConfigError, match="leave no room"):
        policy.set_limit(OPEN)
    assert policy.limit_bytes == LIMIT


def test_a_higher_limit_brings_a_slowed_engine_back() -> None:
    process = Process(demand=100, per_call=8 * MIB)
    process.run(4)
    assert process.cap < process.full
    process.policy.set_limit(2000 * MIB)
    process.run(60)
    assert process.cap == process.full
    assert process.state == "ok"


def test_a_lower_limit_is_fought_anew_after_giving_up() -> None:
    process = Process(foreign=900 * MIB, cache=20 * MIB)
    process.run(10)
    assert process.state == "not_reclaimable"
    process.foreign = 0
    process.cache = 100 * MIB
    process.policy.set_limit(OPEN + 90 * MIB)
    process.run(10)
    assert process.count(Shrink) > 0
    assert process.rss <= process.policy.low_bytes


def test_a_container_that_is_nearly_full_is_pressure_although_the_process_is_below_its_limit() -> None:
    process = Process(cache=300 * MIB, container=1000 * MIB, demand=10)
    assert process.run(10) == []
    process.neighbour = 600 * MIB
    process.run(10)
    assert process.count(Shrink) > 0
    assert process.count(Slow) == process.count(NotReclaimable) == 0
    room = process.container - process.neighbour - process.rss  # type: ignore[operator]
    assert room >= process.policy.eased_room_bytes(1000 * MIB)
    assert process.state == "ok"


def test_a_neighbour_that_takes_what_is_given_up_gets_no_more_than_three_shares() -> None:
    process = Process(cache=300 * MIB, container=1000 * MIB, demand=100)
    process.run(10)
    for _ in range(400):
        process.neighbour = 1000 * MIB - process.rss - 10 * MIB  # whatever comes free
        process.run(TICK_S)
    assert process.cache >= 300 * MIB * 0.75**3 * 0.99
    assert process.cap == process.full
    assert process.state == "not_reclaimable"


def test_a_container_with_room_changes_nothing() -> None:
    process = Process(cache=300 * MIB, container=4000 * MIB, neighbour=2000 * MIB, demand=100)
    assert process.run(60) == []


def test_the_reason_names_the_container_when_it_is_what_is_full() -> None:
    process = Process(container=500 * MIB, neighbour=430 * MIB)
    (_, said) = process.run(10)
    assert isinstance(said, NotReclaimable)
    assert "the container of 500.0 MiB has 10.0 MiB left, and this process holds 60.0 MiB" in said.reason
    assert "Give the container more memory" in said.reason


def test_the_reason_has_figures_in_mib_and_a_remedy() -> None:
    process = Process(foreign=900 * MIB, cache=20 * MIB)
    (_, said) = process.run(10)
    assert isinstance(said, NotReclaimable)
    assert "985.0 MiB are resident, above the mark of 535.0 MiB; the cache occupies 20.0 MiB of them" in said.reason
    assert "Raise EngineConfig.memory_limit_bytes, or have the program hold less" in said.reason


def test_memory_that_is_not_the_engine_s_is_said_again_when_a_tenth_more_has_come() -> None:
    process = Process(foreign=900 * MIB)
    process.run(10)
    process.foreign += int(0.09 * process.rss)
    process.run(10)
    assert process.policy.given_up == 1
    process.foreign += int(0.02 * process.rss)
    process.run(10)
    assert process.policy.given_up == 2


def test_what_others_hold_in_the_container_is_not_ours_to_use() -> None:
    assert default_limit(1000 * MIB, 100 * MIB, 1000 * MIB) == 612 * MIB
    assert default_limit(1000 * MIB, 100 * MIB, 400 * MIB) == 320 * MIB


def test_others_never_keep_the_engine_from_opening() -> None:
    limit = default_limit(1000 * MIB, 100 * MIB, 50 * MIB)
    assert limit == 100 * MIB + LEAST_ROOM_BYTES
    check_limit(limit, 100 * MIB)


@settings(max_examples=60, deadline=None)
@given(
    container=st.integers(200, 2000),
    neighbour=st.integers(0, 2000),
    cache=st.integers(0, 400),
    demand=st.integers(0, 100),
    per_call=st.integers(0, 3),
)
def test_whatever_a_neighbour_takes_it_is_said_once_and_nobody_stays_throttled(
    container: int, neighbour: int, cache: int, demand: int, per_call: int
) -> None:
    process = Process(
        cache=cache * MIB,
        demand=demand,
        per_call=per_call * MIB,
        container=container * MIB,
        neighbour=neighbour * MIB,
    )
    process.run(120)
    assert process.count(NotReclaimable) <= 2
    process.neighbour = process.demand = process.cache = 0
    process.run(600)
    assert process.state == "ok"
    assert process.cap == process.full
    assert process.run(60) == []
