"""What does a program see that opens a job: rows as they come, a result, and its own journal on the next day?"""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from pydantic import BaseModel, Field

from synth_actors.config import Endpoint, Price
from synth_actors.datasets.jobs import judge
from synth_actors.datasets.jobs.job import JobSpec
from synth_actors.datasets.jobs.job_result import JobIncompleteError, JobResult
from synth_actors.datasets.jobs.journal_file import JobChangedError, journal_of, read_standing
from synth_actors.datasets.jobs.open_job import Job, open_job
from synth_actors.errors import BudgetExceededError, ConfigError, GenerationError
from synth_actors.providers.base import Fault, ProviderError
from tests.datasets.row_server import RowServer, all_right, row
from tests.datasets.wild_server import committed

SCHEMA = {
    "type": "object",
    "properties": {"id": {"type": "integer", "minimum": 1}, "plan": {"type": "string"}},
    "required": ["id"],
}
TEXTS = [
    "The parcel from Lyon arrived on Tuesday morning with a broken seal and a wet box, so she sent it back at once.",
    "The parcel from Lyon arrived on Tuesday morning with a broken seal and a wet box, so she sent it back at last.",
    "Nobody had told the new night porter that the lift stops between the floors whenever it rains in the valley.",
]


class Customer(BaseModel):
    id: int = Field(ge=1)
    plan: str


def job_of(server: Any, folder: Path, **fields: Any) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "count": 12,
        "rows_per_request": 3,
        "concurrency": 2,
        "endpoints": [server],
        "output": "rows.jsonl",
        "folder": folder,
        **fields,
    }


async def done(spec: Any, **wish: bool) -> JobResult:
    async with open_job(spec, **wish) as job:
        return await job.finish()


async def rows_of(job: Job) -> list[Any]:
    return [each async for each in job.rows()]


def written(folder: Path, name: str = "rows.jsonl") -> list[Any]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_a_job_makes_its_file_its_manifest_and_its_journal(tmp_path: Path) -> None:
    result = await done(job_of(RowServer(), tmp_path))
    assert result.complete
    assert written(tmp_path) == [row(number) for number in range(1, 13)]
    assert files(tmp_path) == {"rows.jsonl", "manifest.json", "rows.jsonl.journal"}
    assert (result.output, result.manifest) == (tmp_path / "rows.jsonl", tmp_path / "manifest.json")
    assert (result.journal, result.kept, result.uncertain) == (tmp_path / "rows.jsonl.journal", None, ())
    assert (result.report.valid, result.report.requests, result.report.usage.output_tokens) == (12, 4, 28)
    assert result.quality is not None
    assert result.quality.rows == 12
    result.raise_for_missing()


async def test_rows_come_in_order_as_soon_as_those_before_them_are_there(tmp_path: Path) -> None:
    second = trio.Event()
    server = Gated({4: second})
    async with open_job(job_of(server, tmp_path)) as job:
        rows = job.rows()
        assert [(await rows.receive())["id"] for _ in range(3)] == [1, 2, 3]
        assert not second.is_set()
        second.set()
        assert [each["id"] async for each in rows] == list(range(4, 13))
        assert job.result is not None, "the end of the rows is the end of the job"
        assert job.result.complete


class Gated(RowServer):
    """Answers for rows from one of `gates` on when that is set."""

    def __init__(self, gates: dict[int, trio.Event]) -> None:
        super().__init__()
        self._gates = gates

    async def generate(self, call: Any, emit: Any) -> Any:
        completion = await super().generate(call, emit)
        for first, gate in self._gates.items():
            if self.asked and f"Row {first}" in (call.request.prompt or "").splitlines():
                await gate.wait()
        return completion


