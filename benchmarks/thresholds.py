"""Which figures are good enough, and are these?"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import spread_text
from benchmarks.result import Report, Row, Spread
from benchmarks.suites import SUITES
from synth_actors.errors import ConfigError

OF: Final = ("value", "ratio", "multiple")
"""Of a row: its value, that over the bare loop's beside it, or the multiple of its claim."""
DOUBTLESS: Final = 2.0
"""A ratio that is so many times worse than its limit in all repeats was not spoilt by a busy machine."""
_FIELDS: Final = ("case", "of", "most", "least", "why")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The median of `of` of the row `case` ("suite: name") is to be at most, or at least, `limit`."""

    profile: str
    case: str
    of: str
    at: str
    limit: float
    why: str

    @property
    def suite(self) -> str:
        """Whose row it is."""
        return self.case.partition(": ")[0]

    def holds(self, figure: float) -> bool:
        """Whether `figure` is on the right side."""
        return figure <= self.limit if self.at == "most" else figure >= self.limit

    def times_better(self, figure: float) -> float | None:
        """How many times `figure` is better than the limit; None where that says nothing."""
        if self.limit <= 0 or figure <= 0:
            return None
        return self.limit / figure if self.at == "most" else figure / self.limit

    def figure_of(self, row: Row) -> Spread | None:
        """What is judged; None where the row has no such figure."""
        if self.of == "value":
            return row.value
        if self.of == "ratio":
            return row.ratio
        return None if row.claim is None else row.claim.multiple

    def __str__(self) -> str:
        of = "" if self.of == "value" else f" ({'over the bare loop' if self.of == 'ratio' else 'times'})"
        return f"{self.case}{of} {'<=' if self.at == 'most' else '>='} {self.limit:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One limit and what became of it: `figure` is None where nothing was measured, and `problem` says why."""

    limit: Limit
    unit: str = ""
    figure: Spread | None = None
    problem: str | None = None
    was_asked: bool = True

    @property
    def passed(self) -> bool:
        """Kept, or not asked about in this run."""
        if self.figure is None:
            return not self.was_asked
        return self.limit.holds(self.figure.median)

    @property
    def is_beyond_doubt(self) -> bool:
        """A ratio so far off in every repeat that no busy moment explains it: the loop beside it has that too."""
        if self.figure is None or self.limit.of != "ratio":
            return False
        best = self.figure.min if self.limit.at == "most" else self.figure.max
        times = self.limit.times_better(best)
        return times is not None and times < 1 / DOUBTLESS

    def __str__(self) -> str:
        mark = ("ok  " if self.passed else "FAIL") if self.was_asked else "-   "
        if self.figure is None:
            return f"{mark} {self.limit}: {self.problem}"
        unit = self.unit if self.limit.of == "value" else "times"
        times = self.limit.times_better(self.figure.median)
        better = "" if times is None else f", {times:,.1f} x better" if times >= 1 else f", {1 / times:,.1f} x worse"
        why = "" if self.passed else f"; {self.limit.why}"
        return f"{mark} {self.limit}: {spread_text(self.figure)} {unit}{better}{why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All limits, in the order of the file."""

    lines: tuple[Line, ...]

    @property
    def passed(self) -> bool:
        """Whether every limit was kept."""
        return not self.failing

    @property
    def failing(self) -> tuple[Line, ...]:
        """Those that were not."""
        return tuple(line for line in self.lines if not line.passed)

    def text(self) -> str:
        """A line for each limit, by profile; then what came of all."""
        parts = []
        for profile in dict.fromkeys(line.limit.profile for line in self.lines):
            parts.append(f"thresholds {profile}:")
            parts += [f"  {line}" for line in self.lines if line.limit.profile == profile]
        failing = len(self.failing)
        parts.append(f"{failing} of {len(self.lines)} not kept" if failing else f"all {len(self.lines)} kept")
        return "\n".join(parts) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The limits of one file."""

    limits: tuple[Limit, ...]

    @property
    def suites(self) -> tuple[str, ...]:
        """Those that have limits, in the usual order."""
        named = {limit.suite for limit in self.limits}
        return tuple(name for name in SUITES if name in named)

    def judge(self, report: Report) -> Verdict:
        """What became of each limit in this report."""
        rows = {row.key: row for row in report.rows}
        missing = {f"{each.suite}: {each.name}": each.reason for each in report.missing}
        return Verdict(lines=tuple(_line(limit, rows, missing, report.about) for limit in self.limits))


def _line(limit: Limit, rows: Mapping[str, Row], missing: Mapping[str, str], ran: Mapping[str, str]) -> Line:
    if (row := rows.get(limit.case)) is not None:
        if (figure := limit.figure_of(row)) is not None:
            return Line(limit=limit, unit=row.unit, figure=figure)
        return Line(limit=limit, problem=f"the row has no {limit.of}")
    if limit.suite not in ran:
        return Line(limit=limit, problem=f"not measured: --suite leaves out {limit.suite}", was_asked=False)
    return Line(limit=limit, problem=f"not measured: {missing.get(limit.case, 'the suite has no such row')}")


def read_thresholds(path: Path, profile: str | None = None) -> Thresholds:
    """The limits of the file, or of one of its profiles.

    Raises:
        ConfigError: it cannot be read, something in it is wrong, or it has no such profile.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"--check {path}: cannot be read ({exc.strerror}); give a TOML file") from None
    except ValueError as exc:  # not UTF-8, or not TOML
        raise ConfigError(f"--check {path}: is no TOML: {exc}") from None
    if profile is not None and profile not in document:
        known = ", ".join(document) or "none"
        raise ConfigError(f"--check-profile {profile}: {path} has no such profile; it has {known}")
    chosen = document if profile is None else {profile: document[profile]}
    limits = tuple(limit for name, table in chosen.items() for limit in _limits(path, name, table))
    if not limits:
        raise ConfigError(f"--check {path}: has no limit; give some under [[{profile or 'own'}.limit]]")
    return Thresholds(limits=limits)


