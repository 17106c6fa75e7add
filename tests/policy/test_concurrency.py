from __future__ import annotations

import random
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_actors.policy.concurrency import (
    FEWEST_OUTCOMES,
    FIRST_LIMIT,
    GROWTH_SHARE,
    HOLD_S,
    OUTCOMES,
    OVERLOADED_SHARE,
    SHARPEST_CUT,
    USED_SHARE,
    USUAL_CUT,
    AdaptiveLimit,
)
from synth_actors.policy.queueing import FEWEST_SAMPLES, FIRST_SAMPLES


def round_of_calls(limit: AdaptiveLimit, now: float, *, ttft_s: float | None = None) -> None:
    """As many calls as may be under way are let in one after the other, and others take their places at once."""
    for _ in range(int(limit.limit)):
        limit.let_in(now, begun_at=now, in_flight=int(limit.limit), ttft_s=ttft_s)


def grown(maximum: float, rounds: int = 20) -> AdaptiveLimit:
    limit = AdaptiveLimit(maximum)
    for number in range(rounds):
        round_of_calls(limit, float(number))
    return limit


def steady(limit: float, maximum: float = 10_000.0) -> AdaptiveLimit:
    """One that is at `limit` and doubles no more."""
    found = AdaptiveLimit(maximum, first=limit)
    found.timed_out(0.0, begun_at=0.0)
    found.limit = limit
    return found


# ------------------------------------------------------------------------------------------------------------- it grows


def test_it_begins_with_few_and_never_with_more_than_there_may_be() -> None:
    assert AdaptiveLimit(1000).limit == FIRST_LIMIT
    assert AdaptiveLimit(3).limit == 3


@pytest.mark.parametrize(
    ("ttft_s", "expected"),
    [(1.0, [16, 32, 64, 128, 256, 512, 1000, 1000]), (None, [16, 36, 81, 182, 409, 921, 1000, 1000])],
)
def test_it_doubles_with_every_round_up_to_the_maximum_and_grows_faster_where_no_first_token_is_seen(
    ttft_s: float | None, expected: list[int]
) -> None:
    limit, seen = AdaptiveLimit(1000), []
    for now in range(8):
        seen.append(int(limit.limit))
        round_of_calls(limit, float(now), ttft_s=ttft_s)
    assert seen == expected


@pytest.mark.parametrize(
    ("first_streamed", "maximum", "expected"), [(True, 1000, 16), (False, 1000, 32), (False, 20, 20)]
)
def test_it_begins_higher_where_the_first_call_is_not_streamed(
    first_streamed: bool, maximum: int, expected: int
) -> None:
    limit = AdaptiveLimit(maximum)
    for streamed in (first_streamed, not first_streamed, False, True):
        limit.sent(streamed=streamed)
        assert limit.limit == expected, "only the first call decides"
    limit.refused(1.0, in_flight=5)
    limit.sent(streamed=False)
    assert limit.limit == 5


def test_after_a_cut_it_grows_by_a_twentieth_a_round() -> None:
    limit = steady(200.0)
    round_of_calls(limit, 1.0)
    assert limit.limit == pytest.approx(200.0 * (1 + GROWTH_SHARE), rel=0.01)
    small = steady(4.0)
    round_of_calls(small, 1.0)
    assert small.limit == pytest.approx(5.0, rel=0.02), "by one at least"


@pytest.mark.parametrize("in_flight", [1, int(16 * USED_SHARE)])
def test_a_limit_that_is_not_used_is_not_proved(in_flight: int) -> None:
    limit = AdaptiveLimit(1000)
    for now in range(100):
        limit.let_in(float(now), begun_at=float(now), in_flight=in_flight, ttft_s=None)
    assert limit.limit == FIRST_LIMIT
    limit.let_in(0.0, begun_at=0.0, in_flight=in_flight + 1, ttft_s=None)
    assert (limit.limit > FIRST_LIMIT) == (in_flight > 1)


# ----------------------------------------------------------------------------------------------------------- refusals


def test_a_429_lowers_it_to_what_was_in_flight() -> None:
    limit = grown(100)
    limit.refused(50.0, in_flight=30)
    assert limit.limit == 30
    limit.refused(50.0, in_flight=70)
    assert limit.limit == 30, "never up"
    limit.refused(50.0, in_flight=0)
    assert limit.limit == 1


