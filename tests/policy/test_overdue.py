"""Is everybody who is overdue found in time, and nobody before?"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from synth_actors.policy.overdue import Overdue

SHORTEST_S = 5.0


@dataclass(eq=False)
class Attempt:
    deadline: float = inf


def test_nobody_looks_while_nothing_runs() -> None:
    assert Overdue(SHORTEST_S).look_at == inf


def test_the_first_look_is_the_shortest_time_after_the_first_beginning() -> None:
    overdue = Overdue(SHORTEST_S)
    overdue.begins(10.0)
    overdue.begins(12.0)
    assert overdue.look_at == 15.0


def test_a_look_before_its_time_finds_nothing_and_moves_nothing() -> None:
    overdue = Overdue(SHORTEST_S)
    overdue.begins(10.0)
    assert overdue.look([Attempt(deadline=11.0)], 14.9) == []
    assert overdue.look_at == 15.0


def test_who_is_overdue_is_found_once() -> None:
    overdue = Overdue(SHORTEST_S)
    overdue.begins(10.0)
    late, early = Attempt(deadline=15.0), Attempt(deadline=16.0)
    assert overdue.look([late, early], 15.0) == [late]
    assert overdue.look_at == 16.0
    assert overdue.look([late, early], 16.0) == [early]


def test_without_anybody_running_nobody_looks_again() -> None:
    overdue = Overdue(SHORTEST_S)
    overdue.begins(10.0)
    assert overdue.look([], 15.0) == []
    assert overdue.look_at == inf


def test_an_attempt_whose_call_has_not_begun_is_looked_at_again() -> None:
    overdue = Overdue(SHORTEST_S)
    overdue.begins(0.0)
    overdue.look([Attempt()], 5.0)
    assert overdue.look_at == 10.0


Step = tuple[str, int, float]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "set", "end", "wait"]), st.integers(0, 5), st.floats(0.0, 8.0, allow_nan=False)
    ),
    max_size=60,
)


@given(steps=STEPS)
def test_each_is_found_at_its_deadline_and_nobody_else(steps: list[Step]) -> None:
    """Attempts begin, have their deadlines set and moved, and end; a timer rings at `look_at` while time goes on."""
    overdue, running, now = Overdue(SHORTEST_S), list[Attempt](), 0.0
    for what, which, seconds in steps:
        if what == "begin":
            running.append(Attempt())
            overdue.begins(now)
        elif what == "set" and running:  # never to a time before now + the shortest, as a new or moved deadline is
            running[which % len(running)].deadline = now + SHORTEST_S + seconds
        elif what == "end" and running:
            running.pop(which % len(running))
        elif what == "wait":
            until = now + seconds
            while overdue.look_at <= until:
                now = overdue.look_at
                due = [one for one in running if one.deadline <= now]
                assert all(one.deadline == now for one in due), "found too late"
                assert overdue.look(list(running), now) == due
                running = [one for one in running if one not in due]
            now = until
            assert all(one.deadline > now for one in running), "not found at all"
