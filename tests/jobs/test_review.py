"""What could a job still lose, pay twice, say wrongly or leave behind?"""

from __future__ import annotations

import json
import signal
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import trio
import trio.testing

from synth_actors.cli.app import run_command
from synth_actors.cli.ending import exit_status
from synth_actors.cli.run import Ending
from synth_actors.config import Endpoint, Price
from synth_actors.datasets.answers.salvage import rows_in
from synth_actors.datasets.asker import DRAINED
from synth_actors.datasets.block import Block
from synth_actors.datasets.jobs.journal import SECOND
from synth_actors.datasets.jobs.journal_file import remove, set_aside, standing
from synth_actors.datasets.jobs.journal_tables import FORMAT
from synth_actors.datasets.jobs.open_job import open_job
from synth_actors.datasets.jobs.run_job import run_job
from synth_actors.datasets.row_schema import Valid
from synth_actors.errors import BudgetExceededError, ConfigError
from synth_actors.providers.base import Call, Completion, Emit
from synth_actors.storage.errors import DamagedError, LockedError
from synth_actors.types import Usage
from tests.jobs.scripted_job import (
    COST_USD,
    PRICE,
    Asked,
    JobFolder,
    Model,
    Said,
    finish,
    row,
    rows_text,
    spec_of,
    standing_of,
)


class Silent(Model):
    """Does not say what it has used."""

    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        completion = await super().generate(call, emit)
        return Completion(text=completion.text, stop_reason="end", usage=Usage(cost_usd=None))


async def test_a_journal_that_cannot_be_read_at_the_end_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    journal = tmp_path / "rows.jsonl.journal"
    async with open_job(spec_of(tmp_path, Model(), count=20)) as job:
        rows = job.rows()
        await rows.receive()
        await trio.testing.wait_all_tasks_blocked(0.05)
        log = journal.with_name("rows.jsonl.journal-wal")
        log.write_bytes(log.read_bytes()[:32] + b"\xff" * (log.stat().st_size - 32))
    assert job.result is not None
    assert isinstance(job.result.error, DamagedError)
    assert journal.exists()


