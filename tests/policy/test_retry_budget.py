from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_actors.policy.retry_budget import FEWEST, SHARE, WINDOW_S, RetryBudget

SLICE_S = 0.1
PATIENCE_S = 60.0

gaps = st.lists(st.sampled_from([0.0, 0.0, 0.001, 0.05, 0.5, 3.0, 9.99, 25.0]) | st.floats(0.0, 12.0), max_size=60)


def most_within_a_window(times: list[float]) -> int:
    times = sorted(times)
    return max((n + 1 - bisect_right(times, at - WINDOW_S) for n, at in enumerate(times)), default=0)


def busy(per_s: float, seconds: float) -> RetryBudget:
    budget = RetryBudget()
    for number in range(round(per_s * seconds)):
        budget.request(number / per_s)
    return budget


@given(gaps)
def test_where_few_requests_come_ten_repetitions_fit_into_any_ten_seconds(waits: list[float]) -> None:
    budget, booked = RetryBudget(), []
    for now in accumulate(waits):
        at = budget.book(now, within_s=PATIENCE_S)
        if at is not None:
            assert now <= at <= now + PATIENCE_S
            booked.append(at)
    assert most_within_a_window(booked) <= FEWEST
    if len(booked) < len(waits):
        assert max(booked) > PATIENCE_S - WINDOW_S, "it was refused only for want of room"


@given(gaps, st.floats(0.0, 40.0))
def test_whoever_is_refused_would_have_found_no_room(waits: list[float], within_s: float) -> None:
    budget = RetryBudget()
    booked: list[float] = []
    for now in accumulate(waits):
        at = budget.book(now, within_s=within_s)
        earlier = now + within_s if at is None else at - 1e-6
        for free_at in (now, now + within_s / 2, now + within_s):
            if now <= free_at <= earlier:
                in_window = sum(free_at - WINDOW_S < other <= free_at for other in booked)
                assert in_window >= FEWEST, "there was room"
        if at is not None:
            booked.append(at)


@settings(max_examples=12)
@given(st.sampled_from([20.0, 50.0, 200.0]), st.lists(st.booleans(), min_size=10, max_size=100))
def test_a_tenth_of_the_requests_at_a_constant_rate(per_s: float, fails: list[bool]) -> None:
    budget, booked, now = busy(per_s, 2 * WINDOW_S), [], 2 * WINDOW_S
    for number in range(round(per_s * WINDOW_S)):
        now += 1 / per_s
        budget.request(now)
        if fails[number % len(fails)] and (at := budget.book(now, within_s=PATIENCE_S)) is not None:
            booked.append(at)
    most = max(FEWEST, SHARE * per_s * WINDOW_S)
    assert most_within_a_window(booked) <= most
    if all(fails):
        assert most_within_a_window(booked) >= most - SHARE * per_s * SLICE_S - 1, "and as many are used"


@given(gaps)
def test_the_allowance_is_a_tenth_of_the_last_ten_seconds_and_at_least_ten(waits: list[float]) -> None:
    budget, times = RetryBudget(), []
    for now in accumulate(waits):
        for _ in range(40):
            budget.request(now)
        times += [now] * 40
        most = sum(now - WINDOW_S < at for at in times)
        least = sum(now - WINDOW_S + SLICE_S < at for at in times)
        assert max(FEWEST, int(SHARE * least)) <= budget.allowance(now) <= max(FEWEST, int(SHARE * most))
    assert budget.allowance(1e6) == FEWEST, "who came long ago does not count"


def test_the_eleventh_waits_for_the_first_to_be_ten_seconds_old() -> None:
    budget = RetryBudget()
    assert [budget.book(5.0, within_s=60.0) for _ in range(10)] == [5.0] * 10
    assert budget.book(5.0, within_s=9.999) is None
    assert budget.book(5.0, within_s=10.0) == 15.0
    assert [budget.book(6.0, within_s=60.0) for _ in range(9)] == [15.0] * 9
    assert budget.book(6.0, within_s=60.0) == 25.0


def test_what_is_forgotten_is_what_is_ten_seconds_old_and_nothing_else() -> None:
    budget = RetryBudget()
    assert budget.book(0.0, within_s=60.0) == 0.0
    assert [budget.book(5.0, within_s=60.0) for _ in range(10)] == [5.0] * 9 + [10.0]
    assert budget.book(10.0, within_s=60.0) == 15.0
    for _ in range(200):
        budget.request(20.0)
    assert (budget.allowance(29.999), budget.allowance(30.0)) == (20, FEWEST)


def test_who_was_refused_takes_no_place() -> None:
    budget = RetryBudget()
    for _ in range(10):
        budget.book(0.0, within_s=0.0)
    assert [budget.book(1.0, within_s=1.0) for _ in range(100)] == [None] * 100
    assert budget.book(10.0, within_s=0.0) == 10.0


@pytest.mark.parametrize("per_s", [1000.0, 100.0])
def test_it_remembers_slices_and_not_requests(per_s: float) -> None:
    budget = busy(per_s, 3 * WINDOW_S)
    assert len(budget._slices) <= WINDOW_S / SLICE_S + 1
    for second in range(300):
        while budget.book(30.0 + second, within_s=0.0) is not None:
            pass
    assert len(budget._booked) <= FEWEST


def test_two_answers_allow_one_repetition_more_as_long_as_it_is_of_the_last_seconds() -> None:
    budget = RetryBudget()
    for number in range(60):
        budget.request(0.1 * number)
        budget.answered(0.1 * number)
    assert budget.allowance(6.0) == 36
    assert budget.allowance(0.1 * 59 + WINDOW_S + 0.01) == FEWEST
    assert [budget.book(6.0, within_s=1.0) for _ in range(36)] == [6.0] * 36
    assert budget.book(6.0, within_s=1.0) is None


def test_a_server_that_fails_every_third_call_never_makes_its_requests_wait_for_the_budget() -> None:
    budget, now = RetryBudget(), 0.0
    for _ in range(2000):
        now += 0.01
        budget.request(now)
        budget.answered(now)
        budget.answered(now)
        assert budget.book(now, within_s=60.0) == now
