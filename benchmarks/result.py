"""What came out?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from pydantic import TypeAdapter

from benchmarks.case import Case, Measured
from benchmarks.machine import Machine
from synth_actors.telemetry.recording import Recording

FORMAT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """One figure over the repeats."""

    min: float
    median: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An aim and what became of it: it is met when the median of `figure` is at `at` (most or least) `limit`."""

    limit: float
    of: str
    at: str
    figure: Spread
    met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """What was promised, and by how many times the value is better than the figure `than`; None: one of them was 0."""

    text: str
    than: str
    better: str
    multiple: Spread | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One case.  `ratio` is the value over the bare loop's of the same repeat; None where there is no bare loop.

    `beside` are the figures of others, by name.
    """

    suite: str
    name: str
    unit: str
    value: Spread
    bare: Spread | None
    ratio: Spread | None
    beside: dict[str, Spread]
    ideal: float | None
    aim: Judged | None
    claim: Claimed | None = None

    @property
    def key(self) -> str:
        """By what thresholds and comparisons know it: `suite: name`."""
        return f"{self.suite}: {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A case that was not measured, and why."""

    suite: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What an engine did in the last repeat of a suite."""

    suite: str
    recording: Recording


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything about one run of the benchmarks.  `format` counts changes of this document.

    `about` says by suite what is measured and how to read it; `endpoint` is the one that was asked instead of the local
    server; `memory_cap_bytes` is what the process was allowed of address space.  When `is_interrupted`, some rows are
    of fewer repeats than `iterations`, or not there.
    """

    format: int = FORMAT
    started_at: str  # ISO 8601, UTC
    duration_s: float
    command: str
    iterations: int
    warmup: int
    concurrency: int
    load_before: float | None
    load_after: float | None
    machine: Machine
    endpoint: str | None = None
    memory_cap_bytes: int | None = None
    is_interrupted: bool = False
    about: dict[str, str] = field(default_factory=dict)
    rows: tuple[Row, ...]
    missing: tuple[Missing, ...] = ()
    recordings: tuple[Recorded, ...] = ()


_AS_JSON = TypeAdapter(Report)


def to_json(report: Report) -> str:
    """The whole report; `from_json` gives it back."""
    return _AS_JSON.dump_json(report, indent=2).decode() + "\n"


def from_json(text: str | bytes) -> Report:
    """The report that `to_json` wrote.  Raises pydantic's `ValidationError` when it is none."""
    return _AS_JSON.validate_json(text)


def row_of(suite: str, case: Case, repeats: Sequence[Measured]) -> Row:
    """The repeats of one case as a row."""
    pairs = [(one.value, one.bare) for one in repeats if one.bare is not None]
    ratios = [value / bare for value, bare in pairs if bare > 0]  # a small run may not grow by a single page
    return Row(
        suite=suite,
        name=case.name,
        unit=case.unit,
        value=spread([one.value for one in repeats]),
        bare=spread([bare for _, bare in pairs]) if pairs else None,
        ratio=spread(ratios) if ratios else None,
        beside={name: spread([one.beside[name] for one in repeats]) for name in repeats[0].beside},
        ideal=repeats[0].ideal,
        aim=_judged(case, repeats),
        claim=_claimed(case, repeats),
    )


def spread(values: Sequence[float]) -> Spread:
    """Smallest, middle and largest of at least one value."""
    return Spread(min=min(values), median=median(values), max=max(values))


def _judged(case: Case, repeats: Sequence[Measured]) -> Judged | None:
    if (aim := case.aim) is None:
        return None
    figure = spread([aim.figure(one) for one in repeats])
    return Judged(limit=aim.limit, of=aim.of, at=aim.at, figure=figure, met=aim.is_met(figure.median))


def _claimed(case: Case, repeats: Sequence[Measured]) -> Claimed | None:
    if (claim := case.claim) is None:
        return None
    multiples = [multiple for one in repeats if (multiple := claim.multiple(one)) is not None]
    return Claimed(
        text=claim.text, than=claim.than, better=claim.better, multiple=spread(multiples) if multiples else None
    )