def test_after_a_429_nothing_is_tried_above_the_limit_for_a_while() -> None:
    limit = grown(100)
    limit.refused(50.0, in_flight=30)
    round_of_calls(limit, 50.0 + HOLD_S - 0.01)
    assert limit.limit == 30
    round_of_calls(limit, 50.0 + HOLD_S)
    assert limit.limit == pytest.approx(30 * (1 + GROWTH_SHARE), rel=0.01), "and it doubles no more"


def test_a_pause_restores_half_of_what_was_right_before_the_refusals() -> None:
    limit = grown(100)
    for in_flight in range(99, 40, -1):
        limit.refused(50.0, in_flight=in_flight)
    limit.paused()
    assert limit.limit == 50
    round_of_calls(limit, 50.1)
    assert limit.limit == 100, "it doubles again, and is not held"


def test_a_pause_without_refusals_halves_it_and_one_is_the_least() -> None:
    limit = grown(100)
    limit.paused()
    assert limit.limit == 50
    limit = AdaptiveLimit(1)
    limit.paused()
    assert limit.limit == 1


def test_a_second_pause_halves_again() -> None:
    limit = grown(100)
    limit.refused(50.0, in_flight=30)
    limit.paused()
    limit.refused(60.0, in_flight=3)
    limit.paused()
    assert limit.limit == 25


def test_it_is_found_when_something_has_shown_that_more_would_be_too_many() -> None:
    limit = grown(100)
    assert not limit.is_found
    limit.refused(50.0, in_flight=30)
    assert limit.is_found


def test_a_call_that_was_let_in_shows_that_the_refusals_were_right() -> None:
    limit = grown(100)
    limit.refused(50.0, in_flight=30)
    limit.let_in(50.1, begun_at=49.0, in_flight=30, ttft_s=None)
    limit.refused(50.2, in_flight=20)
    limit.paused()
    assert limit.limit == 15


# ----------------------------------------------------------------------------------------------- overloads and timeouts


def overloads(limit: AdaptiveLimit, share: float, count: int, *, seed: int = 1) -> None:
    """So many calls one after the other, of which that share is refused as overloaded, spread evenly."""
    debt = 0.0
    for number in range(count):
        now, debt = number * 0.01, debt + share
        if debt >= 1.0:
            debt -= 1.0
            limit.overloaded(now, begun_at=now)
        else:
            limit.let_in(now, begun_at=now, in_flight=int(limit.limit), ttft_s=None)


@pytest.mark.parametrize("share", [0.02, 0.05, OVERLOADED_SHARE])
def test_up_to_a_tenth_of_overloads_lowers_nothing(share: float) -> None:
    limit = grown(1000)
    overloads(limit, share, 2000)
    assert limit.limit == 1000


def test_random_overloads_of_one_in_fifty_lower_nothing() -> None:
    chance, limit = random.Random(3), grown(1000)
    for number in range(5000):
        now = number * 0.01
        if chance.random() < 0.02:
            limit.overloaded(now, begun_at=now)
        else:
            limit.let_in(now, begun_at=now, in_flight=1000, ttft_s=None)
        assert limit.limit > 600
    assert limit.limit == 1000


@pytest.mark.parametrize("share", [0.15, 0.3])
def test_more_than_a_tenth_lowers_it(share: float) -> None:
    limit = grown(1000)
    overloads(limit, share, 300)
    assert limit.limit < 500


def test_too_few_calls_say_nothing_about_a_share() -> None:
    limit = AdaptiveLimit(1000)
    for number in range(1, FEWEST_OUTCOMES):
        limit.overloaded(0.0, begun_at=0.0)
        assert (limit.overloaded_share, limit.limit) == (0.0, FIRST_LIMIT), number
    limit.overloaded(0.0, begun_at=0.0)
    assert limit.overloaded_share == 1.0
    assert limit.limit == FIRST_LIMIT * USUAL_CUT


@given(st.lists(st.booleans(), max_size=150))
def test_the_share_is_that_of_the_last_fifty(outcomes: list[bool]) -> None:
    limit = AdaptiveLimit(1000)
    for number, is_overloaded in enumerate(outcomes, 1):
        if is_overloaded:
            limit.overloaded(0.0, begun_at=0.0)
        else:
            limit.let_in(0.0, begun_at=0.0, in_flight=1, ttft_s=None)
        last = outcomes[max(0, number - OUTCOMES) : number]
        assert limit.overloaded_share == (sum(last) / len(last) if len(last) >= FEWEST_OUTCOMES else 0.0)


