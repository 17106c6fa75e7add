"""Is the bucket that is computed only when somebody looks the same as one that is filled drop by drop?"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_actors.testing.token_bucket import Supply, TokenBucket

STEP_S = 1 / 8
"""Everything below happens at multiples of it, so that drop by drop is exact, too."""


@dataclass
class Drops:
    """The naive model: step by step, from the definition."""

    per_minute: float
    capacity_s: float
    changes: tuple[tuple[float, float], ...]
    share: float
    from_s: float
    now_s: float = 0.0
    drain_per_s: float = 0.0

    def __post_init__(self) -> None:
        self.level = self.capacity()

    def limit(self) -> float:
        factors = [factor for at_s, factor in sorted(self.changes) if at_s <= self.now_s]
        return self.per_minute * (factors[-1] if factors else 1.0)

    def capacity(self) -> float:
        return self.limit() / 60 * self.capacity_s

    def run_to(self, now_s: float) -> None:
        while self.now_s < now_s:
            refill_per_s = self.limit() / 60 * (1 - self.share if self.now_s >= self.from_s else 1)
            self.level = min(self.capacity(), self.level + (refill_per_s - self.drain_per_s) * STEP_S)
            self.now_s += STEP_S
            self.level = min(self.capacity(), self.level)


times = st.integers(0, 400).map(lambda steps: steps * STEP_S)
supplies = st.fixed_dictionaries(
    {
        "per_minute": st.sampled_from([30.0, 60.0, 600.0]),
        "capacity_s": st.sampled_from([1.0, 10.0, 60.0]),
        "changes": st.lists(
            st.tuples(times, st.sampled_from([0.0, 0.25, 0.5, 2.0])), max_size=3, unique_by=lambda change: change[0]
        ),
        "share": st.sampled_from([0.0, 0.5, 1.0]),
        "from_s": st.one_of(times, st.just(inf)),
    }
)


def supply_of(fields: dict[str, Any]) -> Supply:
    return Supply(
        fields["per_minute"], fields["capacity_s"], tuple(fields["changes"]), fields["share"], fields["from_s"]
    )


deeds = st.lists(
    st.tuples(times, st.sampled_from(["look", "take", "give", "drain", "end"]), st.sampled_from([1.0, 5.0, 50.0])),
    max_size=20,
)


@given(supplies, deeds)
def test_it_holds_what_a_bucket_filled_drop_by_drop_holds(
    fields: dict[str, Any], deeds: list[tuple[float, str, float]]
) -> None:
    naive, bucket = Drops(**{**fields, "changes": tuple(fields["changes"])}), TokenBucket(supply_of(fields))
    running: list[float] = []
    for now_s, deed, amount in sorted(deeds):
        naive.run_to(now_s)
        if deed == "take":
            bucket.take(amount, now_s)
            naive.level -= amount
        elif deed == "give":
            bucket.give_back(amount, now_s)
            naive.level = min(naive.capacity(), naive.level + amount)
        elif deed == "drain":
            bucket.drain(amount, now_s)
            running.append(amount)
        elif deed == "end" and running:
            bucket.end_drain(running.pop(), now_s)
        naive.drain_per_s = sum(running)
        assert bucket.level(now_s) == pytest.approx(naive.level, abs=1e-6)
        assert (bucket.capacity, bucket.per_minute) == pytest.approx((naive.capacity(), naive.limit()))


@given(supplies, st.lists(times, min_size=1, max_size=30))
def test_nobody_takes_more_than_is_allowed(fields: dict[str, Any], looks: list[float]) -> None:
    bucket, supply = TokenBucket(supply_of(fields)), supply_of(fields)
    for now_s in sorted(looks):
        bucket.take(bucket.level(now_s), now_s)
        assert bucket.taken(now_s) <= supply.allowed(0.0, now_s + 1e-9) + 1e-6


@given(supplies)
def test_whoever_takes_all_as_it_comes_takes_all_that_is_allowed(fields: dict[str, Any]) -> None:
    # Without changes: a limit that falls takes away what is in the bucket, also between two looks.
    bucket, supply = TokenBucket(supply_of({**fields, "changes": []})), supply_of({**fields, "changes": []})
    for step in range(400):
        bucket.take(bucket.level(step * STEP_S), step * STEP_S)
    assert bucket.taken(399 * STEP_S) == pytest.approx(supply.allowed(0.0, 399 * STEP_S))


@given(supplies, times, times, times)
def test_what_two_intervals_allow_adds_up(fields: dict[str, Any], one: float, two: float, three: float) -> None:
    supply = supply_of(fields)
    a, b, c = sorted((one, two, three))
    assert supply.allowed(a, c) == pytest.approx(supply.allowed(a, b) + supply.allowed(b, c))


def test_what_is_allowed_follows_the_schedule_and_the_neighbour() -> None:
    supply = Supply(60.0, 10.0, ((20.0, 0.5),), 0.5, 40.0)
    assert supply.allowed(0.0, 10.0) == 10.0 + 10.0
    assert supply.allowed(10.0, 30.0) == 10.0 + 5.0
    assert supply.allowed(30.0, 50.0) == 5.0 + 2.5


def test_the_wait_is_until_enough_is_there() -> None:
    bucket = TokenBucket(Supply(60.0, 10.0))
    assert bucket.wait_s(10.0, 0.0) == 0.0
    bucket.take(12.0, 0.0)
    assert bucket.level(0.0) == -2.0
    assert bucket.wait_s(1.0, 0.0) == 3.0
    assert bucket.wait_s(1.0, 3.0) == 0.0


def test_where_nothing_flows_in_the_wait_has_no_end() -> None:
    bucket = TokenBucket(Supply(60.0, 10.0, (), 1.0, 0.0))
    assert bucket.wait_s(11.0, 5.0) == inf


def test_many_drains_that_end_leave_no_dust() -> None:
    bucket = TokenBucket(Supply(60.0, 10.0))
    for _ in range(1000):
        bucket.drain(1 / 0.03, 1.0)
    for _ in range(1000):
        bucket.end_drain(1 / 0.03, 1.0)
    bucket.take(bucket.level(1.0), 1.0)
    assert bucket.level(2.0) == 1.0
