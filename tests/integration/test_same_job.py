"""Does the same rows job work over both wire formats, against servers that we did not write?

The command is run as users run it, once over each wire format; the rest is shown in this process, since a start of the
command with Anthropic's SDK costs seconds.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest

from synth_actors import EngineConfig, OutputInvalidError, open_engine
from synth_actors.cli.app import run_command
from synth_actors.datasets import generate_rows
from tests.integration.support import (
    SHOP,
    Llama,
    LLMock,
    Run,
    assert_valid,
    generate,
    llama_endpoint,
    llmock_endpoint,
    rows_of,
)

JOB = ("-n", 12, "--rows-per-request", 4, "--concurrency", 4, "-o", "rows.jsonl")


@pytest.fixture(params=["anthropic", "openai"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["plain", "streamed"])
def streamed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


# The command.


def test_llmock_over_openai_fills_the_schema_and_the_job_is_complete(tmp_path: Path, llmock: LLMock) -> None:
    run = generate(tmp_path, *JOB, "--endpoint", f"openai:mock@{llmock.url}/v1")
    assert run.status == 0, run
    assert run.files() == {"rows.jsonl"}
    assert len(rows_of(tmp_path / "rows.jsonl")) == 12
    assert_valid(rows_of(tmp_path / "rows.jsonl"))
    assert len(llmock.requests()) == 3
    assert run.tokens == llmock.usage_of_all()


def test_llmock_over_anthropic_answers_in_prose_and_the_command_says_that_no_row_can_be_made(
    tmp_path: Path, llmock: LLMock, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "schema.json").write_text(json.dumps(SHOP))
    command = ["generate", "schema.json", *map(str, JOB), "--endpoint", f"anthropic:mock@{llmock.url}/anthropic"]
    run = Run(tmp_path, run_command(command), *capfd.readouterr())
    assert run.status == 1, run
    assert run.files() == {"rows.jsonl.journal"}, "what was answered was paid for"
    assert "0 of 12 rows" in run.err
    assert ": the answer is no JSON" in run.err
    assert run.err.splitlines()[-1] == "synth-actors: 12 rows are missing"
    assert run.tokens == llmock.usage_of_all()


def test_llama_cpp_over_openai_makes_valid_rows_of_noise(tmp_path: Path, llama_server_url: str) -> None:
    llama = Llama(llama_server_url)
    run = generate(tmp_path, *JOB, "--endpoint", f"openai:noise@{llama.url}/v1", "--max-tokens", 400)
    assert run.status == 0, run
    assert run.files() == {"rows.jsonl"}
    rows = rows_of(tmp_path / "rows.jsonl")
    assert len(rows) == 12
    assert_valid(rows)
    assert run.tokens == llama.tokens()


def test_llama_cpp_over_anthropic_writes_noise_and_the_command_says_that_no_row_can_be_made(
    tmp_path: Path, llama_server_url: str
) -> None:
    llama = Llama(llama_server_url)
    run = generate(
        tmp_path, *JOB, "--endpoint", f"anthropic:noise@{llama.url}", "--max-tokens", 40, schema={"type": "integer"}
    )
    assert run.status == 1, run
    assert run.files() == {"rows.jsonl.journal"}, "what was answered was paid for"
    assert "holds a valid row; the last one: the answer was cut at max_tokens" in run.err
    assert run.tokens == llama.tokens()


def test_rows_that_came_before_the_server_went_wrong_stand_in_the_partial_file(tmp_path: Path, llmock: LLMock) -> None:
    llmock.script({"type": "reply", "text": '{"rows": [{"name": "Otter", "score": 5, "plan": "team"}, {"name": 5}]}'})
    llmock.script({"type": "reply", "text": "I am sorry, but I can not do that.", "times": None})
    run = generate(tmp_path, *JOB[:-1], "rows.csv", "--endpoint", f"openai:mock@{llmock.url}/v1", "--concurrency", 1)
    assert run.status == 1, run
    assert run.files() == {"rows.csv.partial", "rows.csv.journal"}
    assert (tmp_path / "rows.csv.partial").read_text().splitlines() == ["name,score,plan", "Otter,5,team"]
    assert "1 of 12 rows" in run.err
    assert "rows.csv.partial" in run.err


# The engine.


async def test_rows_through_llmock_are_valid_and_all_counts_are_the_servers(
    kind: str, streamed: bool, llmock: LLMock
) -> None:
    llmock.answer_rows(4)
    async with (
        open_engine([llmock_endpoint(kind, llmock.url, streamed=streamed)]) as engine,
        generate_rows(engine, SHOP, 12, rows_per_request=4) as rows,
    ):
        made = [row async for row in rows]
        snapshot = await engine.metrics()
    assert len(made) == 12
    assert_valid(made)
    requests = llmock.requests()
    assert [request["stream"] for request in requests] == [streamed] * 3
    usage = rows.report.usage
    used = llmock.usage_of_all()
    assert used == (usage.input_tokens, usage.output_tokens)
    assert used == (snapshot.counters.input_tokens, snapshot.counters.output_tokens)
    line = snapshot.router.endpoints[f"{kind}:mock"]
    assert (line.attempts, line.successes, line.input_tokens, line.output_tokens) == (3, 3, *used)
    assert snapshot.counters.paid_calls == 3


async def test_rows_through_llama_cpp_are_counted_and_what_is_no_row_is_none(
    kind: str, streamed: bool, llama_server_url: str
) -> None:
    llama = Llama(llama_server_url)
    schema = {"type": "integer", "minimum": 0, "maximum": 99}
    async with (
        open_engine([llama_endpoint(kind, llama.url, streamed=streamed)], EngineConfig(max_concurrency=8)) as engine,
        generate_rows(engine, schema, 6, rows_per_request=3, max_tokens=60, max_attempts=2) as rows,
    ):
        made = []
        with suppress(OutputInvalidError):  # after a dozen answers without a row nothing more is paid for
            made += [row async for row in rows]
        snapshot = await engine.metrics()
    usage = rows.report.usage
    assert (usage.input_tokens + usage.cache_read_tokens, usage.output_tokens) == llama.tokens()
    assert (snapshot.counters.input_tokens, snapshot.counters.output_tokens) == (
        usage.input_tokens,
        usage.output_tokens,
    )
    if kind == "openai":  # its grammar makes JSON of noise
        assert rows.report.complete
        assert_valid(made, schema)
    else:
        assert made == []
        assert rows.report.missing == 6
        assert not rows.report.complete
