"""Is what comes out of a job a function of the job and its answers, however often it was interrupted?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_actors.datasets.jobs import judge
from synth_actors.datasets.jobs.job_result import JobResult
from synth_actors.datasets.jobs.journal_file import journal_of, read_standing
from synth_actors.datasets.jobs.open_job import Job, open_job
from tests.datasets.wild_server import Question, WildServer, committed, wild_job
from tests.stepping import Step

MOST_RUNS = 200


@pytest.fixture(autouse=True, scope="module")
def _replacements_are_judged_soon() -> Iterator[None]:
    """While most of these short jobs is still to come, as in a long one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "LAG_ROWS", 12)
        yield


@dataclass(frozen=True, slots=True)
class Outcome:
    """What may not depend on interruptions."""

    output: bytes
    digest: str
    rows: Any
    quality: Any


def outcome_of(folder: Path, result: JobResult) -> Outcome:
    assert result.complete, (result.error, result.report)
    assert result.output is not None
    assert result.manifest is not None
    manifest = json.loads(result.manifest.read_bytes())
    return Outcome(result.output.read_bytes(), manifest["digest"], manifest["rows"], manifest["quality"])


async def undisturbed(seed: int, folder: Path, **fields: Any) -> tuple[Outcome, list[Question]]:
    server = WildServer(seed)
    async with open_job(wild_job(server, folder, **fields)) as job:
        result = await job.finish()
    return outcome_of(folder, result), server.asked


class Interrupted:
    """A job that is run again and again; every question is noted, and none may be asked that was answered before."""

    def __init__(self, seed: int, folder: Path, **fields: Any) -> None:
        self.asked: list[Question] = []
        self._seed, self._folder, self._fields = seed, folder, fields
        self._runs = 0

    async def run(self, step: Step, concurrency: int) -> JobResult | None:
        """One run, cancelled at `step`."""
        self._runs += 1
        assert self._runs < MOST_RUNS, "it does not come forward"
        output = self._folder / "rows.jsonl"
        known = committed(output)
        server = WildServer(self._seed, lag=self._runs, slowest=20)
        fields = {**self._fields, "concurrency": concurrency}
        result = None
        with step:
            async with open_job(wild_job(server, self._folder, **fields), resume=True) as job:
                result = await job.finish()
        assert not known.intersection(server.asked), "an answer that was there was paid for again"
        assert known <= committed(output), "an answer was lost"
        self.asked += server.asked
        return result


@given(st.integers(0, 10**6), st.lists(st.tuples(st.integers(1, 400), st.integers(1, 9)), max_size=4))
@settings(max_examples=25)
async def test_interruptions_at_any_moment_change_nothing(seed: int, moments: list[tuple[int, int]]) -> None:
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        expected, asked = await undisturbed(seed, Path(one))
        job = Interrupted(seed, Path(other))
        for number, concurrency in moments:
            await job.run(Step(number, "any"), concurrency)
        result = await job.run(Step(10**9, "any"), 2)
        assert result is not None
        assert outcome_of(Path(other), result) == expected
        assert set(job.asked) == set(asked), "other questions were asked"


@pytest.mark.parametrize(("output", "stride"), [("rows.jsonl", 2), ("rows/", 7)])
async def test_a_job_may_be_stopped_at_any_moment_and_says_truly_whether_it_is_complete(
    tmp_path: Path, output: str, stride: int
) -> None:
    """Also while the output is sealed and renamed, and the manifest written."""
    (tmp_path / "undisturbed").mkdir()
    fields = {"count": 3, "rows_per_request": 3, "output": output, "concurrency": 1}
    server = WildServer(3, garbage=0, cut=0)
    async with open_job(wild_job(server, tmp_path / "undisturbed", **fields)) as job:
        expected = await job.finish()
    for number in count(1, stride):
        step = Step(number, "any")
        folder = tmp_path / str(number)
        folder.mkdir()
        stopped: Job | None = None
        with step:
            async with open_job(wild_job(server, folder, **fields)) as stopped:
                await stopped.finish()
        if stopped is not None and stopped.result is not None and stopped.result.complete:
            assert stopped.result.files == expected.files
            assert (folder / output).exists()
        async with open_job(wild_job(server, folder, **fields), resume=True) as job:
            result = await job.finish()
        assert result.complete
        assert result.files == expected.files
        assert (folder / output).exists()
        if not step.fired:
            return


