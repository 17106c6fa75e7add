"""How is a report read by people?"""

from __future__ import annotations

from benchmarks.result import Judged, Report, Row, Spread

_AIMED_AT = {"value": "", "share": "above the bare loop ", "ratio": "times the bare loop ", "ideal": "times the ideal "}
_SIDES = {"most": "<=", "least": ">="}


def to_markdown(report: Report) -> str:
    """The report as a page: where it was made, then one table for each suite."""
    suites = dict.fromkeys(row.suite for row in report.rows)
    tables = [_table(suite, [row for row in report.rows if row.suite == suite]) for suite in suites]
    return "\n\n".join(["# Benchmarks", _circumstances(report), *tables, _LEGEND]) + "\n"


_LEGEND = (
    "Ratio: the value over the bare loop's in the same repeat.  Ideal: what no program can beat.  "
    "An aim is met when the median is; `-`: there is none, or not at this concurrency."
)


def _circumstances(report: Report) -> str:
    machine = report.machine
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    facts = {
        "command": f"`{report.command}`",
        "date": f"{report.started_at}, {report.duration_s:.0f} s",
        "repeats": f"{report.iterations}, after {report.warmup} to warm up; concurrency {report.concurrency}",
        "machine": f"{machine.processor}, {machine.usable_cpus or '?'} of {machine.cpus or '?'} CPUs, {machine.system}",
        "load": f"{_load(report.load_before)} before, {_load(report.load_after)} after",
        "versions": f"{machine.python}, {packages}",
    }
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def _load(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _table(suite: str, rows: list[Row]) -> str:
    others = tuple(dict.fromkeys(name for row in rows for name in row.beside))
    head = ("case", "unit", "median [min - max]", *(others or ("bare loop", "ratio")), "ideal", "aim", "met")
    lines = [f"## {suite}", "", _line(head), "|" + "---|" * len(head)]
    return "\n".join(lines + [_line(_cells(row, others)) for row in rows])


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _cells(row: Row, others: tuple[str, ...]) -> tuple[str, ...]:
    return (
        row.name,
        row.unit,
        _spread(row.value),
        *(_beside(row, others) if others else _bare(row)),
        "-" if row.ideal is None else number(row.ideal),
        *_aim(row.aim),
    )


def _bare(row: Row) -> tuple[str, str]:
    return _spread(row.bare), "-" if row.ratio is None else number(row.ratio.median)


def _beside(row: Row, others: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(number(row.beside[name].median) if name in row.beside else "-" for name in others)


def _aim(aim: Judged | None) -> tuple[str, str]:
    if aim is None:
        return "-", "-"
    text = f"{_AIMED_AT[aim.of]}{_SIDES[aim.at]} {aim.limit:g}"
    if aim.of != "value":
        text += f": {_spread(aim.figure)}"
    return text, "yes" if aim.met else "no"


def _spread(values: Spread | None) -> str:
    if values is None:
        return "-"
    return f"{number(values.median)} [{number(values.min)} - {number(values.max)}]"


def number(value: float) -> str:
    """Three digits, or all before the point."""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 1 else f"{value:.3f}"
