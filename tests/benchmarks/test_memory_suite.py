"""Does the memory suite measure a real engine in a process of its own, and nothing when that engine answers nobody?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.__main__ import make_report
from benchmarks.arguments import parse
from benchmarks.case import Budget, Load, NotMeasured
from benchmarks.server import figures, serving
from benchmarks.suites import SUITES
from benchmarks.suites.memory import runs

TINY = Load(concurrency=4, operations=240)


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    runs._steady.cache_clear()


def test_every_case_of_the_memory_suite_runs_at_a_tiny_size() -> None:
    given = ["--suite", "memory", "--iterations", "1", "--warmup", "0", "--concurrency", str(TINY.concurrency)]
    report = make_report(parse(given), TINY, "")
    rows = {row.name: row for row in report.rows}
    assert list(rows) == [case.name for case in SUITES["memory"](TINY.concurrency)]
    peak, end, growth, streamed = (row.value.median for row in report.rows)
    assert 10 < end <= peak
    assert growth < end
    assert rows["growth after the first tenth"].beside["after the first half"].median <= peak
    assert 0 <= streamed < peak
    assert rows["a batch read as it comes, peak above the start"].beside.keys() == {"as a list"}
    [recorded] = report.recordings
    counters = recorded.recording.last.counters
    assert (counters.succeeded, counters.failed) == (81, 0)  # a third of the operations, and the call before
    assert any(series.histogram is not None for series in recorded.recording.last.series)


def test_a_batch_that_is_read_as_it_comes_takes_less_memory_than_the_list_of_its_answers() -> None:
    load = Load(concurrency=20, operations=1200)  # the list holds 400 answers of 24 KB, 9.6 MB
    measured = runs.streamed(load)
    assert measured.value < measured.beside["as a list"]
    assert measured.beside["as a list"] > 5


def test_an_endpoint_gets_few_requests() -> None:
    with serving() as url:
        runs.peak(Load(concurrency=2, endpoint=f"openai:otter@{url}/v1"))
        assert figures(url)["accepted"] == runs.ENDPOINT_ROUNDS * 2 + 1


def test_a_process_whose_engine_cannot_be_opened_is_a_line_that_says_why() -> None:
    load = Load(concurrency=2, endpoint="openai:nobody-knows@http://127.0.0.1:1/v1", budget=Budget(1.0))
    with pytest.raises(NotMeasured, match="the price of endpoint 'openai:nobody-knows' is not known"):
        runs.at_the_end(load)


def test_memory_of_requests_that_fail_is_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    found = runs._run("batch", TINY, rounds=1, chunks=1)
    failing = replace(found, failed=2)
    monkeypatch.setattr(runs, "_in_a_process", lambda _work: failing)
    with pytest.raises(NotMeasured, match="2 of 4 requests failed"):
        runs._run("batch", TINY, rounds=1, chunks=1)


def test_a_process_that_breaks_down_is_an_error_and_not_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "Work", lambda **_given: _NoWork())
    with pytest.raises(RuntimeError, match=r"(?s)ended with 1: .*TypeError"):
        runs._run("batch", TINY, rounds=1, chunks=1)


class _NoWork:
    def as_dict(self) -> dict[str, object]:
        return {"kind": "batch"}
