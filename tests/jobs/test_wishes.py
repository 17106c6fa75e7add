"""What a user asks of a job that makes no sense, or would cost again what was paid: is it told, or done for nothing?"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from synth_actors.datasets import JobSpec, open_job, run_job
from synth_actors.datasets.jobs.journal_file import journal_of, read_standing
from synth_actors.datasets.jobs.prepared import prepare
from synth_actors.errors import ConfigError
from tests.datasets.row_server import RowServer

SCHEMA = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}


def job_of(server: RowServer, folder: Path, **fields: Any) -> JobSpec:
    spec = {"schema": SCHEMA, "count": 12, "rows_per_request": 3, "output": str(folder / "rows.jsonl")}
    return JobSpec(endpoints=[server], **{**spec, **fields})


@pytest.mark.parametrize("wrong", [42, None, ["job.toml"]])
def test_what_is_no_job_is_named(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="give the path of a job file, a JobSpec, or its fields as a dict"):
        run_job(wrong)


def test_a_misspelt_field_is_named_before_the_one_that_is_missing() -> None:
    with pytest.raises(ConfigError, match=r"cout: unknown field; did you mean 'count'\?"):
        run_job({"schema": SCHEMA, "cout": 5, "output": "rows.jsonl"})


def test_going_on_and_beginning_another_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give one of them"):
        run_job(job_of(RowServer(), tmp_path), resume=True, fork=True)


def test_open_job_in_an_asyncio_program_points_to_run_job(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_job(job_of(RowServer(), tmp_path)):
            pytest.fail("it opened")

    with pytest.raises(ConfigError, match="an asyncio program calls run_job"):
        asyncio.run(main())


def test_a_complete_job_is_written_again_and_never_asked_again(tmp_path: Path) -> None:
    server, output = RowServer(), tmp_path / "rows.jsonl"
    run_job(job_of(server, tmp_path))
    whole, manifest = output.read_bytes(), (tmp_path / "manifest.json").read_bytes()
    for wish in ({}, {"resume": True}, {"overwrite": True}):
        assert run_job(job_of(server, tmp_path), **wish).complete
    assert (tmp_path / "manifest.json").read_bytes() == manifest, "nothing was run"
    output.write_bytes(b"changed")
    assert run_job(job_of(server, tmp_path), overwrite=True).complete
    assert output.read_bytes() == whole
    assert len(server.asked) == 4
    assert read_standing(journal_of(output)).runs == 1
    assert json.loads((tmp_path / "manifest.json").read_bytes())["runs"] == 1


def test_a_fork_of_a_complete_job_keeps_all_that_it_has_made(tmp_path: Path) -> None:
    server, output = RowServer(), tmp_path / "rows.jsonl"
    run_job(job_of(server, tmp_path))
    first, manifest = output.read_bytes(), (tmp_path / "manifest.json").read_bytes()
    assert run_job(job_of(server, tmp_path, count=6), fork=True).complete
    assert len(output.read_bytes().splitlines()) == 6
    assert (tmp_path / "rows.jsonl.1").read_bytes() == first
    assert (tmp_path / "manifest.json.1").read_bytes() == manifest
    assert read_standing(tmp_path / "rows.jsonl.journal.1").answers == 4


def test_a_fork_does_not_touch_an_output_that_somebody_changed(tmp_path: Path) -> None:
    server, output = RowServer(), tmp_path / "rows.jsonl"
    run_job(job_of(server, tmp_path))
    output.write_bytes(b"mine")
    with pytest.raises(ConfigError, match="exists; give another output, or add --overwrite"):
        run_job(job_of(server, tmp_path, count=6), fork=True)
    assert output.read_bytes() == b"mine"
    assert read_standing(journal_of(output)).answers == 4


@pytest.mark.parametrize(
    ("fields", "mib"),
    [
        ({"concurrency": 1}, 1.0),
        ({"concurrency": 100, "limits": {"max_tokens": 8000}}, 100 * 8000 * 4 / 2**20),
        ({"concurrency": 10_000, "limits": {"max_tokens": 32_000}}, 64.0),
    ],
)
def test_the_reserve_holds_the_longest_answers_of_all_calls_that_may_be_out(
    tmp_path: Path, fields: dict[str, Any], mib: float
) -> None:
    assert prepare(job_of(RowServer(), tmp_path, **fields)).reserve_bytes == mib * 2**20