async def test_whoever_leaves_early_waits_for_what_is_out_and_the_next_run_asks_for_the_rest_only(
    tmp_path: Path,
) -> None:
    gate = trio.Event()
    server = Gated({4: gate})  # as long as that is out, makers do not go far beyond it
    spec = job_of(server, tmp_path, count=90)
    async with open_job(spec) as job:
        async for each in job.rows():
            assert each["id"] == 1
            break
        gate.set()
    assert read_standing(journal_of(tmp_path / "rows.jsonl")).uncertain == ()
    first = {rows[0] for rows, _ in server.asked}
    assert len(first) < 30
    with pytest.raises(ConfigError, match=r"holds \d+ answers of an earlier run; go on with them by --resume"):
        await done(spec)
    result = await done(spec, resume=True)
    assert result.complete
    assert sorted(rows[0] for rows, _ in server.asked) == list(range(1, 91, 3))
    assert [each["id"] for each in written(tmp_path)] == list(range(1, 91))


async def test_a_program_that_fails_while_it_reads_keeps_what_it_has_paid_for(tmp_path: Path) -> None:
    server = RowServer()

    async def fail() -> None:
        async with open_job(job_of(server, tmp_path)) as job:
            async for _ in job.rows():
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    standing = read_standing(journal_of(tmp_path / "rows.jsonl"))
    assert standing.uncertain == ()
    assert {rows for rows, _ in committed(tmp_path / "rows.jsonl")} == {tuple(rows) for rows, _ in server.asked}


async def test_leaving_waits_no_longer_than_the_drain_timeout(tmp_path: Path) -> None:
    server = Gated({1: trio.Event()})
    with trio.fail_after(30):
        spec = job_of(server, tmp_path, limits={"drain_timeout_s": 0.05})
        async with open_job(spec) as job, trio.open_nursery() as nursery:
            nursery.start_soon(job.finish)
            while not server.asked:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert [
        call.rows for call in read_standing(journal_of(tmp_path / "rows.jsonl")).uncertain if call.rows == "1-3"
    ] == ["1-3"]


async def test_a_reader_that_closes_the_rows_lets_the_job_go_on(tmp_path: Path) -> None:
    async with open_job(job_of(RowServer(), tmp_path)) as job:
        async with job.rows() as rows:
            await rows.receive()
        result = await job.finish()
    assert result.complete


async def test_rows_are_asked_for_once_and_before_the_end(tmp_path: Path) -> None:
    async with open_job(job_of(RowServer(), tmp_path)) as job:
        await job.finish()
        with pytest.raises(ConfigError, match=r"call rows\(\) once, before finish"):
            job.rows()


async def test_a_job_that_nobody_wants_asks_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    server = RowServer()
    async with open_job(job_of(server, tmp_path)) as job:
        assert job.result is None
    assert server.asked == []
    assert files(tmp_path) == set()


