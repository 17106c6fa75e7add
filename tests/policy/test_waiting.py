from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from synth_actors.policy.endpoints import EndpointState
from synth_actors.policy.limits import Need
from synth_actors.policy.progress import Progress
from synth_actors.policy.retry import FIRST_DELAY_S, GRACE_SHARE
from synth_actors.policy.waiting import Hopeless, Waiting
from synth_actors.providers.base import Fault
from synth_actors.types import NO_USAGE
from tests.policy.support import NEED, Told, close, endpoint, fail

PATIENCE_S = 60.0
GRACE_UNTIL = PATIENCE_S * (1 + GRACE_SHARE)
BOTH = frozenset({"one", "two"})


@dataclass(eq=False)
class Job:
    number: int
    progress: Progress
    queued_at: float = 0.0
    need: Need = field(default_factory=lambda: NEED)
    back_at: float = inf
    dropped: bool = False
    in_line: bool = False


@dataclass
class Room:
    """Two endpoints and those who wait for them."""

    endpoints: dict[str, EndpointState] = field(
        default_factory=lambda: {name: endpoint(name, rank) for rank, name in enumerate(("one", "two"))}
    )
    numbers: int = 0

    def __post_init__(self) -> None:
        self.waiting: Waiting[Job] = Waiting(self.endpoints, PATIENCE_S)

    def job(self, allowed: frozenset[str] = BOTH, now: float = 0.0) -> Job:
        self.numbers += 1
        return Job(self.numbers, Progress(allowed), now)

    def joins(self, allowed: frozenset[str] = BOTH, now: float = 0.0) -> Job:
        job = self.job(allowed, now)
        self.waiting.join(job)
        return job

    def failed_at_one(self, back_at: float, now: float = 0.0) -> Job:
        job = self.job(now=now)
        job.progress.note(Fault.RATE_LIMITED, "one", now)
        self.waiting.join_elsewhere(job, back_at)
        return job

    def heads(self) -> dict[frozenset[str], int]:
        return {lane.allowed: head.number for lane, head in self.waiting.lanes()}

    def take(self, allowed: frozenset[str]) -> Job:
        lane = next(lane for lane, _head in self.waiting.lanes() if lane.allowed == allowed)
        return self.waiting.take(lane)

    def look(self, now: float) -> tuple[float, list[tuple[int, Hopeless]]]:
        due, hopeless = self.waiting.look(now)
        return due, [(job.number, why) for job, why in hopeless]


def test_nobody_waits_at_first() -> None:
    room = Room()
    assert (len(room.waiting), room.waiting.delayed, list(room.waiting.lanes()), room.look(0.0)) == (
        0,
        0,
        [],
        (inf, []),
    )


def test_they_stand_in_line_by_age_for_the_endpoints_that_may_serve_them() -> None:
    room = Room()
    for allowed in (BOTH, frozenset({"one"}), BOTH):
        room.joins(allowed)
    assert room.heads() == {BOTH: 1, frozenset({"one"}): 2}
    assert (room.take(BOTH).number, room.take(BOTH).number) == (1, 3)
    assert len(room.waiting) == 1


def test_who_waits_apart_is_in_no_line_until_the_time_has_come() -> None:
    room = Room()
    job = room.job()
    room.waiting.wait_until(job, 5.0)
    assert (len(room.waiting), room.waiting.delayed, room.heads(), room.look(1.0)) == (0, 1, {}, (5.0, []))
    room.waiting.call_in(4.999)
    assert room.heads() == {}
    room.waiting.call_in(5.0)
    assert (len(room.waiting), room.waiting.delayed, room.heads()) == (1, 0, {BOTH: 1})


def test_who_waited_apart_may_go_everywhere_again_but_where_it_was_rejected() -> None:
    room = Room()
    job = room.job()
    job.progress.note(Fault.FAILED, "one", 0.0)
    room.waiting.wait_until(job, 1.0)
    room.waiting.call_in(1.0)
    assert room.heads() == {BOTH: 1}
    job = room.take(BOTH)
    job.progress.note(Fault.REJECTED, "two", 1.0)
    room.waiting.wait_until(job, 2.0)
    room.waiting.call_in(2.0)
    assert room.heads() == {frozenset({"one"}): 1}


def test_who_leaves_is_gone_from_wherever_it_waited() -> None:
    room = Room()
    in_line, apart, narrowed = room.joins(), room.job(), room.failed_at_one(back_at=9.0)
    room.waiting.wait_until(apart, 5.0)
    for job in (in_line, apart, narrowed):
        room.waiting.leave(job)
    assert (len(room.waiting), room.waiting.delayed, room.heads(), room.look(99.0)) == (0, 0, {}, (inf, []))


# ---------------------------------------------------------------------------------------------------- in line for a few


