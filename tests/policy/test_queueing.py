from __future__ import annotations

import random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_actors.policy.queueing import (
    FEWEST_SAMPLES,
    FIRST_SAMPLES,
    HELPED_RATIO,
    LONG_RATIO,
    MOST_SAMPLES,
    QUEUED_RATIO,
    STEADY,
    Flows,
    NotOurs,
    Queues,
    QueueWatch,
    Suspect,
    Verdict,
)

FLOWS, SUSPECT = Flows(), Suspect()


def window(watch: QueueWatch, ttft_s: float, *, limit: float = 2.0, now: float = 0.0) -> Verdict:
    """The verdict on a whole window of calls that took `ttft_s` each."""
    while True:
        verdict = watch.add(ttft_s, begun_at=now, limit=limit, is_used=True, is_hasty=False)
        if verdict is not None:
            return verdict


def used_to(ttft_s: float, *, limit: float = 2.0) -> QueueWatch:
    watch = QueueWatch()
    for _ in range(STEADY):
        assert window(watch, ttft_s, limit=limit) == FLOWS
    return watch


def verdicts(times: list[float], limit: float) -> list[Verdict]:
    watch = QueueWatch()
    found = (watch.add(ttft_s, begun_at=0.0, limit=limit, is_used=True, is_hasty=False) for ttft_s in times)
    return [verdict for verdict in found if verdict is not None]


@pytest.mark.parametrize(
    ("limit", "is_hasty", "samples"),
    [
        (1.0, False, FEWEST_SAMPLES),
        (20.0, False, FEWEST_SAMPLES),
        (57.0, False, 57),
        (57.0, True, FEWEST_SAMPLES),
        (1e6, False, MOST_SAMPLES),
    ],
)
def test_a_window_holds_as_many_calls_as_may_be_under_way(limit: float, is_hasty: bool, samples: int) -> None:
    watch = QueueWatch()
    for _ in range(3):
        found = [watch.add(0.1, begun_at=0.0, limit=limit, is_used=True, is_hasty=is_hasty) for _ in range(samples)]
        assert found == [None] * (samples - 1) + [FLOWS]


def test_what_takes_up_to_twice_as_long_flows() -> None:
    watch = used_to(0.1)
    assert window(watch, 0.1 * QUEUED_RATIO) == FLOWS
    assert window(watch, 0.1 * QUEUED_RATIO) == FLOWS
    assert not watch.is_suspect


def test_what_takes_longer_twice_in_a_row_queues_and_by_how_much_is_told() -> None:
    watch = used_to(0.1)
    assert window(watch, 0.3) == SUSPECT
    assert watch.is_suspect
    assert window(watch, 0.25) == Queues(2.5)


def test_one_window_by_chance_decides_nothing() -> None:
    watch = used_to(0.1)
    for _ in range(5):
        assert window(watch, 0.3) == SUSPECT
        assert window(watch, 0.1) == FLOWS
        assert not watch.is_suspect


def test_four_times_as_long_queues_at_once() -> None:
    assert window(used_to(0.1), 0.1 * LONG_RATIO) == Queues(LONG_RATIO)
    assert window(used_to(0.1), 0.1 * LONG_RATIO - 0.001) == SUSPECT


def test_a_few_calls_that_take_long_do_not_move_the_median() -> None:
    watch = used_to(0.1)
    found = [
        watch.add(9.0 if number % 20 < 9 else 0.1, begun_at=0.0, limit=1.0, is_used=True, is_hasty=False)
        for number in range(100)
    ]
    assert {verdict for verdict in found if verdict is not None} == {FLOWS}


def test_the_first_answers_are_the_first_measure_also_where_calls_wait_from_the_beginning() -> None:
    watch = QueueWatch()
    for _ in range(FIRST_SAMPLES):
        watch.add(0.1, begun_at=0.0, limit=1.0, is_used=True, is_hasty=True)
    assert window(watch, 0.5) == Queues(5.0)


def test_of_the_first_answers_the_slowest_counts() -> None:
    watch = QueueWatch()
    for number in range(FIRST_SAMPLES):
        watch.add(0.1 if number else 0.3, begun_at=0.0, limit=1.0, is_used=True, is_hasty=True)
    assert window(watch, 0.5) == FLOWS


