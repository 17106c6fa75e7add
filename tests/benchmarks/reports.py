"""Reports made by hand."""

from __future__ import annotations

from typing import Any

from benchmarks.case import Aim, Case, Claim, Load, Measured
from benchmarks.machine import Machine
from benchmarks.result import Report, Row, row_of

MACHINE = Machine(
    system="Linux 6",
    processor="Some CPU",
    cpus=4,
    usable_cpus=2,
    python="CPython 3.11",
    packages={"trio": "0.35"},
)


def never(load: Load) -> Measured:
    raise AssertionError("measured already")


def row(
    key: str,
    *values: float | Measured,
    unit: str = "ms",
    aim: Aim | None = None,
    claim: Claim | None = None,
) -> Row:
    """The row `key` ("suite: name") of these repeats."""
    suite, _, name = key.partition(": ")
    repeats = [value if isinstance(value, Measured) else Measured(value=value) for value in values]
    return row_of(suite, Case(name=name, unit=unit, measure=never, aim=aim, claim=claim), repeats)


def report(*rows: Row, **fields: Any) -> Report:
    """A report of these rows."""
    usual: dict[str, Any] = {
        "started_at": "2026-12-01T14:00:00+00:00",
        "duration_s": 61.4,
        "command": "python -m benchmarks",
        "iterations": 3,
        "warmup": 1,
        "concurrency": 100,
        "load_before": 1.25,
        "load_after": None,
        "machine": MACHINE,
        "about": {each.suite: f"About {each.suite}." for each in rows},
    }
    return Report(**{**usual, **fields}, rows=rows)
