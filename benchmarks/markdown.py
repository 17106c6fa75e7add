"""How is a report read by people?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.figures import number, spread_text
from benchmarks.result import Judged, Report, Row
from benchmarks.targets import HEAD, targets_of

_AIMED_AT = {"value": "", "share": "above the bare loop ", "ratio": "times the bare loop ", "ideal": "times the ideal "}
_LIVE = re.compile(r"<(?=[A-Za-z/!?])|(?<=\])\(")
"""Where Markdown would see a tag, a link or a picture."""
_SIDES = {"most": "<=", "least": ">="}


def to_markdown(report: Report) -> str:
    """The report as a page: where it was made, then one table for each suite."""
    suites = dict.fromkeys([*report.about, *(row.suite for row in report.rows)])
    parts = ["# Benchmarks", _circumstances(report), *_targets(report), *_claims(report)]
    for suite in suites:
        parts += _suite(suite, report)
    return "\n\n".join([*parts, *_missing(report), _LEGEND]) + "\n"


_LEGEND = (
    "Ratio: the value over the bare loop's in the same repeat.  Ideal: what no program can beat.  "
    "An aim is met when the median is; `-`: there is none, or not at this concurrency."
)


def claims_of(report: Report) -> Iterator[tuple[str, str, str, str]]:
    """What the guide promises, measured: the claim, the multiple, the value, and what it is compared with."""
    for row in report.rows:
        if (claim := row.claim) is not None:
            multiple = "-" if claim.multiple is None else f"{spread_text(claim.multiple)} x"
            than = row.beside[claim.than]
            yield claim.text, multiple, f"{number(row.value.median)} {row.unit}", f"{claim.than}: {number(than.median)}"


def _targets(report: Report) -> Iterator[str]:
    if rows := list(targets_of(report)):
        yield f"## The guide's targets, measured\n\n{_grid(HEAD, rows)}"


def _claims(report: Report) -> Iterator[str]:
    if rows := list(claims_of(report)):
        head = ("claim", "measured [min - max]", "value", "against")
        yield f"## The guide's claims, measured\n\n{_grid(head, rows)}"


def _suite(suite: str, report: Report) -> Iterator[str]:
    yield f"## {suite}"
    if about := report.about.get(suite):
        yield about
    if rows := [row for row in report.rows if row.suite == suite]:
        yield _table(rows)


def _missing(report: Report) -> Iterator[str]:
    lines = [f"- {case.suite}: {_text(case.name)}: {_text(case.reason)}" for case in report.missing]
    if lines:
        yield "\n".join(["## Not measured", "", *lines])


def circumstances_of(report: Report) -> dict[str, str]:
    """Where, when and how it was made."""
    machine = report.machine
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    facts = {
        "command": report.command,
        "date": f"{report.started_at}, {report.duration_s:.0f} s",
        "repeats": f"{report.iterations}, after {report.warmup} to warm up; concurrency {report.concurrency}",
        "machine": f"{machine.processor}, {machine.usable_cpus or '?'} of {machine.cpus or '?'} CPUs, {machine.system}",
        "load": f"{_load(report.load_before)} before, {_load(report.load_after)} after",
        "versions": f"{machine.python}, {packages}",
    }
    if report.endpoint is not None:
        facts["endpoint"] = report.endpoint
    if report.memory_cap_bytes is not None:
        facts["memory cap"] = f"{report.memory_cap_bytes / 2**20:,.0f} MiB of address space"
    if report.is_interrupted:
        facts["interrupted"] = "by Ctrl-C: some rows are of fewer repeats, or not there"
    return facts


def _circumstances(report: Report) -> str:
    facts = circumstances_of(report)
    lines = {name: _text(value) for name, value in facts.items()} | {"command": _code(facts["command"])}
    return "\n".join(f"- {name}: {value}" for name, value in lines.items())


def _text(text: str) -> str:
    """What somebody wrote, in one line, as text only."""
    return _LIVE.sub(r"\\\g<0>", " ".join(text.split()))


def _code(text: str) -> str:
    """The same as a code span, which ends at no backtick of the text (CommonMark 6.1)."""
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{' '.join(text.split())}{pad}{fence}"


def _load(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _table(rows: list[Row]) -> str:
    columns = Columns.of(rows)
    return _grid(columns.head(), [columns.cells(row) for row in rows])


def _grid(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    return "\n".join([_line(head), "|" + "---|" * len(head), *map(_line, rows)])


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(_text(cell).replace("|", "\\|") for cell in cells) + " |"


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of one suite's table: those in which some row has something."""

    others: tuple[str, ...]
    has_bare: bool
    has_ideal: bool
    has_aim: bool

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Columns:
        """The columns that these rows need."""
        return cls(
            others=tuple(dict.fromkeys(name for row in rows for name in row.beside)),
            has_bare=any(row.bare is not None for row in rows),
            has_ideal=any(row.ideal is not None for row in rows),
            has_aim=any(row.aim is not None for row in rows),
        )

    def head(self) -> tuple[str, ...]:
        """Their names."""
        return (
            "case",
            "unit",
            "median [min - max]",
            *(("bare loop", "ratio") if self.has_bare else ()),
            *self.others,
            *(("ideal",) if self.has_ideal else ()),
            *(("aim", "met") if self.has_aim else ()),
        )

    def cells(self, row: Row) -> tuple[str, ...]:
        """What stands in them."""
        ratio = "-" if row.ratio is None else number(row.ratio.median)
        ideal = "-" if row.ideal is None else number(row.ideal)
        beside = (number(row.beside[name].median) if name in row.beside else "-" for name in self.others)
        return (
            row.name,
            row.unit,
            spread_text(row.value),
            *((spread_text(row.bare), ratio) if self.has_bare else ()),
            *beside,
            *((ideal,) if self.has_ideal else ()),
            *(_aim(row.aim) if self.has_aim else ()),
        )


def _aim(aim: Judged | None) -> tuple[str, str]:
    if aim is None:
        return "-", "-"
    text = f"{_AIMED_AT[aim.of]}{_SIDES[aim.at]} {aim.limit:g}"
    if aim.of != "value":
        text += f": {spread_text(aim.figure)}"
    return text, "yes" if aim.met else "no"