async def test_a_complete_job_is_read_again_without_a_call_or_an_engine_and_its_file_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = job_of("openai:m", tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    first = await done({**spec, "endpoints": [Named("openai", "m")]})
    monkeypatch.delenv("OPENAI_API_KEY")
    before = (tmp_path / "rows.jsonl").stat()
    async with open_job(spec) as job:
        assert job.engine is None
        assert await rows_of(job) == written(tmp_path)
    assert job.result is not None
    assert job.result.files == first.files
    assert job.result.report == first.report
    assert job.result.quality == first.quality
    after = (tmp_path / "rows.jsonl").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


class Named(RowServer):
    """For a journal the same model as an endpoint that needs a key."""

    def __init__(self, name: str, model: str) -> None:
        super().__init__()
        self.name, self.model = name, model


@pytest.mark.parametrize("output", ["rows.jsonl", "rows.csv", "rows.parquet", "rows/"])
async def test_an_output_that_is_gone_is_made_again_from_the_journal(tmp_path: Path, output: str) -> None:
    server = RowServer()
    first = await done(job_of(server, tmp_path, output=output))
    if output.endswith("/"):
        shutil.rmtree(tmp_path / output)
    else:
        (tmp_path / output).unlink()
    asked = len(server.asked)
    second = await done(job_of(server, tmp_path, output=output))
    assert second.files == first.files
    assert len(server.asked) == asked
    assert second.output is not None
    assert second.output.exists()


async def test_an_output_that_was_edited_is_not_replaced_unasked(tmp_path: Path) -> None:
    server = RowServer()
    await done(job_of(server, tmp_path))
    original = (tmp_path / "rows.jsonl").read_bytes()
    (tmp_path / "rows.jsonl").write_text("mine")
    for wish in ({}, {"resume": True}):
        with pytest.raises(ConfigError, match="exists and is not what this job has written"):
            await done(job_of(server, tmp_path), **wish)
        assert (tmp_path / "rows.jsonl").read_text() == "mine"
    asked = len(server.asked)
    result = await done(job_of(server, tmp_path), resume=True, overwrite=True)
    assert result.complete
    assert (tmp_path / "rows.jsonl").read_bytes() == original
    assert len(server.asked) == asked


async def test_overwrite_begins_anew_and_keeps_a_journal_that_was_paid_for(tmp_path: Path) -> None:
    server = RowServer()
    await done(job_of(server, tmp_path))
    async with open_job(job_of(server, tmp_path, seed=1), overwrite=True) as job:
        assert any("with 4 answers, is kept as" in note for note in job.notes)
        result = await job.finish()
    assert result.complete
    assert len(server.asked) == 8
    assert read_standing(tmp_path / "rows.jsonl.journal.1").answers == 4


async def test_another_job_is_refused_and_a_fork_begins_it_beside(tmp_path: Path) -> None:
    server = RowServer()
    async with open_job(job_of(server, tmp_path, count=300)) as job:
        async for _ in job.rows():
            break
    with pytest.raises(JobChangedError, match=r"job\.seed: 0 -> 1.*--fork"):
        await done(job_of(server, tmp_path, count=300, seed=1), resume=True)
    result = await done(job_of(server, tmp_path, count=300, seed=1), fork=True)
    assert result.complete
    assert read_standing(tmp_path / "rows.jsonl.journal.1").job is not None
    assert (tmp_path / "rows.jsonl.partial.1").exists()


async def test_a_fork_that_is_refused_leaves_everything_where_it_was(tmp_path: Path) -> None:
    server = RowServer()
    await done(job_of(server, tmp_path))
    (tmp_path / "rows.jsonl").write_text("somebody's")
    before = files(tmp_path)
    with pytest.raises(ConfigError, match="exists"):
        await done(job_of(server, tmp_path, seed=1), fork=True)
    assert files(tmp_path) == before


@pytest.mark.parametrize("how", ["dict", "spec", "path", "text"])
async def test_a_job_is_a_dict_a_spec_or_the_path_of_a_file(tmp_path: Path, how: str) -> None:
    path = tmp_path / "job.toml"
    fields = job_of("local", tmp_path)
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    path.write_text('[job]\nschema = "schema.json"\ncount = 12\nrows_per_request = 3\noutput = "rows.jsonl"\n')
    forms = {"dict": fields, "spec": JobSpec(**fields), "path": path, "text": str(path)}
    result = await done(forms[how])
    assert result.complete
    assert len(written(tmp_path)) == 12


async def test_a_job_without_an_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"job\.output: is missing"):
        await done(job_of("local", tmp_path, output=None))


async def test_rows_are_instances_when_the_schema_is_a_model_also_from_the_journal(tmp_path: Path) -> None:
    for _ in range(2):
        async with open_job(job_of(RowServer(), tmp_path, schema=Customer)) as job:
            assert await rows_of(job) == [Customer(id=number, plan="pro") for number in range(1, 13)]
    assert written(tmp_path) == [row(number) for number in range(1, 13)]


@pytest.mark.parametrize("schema", [SCHEMA, Customer])
async def test_a_reader_that_changes_its_rows_changes_nothing_else(tmp_path: Path, schema: Any) -> None:
    async with open_job(job_of(RowServer(), tmp_path, schema=schema)) as job:
        async for each in job.rows():
            if isinstance(each, Customer):
                each.id, each.plan = 7, "changed"
            else:
                each.clear()
    assert job.result is not None
    assert job.result.complete
    assert written(tmp_path) == [row(number) for number in range(1, 13)]
    assert job.result.report.duplicates == 0
    assert job.result.quality is not None
    assert "changed" not in json.dumps(job.result.quality.as_dict())


