"""Does every case of the reclaim suite run a real engine, and does it state the aims of the issue?"""

from __future__ import annotations

import pytest

from benchmarks.__main__ import make_report
from benchmarks.arguments import parse
from benchmarks.case import Load
from benchmarks.suites import SUITES

TINY = Load(concurrency=2)


@pytest.mark.usefixtures("frozen_heap")
def test_every_case_of_the_reclaim_suite_runs_at_a_tiny_size() -> None:
    given = ["--suite", "reclaim", "--iterations", "1", "--warmup", "0", "--concurrency", str(TINY.concurrency)]
    rows = {row.name.partition(": ")[2]: row for row in make_report(parse(given), TINY, "").rows}
    assert list(rows) == [case.name.partition(": ")[2] for case in SUITES["reclaim"](TINY.concurrency)]
    assert 0 < rows["entries left"].value.min < 1
    assert rows["calls at once"].value.min == rows["lowest cap"].value.min == TINY.concurrency
    assert rows["peak resident"].value.min > 10
    assert 0 < rows["peak over limit"].value.min < 2
    assert rows["paid calls"].value.min == 0
    assert rows["hits/s"].value.min > 0


def test_the_aims_are_stated_for_the_sizes_they_were_set_for() -> None:
    cases = SUITES["reclaim"](100)
    aims = [(case.unit, case.aim) for case in cases if case.aim is not None]
    assert [(unit, aim.of, aim.at, aim.limit) for unit, aim in aims] == [
        ("s", "value", "most", 1),
        ("share", "value", "least", 0.7),
        ("share", "value", "least", 0.9),
        ("", "value", "most", 0),
        ("MB", "value", "most", 120),
        ("MB", "value", "most", 5),
        ("calls", "value", "least", 100),
        ("calls", "value", "least", 100),
        ("share", "value", "most", 1.05),
        ("calls", "value", "most", 0),
    ]
    assert [case.name.split(" ")[0] for case in cases[:6]] == ["60,000"] * 4 + ["1,000", "1,000,000"]
    assert all(case.aim is None for case in SUITES["reclaim"](10))
