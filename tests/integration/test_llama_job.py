"""Does a whole job end complete against a real LLM server whose answers are noise in the form of the schema?"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.integration.support import COMMAND, SHOP, assert_valid, rows_of

JOB = """
[job]
schema = "shop.json"
count = 200
output = "rows.jsonl"
endpoints = ["openai:noise@{url}/v1"]
rows_per_request = 5
concurrency = 8

[columns.plan]
values = {{free = 0.75, team = 0.25}}

[dedup]
exact = true

[limits]
max_tokens = 600
"""


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run([COMMAND[0], "run", *arguments], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_job_of_200_rows_against_llama_cpp_with_a_grammar_ends_complete(
    tmp_path: Path, llama_server_url: str
) -> None:
    (tmp_path / "shop.json").write_text(json.dumps(SHOP))
    (tmp_path / "job.toml").write_text(JOB.format(url=llama_server_url))
    said = run(tmp_path)
    assert "200 of 200 rows" in said
    rows = rows_of(tmp_path / "rows.jsonl")
    assert len({json.dumps(row, sort_keys=True) for row in rows}) == 200
    assert_valid(rows)
    assert 20 < sum(row["plan"] == "team" for row in rows) < 80, "three free ones for a team"
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert sum(manifest["models"].values()) >= 40
    assert "200 of 200 rows" in run(tmp_path), "complete: nothing is asked again"
    assert json.loads((tmp_path / "manifest.json").read_text())["models"] == manifest["models"]
