"""Are the rows distinct when the model answers by the prompt alone, and does the report say so when they are not?"""

from __future__ import annotations

from pathlib import Path

import pytest

from synth_actors import open_engine
from synth_actors.datasets import generate_rows
from tests.integration.support import (
    PLAIN_PATHS,
    SHOP,
    PromptServer,
    assert_valid,
    distinct,
    endpoint,
    generate,
    rows_of,
)

COUNT = 400


def test_a_model_that_reads_nothing_but_the_drawn_values_gives_distinct_rows(
    tmp_path: Path, prompt_server: PromptServer
) -> None:
    run = generate(tmp_path, "-n", COUNT, "-o", "r.jsonl", "--endpoint", f"openai:reader@{prompt_server.url}/v1")
    assert run.status == 0, run
    rows = rows_of(tmp_path / "r.jsonl")
    assert len(rows) == COUNT
    assert_valid(rows)
    assert distinct(rows) >= 0.95 * COUNT
    assert f"{COUNT - distinct(rows)} exact duplicates" in run.err
    assert "distinct" not in run.err
    figures = prompt_server.figures()
    assert figures["calls"] == COUNT / 20
    assert run.tokens == (figures["input_tokens"], figures["output_tokens"])


def test_a_model_that_always_writes_the_same_row_is_named_in_the_summary(
    tmp_path: Path, prompt_server: PromptServer
) -> None:
    run = generate(tmp_path, "-n", 60, "-o", "r.jsonl", "--endpoint", f"openai:deaf@{prompt_server.url}/v1")
    assert run.status == 0, run
    assert distinct(rows_of(tmp_path / "r.jsonl")) == 1
    assert "59 exact duplicates" in run.err
    assert "only 1 of 60 rows (1.7%): the model repeats itself; raise --temperature" in run.err


@pytest.mark.parametrize("kind", ["anthropic", "openai"])
async def test_a_server_that_never_streams_serves_a_job_that_asks_for_streams(
    kind: str, prompt_server: PromptServer
) -> None:
    whole = endpoint(kind, "whole", prompt_server.url + PLAIN_PATHS[kind], streamed=True)
    async with open_engine([whole]) as engine, generate_rows(engine, SHOP, 40) as rows:
        assert_valid([row async for row in rows])
        report = rows.report
    assert (report.complete, report.requests, report.repaired) == (True, 2, 0)
    figures = prompt_server.figures()
    assert (report.usage.input_tokens, report.usage.output_tokens) == (
        figures["input_tokens"],
        figures["output_tokens"],
    )
