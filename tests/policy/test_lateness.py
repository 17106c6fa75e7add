from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from synth_actors.policy.lateness import LATE_S, Lateness


@given(st.lists(st.floats(0.0, 10.0)))
def test_looks_are_late_from_ten_milliseconds_on(looks: list[float]) -> None:
    lateness = Lateness()
    for after_s in looks:
        lateness.looked(after_s)
    late = [after_s for after_s in looks if after_s >= LATE_S]
    assert (lateness.looks, lateness.late, lateness.longest_s) == (len(looks), len(late), max(late, default=0.0))
    assert lateness.late_s == sum(late)
