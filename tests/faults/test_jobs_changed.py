"""The job file was changed: what would give other rows is refused with the difference, everything else is accepted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.scripted_job import Fails, JobFolder, Server, all_right, assert_whole, serving

CHANGES: dict[str, dict[str, Any]] = {
    "job.seed: 0 -> 5": {"seed": 5},
    "job.count: 60 -> 80": {"count": 80},
    'job.instructions: null -> "Bicycles"': {"instructions": "Bicycles"},
    "job.rows_per_request: 5 -> 4": {"rows_per_request": 4},
    "job.schema: properties.id.minimum: 1 -> 0": {
        "schema": {
            "type": "object",
            "properties": {"id": {"type": "integer", "minimum": 0}, "note": {"type": "string", "minLength": 3}},
            "required": ["id", "note"],
            "additionalProperties": False,
        }
    },
    "columns.note: added": {"columns": {"note": {"values": ["one thing", "another"]}}},
    "limits.temperature: null -> 0.3": {"limits": {"temperature": 0.3}},
}
SAME_JOB: list[dict[str, Any]] = [
    {"concurrency": 1},
    {"concurrency": 50},
    {"budget_usd": 5.0},
    {"durability": "power"},
    {"api_key": "another"},
    {"limits": {"timeout_s": 9.0, "outage_patience_s": 7.0, "requests_per_minute": 10_000, "max_attempts": 2}},
]


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def half(tmp_path: Path, server: Server) -> JobFolder:
    """A job with 7 of its 12 answers."""
    job = JobFolder(tmp_path, server.url)
    server.script = lambda asked: all_right(asked) if len(server.answered) < 7 else Fails(401, "no such key")
    assert job.run().status == 1
    server.script = all_right
    server.asked.clear()
    return job


@pytest.mark.parametrize(("difference", "change"), CHANGES.items(), ids=CHANGES)
def test_a_changed_job_is_refused_with_the_difference(
    half: JobFolder, server: Server, difference: str, change: dict[str, Any]
) -> None:
    before = {path.name: path.read_bytes() for path in half.folder.iterdir() if path.name.startswith("rows.")}
    half.write(**change)
    for flags in ((), ("--resume",), ("--resume", "--overwrite")):
        ran = half.run(*flags)
        assert ran.status == 2
        assert f"rows.jsonl.journal: was begun by another job ({difference})" in ran.last
        assert "take the change back to go on, or begin another by --fork (fork=True; this journal is kept)" in ran.last
        assert len(ran.err.splitlines()) == 1
    assert difference in half.run(command="status").err
    assert server.asked == []
    assert before == {path.name: path.read_bytes() for path in half.folder.iterdir() if path.name.startswith("rows.")}
    half.write()
    assert half.run("--resume").status == 0
    assert len(server.asked) == 5


def test_a_fork_makes_the_changed_job(half: JobFolder, server: Server) -> None:
    half.write(count=80)
    assert half.run("--fork").status == 0
    assert_whole(half.output, 80)
    assert len(server.asked) == 16
    assert {"rows.jsonl.journal.1", "rows.jsonl.partial.1"} <= half.files()


@pytest.mark.parametrize("change", SAME_JOB, ids=str)
def test_how_fast_how_dear_and_with_which_key_does_not_make_another_job(
    half: JobFolder, server: Server, change: dict[str, Any]
) -> None:
    half.write(**change)
    ran = half.run("--resume")
    assert ran.status == 0, ran.err
    assert_whole(half.output, 60)
    assert len(server.asked) == 5
