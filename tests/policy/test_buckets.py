from __future__ import annotations

from math import inf, nextafter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_actors.policy.buckets import (
    FOREIGN_WINDOW_S,
    LEAST_OWN_SHARE,
    LONG_RESET_S,
    MARGIN_S,
    WINDOW_S,
    Bucket,
    ServerBucket,
)
from synth_actors.providers.base import Allowance

STEP_S = 1 / 8

capacities = st.sampled_from([1, 60, 480, 100_000])
amounts = st.floats(0.0, 200.0) | st.integers(-50, 500)


class DropByDrop:
    """A bucket that is filled every eighth of a second, by so much as comes back in that time."""

    def __init__(self, capacity: int) -> None:
        self.capacity = self.level = float(capacity)
        self.drop = capacity / WINDOW_S * STEP_S

    def wait(self, steps: int) -> None:
        for _ in range(steps):
            self.level = min(self.capacity, self.level + self.drop)

    def take(self, amount: float) -> None:
        self.level = min(self.capacity, self.level - amount)


@given(capacities, st.lists(st.tuples(st.integers(0, 40), amounts), max_size=30))
def test_the_level_is_that_of_a_bucket_filled_drop_by_drop(capacity: int, takes: list[tuple[int, float]]) -> None:
    bucket, model, now = Bucket(capacity, 100.0), DropByDrop(capacity), 100.0
    for steps, amount in takes:
        now += steps * STEP_S
        model.wait(steps)
        bucket.take(amount, now)
        model.take(amount)
        assert bucket.level(now) == pytest.approx(model.level, abs=1e-6 * capacity)
        assert bucket.level(now) <= capacity


@given(capacities, st.floats(0.0, 500.0), st.floats(0.0, 500.0))
def test_what_is_asked_for_is_there_at_ready_at_and_not_before(capacity: int, taken: float, amount: float) -> None:
    bucket = Bucket(capacity, 0.0)
    bucket.take(taken, 0.0)
    ready_at = bucket.ready_at(amount, 0.0)
    assert ready_at >= 0.0
    wanted = min(amount, capacity)
    if ready_at > 0.0:
        assert bucket.level(0.0) < wanted
        assert bucket.level(ready_at * 0.999) < wanted
    assert bucket.level(nextafter(ready_at, inf)) >= wanted - 1e-6 * capacity
    assert bucket.ready_at(amount, ready_at + 1e-6) == ready_at + 1e-6, "whoever waits until then waits no longer"


def test_more_than_it_ever_holds_passes_when_it_is_full() -> None:
    bucket = Bucket(60, 0.0)
    assert bucket.ready_at(1000.0, 0.0) == 0.0
    bucket.take(1.0, 0.0)
    assert bucket.ready_at(1000.0, 0.0) == 1.0
    bucket.take(1000.0, 1.0)
    assert bucket.level(1.0) == -940.0
    assert bucket.ready_at(1.0, 1.0) == 1.0 + 941.0


def test_what_was_given_back_never_makes_it_fuller_than_full() -> None:
    bucket = Bucket(60, 0.0)
    bucket.take(-5.0, 0.0)
    assert bucket.level(0.0) == 60.0
    bucket.take(10.0, 0.0)
    bucket.take(-4.0, 0.0)
    assert bucket.level(0.0) == 54.0


def test_time_never_goes_back() -> None:
    bucket = Bucket(60, 10.0)
    bucket.take(30.0, 10.0)
    assert bucket.level(5.0) == 30.0
    assert bucket.level(11.0) == 31.0


def test_another_limit_keeps_what_is_left_as_far_as_it_fits() -> None:
    bucket = Bucket(60, 0.0)
    bucket.take(20.0, 0.0)
    bucket.resize(600.0, 10.0, 0.0)
    assert (bucket.level(0.0), bucket.level(1.0)) == (40.0, 50.0)
    bucket.resize(30.0, 0.5, 1.0)
    assert (bucket.level(1.0), bucket.capacity, bucket.per_s) == (30.0, 30.0, 0.5)


def test_a_bucket_that_is_not_refilled_is_never_ready() -> None:
    bucket = Bucket(60, 0.0)
    bucket.resize(60.0, 0.0, 0.0)
    bucket.take(60.0, 0.0)
    assert bucket.ready_at(1.0, 5.0) == inf


# ------------------------------------------------------------------------------------------ what the server tells of it


def named(limit: float, remaining: float | None = None, reset_s: float | None = None) -> Allowance:
    return Allowance(limit=limit, remaining=limit if remaining is None else remaining, reset_s=reset_s)


