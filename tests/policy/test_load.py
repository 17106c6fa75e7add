from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from synth_actors.policy.load import Load

changes = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4), st.integers(0, 4), st.integers(1, 4)), max_size=20)


def seen(load: Load) -> tuple[float, float, float, float]:
    return load.busy_s, load.backlog_s, load.saturated_s, load.saturated_backlog_s


def test_levels_are_summed_over_the_time_for_which_they_held() -> None:
    load = Load(10.0)
    load.change(12.0, in_flight=2, waiting=0, delayed=0, places=2, closed=False)  # nothing was under way before
    assert seen(load) == (0.0, 0.0, 0.0, 0.0)
    load.change(15.0, in_flight=2, waiting=4, delayed=0, places=2, closed=False)
    assert seen(load) == (6.0, 0.0, 0.0, 0.0)
    load.change(16.0, in_flight=1, waiting=3, delayed=0, places=2, closed=False)  # a place is free
    assert seen(load) == (8.0, 4.0, 1.0, 4.0)
    load.change(20.0, in_flight=0, waiting=0, delayed=0, places=2, closed=False)
    assert seen(load) == (12.0, 16.0, 1.0, 4.0)


@given(changes)
def test_sums_are_those_of_a_naive_model_of_whole_seconds(rows: list[tuple[int, int, int, int]]) -> None:
    load, now = Load(0.0), 0
    busy = backlog = saturated = saturated_backlog = 0
    before = (0, 0, 1)
    for elapsed, in_flight, waiting, places in rows:
        for _second in range(elapsed):
            busy += before[0]
            backlog += before[1]
            if before[1] and before[0] >= before[2]:
                saturated += 1
                saturated_backlog += before[1]
        now += elapsed
        load.change(float(now), in_flight=in_flight, waiting=waiting, delayed=0, places=places, closed=False)
        before = (in_flight, waiting, places)
    assert seen(load) == (busy, backlog, saturated, saturated_backlog)


def test_those_who_wait_until_a_time_are_summed_apart() -> None:
    load = Load(0.0)
    load.change(1.0, in_flight=0, waiting=0, delayed=3, places=2, closed=False)
    load.change(3.0, in_flight=2, waiting=1, delayed=1, places=2, closed=False)
    load.change(4.0, in_flight=0, waiting=0, delayed=0, places=2, closed=False)
    assert load.delayed_s == 3 * 2.0 + 1.0
    assert seen(load) == (2.0, 1.0, 1.0, 1.0)


def test_those_who_wait_while_nothing_takes_calls_are_summed_apart_from_those_who_wait_for_a_place() -> None:
    load = Load(0.0)
    load.change(1.0, in_flight=0, waiting=4, delayed=0, places=2, closed=True)
    load.change(3.0, in_flight=2, waiting=5, delayed=0, places=2, closed=True)  # probes: every place is taken
    load.change(4.0, in_flight=1, waiting=3, delayed=0, places=2, closed=False)
    load.change(7.0, in_flight=0, waiting=0, delayed=0, places=2, closed=True)
    assert load.closed_backlog_s == 4 * 2.0
    assert load.backlog_s == 4 * 2.0 + 5 * 1.0 + 3 * 3.0
    assert load.saturated_backlog_s == 5.0


def test_active_is_as_long_as_anything_is_inside() -> None:
    load = Load(0.0)
    for now, row in enumerate([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2, 2, 2), (0, 0, 0), (0, 0, 0)]):
        in_flight, waiting, delayed = row
        load.change(float(now), in_flight=in_flight, waiting=waiting, delayed=delayed, places=9, closed=False)
    assert load.active_s == 4.0
    assert load.sums() == {name: getattr(load, name) for name in load.sums()}
