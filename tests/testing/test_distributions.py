"""Are values drawn as their distribution says?"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from synth_actors.testing import Constant, LogNormal


def test_a_constant_is_always_the_same() -> None:
    assert {Constant(value=2.5).draw(random.Random(seed)) for seed in range(10)} == {2.5}


def test_half_are_below_the_median_and_sigma_says_how_far_they_spread() -> None:
    source = random.Random(1)
    drawn = sorted(LogNormal(median=10.0, sigma=0.5).draw(source) for _ in range(10_000))
    assert drawn[5_000] == pytest.approx(10.0, rel=0.03)
    assert drawn[9_900] == pytest.approx(32.0, rel=0.06)
    assert drawn[0] > 0


@pytest.mark.parametrize(
    "make",
    [lambda: Constant(value=-1.0), lambda: LogNormal(median=0.0, sigma=1.0), lambda: LogNormal(median=1, sigma=-1)],
)
def test_what_cannot_be_drawn_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="give"):
        make()