def level_of(remaining: float, per_minute: float = 600.0) -> float:
    """What is left for us of what is left: a bit of the refill is left alone."""
    return remaining - MARGIN_S * per_minute / WINDOW_S


def test_it_begins_with_what_the_server_says() -> None:
    server = ServerBucket(named(600.0, 100.0), 0.0, 5.0, 5.0)
    assert server.bucket.level(5.0) == level_of(100.0)
    assert server.bucket.per_s == 10.0


def test_what_it_says_is_aged_by_what_came_back_and_by_what_was_sent_since() -> None:
    server = ServerBucket(named(600.0, 100.0), outstanding=7.0, begun_at=5.0, now=7.0)
    assert server.bucket.level(7.0) == level_of(100.0) + 20.0 - 7.0
    assert ServerBucket(named(600.0, 595.0), 0.0, 0.0, 60.0).bucket.level(60.0) == level_of(600.0), "full is full"


def test_each_word_of_the_server_holds_from_then_on_up_or_down() -> None:
    server = ServerBucket(named(600.0, 100.0), 0.0, 0.0, 0.0)
    for remaining in (400.0, 3.0, 599.0):
        server.heard(named(600.0, remaining), 0.0, 1.0, 1.0)
        assert server.bucket.level(1.0) == level_of(remaining)


def test_of_calls_sent_together_the_lowest_level_holds() -> None:
    server = ServerBucket(named(600.0, 100.0), 0.0, 0.0, 0.0)
    server.heard(named(600.0, 105.0), 0.0, 0.0, 0.0, at_most=True)
    assert server.bucket.level(0.0) == level_of(100.0)
    server.heard(named(600.0, 95.0), 0.0, 0.0, 0.0, at_most=True)
    assert server.bucket.level(0.0) == level_of(95.0)


def test_a_header_without_what_is_left_changes_only_the_limit() -> None:
    server = ServerBucket(named(600.0, 100.0), 0.0, 0.0, 0.0)
    server.heard(Allowance(limit=60.0), 0.0, 0.0, 0.0)
    assert (server.bucket.level(0.0), server.bucket.capacity, server.bucket.per_s) == (60.0, 60.0, 1.0)
    server.heard(Allowance(remaining=12.0), 0.0, 0.0, 0.0)
    assert server.bucket.level(0.0) == level_of(12.0, 60.0)
    server.heard(Allowance(reset_s=12.0), 0.0, 0.0, 0.0)
    assert server.bucket.level(0.0) == level_of(12.0, 60.0)


def test_a_limit_that_is_halved_or_doubled_is_followed_at_once() -> None:
    server = ServerBucket(named(600.0, 600.0), 0.0, 0.0, 0.0)
    server.heard(named(300.0, 300.0), 0.0, 1.0, 1.0)
    assert (server.bucket.capacity, server.bucket.per_s) == (300.0, 5.0)
    assert server.bucket.level(1.0) == level_of(300.0, 300.0)
    server.heard(named(1200.0, 500.0), 0.0, 2.0, 2.0)
    assert (server.bucket.capacity, server.bucket.per_s) == (1200.0, 20.0)
    assert server.bucket.level(2.0) == level_of(500.0, 1200.0)


def test_a_limit_of_nothing_is_no_limit_that_could_ever_be_ready_again() -> None:
    server = ServerBucket(named(600.0, 5.0), 0.0, 0.0, 0.0)
    server.heard(Allowance(limit=0.0, remaining=0.0), 3.0, 0.0, 0.0)
    assert server.bucket.ready_at(1.0, 0.0) < 1.0


@pytest.mark.parametrize(
    ("allowance", "per_s"),
    [
        (named(1000.0, 900.0, LONG_RESET_S), 1000.0 / 60),
        (named(1000.0, 900.0, 1000.0), 0.1),
        (named(1000.0, 0.0, 86_400.0), 1000.0 / 86_400.0),
        (named(1000.0, 1000.0, 86_400.0), 1000.0 / 60),  # it is full: that tells nothing
        (Allowance(limit=1000.0, reset_s=86_400.0), 1000.0 / 60),
        (named(1000.0, 900.0), 1000.0 / 60),
    ],
)
def test_a_limit_that_takes_longer_to_come_back_is_none_per_minute(allowance: Allowance, per_s: float) -> None:
    assert ServerBucket(named(1000.0), 0.0, 0.0, 0.0).bucket.per_s == pytest.approx(1000.0 / 60)
    server = ServerBucket(named(1000.0), 0.0, 0.0, 0.0)
    server.heard(allowance, 0.0, 0.0, 0.0)
    assert server.bucket.per_s == pytest.approx(per_s)


