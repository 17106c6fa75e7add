"""Does the cache suite count what a cache saves, on questions that come again as they do?"""

from __future__ import annotations

from collections import OrderedDict
from random import Random

import pytest

from benchmarks.__main__ import make_report
from benchmarks.arguments import parse
from benchmarks.case import Load, NotMeasured
from benchmarks.result import Row
from benchmarks.server import figures, serving
from benchmarks.suites import SUITES
from benchmarks.suites.cache import runs
from benchmarks.suites.eviction.workloads import ASKED_EACH, zipf

QUESTIONS = 20
TINY = Load(concurrency=1, operations=QUESTIONS * runs.OPERATIONS_PER_QUESTION)
"""One caller: then nobody joins the call of another, and the order of the requests is that of the questions."""


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    given = ["--suite", "cache", "--iterations", "1", "--warmup", "0", "--concurrency", "1"]
    report = make_report(parse(given), TINY, "")
    [recorded] = report.recordings
    assert recorded.recording.last.counters.succeeded == ASKED_EACH * QUESTIONS
    return {row.name: row for row in report.rows}


def test_every_case_of_the_cache_suite_is_measured(rows: dict[str, Row]) -> None:
    assert list(rows) == [case.name for case in SUITES["cache"](1)]


def test_hits_and_calls_are_those_of_a_naive_lru(rows: dict[str, Row]) -> None:
    hits = _hits_of_a_naive_lru(zipf(runs.EXPONENT, QUESTIONS, Random(runs.SEED)), int(runs.HELD * QUESTIONS))
    share = 100 * hits / (ASKED_EACH * QUESTIONS)
    assert rows["hits, Zipf 0.9"].value.median == pytest.approx(share)
    assert rows["paid calls, Zipf 0.9"].value.median == pytest.approx(100 - share)
    assert share > 50


def test_where_all_answers_are_alike_tokens_and_dollars_are_saved_as_calls_are(rows: dict[str, Row]) -> None:
    saved = 100 - rows["paid calls, Zipf 0.9"].value.median
    assert rows["tokens saved, Zipf 0.9"].value.median == pytest.approx(saved)
    assert rows["dollars saved, Zipf 0.9"].value.median == pytest.approx(saved)


def test_the_claims_are_multiples_of_a_run_without_a_cache_and_of_a_call(rows: dict[str, Row]) -> None:
    paid, answer = rows["paid calls, Zipf 0.9"], rows["an answer from the cache p50"]
    assert paid.claim is not None
    assert paid.claim.multiple is not None
    assert paid.claim.multiple.median == pytest.approx(100 / paid.value.median)
    assert answer.claim is not None
    assert answer.claim.than == "a call"
    assert answer.beside["a call"].median >= runs.LATENCY_S * 1e3


def test_an_endpoint_gets_few_requests_and_without_a_price_no_dollars_are_reported() -> None:
    with serving() as url:
        load = Load(concurrency=2, endpoint=f"openai:otter@{url}/v1")
        measured = runs.paid(load)
        asked = ASKED_EACH * runs.ENDPOINT_QUESTIONS
        assert figures(url)["accepted"] == pytest.approx(measured.value * asked / 100)
        with pytest.raises(NotMeasured, match="the price of a call is not known"):
            runs.dollars(load)


def _hits_of_a_naive_lru(asked: list[int], most: int) -> int:
    held: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for question in asked:
        if question in held:
            hits += 1
            held.move_to_end(question)
        else:
            held[question] = None
            if len(held) > most:
                held.popitem(last=False)
    return hits