def test_who_failed_somewhere_stands_in_line_for_the_others_and_goes_back_in_time() -> None:
    room = Room()
    room.failed_at_one(back_at=7.0)
    assert room.heads() == {frozenset({"two"}): 1}
    assert room.look(0.0) == (7.0, [])
    assert room.look(6.999) == (7.0, [])
    assert room.heads() == {frozenset({"two"}): 1}
    assert room.look(7.0) == (7.0, [])
    room.waiting.call_in(7.0)
    assert room.heads() == {BOTH: 1}
    assert (len(room.waiting), room.look(8.0)) == (1, (inf, []))


def test_when_the_others_are_closed_it_goes_back_when_its_own_wait_is_over() -> None:
    room = Room()
    room.failed_at_one(back_at=7.0)
    close(room.endpoints["two"], 1.0)
    assert room.look(1.0) == (7.0, [])
    assert (room.heads(), room.waiting.delayed) == ({}, 1)


def test_when_the_others_are_closed_and_it_was_told_no_wait_it_goes_back_after_a_breath() -> None:
    room = Room()
    room.failed_at_one(back_at=inf)
    close(room.endpoints["two"], 1.0)
    assert room.look(1.0) == (1.0 + FIRST_DELAY_S, [])
    room.waiting.call_in(1.0 + FIRST_DELAY_S)
    assert room.heads() == {BOTH: 1}


def test_when_the_others_are_dead_it_goes_back_too() -> None:
    room = Room()
    room.failed_at_one(back_at=inf)
    fail(room.endpoints["two"], Fault.FATAL, 1.0)
    assert room.look(1.0) == (1.0 + FIRST_DELAY_S, [])


def test_who_was_refused_everywhere_stands_in_line_for_all_with_its_patience() -> None:
    room = Room()
    job = room.job()
    for name in BOTH:
        job.progress.note(Fault.RATE_LIMITED, name, 0.0)
    room.waiting.join_elsewhere(job, inf)
    for one in room.endpoints.values():
        close(one, 1.0, for_s=500.0)
    assert room.look(1.0) == (61.0, [])
    assert room.heads() == {BOTH: 1}
    assert len(room.look(61.0)[1]) == 1


def test_who_goes_back_may_leave_while_it_waits_apart() -> None:
    room = Room()
    staying, leaving = room.failed_at_one(back_at=3.0), room.failed_at_one(back_at=3.0)
    room.look(3.0)
    room.waiting.leave(leaving)
    assert (len(room.waiting), room.waiting.delayed, staying.in_line) == (0, 1, False)
    room.waiting.call_in(3.0)
    assert room.heads() == {BOTH: staying.number}


def test_who_was_served_does_not_go_back() -> None:
    room = Room()
    room.failed_at_one(back_at=7.0)
    room.take(frozenset({"two"}))
    assert room.look(7.0) == (inf, [])
    assert room.waiting.delayed == 0


def test_who_was_rejected_stands_in_line_for_the_others_for_good() -> None:
    room = Room()
    job = room.job()
    job.progress.note(Fault.REJECTED, "one", 0.0)
    room.waiting.join_elsewhere(job, inf)
    close(room.endpoints["two"], 1.0, for_s=9.0)
    assert room.look(1.0) == (10.0, [])
    assert room.heads() == {frozenset({"two"}): 1}


def test_each_goes_back_at_its_own_time() -> None:
    room = Room()
    for back_at in (5.0, 3.0, inf):
        room.failed_at_one(back_at=back_at)
    assert room.look(0.0) == (3.0, [])
    assert room.look(3.0) == (3.0, [])
    room.waiting.call_in(3.0)
    assert room.heads() == {frozenset({"two"}): 1, BOTH: 2}
    assert room.look(4.0) == (5.0, [])


# -------------------------------------------------------------------------------------------------------------- in vain


def test_when_all_are_dead_all_who_stand_in_that_line_are_told_and_the_first_is_named() -> None:
    room = Room()
    for allowed in (BOTH, frozenset({"one"}), BOTH):
        room.joins(allowed)
    fail(room.endpoints["one"], Fault.FATAL, 1.0)
    due, hopeless = room.look(1.0)
    assert hopeless == [(2, Hopeless(Fault.FATAL, "one fatal", "one"))]
    assert due == inf
    fail(room.endpoints["two"], Fault.FATAL, 2.0)
    _due, hopeless = room.look(2.0)
    assert {number for number, _why in hopeless} == {1, 3}
    assert {why.endpoint for _number, why in hopeless} == {"one"}
    assert len(room.waiting) == 0


