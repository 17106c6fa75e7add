"""Are as many calls under way at the same moment as the concurrency suite says?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.__main__ import make_report
from benchmarks.arguments import parse
from benchmarks.case import Load, NotMeasured
from benchmarks.engines import upstream
from benchmarks.server import figures, serving
from benchmarks.suites import SUITES
from benchmarks.suites.concurrency import SIZES, runs
from synth_actors import Endpoint

TINY = Load(concurrency=3, operations=50)


def test_every_case_of_the_concurrency_suite_is_a_row_or_a_line_that_says_why_not() -> None:
    given = ["--suite", "concurrency", "--iterations", "1", "--warmup", "0"]
    report = make_report(parse(given), TINY, "")
    names = [case.name for case in SUITES["concurrency"](TINY.concurrency)]
    measured = [name for name in names if name.startswith(("10 at", "50 at"))]
    assert [row.name for row in report.rows] == measured
    assert [missing.name for missing in report.missing] == [name for name in names if name not in measured]
    assert {missing.reason for missing in report.missing} == {"this small load has 50 operations"}
    rows = {row.name: row for row in report.rows}
    assert [rows[f"{size} at once"].beside["at the server"].min for size in (10, 50)] == [10, 50]
    assert [rows[f"{size} at once, failed"].value.max for size in (10, 50)] == [0, 0]
    assert rows["10 at once"].value.median <= 10 / runs.LATENCY_S
    assert rows["10 at once, p99"].value.median >= runs.LATENCY_S * 1e3


def test_names_do_not_depend_on_the_concurrency_and_only_the_largest_size_is_measured_once() -> None:
    cases = SUITES["concurrency"](7)
    assert [case.name for case in cases] == [case.name for case in SUITES["concurrency"](100)]
    assert [case.name for case in cases if case.once] == [
        "10,000 at once",
        "10,000 at once, p99",
        "10,000 at once, failed",
    ]


def test_a_thousand_at_once_are_a_thousand_at_the_server() -> None:
    measured = runs.per_s(1000, Load())
    assert measured.beside == {"at the server": 1000}
    assert measured.recording is None
    assert runs.failed(1000, Load()).value == 0


def test_the_report_shows_one_size_in_full() -> None:
    load = Load(operations=runs.RECORDED)
    recording = runs.per_s(runs.RECORDED, load).recording
    assert recording is not None
    assert recording.last.counters.succeeded == runs.RECORDED
    assert runs.RECORDED in SIZES


def test_a_size_that_needs_more_files_than_are_allowed_is_a_line_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs, "open_files", lambda: 1024)
    with pytest.raises(NotMeasured, match="needs 1,100 open files and may have 1,024; ulimit -n allows more"):
        runs.p99(1000, Load(concurrency=1))


def test_an_endpoint_gets_no_more_at_once_than_was_asked_for_and_its_limit_is_sought() -> None:
    with serving(latency=0.02) as url:
        load = Load(concurrency=50, endpoint=f"openai:otter@{url}/v1")
        with pytest.raises(NotMeasured, match="--concurrency 50 is the most"):
            runs.per_s(100, load)
        measured = runs.per_s(50, load)
        counted = figures(url)
    assert measured.beside == {}
    assert measured.ideal is None
    assert counted["accepted"] == 50
    assert counted["most_in_flight"] < 50


def test_calls_that_are_never_answered_end_the_case_and_not_the_patience_of_the_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @contextmanager
    def holding(_load: Load, **options: float) -> Iterator[Endpoint]:
        with upstream(_load, **{**options, "hold": options["hold"] + 1}) as endpoint:
            assert isinstance(endpoint, Endpoint)
            yield endpoint

    monkeypatch.setattr(runs, "upstream", holding)
    monkeypatch.setattr(runs, "PATIENCE_S", 0.3)
    with pytest.raises(NotMeasured, match=r"not all were answered in 0.3 s; answered 0"):
        runs.per_s(10, Load(operations=10))