class Shared:
    """A server's bucket that a neighbour drinks from, and ours beside it: a call whenever ours is ready."""

    def __init__(self, per_minute: float, foreign_per_s: float) -> None:
        self.foreign_per_s = foreign_per_s
        self.truth = Bucket(per_minute, 0.0)
        self.truth.take(per_minute, 0.0)
        self.ours = ServerBucket(named(per_minute, 0.0), 0.0, 0.0, 0.0)
        self.now = 0.0
        self.sent = self.refused = 0

    def run(self, seconds: float, *, step_s: float = 0.02) -> None:
        for _ in range(round(seconds / step_s)):
            self.now += step_s
            self.truth.take(min(self.foreign_per_s * step_s, max(0.0, self.truth.level(self.now))), self.now)
            while self.ours.bucket.ready_at(1.0, self.now) <= self.now:
                self.call()

    def call(self) -> None:
        self.sent += 1
        self.ours.bucket.take(1.0, self.now)
        if self.truth.level(self.now) >= 1.0:
            self.truth.take(1.0, self.now)
        else:
            self.refused += 1
            self.ours.bucket.take(-1.0, self.now)
        self.ours.heard(named(self.truth.capacity, self.truth.level(self.now)), 0.0, self.now, self.now)


@settings(max_examples=15)
@given(st.floats(0.0, 0.9), st.sampled_from([600.0, 1200.0, 6000.0]))
def test_a_neighbours_share_is_learned_and_left_to_it(share: float, per_minute: float) -> None:
    run = Shared(per_minute, share * per_minute / WINDOW_S)
    run.run(60.0)
    own_per_s = (1.0 - share) * per_minute / WINDOW_S
    assert run.ours.bucket.per_s == pytest.approx(own_per_s, abs=0.08 * per_minute / WINDOW_S)
    run.sent = run.refused = 0
    run.run(30.0)
    assert run.sent >= 0.9 * 30.0 * own_per_s
    assert run.refused <= 0.02 * run.sent + 1


def test_a_neighbour_that_goes_is_forgotten() -> None:
    run = Shared(1200.0, 10.0)
    run.run(60.0)
    assert run.ours.bucket.per_s == pytest.approx(10.0, abs=1.5)
    run.foreign_per_s = 0.0
    run.run(60.0)
    assert run.ours.bucket.per_s == pytest.approx(20.0, abs=1.5)


def test_nothing_is_learned_from_less_than_a_window_and_never_all_is_left_to_others() -> None:
    server = ServerBucket(named(600.0), 0.0, 0.0, 0.0)
    server.heard(named(600.0, 0.0), 0.0, FOREIGN_WINDOW_S - 0.01, FOREIGN_WINDOW_S - 0.01)
    assert server.bucket.per_s == 10.0
    for number in range(1, 100):
        server.heard(named(600.0, 0.0), 0.0, number * FOREIGN_WINDOW_S, number * FOREIGN_WINDOW_S)
    assert server.bucket.per_s == pytest.approx(10.0 * LEAST_OWN_SHARE)


@given(
    st.lists(
        st.tuples(st.floats(0.0, 20.0), st.sampled_from([60.0, 600.0, 10_000.0]), st.floats(0.0, 1.0), st.booleans()),
        max_size=40,
    )
)
def test_whatever_it_hears_the_rate_is_between_a_twentieth_and_all(
    words: list[tuple[float, float, float, bool]],
) -> None:
    server, now = ServerBucket(named(600.0), 0.0, 0.0, 0.0), 0.0
    for after_s, limit, share, at_most in words:
        now += after_s
        server.heard(named(limit, share * limit), 1.0, now, now, at_most=at_most)
        assert server.bucket.capacity == limit
        assert server.bucket.level(now) <= limit
        full_per_s = limit / WINDOW_S
        assert LEAST_OWN_SHARE * full_per_s * (1 - 1e-9) <= server.bucket.per_s <= full_per_s * (1 + 1e-9)


def test_where_more_comes_back_than_fits_nobody_is_suspected_of_taking_it() -> None:
    server = ServerBucket(named(600.0, 600.0), 0.0, 0.0, 0.0)
    for number in range(1, 100):
        now = float(number)
        server.bucket.take(5.0, now)
        server.heard(named(600.0, 595.0), 5.0, now - 2.0, now)
    assert server.bucket.per_s == 10.0
