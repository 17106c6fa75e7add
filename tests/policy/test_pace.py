from __future__ import annotations

from math import exp, inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_actors.policy.pace import (
    DECAY_S,
    FAILURE_COST_S,
    LEAST_SHARE,
    LEAST_WEIGHT,
    TRY_AGAIN_CALLS,
    TRY_AGAIN_S,
    Pace,
)


def test_nothing_is_expected_of_an_endpoint_that_never_answered() -> None:
    pace = Pace()
    assert (pace.expected_s(), pace.service_s, pace.error_share) == (inf, None, 0.0)
    for now in range(50):
        pace.failed(float(now))
    assert (pace.expected_s(), pace.service_s) == (inf, None)
    assert pace.error_share == pytest.approx(1.0)


def test_the_first_answer_is_the_measure() -> None:
    pace = Pace()
    pace.answered(0.25, 5.0)
    assert (pace.service_s, pace.expected_s(), pace.error_share) == (0.25, 0.25, 0.0)


def test_calls_that_follow_each_other_weigh_a_tenth_and_one_after_a_long_time_nearly_all() -> None:
    pace = Pace()
    pace.answered(1.0, 70.0)
    pace.answered(2.0, 70.0)
    assert pace.service_s == pytest.approx(1.0 + LEAST_WEIGHT)
    pace = Pace()
    pace.answered(1.0, 0.0)
    pace.answered(2.0, DECAY_S)
    assert pace.service_s == pytest.approx(2.0 - exp(-1.0))
    pace.answered(9.0, 100 * DECAY_S)
    assert pace.service_s == pytest.approx(9.0)


def test_the_very_first_call_weighs_all() -> None:
    pace = Pace()
    pace.failed(70.0)
    assert pace.error_share == 1.0


def test_a_failure_counts_in_no_service_time() -> None:
    pace = Pace()
    pace.answered(1.0, 0.0)
    pace.failed(0.0)
    assert pace.service_s == 1.0
    assert pace.error_share == pytest.approx(LEAST_WEIGHT)
    assert pace.expected_s() == pytest.approx((1.0 + LEAST_WEIGHT * FAILURE_COST_S) / (1.0 - LEAST_WEIGHT))


def test_one_that_has_answered_once_and_fails_ever_since_is_slow_but_not_endlessly_so() -> None:
    pace = Pace()
    pace.answered(0.005, 0.0)
    for _ in range(1000):
        pace.failed(0.0)
    assert pace.expected_s() == pytest.approx((0.005 + (1.0 - LEAST_SHARE) * FAILURE_COST_S) / LEAST_SHARE)
    for _ in range(100):
        pace.answered(0.005, 0.0)
    assert pace.expected_s() < 0.01


@given(st.lists(st.tuples(st.floats(0.0, 100.0), st.none() | st.floats(0.0, 600.0)), max_size=60))
def test_it_stays_between_what_was_measured(calls: list[tuple[float, float | None]]) -> None:
    pace, now, measured = Pace(), 0.0, []
    for after_s, service_s in calls:
        now += after_s
        if service_s is None:
            pace.failed(now)
        else:
            pace.answered(service_s, now)
            measured.append(service_s)
        assert -1e-9 <= pace.error_share <= 1.0
        if measured:
            assert pace.service_s is not None
            assert min(measured) - 1e-6 <= pace.service_s <= max(measured) + 1e-6
            assert pace.expected_s() >= pace.service_s - 1e-6


def test_it_is_due_when_nothing_was_sent_for_long_and_nothing_is_under_way() -> None:
    pace = Pace()
    assert pace.is_due(0.0, 0, 1)
    assert not pace.is_due(0.0, 1, 1)
    pace.begin(5.0)
    pace.passed_over = TRY_AGAIN_CALLS
    assert not pace.is_due(5.0 + TRY_AGAIN_S - 0.001, 0, 1)
    assert pace.is_due(5.0 + TRY_AGAIN_S, 0, 1)
    assert not pace.is_due(5.0 + TRY_AGAIN_S, 1, 1)


@pytest.mark.parametrize("others", [1, 2, 9])
def test_it_is_due_when_the_others_have_had_many_calls_each(others: int) -> None:
    pace = Pace()
    pace.begin(5.0)
    pace.passed_over = TRY_AGAIN_CALLS * others - 1
    assert not pace.is_due(1e6, 0, others)
    pace.passed_over += 1
    assert pace.is_due(1e6, 0, others)
    pace.begin(1e6)
    assert not pace.is_due(2e6, 0, others), "they are counted anew"
