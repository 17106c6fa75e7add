"""Does the job get through what servers do to it, and does it end at once where nothing can help?

llmock makes the faults, over both wire formats.  Waits are the engine's real ones, so they are kept short by the
servers' own `Retry-After` and by few attempts.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio

from synth_actors import EngineConfig, open_engine
from synth_actors.datasets import generate_rows
from synth_actors.datasets.report import RowsReport
from synth_actors.errors import GenerationError, RateLimitedError
from synth_actors.policy.breaker import REFUSALS_TO_PAUSE
from synth_actors.snapshot import Snapshot
from tests.integration.support import SHOP, LLMock, assert_valid, generate, llmock_endpoint, rows_of

ROWS = 12
PER_REQUEST = 4
CALLS = ROWS // PER_REQUEST
AT_ONCE = 4


@pytest.fixture(params=["anthropic", "openai"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def job(kind: str, llmock: LLMock, *, streamed: bool) -> tuple[RowsReport, Snapshot]:
    """The same twelve rows each time; the report and the engine's figures."""
    config = EngineConfig(max_concurrency=AT_ONCE)
    async with (
        open_engine([llmock_endpoint(kind, llmock.url, streamed=streamed)], config) as engine,
        generate_rows(engine, SHOP, ROWS, rows_per_request=PER_REQUEST) as rows,
    ):
        assert_valid([row async for row in rows])
        return rows.report, await engine.metrics()


def fail(status: int, times: int, retry_after: float | None = None) -> dict[str, Any]:
    return {"type": "fail", "status": status, "times": times, "retry_after": retry_after}


def cut(how: str, after_chunks: int) -> dict[str, Any]:
    return {"type": "stream_fault", "kind": how, "after_chunks": after_chunks}


STATUSES = {
    "429 with Retry-After twice": ([fail(429, 2, retry_after=0.2)], {"rate_limited": 2}),
    "529": ([fail(529, 1)], {"overloaded": 1}),
    "500 several times": ([fail(500, 4)], {"failed": 4}),
    "503, 429, 502 in a row": (
        [fail(503, 1, retry_after=0.1), fail(429, 1, retry_after=0.1), fail(502, 1)],
        {"overloaded": 1, "rate_limited": 1, "failed": 1},
    ),
}
STREAMS = {
    "a stream cut in the middle": ([cut("truncate", 2)], {"failed": 1}),
    "a malformed chunk": ([cut("malformed", 1)], {"failed": 1}),
    "a dropped connection": ([cut("disconnect", 2)], {"failed": 1}),
    "all of them": ([cut("disconnect", 0), cut("malformed", 3), cut("truncate", 1)], {"failed": 3}),
}


@pytest.mark.parametrize(("faults", "failures"), STATUSES.values(), ids=STATUSES)
async def test_refusals_and_errors_cost_time_and_no_row(
    kind: str, llmock: LLMock, faults: list[dict[str, Any]], failures: dict[str, int]
) -> None:
    llmock.answer_rows(PER_REQUEST)
    llmock.script(*faults)
    report, snapshot = await job(kind, llmock, streamed=False)
    assert report.complete
    assert (report.requests, report.failed_requests, report.repaired) == (CALLS, 0, 0)
    seen = snapshot.router.endpoints[f"{kind}:mock"].failures or {}
    assert {fault: count for fault, count in seen.items() if count} == failures
    assert len(llmock.requests()) == CALLS + sum(failures.values())
    assert_retry_after_was_kept(llmock)


def assert_retry_after_was_kept(llmock: LLMock) -> None:
    """The same call comes again only after the wait that its refusal had told."""
    requests = llmock.requests()
    for refused in requests:
        if refused["retry_after"] is not None:
            again = [r["started_at"] for r in requests if _is_retry_of(refused, r)]
            assert again
            assert min(again) >= refused["started_at"] + refused["retry_after"]


def _is_retry_of(refused: dict[str, Any], request: dict[str, Any]) -> bool:
    same_call: bool = request["fingerprint"] == refused["fingerprint"]
    return same_call and request["started_at"] > refused["started_at"]


@pytest.mark.parametrize(("faults", "failures"), STREAMS.values(), ids=STREAMS)
async def test_broken_streams_cost_time_and_no_row(
    kind: str, llmock: LLMock, faults: list[dict[str, Any]], failures: dict[str, int]
) -> None:
    llmock.answer_rows(PER_REQUEST)
    llmock.script(*faults)
    report, snapshot = await job(kind, llmock, streamed=True)
    assert report.complete
    seen = snapshot.router.endpoints[f"{kind}:mock"].failures or {}
    assert {fault: count for fault, count in seen.items() if count} == failures
    assert sum(request["fault"] is not None for request in llmock.requests()) == len(faults)


async def test_a_wrong_key_ends_the_job_at_once_with_one_message(kind: str, llmock: LLMock) -> None:
    llmock.script({"type": "fail", "status": 401, "times": None, "message": "who are you?"})
    async with (
        open_engine([llmock_endpoint(kind, llmock.url)], EngineConfig(max_concurrency=AT_ONCE)) as engine,
        generate_rows(engine, SHOP, 1000, rows_per_request=1) as rows,
    ):
        with pytest.raises(GenerationError, match="who are you") as caught:
            await rows.receive()
    assert not caught.value.retryable
    assert rows.report.valid == 0
    assert 1 <= len(llmock.requests()) <= AT_ONCE


