"""Do the rows reach their file, their reader and their manifest?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from synth_actors.datasets.answers.salvage import Found
from synth_actors.datasets.block import Block
from synth_actors.datasets.jobs.export import Export, manifest_of, manifest_text, write_whole
from synth_actors.datasets.jobs.judge import Judged
from synth_actors.datasets.jobs.open_job import open_job
from synth_actors.datasets.jobs.prepared import digest_of
from synth_actors.datasets.outputs.sinks import FileInfo, Sink, open_sink
from synth_actors.datasets.quality.quality import Quality
from synth_actors.datasets.row_schema import Invalid, RowSchema, Valid
from tests.datasets.row_server import RowServer
from tests.storage.support import names

SCHEMA = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}


def judged(number: int, *values: Any, first: int = 0) -> Judged:
    """A block of these rows; None stands for one that did not come."""
    rows = range(first, first + len(values))
    block = Block(rows, lambda _, value: Invalid("no") if value is None else Valid(value), max_attempts=1)
    block.take(Found(list(values), salvaged=False, problem=None), "end")
    return Judged(number=number, block=block)


def export_to(sink: Sink | None, readers: trio.MemorySendChannel[Any] | None = None) -> Export:
    return Export(sink, Quality(SCHEMA), readers, in_pipe=False)


def sink_at(path: Path) -> Sink:
    return open_sink(str(path), RowSchema(SCHEMA), overwrite=False)


async def test_rows_that_did_not_come_are_left_out_and_the_others_stand_in_their_order(tmp_path: Path) -> None:
    sink = sink_at(tmp_path / "rows.jsonl")
    export = export_to(sink)
    await export.hand_on(judged(0, {"id": 1}, None, {"id": 3}))
    await export.hand_on(judged(1, {"id": 4}, first=3))
    sink.finish()
    assert (tmp_path / "rows.jsonl").read_text() == '{"id":1}\n{"id":3}\n{"id":4}\n'


async def test_what_is_held_back_can_be_seen_while_the_next_rows_take_their_time(tmp_path: Path) -> None:
    sink = sink_at(tmp_path / "rows.jsonl")
    export = export_to(sink)
    await export.hand_on(judged(0, {"id": 1}))
    await export.idle()
    assert (tmp_path / "rows.jsonl.partial").read_text() == '{"id":1}\n'
    sink.keep()


async def test_a_slow_reader_holds_up_the_rows_and_one_that_leaves_does_not(tmp_path: Path) -> None:
    sink = sink_at(tmp_path / "rows.jsonl")
    send, receive = trio.open_memory_channel[Any](0)
    export = export_to(sink, send)
    seen = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(export.hand_on, judged(0, {"id": 1}, {"id": 2}))
        await trio.testing.wait_all_tasks_blocked()
        row = await receive.receive()
        row["id"] = "changed by its reader"
        seen.append(row)
        await trio.testing.wait_all_tasks_blocked()
        receive.close()
    await export.hand_on(judged(1, {"id": 3}, first=2))
    sink.finish()
    send.close()
    assert len(seen) == 1
    assert (tmp_path / "rows.jsonl").read_text() == '{"id":1}\n{"id":2}\n{"id":3}\n'


async def test_without_a_file_the_rows_reach_their_reader_all_the_same() -> None:
    send, receive = trio.open_memory_channel[Any](10)
    await export_to(None, send).hand_on(judged(0, {"id": 1}, {"id": 2}))
    send.close()
    assert [each async for each in receive] == [{"id": 1}, {"id": 2}]


# The manifest.


def test_a_manifest_stands_beside_its_output_unless_another_file_has_the_name(tmp_path: Path) -> None:
    output, usual = tmp_path / "rows.jsonl", tmp_path / "manifest.json"
    other = tmp_path / "rows.jsonl.manifest.json"
    assert manifest_of(output) == usual
    usual.write_bytes(manifest_text(output, (), {}))
    assert manifest_of(output) == usual, "its own is replaced"
    for foreign in (manifest_text(tmp_path / "b.jsonl", (), {}), b'{"name": "an app"}', b"[]", b"no JSON", b"\xff"):
        usual.write_bytes(foreign)
        assert manifest_of(output) == other
    usual.unlink()
    usual.mkdir()
    assert manifest_of(output) == other


def test_a_small_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    for content in (b"one", b"another"):
        write_whole(path, content)
        assert path.read_bytes() == content
        assert names(tmp_path) == ["manifest.json"]


def info(name: str, digest: str) -> FileInfo:
    return FileInfo(name=name, bytes=1, rows=1, sha256=digest)


def test_the_digest_is_that_of_the_file_or_of_all_shards_in_their_order() -> None:
    assert digest_of((info("rows.jsonl", "aa"),)) == "sha256:aa"
    one, other = digest_of((info("a", "aa"), info("b", "bb"))), digest_of((info("b", "bb"), info("a", "aa")))
    assert one.startswith("sha256:")
    assert one != other


def job_of(folder: Path, output: str = "rows.jsonl", **fields: Any) -> Mapping[str, Any]:
    server = RowServer()
    spec = {"schema": {"type": "object", "properties": {"id": {"type": "integer"}}}, "count": 7, "rows_per_request": 3}
    return {**spec, "endpoints": [server], "output": output, "folder": folder, **fields}


@pytest.mark.parametrize("output", ["rows.jsonl", "rows.csv", "rows.parquet", "rows/"])
async def test_the_manifest_of_a_job_says_what_was_made_from_what(tmp_path: Path, output: str) -> None:
    spec = job_of(tmp_path, output, seed=3, columns={"tone": {"values": ["dry", "warm"]}}, instructions="About mills")
    async with open_job(spec) as job:
        result = await job.finish()
    assert result.manifest == tmp_path / "manifest.json"
    found = json.loads(result.manifest.read_text())
    assert found["output"] == output.rstrip("/")
    assert [each["rows"] for each in found["files"]] == [7]
    assert found["digest"] == digest_of(result.files)
    assert (found["count"], found["seed"], found["schema"]) == (7, 3, spec["schema"])
    assert found["job"]["instructions"] == "About mills"
    assert "tone" in found["columns"]
    assert found["models"] == {"rows (rows)": 3}
    assert (found["cost_usd"], found["tokens"]["output_tokens"]) == (None, 21)
    assert (found["rows"]["valid"], found["rows"]["missing"], found["runs"]) == (7, 0, 1)
    assert found["uncertain_calls"] == []
    assert found["quality"]["rows"] == 7


async def test_two_jobs_in_one_folder_have_a_manifest_each(tmp_path: Path) -> None:
    for output in ("a.jsonl", "b.jsonl", "a.jsonl"):
        async with open_job(job_of(tmp_path, output)) as job:
            await job.finish()
    assert json.loads((tmp_path / "manifest.json").read_text())["output"] == "a.jsonl"
    assert json.loads((tmp_path / "b.jsonl.manifest.json").read_text())["output"] == "b.jsonl"
    assert not (tmp_path / "a.jsonl.manifest.json").exists()
