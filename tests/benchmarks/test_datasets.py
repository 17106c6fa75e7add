"""Does every case of the datasets suite run the real command, and does it state the aims of the issue?"""

from __future__ import annotations

import pytest

from benchmarks.__main__ import make_report
from benchmarks.arguments import parse
from benchmarks.case import Load
from benchmarks.suites import SUITES
from benchmarks.suites.datasets import runs

TINY = Load(concurrency=3)


@pytest.mark.usefixtures("frozen_heap")
def test_every_case_of_the_datasets_suite_runs_at_a_tiny_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "NINE_TENTHS", 0.2)  # so few rows are made between two looks
    given = ["--suite", "datasets", "--iterations", "1", "--warmup", "0", "--concurrency", str(TINY.concurrency)]
    report = make_report(parse(given), TINY, "")
    assert [row.name for row in report.rows] == [case.name for case in SUITES["datasets"](TINY.concurrency)]
    assert all(row.value.min > 0 for row in report.rows)


def test_the_aims_are_stated_for_the_sizes_they_were_set_for() -> None:
    aims = [(case.unit, case.aim) for case in SUITES["datasets"](100) if case.aim is not None]
    assert [(unit, aim.of, aim.at, aim.limit) for unit, aim in aims] == [
        ("rows/s", "value", "least", 15_000),
        ("MB", "value", "most", 250),
        ("MB", "ratio", "most", 1.1),
        ("s", "value", "most", 3),
        ("s", "value", "most", 2),
        ("s", "value", "most", 10),
    ]
    assert all(case.aim is None for case in SUITES["datasets"](10))