def test_a_pause_forgets_the_share() -> None:
    limit = AdaptiveLimit(1000)
    for _ in range(OUTCOMES):
        limit.overloaded(0.0, begun_at=0.0)
    limit.paused()
    assert limit.overloaded_share == 0.0
    for _ in range(FEWEST_OUTCOMES):
        limit.let_in(1.0, begun_at=1.0, in_flight=1, ttft_s=None)
    assert limit.overloaded_share == 0.0


@pytest.mark.parametrize("happens", [AdaptiveLimit.timed_out, AdaptiveLimit.overloaded])
def test_calls_from_before_a_cut_do_not_cut_again(happens: Callable[..., None]) -> None:
    limit = AdaptiveLimit(1000, first=100)
    for _ in range(FEWEST_OUTCOMES - 1):
        limit.overloaded(30.0, begun_at=30.0)
    happens(limit, 50.0, begun_at=49.0)
    assert limit.limit == 80
    for _ in range(10):
        happens(limit, 51.0, begun_at=49.9)
        assert limit.limit == 80
    happens(limit, 52.0, begun_at=50.0)
    assert limit.limit == pytest.approx(64)


# --------------------------------------------------------------------------------------------------------------- queues


def test_calls_that_wait_for_each_other_lower_it_at_most_by_half() -> None:
    limit = AdaptiveLimit(1000, first=100)
    limit._held_until = inf
    for _ in range(FIRST_SAMPLES):
        limit.let_in(0.0, begun_at=0.0, in_flight=80, ttft_s=0.1)
    for _ in range(FEWEST_SAMPLES - FIRST_SAMPLES):
        limit.let_in(0.0, begun_at=0.0, in_flight=80, ttft_s=5.0)
    assert limit.limit == 80 * SHARPEST_CUT, "of those that were really under way"


@pytest.mark.parametrize(("ratio", "factor"), [(2.2, USUAL_CUT), (3.0, 2 / 3), (3.9, 2 / 3.9), (10.0, SHARPEST_CUT)])
def test_the_longer_they_wait_the_sharper_the_cut(ratio: float, factor: float) -> None:
    limit = steady(25.0)
    for _ in range(100):
        limit.let_in(1.0, begun_at=1.0, in_flight=1, ttft_s=0.1)
    limit._held_until = inf
    while limit.limit == 25.0:
        limit.let_in(1.0, begun_at=1.0, in_flight=20, ttft_s=0.1 * ratio)
    assert limit.limit == pytest.approx(20.0 * factor), "of those that were really under way"


def test_times_of_calls_that_are_fewer_than_may_be_lower_nothing() -> None:
    limit = AdaptiveLimit(1000, first=100)
    for ttft_s in (0.1, 0.1, 9.0, 9.0, 99.0):
        for _ in range(FEWEST_SAMPLES):
            limit.let_in(0.0, begun_at=0.0, in_flight=79, ttft_s=ttft_s)
    assert (limit.limit, limit.is_found) == (100, False)


def test_a_suspicion_does_not_hold_it_for_ever_where_nothing_is_streamed_any_more() -> None:
    limit = steady(20.0)
    for ttft_s in (0.1, 0.3):
        for _ in range(FEWEST_SAMPLES):
            limit.let_in(1.0, begun_at=1.0, in_flight=20, ttft_s=ttft_s)
    held_at = limit.limit
    for _ in range(FEWEST_SAMPLES - 1):
        limit.let_in(1.0, begun_at=1.0, in_flight=20, ttft_s=None)
    assert limit.limit == held_at
    limit.let_in(1.0, begun_at=1.0, in_flight=20, ttft_s=None)
    assert limit.limit > held_at


def test_while_the_last_window_was_too_long_it_does_not_grow() -> None:
    limit, seen = steady(20.0), []
    for _ in range(FEWEST_SAMPLES):
        limit.let_in(1.0, begun_at=1.0, in_flight=1, ttft_s=0.1)
    for number in range(FEWEST_SAMPLES + 15):
        limit.let_in(1.0, begun_at=1.0, in_flight=20, ttft_s=0.3)
        seen.append(limit.limit)
        assert (seen[-1] > seen[max(0, number - 1)]) == (0 < number < FEWEST_SAMPLES - 1), number


