"""What has changed from one report to the next, and is it more than noise?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import log
from statistics import median
from typing import Final

from benchmarks.figures import number, spread_text
from benchmarks.result import Report, Row, Spread

Named = tuple[str, Report]

MORE_IS_BETTER: Final = ("requests/s", "calls/s", "rows/s", "hits/s", "% of the lookups", "% of the tokens", "1/s")
"""Units; where a row has an aim or a claim, that says it. Of all other units less is better."""
BETTER_NAMES: Final = ("saved", "left", "accepted", "used", "busy")
VERDICTS: Final = ("worse", "better", "as before")
_BARS: Final = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One row in the first and the last report that have it; `bars` and `slope`, a report, are the way there.

    `factor` is the last median over the first, None where one of them is not above 0.  It `is_noise` when the ranges of
    the repeats overlap: then the repeats of one report differ as much as the reports.
    """

    key: str
    unit: str
    first: Spread
    last: Spread
    factor: float | None
    is_noise: bool
    is_better: bool
    slope: float | None
    bars: str

    @property
    def size(self) -> float:
        """How far from equal, in either direction; 0.0 for noise."""
        if self.is_noise:
            return 0.0
        return abs(log(self.factor)) if self.factor else float("inf")

    @property
    def verdict(self) -> str:
        """In a word."""
        return "as before" if self.is_noise else "better" if self.is_better else "worse"

    def __str__(self) -> str:
        percent = "" if self.factor is None else f" ({self.factor - 1:+.1%})"
        way = "" if self.slope is None else f", {'+-'[self.slope < 0]}{number(abs(self.slope))} a report {self.bars}"
        return f"{self.key}: {spread_text(self.first)} -> {spread_text(self.last)} {self.unit}{percent}{way}"


def is_more_better(row: Row) -> bool:
    """Whether a larger value of this row is the better one: by its aim or claim, else by its unit and name."""
    if row.aim is not None:
        return row.aim.at == "least"
    if row.claim is not None:
        return row.claim.better == "more"
    words = row.name.replace(",", " ").split()
    return row.unit in MORE_IS_BETTER or any(word in BETTER_NAMES for word in words)


def change_of(at: Sequence[tuple[int, Row]]) -> Change:
    """From the first to the last of at least two rows of one case, each with the number of its report."""
    rows = [row for _, row in at]
    is_long = len(rows) > 2
    first, last = rows[0].value, rows[-1].value
    factor = last.median / first.median if first.median > 0 and last.median > 0 else None
    return Change(
        key=rows[0].key,
        unit=rows[-1].unit,
        first=first,
        last=last,
        factor=factor,
        is_noise=first.min <= last.max and last.min <= first.max,
        is_better=(last.median > first.median) == is_more_better(rows[-1]),
        slope=slope_of([(index, row.value.median) for index, row in at]) if is_long else None,
        bars=_bars([row.value.median for row in rows]) if is_long else "",
    )


def comparison_of(reports: Sequence[Named]) -> str:
    """From the first to the last of at least two reports: what became worse, what better, what differs otherwise."""
    names = " -> ".join(name for name, _ in reports)
    changes = sorted(_changes(reports), key=lambda change: -change.size)
    parts = [f"# {names}", *_warnings(reports)]
    for verdict in VERDICTS:
        parts += _section(verdict, [change for change in changes if change.verdict == verdict])
    if not changes:
        parts.append("They have no row in common.")
    return "\n\n".join([*parts, *_lonely(reports), _LEGEND]) + "\n"


def _section(verdict: str, changes: Sequence[Change]) -> Iterator[str]:
    if changes:
        yield "\n".join([f"## {verdict} ({len(changes)})", "", *(f"- {change}" for change in changes)])


_LEGEND = (
    "Median [min - max] of the repeats.  As before: the ranges overlap, so the repeats of one report differ as much as "
    "the reports."
)


def _changes(reports: Sequence[Named]) -> Iterator[Change]:
    by_key: dict[str, list[tuple[int, Row]]] = {}
    for index, (_, report) in enumerate(reports):
        for row in report.rows:
            by_key.setdefault(row.key, []).append((index, row))
    for rows in by_key.values():
        if len(rows) > 1:
            yield change_of(rows)


def _warnings(reports: Sequence[Named]) -> Iterator[str]:
    """What makes figures differ that the code has no part in."""
    facts = {
        "processor": [report.machine.processor for _, report in reports],
        "CPUs": [str(report.machine.usable_cpus) for _, report in reports],
        "system": [report.machine.system for _, report in reports],
        "Python": [report.machine.python for _, report in reports],
        "concurrency": [str(report.concurrency) for _, report in reports],
        "endpoint": [report.endpoint or "the local server" for _, report in reports],
        "memory cap": [number(report.memory_cap_bytes or 0) for _, report in reports],
        "interrupted": ["yes" if report.is_interrupted else "no" for _, report in reports],
    }
    for package in sorted({name for _, report in reports for name in report.machine.packages}):
        facts[package] = [report.machine.packages.get(package, "none") for _, report in reports]
    if single := [name for name, report in reports if report.iterations == 1]:
        yield f"Of one repeat, so that its noise is not known: {', '.join(single)}"
    lines = [f"- {name}: {' -> '.join(values)}" for name, values in facts.items() if len(set(values)) > 1]
    if lines:
        yield "\n".join(["Not made alike, which may be all of the difference:", "", *lines])


def _lonely(reports: Sequence[Named]) -> Iterator[str]:
    counts: dict[str, list[str]] = {}
    for name, report in reports:
        for row in report.rows:
            counts.setdefault(row.key, []).append(name)
    lines = [f"- {key}: {names[0]}" for key, names in counts.items() if len(names) == 1]
    if lines:
        yield "\n".join([f"## In one of them only ({len(lines)})", "", *lines])


def slope_of(points: Sequence[tuple[int, float]]) -> float:
    """How much a value grows from one report to the next: the median over all pairs of points, at least one.

    Sen, Estimates of the regression coefficient based on Kendall's tau (1968): a single report that was made on a busy
    machine has little part in it.
    """
    return median((later - before) / (y - x) for (x, before), (y, later) in combinations(points, 2))


def _bars(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    span = high - low
    return "".join(_BARS[round((value - low) / span * (len(_BARS) - 1)) if span else 0] for value in values)