def test_when_all_are_closed_patience_ends_for_one_after_the_other() -> None:
    room = Room()
    for now in (0.0, 0.0, 30.0):
        room.joins(now=now)
    for one in room.endpoints.values():
        close(one, 10.0, for_s=500.0)
    assert room.look(10.0) == (70.0, [])
    assert room.look(69.999) == (70.0, [])
    due, hopeless = room.look(70.0)
    assert [number for number, _why in hopeless] == [1, 2]
    assert due == 90.0, "nobody's patience is over before their own wait was as long"
    why = hopeless[0][1]
    assert (why.fault, why.endpoint, why.retry_after_s) == (Fault.OVERLOADED, None, 440.0)
    assert why.message == "every endpoint was closed for longer than outage_patience_s=60; last, "
    assert [number for number, _why in room.look(90.0)[1]] == [3]


def test_it_looks_again_when_one_reopens_though_patience_lasts_longer() -> None:
    room = Room()
    room.joins()
    for one in room.endpoints.values():
        close(one, 10.0, for_s=20.0)
    assert room.look(10.0) == (30.0, [])


@pytest.mark.parametrize("excused_s", [100.0, 30.0])
def test_the_wait_that_a_rate_limit_names_is_not_counted(excused_s: float) -> None:
    room = Room()
    room.joins()
    for one in room.endpoints.values():
        one.breaker.limited(0.0, begun_at=0.0, retry_after_s=excused_s, used_up=True)
        close(one, excused_s, for_s=500.0)
    over_at = excused_s + PATIENCE_S
    assert room.look(over_at - 0.1) == (over_at, [])
    assert len(room.look(over_at)[1]) == 1


@pytest.mark.parametrize(
    ("probe_at", "is_waited_for"), [(58.0, True), (PATIENCE_S, True), (GRACE_UNTIL, True), (GRACE_UNTIL + 0.1, False)]
)
def test_a_probe_that_began_before_the_patience_was_over_is_waited_for(probe_at: float, is_waited_for: bool) -> None:
    room = Room()
    room.joins()
    for one in room.endpoints.values():
        close(one, 0.0, for_s=58.0)
    call = room.endpoints["one"].begin(NEED, probe_at)
    assert len(room.look(67.0)[1]) == (not is_waited_for)
    if is_waited_for:
        room.endpoints["one"].failed(call, Fault.UNREACHABLE, Told("still down"), 68.0)
        assert [number for number, _why in room.look(68.0)[1]] == [1]


def test_who_is_waiting_when_the_probe_ends_well_is_not_given_up() -> None:
    room = Room()
    room.joins()
    for one in room.endpoints.values():
        close(one, 0.0, for_s=58.0)
    call = room.endpoints["one"].begin(NEED, 58.0)
    assert room.look(65.0)[1] == []
    room.endpoints["one"].succeeded(call, NO_USAGE, 8.0, None, 66.0)
    assert room.look(66.0)[1] == []
    assert room.heads() == {BOTH: 1}


def test_those_apart_for_whom_none_is_left_are_called_in_and_told() -> None:
    room = Room()
    only, both, rejected = room.job(frozenset({"one"})), room.job(), room.job()
    rejected.progress.note(Fault.REJECTED, "two", 0.0)
    for job in (only, both, rejected):
        room.waiting.wait_until(job, 500.0)
    fail(room.endpoints["one"], Fault.FATAL, 1.0)
    room.waiting.call_in_the_hopeless()
    assert (len(room.waiting), room.waiting.delayed) == (2, 1)
    due, hopeless = room.look(1.0)
    assert {number for number, _why in hopeless} == {only.number, rejected.number}
    assert {why.fault for _number, why in hopeless} == {Fault.FATAL}
    assert (due, both.in_line) == (500.0, False)