def test_what_is_no_queue_of_ours_gives_the_limit_back() -> None:
    limit = steady(80.0)
    for _ in range(300):
        limit.let_in(1.0, begun_at=1.0, in_flight=1, ttft_s=0.1)
    now, seen = 2.0, []
    for _ in range(400):
        limit.let_in(now, begun_at=now, in_flight=int(limit.limit), ttft_s=1.0)
        seen.append(limit.limit)
        now += 0.01
    given_back = next(n for n in range(1, 400) if seen[n] > 1.5 * seen[n - 1])
    assert min(seen) <= 45.0
    assert 80.0 <= seen[given_back] <= 90.0, "as many as when the trouble began"
    assert seen[given_back + 1] > seen[given_back], "and it grows from there"
    assert seen[-1] <= 120.0


class Server:
    """A server that makes `places` answers at once, and the others wait; the first token comes after a fifth of one."""

    def __init__(self, places: int, sigma: float, seed: int) -> None:
        self.places, self.sigma = places, sigma
        self.chance = random.Random(seed)

    def run(self, limit: AdaptiveLimit, calls: int) -> list[float]:
        """The limits as calls are let in, while there is always one more to send."""
        seen: list[float] = []
        free_at = [0.0] * self.places
        events: list[tuple[float, int, float, bool]] = []  # when, number, begun at, whether it is the end
        now, in_flight, numbers = 0.0, 0, count()
        while len(seen) < calls:
            while in_flight + 1 <= limit.limit:
                in_flight += 1
                starts_at = max(now, heappop(free_at))
                service_s = self.chance.lognormvariate(0.0, self.sigma)
                heappush(free_at, starts_at + service_s)
                heappush(events, (starts_at + 0.2 * service_s, next(numbers), now, False))
                heappush(events, (starts_at + service_s, next(numbers), now, True))
            now, _number, begun_at, is_end = heappop(events)
            if is_end:
                in_flight -= 1
            else:
                limit.let_in(now, begun_at=begun_at, in_flight=in_flight, ttft_s=now - begun_at)
                seen.append(limit.limit)
        return seen


@settings(max_examples=12)
@given(st.integers(0, 2**32), st.sampled_from([0.1, 0.3, 0.5]))
def test_random_times_without_a_queue_do_not_drive_it_down(seed: int, sigma: float) -> None:
    late = Server(300, sigma, seed).run(AdaptiveLimit(300), 6000)[2000:]
    assert sum(late) / len(late) > 0.95 * 300
    assert min(late) >= 200


@settings(max_examples=12)
@given(st.integers(0, 2**32), st.sampled_from([0.1, 0.4]), st.sampled_from([8, 40, 150]))
def test_it_finds_about_what_a_server_works_on_at_once(seed: int, sigma: float, places: int) -> None:
    late = Server(places, sigma, seed).run(AdaptiveLimit(1000), 6000)[3000:]
    assert 0.8 * places <= sum(late) / len(late) <= 1.6 * places
    assert max(late) <= 2.5 * places


events = st.one_of(
    st.tuples(st.just("let in"), st.integers(1, 400), st.none() | st.floats(0.0, 50.0)),
    st.tuples(st.sampled_from(["refused", "overloaded", "timed out", "paused"]), st.integers(0, 400), st.none()),
)


@given(st.sampled_from([1.0, 2.0, 17.0, 300.0]), st.lists(st.tuples(events, st.integers(1, 60)), max_size=60))
def test_under_any_events_it_is_between_one_and_the_maximum(
    maximum: float, happened: list[tuple[tuple[str, int, float | None], int]]
) -> None:
    limit, now = AdaptiveLimit(maximum), 0.0
    for (what, in_flight, ttft_s), times in happened:
        for _ in range(times):
            now += 0.3
            if what == "let in":
                limit.let_in(now, begun_at=now - 0.2, in_flight=in_flight, ttft_s=ttft_s)
            elif what == "refused":
                limit.refused(now, in_flight=in_flight)
            elif what == "overloaded":
                limit.overloaded(now, begun_at=now - 0.2)
            elif what == "timed out":
                limit.timed_out(now, begun_at=now - 0.2)
            else:
                limit.paused()
            assert 1.0 <= limit.limit <= maximum
