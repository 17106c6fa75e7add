"""How good are the rows, in figures and on one screen?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from synth_actors.datasets.quality.sketches import DISTINCT_ERROR
from synth_actors.datasets.quality.strange import Strange

SHOWN_COLUMNS = 30
NAME_WIDTH = 28
TEXT_WIDTH = 24
FAVOURITE_SHARE = 0.005
"""A column whose most frequent value is rarer is better described by its lengths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Of `count` numbers; `quantiles` at 5, 25, 50, 75 and 95 %, over a sample of `sampled` of them.

    Numbers beyond 10**140, and what is no number, are in none of these figures.  Of a sample of 2,048 a quantile is the
    true one of a rank at most 2.2 percentage points off, 19 times in 20; a smaller sample is all there was.
    """

    count: int
    min: float
    max: float
    mean: float
    standard_deviation: float
    quantiles: Mapping[str, float]
    sampled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Of texts in characters, of arrays in items; `empty` counts those of length 0."""

    count: int
    min: int
    mean: float
    max: int
    empty: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Dates or points in time, as they were written; `unreadable` counts the texts that are neither."""

    count: int
    unreadable: int
    earliest: str
    latest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Variety of free text (Li et al. 2016), over a sample of `texts` texts with `words` words.

    `distinct_1` is the share of different words, `distinct_2` that of different pairs of neighbours.  Both fall as the
    sample grows: compare only figures of samples of like size.
    """

    texts: int
    words: int
    distinct_1: float
    distinct_2: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What stands at one path.

    `absent` counts the objects that could have had the path and had not.  `distinct` (without null; None for objects
    and arrays) is exact, or an estimate with a relative standard error of 3.1 %.  `top` holds the ten most frequent
    values and how often they came at least; up to `top_error` more are possible, and what came so rarely that its place
    is chance is not in it.  It is empty where every value came once.  `unseen` names the scalars of the schema's `enum`
    that never came.  `entropy` is normalised: 0 for one value alone, 1 when all are equally frequent; None for a column
    of many values.  `constant` is the value that more than 95 % have, null included.  `oddities` counts strange texts
    by kind, each different text once (where there are very many, once for each time that it was forgotten), and as
    "beyond range" the numbers that are in no other figure.
    """

    path: str
    present: int
    absent: int
    nulls: int
    types: Mapping[str, int]
    distinct: int | None
    distinct_exact: bool
    distinct_share: float | None
    top: tuple[tuple[str, int], ...] = ()
    top_error: int = 0
    unseen: tuple[str, ...] = ()
    entropy: float | None = None
    constant: str | None = None
    true_share: float | None = None
    numbers: Numbers | None = None
    texts: Lengths | None = None
    items: Lengths | None = None
    times: Times | None = None
    words: Words | None = None
    oddities: Mapping[str, int] = field(default_factory=dict)

    @property
    def values(self) -> int:
        """Values that are there and not null."""
        return self.present - self.nulls


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """Distribution, diversity and the strangest values of `rows` rows, of which `not_objects` are no objects.

    Columns beyond the bound are not looked at: `values_left_out` is what stood in them, `paths_left_out` about how many
    there are.
    """

    rows: int
    not_objects: int
    columns: tuple[Column, ...]
    paths_left_out: int
    values_left_out: int
    strangest: tuple[Strange, ...]

    def as_dict(self) -> dict[str, Any]:
        """All figures, as JSON; what does not apply to a column is left out of it."""
        return {
            "rows": self.rows,
            "not_objects": self.not_objects,
            "columns": [_column_dict(column) for column in self.columns],
            "paths_left_out": self.paths_left_out,
            "values_left_out": self.values_left_out,
            "distinct_standard_error": round(DISTINCT_ERROR, 4),
            "near_constant": {column.path: column.constant for column in self.columns if column.constant is not None},
            "strangest": [
                {"row": one.row, "column": one.column, "value": one.value, "why": one.why} for one in self.strangest
            ],
        }

    def lines(self) -> list[str]:
        """The report for a terminal, at most 120 characters wide: columns, diversity, then the strangest values."""
        width = min(NAME_WIDTH, max([len(column.path) for column in self.columns] + [6]))
        lines = [f"{'column':<{width}}  {'empty':>6}  {'distinct':>11}  values"]
        lines += [_table_line(column, width) for column in self.columns[:SHOWN_COLUMNS]]
        if any(column.distinct is not None and not column.distinct_exact for column in self.columns[:SHOWN_COLUMNS]):
            lines.append(f"≈ is an estimate, with a standard error of {DISTINCT_ERROR:.1%}")
        if len(self.columns) > SHOWN_COLUMNS:
            lines.append(f"and {len(self.columns) - SHOWN_COLUMNS} further columns")
        if self.values_left_out:
            lines.append(
                f"{self.values_left_out:,} values at ≈{self.paths_left_out:,} further paths were not looked at"
            )
        if self.not_objects:
            lines.append(f"{self.not_objects:,} of {self.rows:,} rows are no objects")
        return lines + self._diversity() + self._strangest()

    def _diversity(self) -> list[str]:
        constant = [
            f"{_cut(column.path, NAME_WIDTH)} = {_cut(column.constant, TEXT_WIDTH)}"
            for column in self.columns
            if column.constant is not None
        ]
        unseen = [
            f"{_cut(column.path, NAME_WIDTH)}: {_listed(column.unseen)}" for column in self.columns if column.unseen
        ]
        words = [
            f"{_cut(column.path, NAME_WIDTH)}: {_percent(column.words.distinct_1)} of words, "
            f"{_percent(column.words.distinct_2)} of pairs differ ({column.words.texts} texts)"
            for column in self.columns
            if column.words
        ]
        parts = {"nearly constant": constant, "never occurred": unseen, "word variety": words}
        return [f"{name}  {_cut('; '.join(found), 100)}" for name, found in parts.items() if found]

    def _strangest(self) -> list[str]:
        if not self.strangest:
            return ["strangest values: none"]
        lines = ["strangest values"]
        for one in self.strangest:
            where = f"  row {one.row:,}  {_cut(one.column, NAME_WIDTH)}  {_cut(one.value, 40)!r}"
            lines.append(_cut(f"{where}: {one.why}", 120))
        return lines


def _column_dict(column: Column) -> dict[str, Any]:
    found = {name: value for name, value in asdict(column).items() if value is not None and value not in ((), {})}
    found["top"] = [{"value": value, "count": count} for value, count in column.top]
    return found


def _table_line(column: Column, width: int) -> str:
    asked = column.present + column.absent
    empty = _percent((column.absent + column.nulls) / asked) if asked else "never"
    distinct = "" if column.distinct is None else f"{'' if column.distinct_exact else '≈'}{column.distinct:,}"
    return _cut(f"{_cut(column.path, width):<{width}}  {empty:>6}  {distinct:>11}  {_values(column)}", 120).rstrip()


def _values(column: Column) -> str:
    parts = []
    if column.numbers:
        numbers = column.numbers
        middle = f"median {_number(numbers.quantiles['50'])}, mean {_number(numbers.mean)}"
        parts.append(f"{_number(numbers.min)} .. {_number(numbers.max)}, {middle}")
    if column.times:
        parts.append(f"{column.times.earliest} .. {column.times.latest}")
    elif _has_favourites(column):
        shares = [f"{_cut(value, TEXT_WIDTH)} {_percent(count / column.values)}" for value, count in column.top[:4]]
        parts.append(", ".join(shares))
    elif column.texts:
        parts.append(_lengths(column.texts, "characters"))
    if column.items:
        parts.append(_lengths(column.items, "items"))
    if column.true_share is not None:
        parts.append(f"{_percent(column.true_share)} true")
    return "; ".join(parts)


def _has_favourites(column: Column) -> bool:
    often = bool(column.top) and column.top[0][1] >= FAVOURITE_SHARE * column.values
    return often and not column.numbers and column.true_share is None


def _lengths(lengths: Lengths, unit: str) -> str:
    if lengths.min == lengths.max:
        return f"{lengths.max:,} {unit}"
    return f"{lengths.min:,} .. {lengths.max:,} {unit}, mean {_number(lengths.mean)}"


def _listed(values: tuple[str, ...]) -> str:
    return ", ".join(_cut(value, TEXT_WIDTH) for value in values)


def _number(value: float) -> str:
    if abs(value) >= 1e15:
        return f"{value:.4g}"
    if abs(value) < 1e4 and value == int(value):  # years have no commas
        return f"{value:.0f}"
    if abs(value) >= 1e4:
        return f"{value:,.0f}"
    return f"{value:,.4g}"


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "<0.1 %"
    return f"{100 * share:.0f} %" if share in (0, 1) or 0.1 <= share < 0.995 else f"{100 * share:.1f} %"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