def test_only_three_quick_windows_in_a_row_are_a_new_measure() -> None:
    watch = used_to(0.1)
    for _ in range(STEADY - 1):
        window(watch, 0.04)
    assert window(watch, 0.1) == FLOWS
    assert window(watch, 0.16) == FLOWS
    for _ in range(STEADY):
        window(watch, 0.04)
    assert window(watch, 0.1) == SUSPECT


def test_calls_from_before_a_change_of_the_limit_tell_nothing() -> None:
    watch = used_to(0.1)
    assert window(watch, 0.3) == SUSPECT
    watch.start_over(5.0)
    assert not watch.is_suspect
    assert [watch.add(9.0, begun_at=4.999, limit=1.0, is_used=True, is_hasty=False) for _ in range(100)] == [None] * 100
    assert window(watch, 0.3, now=5.0) == SUSPECT, "and the count in a row begins anew"


def test_half_a_window_from_before_a_change_is_forgotten() -> None:
    watch = used_to(0.1)
    for _ in range(FEWEST_SAMPLES - 1):
        watch.add(9.0, begun_at=0.0, limit=1.0, is_used=True, is_hasty=False)
    watch.start_over(5.0)
    found = [watch.add(0.1, begun_at=5.0, limit=1.0, is_used=True, is_hasty=False) for _ in range(FEWEST_SAMPLES)]
    assert found == [None] * (FEWEST_SAMPLES - 1) + [FLOWS]


# --------------------------------------------------------------------------------------------- whether a cut has helped


def in_trouble(*, limit: float, ttft_s: float = 0.5) -> QueueWatch:
    watch = used_to(0.1)
    assert isinstance(window(watch, ttft_s, limit=limit), Queues)
    watch.start_over(1.0)
    return watch


def test_half_as_many_that_wait_as_long_show_that_it_is_no_queue_of_ours() -> None:
    watch = in_trouble(limit=100.0)
    assert window(watch, 0.5, limit=50.0, now=1.0) == NotOurs(100.0)
    assert window(watch, 0.5, limit=50.0, now=1.0) == FLOWS, "that is usual now"
    assert window(watch, 0.9, limit=50.0, now=1.0) == FLOWS
    assert isinstance(window(watch, 2.1, limit=50.0, now=1.0), Queues)


def test_more_than_half_as_many_prove_nothing() -> None:
    assert isinstance(window(in_trouble(limit=100.0), 0.5, limit=51.0, now=1.0), Queues)


def test_if_it_has_helped_somewhat_the_queue_is_ours() -> None:
    watch = in_trouble(limit=100.0)
    assert isinstance(window(watch, HELPED_RATIO * 0.5, limit=50.0, now=1.0), Suspect)
    assert isinstance(window(watch, HELPED_RATIO * 0.5, limit=50.0, now=1.0), Queues)
    assert window(watch, HELPED_RATIO * 0.5, limit=25.0, now=1.0) == NotOurs(50.0), "a new trouble"


def test_it_is_compared_with_the_longest_wait_of_the_trouble_and_with_its_first_limit() -> None:
    watch = in_trouble(limit=100.0, ttft_s=0.5)
    assert isinstance(window(watch, 1.0, limit=60.0, now=1.0), Queues), "the queue was still growing"
    assert isinstance(window(watch, 0.7, limit=50.0, now=1.0), Queues), "0.7 is less than 0.75 of 1.0"
    watch = in_trouble(limit=100.0, ttft_s=0.5)
    assert isinstance(window(watch, 1.0, limit=60.0, now=1.0), Queues)
    assert window(watch, 0.8, limit=50.0, now=1.0) == NotOurs(100.0)


def test_a_trouble_that_is_over_is_no_measure_for_the_next() -> None:
    watch = in_trouble(limit=100.0)
    assert window(watch, 0.1, limit=75.0, now=1.0) == FLOWS
    assert isinstance(window(watch, 0.5, limit=50.0, now=1.0), Queues)
    assert window(watch, 0.5, limit=25.0, now=1.0) == NotOurs(50.0)


def test_a_trouble_is_over_only_when_nearly_as_many_calls_do_not_wait_any_more() -> None:
    watch = in_trouble(limit=100.0)
    assert window(watch, 0.1, limit=74.0, now=1.0) == FLOWS, "one window may be chance"
    assert window(watch, 0.5, limit=50.0, now=1.0) == NotOurs(100.0)


