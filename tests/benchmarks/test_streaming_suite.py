"""Does the streaming suite see the first piece before the whole is there, and every piece after it?"""

from __future__ import annotations

import pytest

from benchmarks.__main__ import make_report
from benchmarks.arguments import parse
from benchmarks.case import Load, NotMeasured
from benchmarks.result import Report, Row
from benchmarks.server import figures, serving
from benchmarks.suites import SUITES
from benchmarks.suites.streaming import batches, streams

TINY = Load(concurrency=10, operations=300)
CALLS = 3


@pytest.fixture(scope="module")
def report() -> Report:
    given = ["--suite", "streaming", "--iterations", "1", "--warmup", "0", "--concurrency", str(TINY.concurrency)]
    return make_report(parse(given), TINY, "")


@pytest.fixture(scope="module")
def rows(report: Report) -> dict[str, Row]:
    return {row.name: row for row in report.rows}


def test_every_case_of_the_streaming_suite_is_measured(rows: dict[str, Row]) -> None:
    assert list(rows) == [case.name for case in SUITES["streaming"](TINY.concurrency)]


def test_the_first_piece_is_there_long_before_the_whole_would_be(rows: dict[str, Row]) -> None:
    first = rows["first chunk p50"]
    assert streams.LATENCY_S * 1e3 <= first.value.median < first.beside["not streamed"].median
    assert first.beside["not streamed"].median >= (streams.LATENCY_S + streams.CHUNKS * streams.GAP_S) * 1e3
    assert first.claim is not None
    assert first.claim.multiple is not None
    assert first.claim.multiple.median > 1


def test_the_first_outcome_of_a_batch_is_there_before_the_list(rows: dict[str, Row]) -> None:
    batch = rows["a batch's first outcome"]
    assert batches.LATENCY_S * 1e3 <= batch.value.median < batch.beside["the whole list"].median


def test_every_piece_of_every_answer_was_timed(report: Report) -> None:
    read, recording = streams._run(TINY)  # that of the report, which is remembered
    assert len(read.first.durations_s) == CALLS
    assert len(read.between.durations_s) <= CALLS * (streams.CHUNKS - 1)
    assert sum(read.between.durations_s) >= CALLS * 0.8 * (streams.CHUNKS - 1) * streams.GAP_S
    assert recording.last.counters.succeeded == CALLS + 1
    [*_, recorded] = report.recordings
    assert recorded.recording.points


def test_an_answer_that_comes_in_one_piece_has_nothing_between_pieces() -> None:
    with serving(chunks=1) as url:
        load = Load(concurrency=10, operations=300, endpoint=f"openai:otter@{url}/v1")
        with pytest.raises(NotMeasured, match="every answer came in one piece"):
            streams.between_chunks(0.5, load)
        first = streams.first_chunk(0.5, load)
        assert first.value > 0
        assert figures(url)["accepted"] <= 2 * (streams.ENDPOINT_ROUNDS + 1)
