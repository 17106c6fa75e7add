"""What is measured, how much of it, and what should come out?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from synth_actors.telemetry.recording import Recording
from synth_actors.tracing import Tracing


class NotMeasured(Exception):  # noqa: N818 - no error: what it says is a line of the report
    """A case cannot be measured here; the message says why, and what would make it possible."""


class Budget:
    """Dollars that all repeats of all suites may spend together at a real endpoint."""

    def __init__(self, usd: float) -> None:
        self.usd = usd
        self.spent_usd = 0.0

    @property
    def left_usd(self) -> float:
        """What may still be spent; above 0.

        Raises:
            NotMeasured: nothing is left.
        """
        if self.spent_usd >= self.usd:
            raise NotMeasured(f"the budget of ${self.usd:g} is spent; --budget-usd allows more")
        return self.usd - self.spent_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much one repeat does.

    `concurrency` is the number of callers where many call; the other sizes of a suite follow from it.  `operations` is
    how often a short operation is done to be timed.  `repeat` counts from 0, below 0 are the warm-ups.

    `endpoint` is asked instead of the local server, and what is left of `budget` limits what that may cost.  `tracing`
    is given to every engine that is opened in this process; figures of such a repeat are not reported.
    """

    concurrency: int = 100
    operations: int = 10_000
    repeat: int = 0
    endpoint: str | None = None
    budget: Budget | None = None
    tracing: Tracing | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One repeat of one case.

    `bare` is the same work by a plain trio loop, done just before or after: of the bare provider, or of an SDK; `ideal`
    what no program can beat.  `beside` are the figures of others, by name.  `recording` is what the engine did
    meanwhile; where several cases are figures of one run, the first has it.
    """

    value: float
    bare: float | None = None
    beside: Mapping[str, float] = field(default_factory=dict)
    ideal: float | None = None
    recording: Recording | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What is promised, as a multiple: of the value over the figure `than` of `Measured.beside`.

    `better` "less": the figure over the value, so that a multiple above 1 is always good.
    """

    text: str
    than: str
    better: Literal["more", "less"] = "more"

    def multiple(self, measured: Measured) -> float | None:
        """How many times better; None where one of the two is 0."""
        value, other = measured.value, measured.beside[self.than]
        if not value or not other:
            return None
        return value / other if self.better == "more" else other / value


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
    """One line of a report: what is measured, in which unit, the aim it has, and what it shows.

    A case that takes long and gains nothing from it is not `is_warmed_up`: it has no repeats that do not count; one
    that takes very long is measured `once`.
    """

    name: str
    unit: str
    measure: Callable[[Load], Measured]
    aim: Aim | None = None
    claim: Claim | None = None
    is_warmed_up: bool = True
    once: bool = False


Suite = Callable[[int], tuple[Case, ...]]
"""The cases at a concurrency; an aim is stated only for the concurrency that it was set for."""
