"""Does a job run from any program, and does Ctrl-C lose nothing that was paid for?"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from synth_actors.config import Endpoint, Price
from synth_actors.datasets.jobs.job_result import JobIncompleteError
from synth_actors.datasets.jobs.journal_file import journal_of, read_standing
from synth_actors.datasets.jobs.run_job import run_job
from synth_actors.errors import BudgetExceededError, ConfigError
from tests.datasets.row_server import RowServer, all_right, row

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = {"type": "object", "properties": {"id": {"type": "integer", "minimum": 1}}, "required": ["id"]}
SCRIPT = """
from synth_actors.datasets.jobs.run_job import run_job

result = run_job({"schema": %r, "count": 30, "output": "rows.jsonl"})
print(result.complete, result.report.valid, result.output)
"""


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


def ids(folder: Path, name: str = "rows.jsonl") -> list[int]:
    return [json.loads(line)["id"] for line in (folder / name).read_text().splitlines()]


def test_a_plain_script_runs_a_job(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT % SCHEMA)
    done = subprocess.run(
        [sys.executable, "-W", "error", "script.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("True 30 rows.jsonl\n", "")


def test_it_works_inside_a_running_asyncio_loop_and_in_a_thread_of_it(tmp_path: Path) -> None:
    (tmp_path / "thread").mkdir()

    async def program() -> list[bool]:
        blocking = run_job(job_of(RowServer(), tmp_path))
        threaded = await asyncio.to_thread(run_job, job_of(RowServer(), tmp_path / "thread"))
        return [blocking.complete, threaded.complete]

    assert asyncio.run(program()) == [True, True]
    assert ids(tmp_path) == ids(tmp_path / "thread") == list(range(1, 13))


async def test_inside_a_trio_program_it_says_what_to_use_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="async with open_job"):
        run_job(job_of(RowServer(), tmp_path))
    result = await trio.to_thread.run_sync(run_job, job_of(RowServer(), tmp_path))
    assert result.complete


def test_resume_overwrite_and_fork_reach_the_job(tmp_path: Path) -> None:
    server = RowServer()
    run_job(job_of(server, tmp_path))
    assert run_job(job_of(server, tmp_path), resume=True).complete
    assert len(server.asked) == 4
    run_job(job_of(server, tmp_path, seed=1), overwrite=True)
    run_job(job_of(server, tmp_path, seed=2), overwrite=True, fork=True)
    assert len(server.asked) == 12
    assert len(list(tmp_path.glob("rows.jsonl.journal.?"))) == 2


def test_missing_rows_are_an_error_that_carries_the_result(tmp_path: Path) -> None:
    server = RowServer(lambda rows, sample: [{"id": 0} if number == 5 else row(number) for number in rows])
    with pytest.raises(JobIncompleteError, match=r"1 of 12 rows are missing.*resume=True") as raised:
        run_job(job_of(server, tmp_path))
    assert raised.value.result.report.missing == 1
    assert ids(tmp_path, "rows.jsonl.partial") == [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12]


def test_errors_come_as_themselves_and_name_the_caller_in_their_traceback(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="count") as raised:
        run_job(job_of(RowServer(), tmp_path, count=0))
    assert __file__ in "".join(traceback.format_exception(raised.value))
    endpoint = Endpoint(provider=RowServer(), price=Price(input_usd_per_mtok=0.0, output_usd_per_mtok=1000.0))
    with pytest.raises(BudgetExceededError, match="budget_usd") as stopped:
        run_job(job_of(endpoint, tmp_path, budget_usd=0.1, limits={"max_tokens": 512}))
    assert stopped.value.__context__ is None


class Held(RowServer):
    """Does something when the first call is out, and holds all calls until it is released."""

    def __init__(self, when_out: Callable[[Held], None]) -> None:
        super().__init__()
        self.gate = trio.Event()
        self.token: trio.lowlevel.TrioToken | None = None
        self._when_out: Callable[[Held], None] | None = when_out

    async def generate(self, call: Any, emit: Any) -> Any:
        self.token = trio.lowlevel.current_trio_token()
        completion = await super().generate(call, emit)
        if self._when_out is not None:
            when_out = self._when_out
            self._when_out = None
            when_out(self)
        await self.gate.wait()
        return completion

    def release(self) -> None:
        assert self.token is not None
        self.token.run_sync_soon(self.gate.set)


def interrupt() -> None:
    """As the terminal does."""
    os.kill(os.getpid(), signal.SIGINT)


def watched(monkeypatch: pytest.MonkeyPatch, *, then: Callable[[int], None]) -> None:
    """`then` is called with the number of each interrupt when the job has heard of it."""
    from synth_actors.datasets.jobs import run_job as module

    heard = module._Running.interrupt

    def hear(running: Any) -> None:
        heard(running)
        then(running.interrupts)

    monkeypatch.setattr(module._Running, "interrupt", hear)


def test_the_first_ctrl_c_waits_for_what_is_out_and_the_journal_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGINT)
    server = Held(lambda _: interrupt())
    watched(monkeypatch, then=lambda number: server.release())
    with pytest.raises(KeyboardInterrupt):
        run_job(job_of(server, tmp_path, count=60))
    assert signal.getsignal(signal.SIGINT) is before
    standing = read_standing(journal_of(tmp_path / "rows.jsonl"))
    assert standing.uncertain == ()
    assert standing.answers == len(server.asked) < 20
    answered = RowServer()
    assert run_job(job_of(answered, tmp_path, count=60), resume=True).complete
    assert len(server.asked) + len(answered.asked) == 20
    assert ids(tmp_path) == list(range(1, 61))


def test_the_second_ctrl_c_stops_at_once_and_the_journal_says_what_may_be_paid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched(monkeypatch, then=lambda number: interrupt() if number == 1 else None)
    server = Held(lambda _: interrupt())
    with pytest.raises(KeyboardInterrupt):
        run_job(job_of(server, tmp_path))
    standing = read_standing(journal_of(tmp_path / "rows.jsonl"))
    assert len(standing.uncertain) == len(server.asked)
    assert standing.answers == 0
    assert run_job(job_of(RowServer(), tmp_path), resume=True).complete


def test_a_first_ctrl_c_waits_no_longer_than_the_drain_timeout(tmp_path: Path) -> None:
    server = Held(lambda _: interrupt())
    with pytest.raises(KeyboardInterrupt):
        run_job(job_of(server, tmp_path, limits={"drain_timeout_s": 0.05}))
    assert len(read_standing(journal_of(tmp_path / "rows.jsonl")).uncertain) == len(server.asked)


def test_ctrl_c_when_the_job_is_about_to_be_complete_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Held(lambda _: interrupt())
    watched(monkeypatch, then=lambda number: server.release())
    assert run_job(job_of(server, tmp_path, count=3)).complete


def test_ctrl_c_inside_asyncio_is_for_the_job_and_the_loop_gets_its_handler_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Held(lambda _: interrupt())
    watched(monkeypatch, then=lambda number: server.release())

    async def program() -> None:
        before = signal.getsignal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            run_job(job_of(server, tmp_path, count=60))
        assert signal.getsignal(signal.SIGINT) is before

    asyncio.run(program())
    assert read_standing(journal_of(tmp_path / "rows.jsonl")).uncertain == ()


def test_in_another_thread_signals_are_left_alone(tmp_path: Path) -> None:
    handlers = []

    def look(rows: list[int], sample: int) -> object:
        handlers.append(signal.getsignal(signal.SIGINT))
        return all_right(rows, sample)

    server = RowServer(look)
    thread = threading.Thread(target=run_job, args=(job_of(server, tmp_path),))
    thread.start()
    thread.join()
    assert set(handlers) == {signal.getsignal(signal.SIGINT)}
    assert ids(tmp_path) == list(range(1, 13))