def _limits(path: Path, profile: str, table: Any) -> Iterator[Limit]:
    if not isinstance(table, dict) or not isinstance(table.get("limit"), list) or set(table) - {"limit"}:
        raise ConfigError(f"--check {path}: [{profile}]: give its limits as [[{profile}.limit]], and nothing else")
    for index, fields in enumerate(table["limit"], start=1):
        where = f"--check {path}: [[{profile}.limit]] number {index}"
        if not isinstance(fields, dict):
            raise ConfigError(f"{where}: {fields!r} is no table")
        yield _limit(where, profile, fields)


def _limit(where: str, profile: str, fields: Mapping[str, Any]) -> Limit:
    for name in fields:
        if name not in _FIELDS:
            raise ConfigError(f"{where}: {name}: unknown; known are {', '.join(_FIELDS)}")
    case, of, why = fields.get("case"), fields.get("of", "value"), fields.get("why", "")
    if not isinstance(case, str) or case.partition(": ")[0] not in SUITES:
        raise ConfigError(f'{where}: case = {case!r}: give "SUITE: NAME", as the report names the row')
    if of not in OF:
        raise ConfigError(f"{where}: of = {of!r}: use {', '.join(OF)}")
    sides = [side for side in ("most", "least") if side in fields]
    if len(sides) != 1:
        raise ConfigError(f"{where}: give one of most and least")
    limit = fields[sides[0]]
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not isfinite(limit):
        raise ConfigError(f"{where}: {sides[0]} = {limit!r}: give a number")
    if not isinstance(why, str) or not why:
        raise ConfigError(f'{where}: why = {why!r}: say in a line why it matters, such as why = "p99 < 1000 ms"')
    return Limit(profile=profile, case=case, of=of, at=sides[0], limit=float(limit), why=why)