def test_the_command_with_a_wrong_key_ends_at_once_with_one_message(tmp_path: Path, llmock: LLMock) -> None:
    llmock.script({"type": "fail", "status": 401, "times": None, "message": "who are you?"})
    run = generate(
        *(tmp_path, "-n", 1000, "-o", "r.jsonl", "--rows-per-request", 1, "--concurrency", AT_ONCE),
        *("--endpoint", f"openai:mock@{llmock.url}/v1"),
    )
    assert run.status == 1
    assert run.files() == set()
    assert 1 <= len(llmock.requests()) <= AT_ONCE
    last = run.err.splitlines()[-1]
    assert last.startswith("synth-actors: openai:mock: HTTP 401")
    assert "who are you?" in last
    assert "missing    1000: the job was stopped, for the reason in the last line" in run.err
    assert "openai:mock: openai:mock" not in run.err


async def test_one_rate_limit_delays_the_call_that_met_it_and_nobody_else(kind: str, llmock: LLMock) -> None:
    llmock.script(fail(429, 1, retry_after=0.6))
    async with open_engine([llmock_endpoint(kind, llmock.url)], EngineConfig(max_concurrency=AT_ONCE)) as engine:
        outcomes = await engine.generate_batch([f"Otter {number}?" for number in range(20)])
    assert [outcome.error for outcome in outcomes] == [None] * 20
    refused, *others, again = llmock.requests()
    assert (refused["status"], len(others)) == (429, 19)
    assert _is_retry_of(refused, again)
    assert max(request["started_at"] for request in others) < refused["started_at"] + refused["retry_after"]
    assert_retry_after_was_kept(llmock)


async def test_after_a_second_rate_limit_in_a_row_nobody_calls_before_it_is_over(kind: str, llmock: LLMock) -> None:
    llmock.script(fail(429, 2, retry_after=0.5))
    async with open_engine([llmock_endpoint(kind, llmock.url)], EngineConfig(max_concurrency=1)) as engine:
        outcomes = await engine.generate_batch([f"Otter {number}?" for number in range(6)])
    assert [outcome.error for outcome in outcomes] == [None] * 6
    first, second, *others = llmock.requests()
    assert (first["status"], second["status"], len(others)) == (429, 429, 6)
    assert not _is_retry_of(first, second)  # another call, sent at once, since one refusal closes nothing
    assert second["started_at"] < first["started_at"] + first["retry_after"]
    assert min(request["started_at"] for request in others) >= second["started_at"] + second["retry_after"]


@pytest.mark.parametrize(
    ("refusal", "seen", "asked"),
    [
        (fail(503, 1000, retry_after=30), REFUSALS_TO_PAUSE, "wait 30 s, and no request waits longer than 0.3 s"),
        (fail(429, 1000, retry_after=3600), 1, "wait 3600 s, and no request waits longer than 600 s"),
    ],
    ids=["503 beyond the patience", "429 beyond any"],
)
async def test_a_server_that_asks_for_too_long_a_wait_is_named_once_and_asked_no_more(
    llmock: LLMock, refusal: dict[str, Any], seen: int, asked: str
) -> None:
    """Those who were refused are told at once what it asks for; who comes later waits as long as the patience."""
    llmock.script(refusal)
    config = EngineConfig(max_concurrency=1, outage_patience_s=0.3)
    async with open_engine([llmock_endpoint("openai", llmock.url)], config) as engine:
        with trio.fail_after(5):
            outcomes = await engine.generate_batch([f"Otter {number}?" for number in range(seen + 3)])
    errors = [outcome.error for outcome in outcomes]
    for error in errors:
        assert isinstance(error, RateLimitedError)
        assert error.retryable
        assert str(error).count("openai:mock") == 1
    said = f"openai:mock: HTTP {refusal['status']}"
    assert all(str(error).startswith(said) and asked in str(error) for error in errors[:seen])
    closed = f"every endpoint was closed for longer than outage_patience_s=0.3; last, {said}"
    assert all(str(error).startswith(closed) for error in errors[seen:])
    assert len(llmock.requests()) == seen


def test_the_command_goes_on_with_the_second_endpoint_when_the_first_is_of_no_use(
    tmp_path: Path, llmock: LLMock
) -> None:
    match = {"path": "/v1/*"}
    llmock.script({"type": "fail", "status": 401, "times": None, "match": match})
    first, second = f"openai:mock@{llmock.url}/v1", f"openai:other@{llmock.url}/groq/openai/v1"
    (tmp_path / "config.toml").write_text(f'endpoints = ["{first}", "{second}"]')
    run = generate(tmp_path, "-n", 60, "-o", "r.jsonl", "--config", "config.toml", "--concurrency", AT_ONCE)
    assert run.status == 0, run
    rows = rows_of(tmp_path / "r.jsonl")
    assert len(rows) == 60
    assert_valid(rows)
    assert "endpoint 'openai:mock' failed 100%" in run.err
    by_status = Counter(request["status"] for request in llmock.requests())
    assert by_status[200] == 3
    assert 1 <= by_status[401] <= AT_ONCE
