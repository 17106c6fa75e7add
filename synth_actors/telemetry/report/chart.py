"""What is drawn, and what does a picture say to somebody who cannot see it?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal, assert_never

from synth_actors.telemetry.report import units
from synth_actors.telemetry.report.markup import Html, element

Unit = Literal["s", "bytes", "1/s", "", "USD", "share"]
"""In which the values of a line are; "" for a count."""
Axis = Literal["percentile", "time", "entries"]
"""What is to the right: 1 / (1 - percentile), seconds since the engine was opened, or entries of a cache."""
_DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """`values` are as many as the chart has points, in `unit`; None where there is none.

    `colour` is a number from 0 to 7.  A `is_step` value holds since the point before, an `is_area` one is filled.
    """

    label: str
    unit: Unit
    values: Sequence[float | None]
    colour: int
    is_step: bool = False
    is_area: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Lines over the same points `x`; `is_log`: the ordinate is logarithmic.  `said` is the picture in words."""

    title: str
    axis: Axis
    x: Sequence[float]
    lines: Sequence[Line]
    is_log: bool = False
    said: str
    note: str = ""


def shown(value: float, unit: Unit) -> str:
    """A value with its unit, for people."""
    match unit:
        case "s":
            return units.duration(value)
        case "bytes":
            return units.size_of(value)
        case "1/s":
            return units.rate(value)
        case "USD":
            return units.dollars(value)
        case "share":
            return units.share(value)
        case "":
            return units.count(value)
    assert_never(unit)


def said_over_time(lines: Iterable[Line]) -> str:
    """The range of each line, and where it ended."""
    return "; ".join(_said(line) for line in lines)


def _said(line: Line) -> str:
    there = [value for value in line.values if value is not None]
    if not there:
        return f"{line.label}: nothing"
    low, high, last = (shown(value, line.unit) for value in (min(there), max(there), there[-1]))
    return f"{line.label}: {low} to {high}, at the end {last}"


class Charts:
    """The charts of a page in their order: each gets a place in the page, and all of them one block of data."""

    def __init__(self) -> None:
        self._data: list[dict[str, object]] = []

    def place(self, charts: Iterable[Chart]) -> Html:
        """Where `charts` are drawn; those over time share the cursor.  Nothing for none."""
        group = f"group-{len(self._data)}"
        figures = list(self._figures(charts, group))
        return element("div", {"class": "charts"}, *figures) if figures else Html()

    def _figures(self, charts: Iterable[Chart], group: str) -> Iterator[Html]:
        for chart in charts:
            number = len(self._data)
            self._data.append(_data(chart, group))
            holder = {"class": "plot", "data-chart": str(number)}
            kind = "wide" if chart.axis == "percentile" else "narrow"
            yield element(
                "figure",
                {"class": kind},
                element("figcaption", {}, chart.title, element("span", {}, chart.note) if chart.note else Html()),
                element("p", {"class": "said"}, f"{chart.said}."),
                element("div", holder),
            )

    def data(self) -> list[dict[str, object]]:
        """What the script draws, JSON-able."""
        return self._data


def _data(chart: Chart, group: str) -> dict[str, object]:
    return {
        "axis": chart.axis,
        "group": group if chart.axis == "time" else "",
        "log": chart.is_log,
        "x": [_short(value) for value in chart.x],
        "lines": [
            {
                "label": line.label,
                "unit": line.unit,
                "colour": line.colour,
                "step": line.is_step,
                "area": line.is_area,
                "values": [_short(value) for value in line.values],
            }
            for line in chart.lines
        ],
    }


def _short(value: float | None) -> float | None:
    """As exact as anybody can see, in few letters."""
    if value is None or not isfinite(value):
        return None
    return int(value) if value == int(value) else float(f"{value:.{_DIGITS}g}")