async def test_finish_after_a_loop_over_rows_was_left_makes_the_others(tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with open_job(spec_of(tmp_path, Model())) as job:
            rows = job.rows()
            async for _ in rows:
                break
            result = await job.finish()
    assert result.complete


async def test_finish_takes_the_rows_from_no_other_task(tmp_path: Path) -> None:
    seen = []

    async def read(rows: trio.abc.ReceiveChannel[dict[str, int]]) -> None:
        seen.extend([each["id"] async for each in rows])

    with trio.fail_after(30):
        async with open_job(spec_of(tmp_path, Model())) as job, trio.open_nursery() as nursery:
            nursery.start_soon(read, job.rows())
            await trio.testing.wait_all_tasks_blocked()
            await job.finish()
    assert seen == list(range(1, 61))


async def test_what_was_spent_is_known_though_some_answers_had_no_price(tmp_path: Path) -> None:
    model = Model()
    priced = Endpoint(provider=model, price=Price.model_validate(PRICE))
    async with open_job(spec_of(tmp_path, model, endpoints=[priced])) as job:
        await job.rows().receive()
    first = standing_of(tmp_path)
    assert not job.is_complete
    await finish(spec_of(tmp_path, model, endpoints=[Endpoint(provider=model)]), resume=True)
    assert standing_of(tmp_path).usage.cost_usd is None
    assert standing_of(tmp_path).spent_usd == pytest.approx(first.spent_usd)


async def test_answers_that_do_not_say_what_they_cost_count_against_the_budget_of_the_next_run(tmp_path: Path) -> None:
    model = Silent()
    spec = spec_of(tmp_path, model, budget_usd=0.04, limits={"max_tokens": 1000})
    first = await finish(spec)
    assert isinstance(first.error, BudgetExceededError)
    asked = len(model.asked)
    assert 0 < asked < 12
    second = await finish(spec, resume=True)
    assert isinstance(second.error, BudgetExceededError)
    assert len(model.asked) == asked


def test_what_a_signal_raises_in_the_waiting_thread_stops_the_job(tmp_path: Path) -> None:
    main = threading.main_thread().ident or 0

    def on_alarm(*_: object) -> None:
        raise TimeoutError

    def delay_s(_: object) -> float:
        if len(model.asked) == 4:
            signal.pthread_kill(main, signal.SIGALRM)
        return 0.2

    model = Model(delay_s=delay_s)
    before = signal.signal(signal.SIGALRM, on_alarm)
    try:
        with pytest.raises(TimeoutError):
            run_job(spec_of(tmp_path, model))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert len(model.asked) == len(model.answered) == 4
    assert standing_of(tmp_path).answers == 4
    assert standing_of(tmp_path).uncertain == ()


@pytest.mark.parametrize("later", range(0, 24, 2))
async def test_a_run_that_is_stopped_after_its_last_row_succeeds_only_with_its_output(
    tmp_path: Path, later: int
) -> None:
    ending = Ending(5, signal=2)
    with trio.CancelScope() as scope:
        async with open_job(spec_of(tmp_path, Model(), count=5)) as ending.job, trio.open_nursery() as nursery:
            nursery.start_soon(ending.job.finish)
            while ending.job.report.valid < 5:
                await trio.lowlevel.checkpoint()
            for _ in range(later):
                await trio.lowlevel.checkpoint()
            scope.cancel()
    assert exit_status(ending) == (0 if (tmp_path / "rows.jsonl").exists() else 130)


async def test_while_an_output_is_compared_with_its_digest_other_tasks_go_on(tmp_path: Path) -> None:
    await finish(spec_of(tmp_path, Model(), count=5))
    (tmp_path / "rows.jsonl").write_bytes(bytes(2**24))
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await trio.lowlevel.checkpoint()
            beats += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(beat)
        with pytest.raises(ConfigError, match="is not what this job has written"):
            async with open_job(spec_of(tmp_path, Model(), count=5)):
                pass
        nursery.cancel_scope.cancel()
    assert beats > 10


async def test_questions_that_were_withdrawn_are_no_answers_without_a_valid_row(tmp_path: Path) -> None:
    answers = trio.Event()

    class Waits(Model):
        async def generate(self, call: Call, emit: Emit | None) -> Completion:
            if len(self.asked) >= 14:
                await answers.wait()
            return await super().generate(call, emit)

    model = Waits(lambda _: Said("no rows here"))
    async with open_job(spec_of(tmp_path, model, count=600)) as job, trio.open_nursery() as nursery:
        nursery.start_soon(job.finish)
        while job.calls_out < 4 or len(model.answered) < 14:
            await trio.lowlevel.checkpoint()
        job.drain()
        answers.set()
    assert job.result is not None
    assert job.result.error is None
    assert set(job.result.report.missing_reasons) == {DRAINED}


@pytest.mark.parametrize("command", ["run", "generate"])
def test_so_many_rows_that_a_byte_a_request_is_too_much_are_refused(
    command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = JobFolder(tmp_path, "http://127.0.0.1:9/v1")
    folder.write(count=10**9 + 1)
    more = [str(folder.file)] if command == "run" else [str(tmp_path / "schema.json"), "-n", str(10**9 + 1), "-o", "-"]
    assert run_command([command, *more]) == 2
    assert "1000000001" in capfd.readouterr().err


async def test_a_call_that_ends_after_its_question_was_asked_again_is_the_only_uncertain_one(tmp_path: Path) -> None:
    again, left = trio.Event(), trio.Event()

    class Late(Model):
        async def generate(self, call: Call, emit: Emit | None) -> Completion:
            if self.asked:
                again.set()
                await left.wait()
                await trio.testing.wait_all_tasks_blocked()
                return await super().generate(call, emit)
            self.asked.append(Asked((), 0))
            try:
                with trio.CancelScope(shield=True):  # as a thread does
                    await again.wait()
                await trio.sleep_forever()
            finally:
                left.set()
            raise AssertionError

    result = await finish(spec_of(tmp_path, Late(), count=5, limits={"timeout_s": 0.3}))
    assert result.complete
    assert len(result.uncertain) == 1


def test_a_row_that_is_no_json_leaves_those_after_it_to_their_own_lines() -> None:
    block = Block(range(3), lambda _row, value: Valid(value), max_attempts=2)
    block.take(rows_in('{"rows": [{"id": 1}, {"id": NaN}, {"id": 3}]}'), "end")
    assert block.made == {0: {"id": 1}, 2: {"id": 3}}
    again = block.wanted()
    assert again is not None
    assert again.rows == (1,)


async def test_what_two_answers_to_one_question_cost_is_counted_twice_and_the_first_is_taken(tmp_path: Path) -> None:
    again, first = trio.Event(), trio.Event()

    class Late(Model):
        async def generate(self, call: Call, emit: Emit | None) -> Completion:
            if self.asked:
                again.set()
                await first.wait()
                await trio.testing.wait_all_tasks_blocked(0.05)  # until it is written down
                self.script = lambda asked: Said(rows_text(Asked(asked.rows, 7)))
                return await super().generate(call, emit)
            with trio.CancelScope(shield=True):  # as a thread does
                self.asked.append(Asked((), 0))
                await again.wait()
                first.set()
                return await super().generate(call, emit)
            raise AssertionError

    model = Late()
    result = await finish(spec_of(tmp_path, model, count=5, limits={"timeout_s": 0.3}))
    assert result.complete
    assert len(model.answered) == 2
    assert result.report.usage.cost_usd == pytest.approx(2 * COST_USD)
    assert [call.ended for call in result.uncertain] == [SECOND]
    assert json.loads((tmp_path / "rows.jsonl").read_text().splitlines()[0]) == row(1)


@pytest.mark.parametrize("other", [remove, set_aside])
async def test_a_journal_that_a_run_uses_is_neither_removed_nor_renamed(
    other: Callable[[Path], object], tmp_path: Path
) -> None:
    """As by a run with --overwrite or --fork that had looked a moment before this one began."""
    journal = tmp_path / "rows.jsonl.journal"
    async with open_job(spec_of(tmp_path, Model())) as job:
        with pytest.raises(LockedError):
            other(journal)
        assert (await job.finish()).complete
    assert standing_of(tmp_path).answers == 12
    other(journal)
    assert not journal.exists()
    assert not journal.with_name("rows.jsonl.journal-lock").exists()


async def test_a_manifest_of_an_earlier_output_is_replaced_though_the_new_one_was_there_already(tmp_path: Path) -> None:
    """As after a run with --overwrite that was killed between its output and its manifest."""
    await finish(spec_of(tmp_path, Model(), count=5))
    manifest = tmp_path / "manifest.json"
    earlier = manifest.read_bytes()
    result = await finish(spec_of(tmp_path, Model(), count=5, seed=1), overwrite=True)
    assert result.complete
    written = manifest.read_bytes()
    assert json.loads(written)["seed"] == 1
    manifest.write_bytes(earlier)
    assert (await finish(spec_of(tmp_path, Model(), count=5, seed=1))).complete
    assert json.loads(manifest.read_bytes())["seed"] == 1


def test_what_was_spent_does_not_depend_on_the_order_in_which_answers_came() -> None:
    costs = [0.1 * number for number in range(1, 200)]
    usd = []
    for order in (costs, costs[::-1]):
        with closing(sqlite3.connect(":memory:")) as connection:
            for statement in FORMAT.script:
                connection.execute(statement)
            for cost_usd in order:
                values = (int(cost_usd * 1000), "1", 0, "e", "m", "end", b"", 0.0, 1, 1, 0, 0, cost_usd, None)
                connection.execute(f"INSERT INTO answers VALUES ({','.join('?' * len(values))})", values)
            usd.append(standing(connection).usage.cost_usd)
    assert sum(costs) != sum(costs[::-1])
    assert usd[0] == usd[1]
