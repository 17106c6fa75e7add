"""What is measured, how much of it, and what should come out?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much one repeat does.

    `concurrency` is the number of callers where many call; the other sizes of a suite follow from it.  `operations` is
    how often a short operation is done to be timed.  `repeat` counts from 0, below 0 are the warm-ups.
    """

    concurrency: int = 100
    operations: int = 10_000
    repeat: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One repeat of one case.

    `bare` is the same work by a plain trio loop, done just before or after: of the bare provider, or of an SDK; `ideal`
    what no program can beat.  `beside` are the figures of others, by name.
    """

    value: float
    bare: float | None = None
    beside: Mapping[str, float] = field(default_factory=dict)
    ideal: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """At most, or at least, `limit`: for the value, or for the value beside another figure of the same repeat.

    `share` is the excess over the bare loop, `ratio` the multiple of it, `ideal` the multiple of the ideal.
    """

    limit: float
    of: Literal["value", "share", "ratio", "ideal"] = "value"
    at: Literal["most", "least"] = "most"

    def is_met(self, figure: float) -> bool:
        """Whether `figure` is on the right side of the limit."""
        return figure <= self.limit if self.at == "most" else figure >= self.limit

    def figure(self, measured: Measured) -> float:
        """The figure that the limit is for."""
        if self.of == "share":
            assert measured.bare is not None, "an aim for the share needs a bare figure"
            return measured.value - measured.bare
        if self.of == "ratio":
            assert measured.bare, "an aim for the ratio needs a bare figure"
            return measured.value / measured.bare
        if self.of == "ideal":
            assert measured.ideal is not None, "an aim beside the ideal needs an ideal"
            return measured.value / measured.ideal
        return measured.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One line of a report: what is measured, in which unit, and the aim it has."""

    name: str
    unit: str
    measure: Callable[[Load], Measured]
    aim: Aim | None = None


Suite = Callable[[int], tuple[Case, ...]]
"""The cases at a concurrency; an aim is stated only for the concurrency that it was set for."""