async def test_near_duplicates_are_replaced_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "LAG_ROWS", 3)

    def alike(rows: list[int], sample: int) -> object:
        return [{"id": number, "plan": TEXTS[2 if sample else number - 1]} for number in rows]

    result = await done(job_of(RowServer(alike), tmp_path, count=2, rows_per_request=1))
    assert result.complete
    assert (result.report.near_duplicates, result.report.duplicates, result.report.replaced) == (1, 0, 1)
    assert [each["plan"] for each in written(tmp_path)] == [TEXTS[0], TEXTS[2]]


async def test_given_columns_come_out_with_their_weights_whatever_the_model_writes(tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {
            "id": {"type": "integer", "minimum": 1},
            "plan": {"enum": ["free", "pro", "team"]},
            "since": {"type": "string", "format": "date"},
        },
        "required": ["id", "plan", "since"],
        "additionalProperties": False,
    }
    columns = {
        "plan": {"values": {"free": 0.7, "pro": 0.3}},
        "since": {"min": date(2024, 1, 1), "max": date(2024, 12, 31)},
    }
    spec = job_of("local", tmp_path, schema=schema, columns=columns, count=600, rows_per_request=50)
    assert (await done(spec)).complete
    rows = written(tmp_path)
    plans = [each["plan"] for each in rows]
    assert set(plans) == {"free", "pro"}
    assert 0.62 < plans.count("free") / 600 < 0.78
    assert all("2024-01-01" <= each["since"] <= "2024-12-31" for each in rows)


async def test_rows_that_stay_invalid_end_the_job_incomplete_with_its_result(tmp_path: Path) -> None:
    def one_never(rows: list[int], sample: int) -> object:
        return [{"id": 0} if number == 5 else row(number) for number in rows]

    async with open_job(job_of(RowServer(one_never), tmp_path, limits={"max_attempts": 2})) as job:
        rows = job.rows()
        with pytest.raises(JobIncompleteError, match="1 of 12 rows are missing") as raised:
            _ = [each async for each in rows]
    result = raised.value.result
    assert result is job.result
    assert (result.complete, result.output, result.kept) == (False, None, tmp_path / "rows.jsonl.partial")
    assert result.report.missing_reasons == {"id: 0 is less than the minimum of 1": 1}
    assert len(written(tmp_path, "rows.jsonl.partial")) == 11


async def test_what_stopped_the_job_is_raised_after_the_rows_that_were_paid_for(tmp_path: Path) -> None:
    def dies(rows: list[int], sample: int) -> object:
        return ProviderError(Fault.FATAL, "401: wrong key") if rows[0] > 3 else all_right(rows, sample)

    async with open_job(job_of(RowServer(dies), tmp_path, concurrency=1)) as job:
        rows = job.rows()
        assert [(await rows.receive())["id"] for _ in range(3)] == [1, 2, 3]
        with pytest.raises(GenerationError, match="wrong key"):
            await rows.receive()
    assert job.result is not None
    assert isinstance(job.result.error, GenerationError)
    with pytest.raises(GenerationError, match="wrong key"):
        job.result.raise_for_missing()
    assert (await done(job_of(RowServer(), tmp_path, endpoints=[RowServer()]), resume=True)).complete


async def test_a_budget_ends_the_job_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    price = Price(input_usd_per_mtok=0.0, output_usd_per_mtok=1000.0)  # 7 tokens: 0.7 cents; 512 at most: 51 cents
    server = RowServer()
    fields = {"limits": {"max_tokens": 512}, "concurrency": 1, "endpoints": [Endpoint(provider=server, price=price)]}
    result = await done(job_of(server, tmp_path, budget_usd=0.52, **fields))
    assert isinstance(result.error, BudgetExceededError)
    assert result.report.usage.cost_usd == pytest.approx(0.007 * len(server.asked))
    assert 0 < len(server.asked) < 4
    result = await done(job_of(server, tmp_path, budget_usd=5.0, **fields), resume=True)
    assert result.complete
    assert len(server.asked) == 4
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["cost_usd"] == pytest.approx(0.028)
    assert manifest["runs"] == 2