class Drain(trio.abc.Instrument):
    """Drains `job` when the tasks of the program have made so many steps."""

    def __init__(self, job: Job, number: int) -> None:
        self.fired = False
        self._job = job
        self._left = number

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Called by trio."""
        self._left -= 1
        if self._left == 0:
            self.fired = True
            self._job.drain()


async def test_a_job_may_be_drained_at_any_moment_and_no_paid_call_is_lost(tmp_path: Path) -> None:
    seed, fields = 3, {"count": 6, "rows_per_request": 2, "concurrency": 2}
    (tmp_path / "undisturbed").mkdir()
    expected, asked = await undisturbed(seed, tmp_path / "undisturbed", **fields)
    for number in count(1, 2):
        server = WildServer(seed)
        folder = tmp_path / str(number)
        folder.mkdir()
        async with open_job(wild_job(server, folder, **fields)) as job:
            drain = Drain(job, number)
            trio.lowlevel.add_instrument(drain)
            result = await job.finish()
            trio.lowlevel.remove_instrument(drain)
        assert result.uncertain == ()
        assert committed(folder / "rows.jsonl") == set(server.asked), "a call that was made has not brought its answer"
        async with open_job(wild_job(server, folder, **fields), resume=True) as job:
            result = await job.finish()
        assert outcome_of(folder, result) == expected
        assert sorted(server.asked) == sorted(asked)
        if not drain.fired:
            return


@given(st.integers(0, 10**6), st.lists(st.integers(1, 30), max_size=4))
@settings(max_examples=10)
async def test_whoever_leaves_after_some_rows_can_go_on(seed: int, rows_read: list[int]) -> None:
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        expected, asked = await undisturbed(seed, Path(one))
        server = WildServer(seed, slowest=20)
        for run, most in enumerate(rows_read):
            with trio.fail_after(30):
                async with open_job(wild_job(server, Path(other), concurrency=1 + run), resume=True) as job:
                    await read_some(job, most)
        async with open_job(wild_job(server, Path(other)), resume=True) as job:
            result = await job.finish()
        assert outcome_of(Path(other), result) == expected
        assert sorted(server.asked) == sorted(asked)
        assert result.uncertain == ()


async def read_some(job: Job, most: int) -> None:
    """As a program does that has enough: it does not close the channel."""
    read = 0
    async for _ in job.rows():
        read += 1
        if read == most:
            break


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 12), st.integers(1, 8))
@settings(max_examples=15)
async def test_neither_concurrency_nor_the_order_of_answers_matters(
    seed: int, count: int, rows_per_request: int, concurrency: int
) -> None:
    fields = {"count": count, "rows_per_request": rows_per_request}
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        expected, asked = await undisturbed(seed, Path(one), **fields)
        server = WildServer(seed, lag=seed, slowest=50)
        async with open_job(wild_job(server, Path(other), **fields, concurrency=concurrency)) as job:
            result = await job.finish()
        assert outcome_of(Path(other), result) == expected
        assert sorted(server.asked) == sorted(asked)


async def test_rows_that_were_given_up_are_tried_again_by_the_next_run(tmp_path: Path) -> None:
    fields = {"limits": {"max_attempts": 1}, "dedup": {"near": None, "max_attempts": 1}}
    server = WildServer(5)
    missing = []
    for _ in range(MOST_RUNS):
        async with open_job(wild_job(server, tmp_path, **fields), resume=True) as job:
            result = await job.finish()
        missing.append(result.report.missing)
        if result.complete:
            break
    assert missing[0] > 0
    assert missing[-1] == 0
    assert missing == sorted(missing, reverse=True)
    assert len(server.asked) == len(set(server.asked))
    ids = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert len(ids) == len({json.dumps(row) for row in ids}) == 40


async def test_the_figures_while_it_runs_agree_with_those_at_the_end_also_after_a_resume(tmp_path: Path) -> None:
    server = WildServer(1)  # a dozen of its rows are replaced
    results = []
    for most in (5, 20, 41, 41):
        with trio.fail_after(30):
            async with open_job(wild_job(server, tmp_path), resume=True) as job:
                await read_some(job, most)
        result = job.result
        assert result is not None
        assert job.report.valid == result.report.valid
        assert job.report.usage == result.report.usage
        results.append(result)
    assert results[-1].complete
    assert results[-1].report.replaced > 0


async def test_the_journal_of_a_job_that_was_stopped_at_once_says_what_may_be_on_the_bill(tmp_path: Path) -> None:
    server = WildServer(0, slowest=10_000)
    with trio.CancelScope() as scope:
        async with open_job(wild_job(server, tmp_path)) as job, trio.open_nursery() as nursery:
            nursery.start_soon(job.finish)
            while not server.asked:
                await trio.lowlevel.checkpoint()
            scope.cancel()
    standing = read_standing(journal_of(tmp_path / "rows.jsonl"))
    out = {call.rows for call in standing.uncertain}
    assert out <= {f"{rows[0]}-{rows[-1]}" for rows, _ in server.asked}
    assert len(out) + standing.answers == len(server.asked)
