"""Which values lie between two bounds?"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from synth_actors.datasets.columns.column_specs import Bound, ColumnSpec, json_value
from synth_actors.datasets.columns.places import Place

MANY = 2**64
DIGITS = 6
"""A number without a step is rounded so that this many digits tell apart the values between the bounds."""
SAMPLES = 100


@dataclass(frozen=True, slots=True)
class Range:
    """`count` values; `at` gives each of them, from 0 for the lowest to `count` - 1."""

    count: int
    at: Callable[[int], Any]

    def some(self) -> list[Any]:
        """Both ends, and so many between that a rule which forbids more than a few values forbids one of them."""
        last = self.count - 1
        return [self.at(index) for index in sorted({last * part // (SAMPLES - 1) for part in range(SAMPLES)})]


def range_of(spec: ColumnSpec, place: Place | None) -> Range:
    """The values that `spec` allows at `place`, both ends included as far as the step leads to them.

    Raises:
        ValueError: a whole number is asked for, and a bound or the step is none.
    """
    low, high = spec.bounds
    if isinstance(low, datetime.datetime) and isinstance(high, datetime.datetime):
        return _days(low, high, datetime.timedelta(seconds=spec.step or 1))
    if isinstance(low, datetime.date) and isinstance(high, datetime.date):
        return _days(low, high, datetime.timedelta(days=spec.step or 1))
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    step = spec.step or (place.multiple_of if place else None)
    if place is not None and place.kind == "integer":
        return _whole(*(_as_whole(each) for each in (low, high, step or 1)))
    if all(isinstance(each, int) for each in (low, high, step or 1)):
        return _whole(int(low), int(high), int(step or 1))
    return _in_steps(low, high, step) if step else _smooth(low, high)


def _days(low: Bound, high: Bound, step: datetime.timedelta) -> Range:
    assert isinstance(low, datetime.date)
    assert isinstance(high, datetime.date)
    return Range((high - low) // step + 1, lambda index: json_value(low + index * step))


def _whole(low: int, high: int, step: int) -> Range:
    return Range((high - low) // step + 1, lambda index: low + index * step)


def _as_whole(value: int | float) -> int:
    if value != int(value):
        raise ValueError(f"{value} is no whole number, and the schema says integer; give whole numbers")
    return int(value)


def _in_steps(low: int | float, high: int | float, step: int | float) -> Range:
    """In decimal arithmetic, so that 0.1 + 2 x 0.1 is 0.3."""
    first, last, by = (Decimal(str(each)) for each in (low, high, step))
    return Range(int((last - first) / by) + 1, lambda index: float(first + index * by))


def _smooth(low: float, high: float) -> Range:
    places = DIGITS - 1 - Decimal(str(high - low)).adjusted() if 0 < high - low < float("inf") else 0

    def at(index: int) -> float:
        part = index / (MANY - 1)
        value = low * (1 - part) + high * part  # the difference of the two may be too large for a float
        return min(max(round(value, places), low), high)

    return Range(MANY, at) if high > low else Range(1, lambda _: float(low))
