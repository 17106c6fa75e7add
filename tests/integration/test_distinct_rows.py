"""Are the rows distinct when the model answers by the prompt alone, and does the report say so when they are not?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.support import PromptServer, assert_valid, distinct, generate, rows_of

COUNT = 400


@pytest.mark.parametrize("model", ["reader", "whole"])
def test_a_model_that_reads_nothing_but_the_drawn_values_gives_distinct_rows(
    tmp_path: Path, prompt_server: PromptServer, model: str
) -> None:
    run = generate(tmp_path, "-n", COUNT, "-o", "r.jsonl", "--endpoint", f"openai:{model}@{prompt_server.url}/v1")
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
