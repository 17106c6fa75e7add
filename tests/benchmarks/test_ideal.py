"""Is the ideal really what a perfect work-conserving scheduler reaches?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.ideal import makespan


def by_ticks(durations: list[int], places: int) -> int:
    """The naive model: step by step, whoever is free takes the next job."""
    waiting = list(durations)
    left: list[int] = []
    now = 0
    while waiting or left:
        while waiting and len(left) < places:
            left.append(waiting.pop(0))
        step = min(left)
        now += step
        left = [job - step for job in left if job > step]
    return now


@given(durations=st.lists(st.integers(0, 50), max_size=60), places=st.integers(1, 12))
def test_the_ideal_agrees_with_a_step_by_step_model(durations: list[int], places: int) -> None:
    assert makespan(durations, places) == by_ticks(durations, places)


@given(durations=st.lists(st.integers(1, 50), min_size=1, max_size=60), places=st.integers(1, 12))
def test_the_ideal_lies_between_the_two_known_bounds(durations: list[int], places: int) -> None:
    lower = max(max(durations), sum(durations) / places)
    assert lower <= makespan(durations, places) <= sum(durations) / places + max(durations)  # Graham, 1966


def test_equal_jobs_take_whole_rounds() -> None:
    assert makespan([0.05] * 3000, 1000) == pytest.approx(0.15)


def test_nothing_to_do_takes_no_time() -> None:
    assert makespan([], 3) == 0.0