@given(st.integers(0, 2**32), st.sampled_from([1.0, 32.0, 500.0]), st.sampled_from([0.2, 0.5, 0.8]))
def test_random_times_without_a_queue_are_hardly_ever_taken_for_one(seed: int, limit: float, sigma: float) -> None:
    chance = random.Random(seed)
    found = verdicts([chance.lognormvariate(0.0, sigma) for _ in range(2000)], limit)
    assert sum(isinstance(verdict, Queues) for verdict in found) <= 0.02 * len(found)


@given(st.lists(st.floats(0.0, 100.0), max_size=300))
def test_whatever_the_times_a_queue_has_a_ratio_above_two(times: list[float]) -> None:
    for verdict in verdicts(times, 1.0):
        if isinstance(verdict, Queues):
            assert verdict.ratio > QUEUED_RATIO
    if len(times) >= FEWEST_SAMPLES:
        assert median(times) >= 0.0


def test_a_server_that_answers_in_no_time_queues_nothing() -> None:
    watch = used_to(0.0)
    assert window(watch, 1.0) == FLOWS


# ------------------------------------------------------------------------------------ calls that are too few to queue


def idle(watch: QueueWatch, ttft_s: float, count: int = FEWEST_SAMPLES, now: float = 0.0) -> list[Verdict | None]:
    """Calls with fewer under way than there may be."""
    return [watch.add(ttft_s, begun_at=now, limit=9.0, is_used=False, is_hasty=False) for _ in range(count)]


@pytest.mark.parametrize("usual_s", [1.5, 0.02])
def test_where_the_limit_is_not_used_times_are_not_judged_but_are_the_measure_in_both_directions(
    usual_s: float,
) -> None:
    watch = used_to(0.1)
    assert idle(watch, usual_s) == [None] * (FEWEST_SAMPLES - 1) + [FLOWS]
    assert not watch.is_suspect
    assert window(watch, usual_s * QUEUED_RATIO) == FLOWS
    assert window(watch, usual_s * LONG_RATIO) == Queues(LONG_RATIO)


def test_the_measure_is_the_median_of_those_that_were_too_few() -> None:
    watch = used_to(0.1)
    idle(watch, 9.0, FEWEST_SAMPLES // 2 - 1)
    idle(watch, 1.0, FEWEST_SAMPLES // 2 + 1)
    assert window(watch, 2.0) == FLOWS
    assert window(watch, 4.0) == Queues(4.0)


def test_too_few_of_those_that_were_too_few_measure_nothing() -> None:
    watch = used_to(0.1)
    idle(watch, 1.0, FEWEST_SAMPLES - 1)
    assert window(watch, 1.0) == Queues(10.0)


def test_a_new_measure_ends_suspicion_and_trouble() -> None:
    watch = used_to(0.1)
    assert window(watch, 0.3) == SUSPECT
    idle(watch, 0.3)
    assert not watch.is_suspect
    watch = in_trouble(limit=100.0)
    idle(watch, 0.1, now=1.0)
    assert isinstance(window(watch, 0.5, limit=50.0, now=1.0), Queues), "a new trouble, with its own limit"


@pytest.mark.parametrize("limit", [1.0, 1.9])
def test_below_two_at_once_nothing_can_wait(limit: float) -> None:
    watch = used_to(0.1)
    assert window(watch, 0.5, limit=limit) == NotOurs(limit)
    assert window(watch, 0.5, limit=limit) == FLOWS, "that is usual now"
    watch = in_trouble(limit=100.0)
    assert window(watch, 0.5, limit=limit, now=1.0) == NotOurs(100.0), "it was right before"


def test_a_suspicion_lapses_after_twenty_calls_without_a_time() -> None:
    watch = used_to(0.1)
    assert window(watch, 0.3) == SUSPECT
    for _ in range(FEWEST_SAMPLES - 1):
        watch.add_unseen()
        assert watch.is_suspect
    watch.add_unseen()
    assert not watch.is_suspect
    for _ in range(FEWEST_SAMPLES - 1):
        watch.add_unseen()
    assert window(watch, 0.3) == SUSPECT, "it is the first in a row again"
    watch.add_unseen()
    assert watch.is_suspect, "they are counted anew"