class Hall(RuleBasedStateMachine):
    """Whatever happens to them: nobody is lost, nobody is there twice, and who can be served is not forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.endpoints = {name: endpoint(name, rank) for rank, name in enumerate("abc")}
        self.waiting: Waiting[Job] = Waiting(self.endpoints, PATIENCE_S)
        self.now = 0.0
        self.inside: dict[int, Job] = {}
        self.running: list[tuple[Job, str]] = []
        self.numbers = 0

    @rule(by_s=st.sampled_from([0.1, 0.5, 3.0, 20.0, 61.0]))
    def time_goes_by(self, by_s: float) -> None:
        self.now += by_s

    @rule(allowed=st.sets(st.sampled_from("abc"), min_size=1))
    def one_comes(self, allowed: set[str]) -> None:
        self.numbers += 1
        job = Job(self.numbers, Progress(frozenset(allowed)), self.now)
        self.inside[job.number] = job
        self.waiting.join(job)

    @precondition(lambda self: len(self.waiting) > 0)
    @rule(which=st.integers(0, 9))
    def one_is_served(self, which: int) -> None:
        rows = list(self.waiting.lanes())
        lane, head = rows[which % len(rows)]
        assert self.waiting.take(lane) is head
        self.running.append((self.inside.pop(head.number), min(lane.allowed)))

    @precondition(lambda self: self.running)
    @rule(
        which=st.integers(0, 9),
        fault=st.sampled_from([Fault.RATE_LIMITED, Fault.FAILED, Fault.REJECTED]),
        back_s=st.sampled_from([0.5, 30.0, inf]),
        is_elsewhere=st.booleans(),
    )
    def one_comes_back(self, which: int, fault: Fault, back_s: float, is_elsewhere: bool) -> None:
        job, place = self.running.pop(which % len(self.running))
        job.progress.note(fault, place, self.now)
        self.inside[job.number] = job
        if is_elsewhere or back_s == inf:
            self.waiting.join_elsewhere(job, self.now + back_s)
        else:
            self.waiting.wait_until(job, self.now + back_s)

    @rule(back_s=st.sampled_from([0.1, 3.0, inf]))
    def one_comes_and_is_refused_somewhere(self, back_s: float) -> None:
        self.numbers += 1
        job = self.inside[self.numbers] = Job(self.numbers, Progress(frozenset("abc")), self.now)
        job.progress.note(Fault.RATE_LIMITED, "a", self.now)
        self.waiting.join_elsewhere(job, self.now + back_s)

    @precondition(lambda self: self.inside)
    @rule(which=st.integers(0, 99))
    def one_leaves(self, which: int) -> None:
        job = self.inside.pop(sorted(self.inside)[which % len(self.inside)])
        self.waiting.leave(job)
        assert job.dropped

    @rule(name=st.sampled_from("abc"), for_s=st.sampled_from([2.0, 50.0, 500.0]))
    def an_endpoint_closes(self, name: str, for_s: float) -> None:
        close(self.endpoints[name], self.now, for_s)

    @rule(name=st.sampled_from("abc"))
    def an_endpoint_is_proved_again(self, name: str) -> None:
        breaker = self.endpoints[name].breaker
        breaker.reopens_at = min(breaker.reopens_at, self.now)
        breaker.let_in(begun_at=self.now)
        breaker.succeeded(begun_at=self.now)

    @precondition(lambda self: self.numbers > 20)
    @rule(name=st.sampled_from("ab"))
    def an_endpoint_dies(self, name: str) -> None:
        self.endpoints[name].breaker.died(f"{name} is dead")

    @rule()
    def somebody_looks(self) -> None:
        self.waiting.call_in(self.now)
        due, hopeless = self.waiting.look(self.now)
        for job, why in hopeless:
            assert self.inside.pop(job.number) is job
            alive = [e for n in job.progress.places() if (e := self.endpoints[n]).breaker.fatal_reason is None]
            assert all(e.breaker.is_closed(self.now) for e in alive), "an open one may serve it"
            assert (why.fault is Fault.FATAL) == (not alive)
            assert not alive or self.now - job.queued_at >= PATIENCE_S
        for job in self.inside.values():
            if job.in_line:
                assert any(self.endpoints[name].breaker.fatal_reason is None for name in job.progress.places())
            if job.in_line and job.progress.failed_at:
                assert due <= max(job.back_at, self.now), "it goes back in time"
        if any(job.in_line for job in self.inside.values()):
            closed = all(e.breaker.is_closed(self.now) for e in self.endpoints.values())
            assert not closed or due < inf or self.some_may_go()

    def some_may_go(self) -> bool:
        return any(e.breaker.admits(self.now) for e in self.endpoints.values())

    @invariant()
    def nobody_is_lost_and_nobody_is_there_twice(self) -> None:
        in_line = [job for job in self.inside.values() if job.in_line]
        assert len(self.waiting) == len(in_line)
        assert self.waiting.delayed == len(self.inside) - len(in_line)
        queued = [row[1] for lane in self.waiting._line._lanes.values() for row in lane._heap if not row[1].dropped]
        assert sorted(job.number for job in queued) == sorted(job.number for job in in_line)
        narrowed = [job for group in self.waiting._narrowed.values() for job in group]
        assert len(narrowed) == len(set(narrowed))
        assert set(narrowed) <= set(in_line)
        for places, group in self.waiting._narrowed.items():
            assert group, "no empty groups"
            assert {job.progress.places() for job in group} == {places}

    @invariant()
    def the_head_of_a_line_is_its_oldest(self) -> None:
        for lane, head in self.waiting.lanes():
            assert head.number == min(row[1].number for row in lane._heap if not row[1].dropped)
            assert lane.allowed <= head.progress.allowed


TestHall = Hall.TestCase
TestHall.settings = settings(max_examples=60, stateful_step_count=40)
