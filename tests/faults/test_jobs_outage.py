"""The server is away for a minute, or for longer than anybody waits: the job waits, says so, and loses nothing."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
import trio.testing

from synth_actors.cli import progress
from synth_actors.cli.progress import Lines
from synth_actors.cli.trouble import Watch
from synth_actors.datasets.jobs.open_job import open_job
from tests.jobs.scripted_job import (
    THREADS_ANSWER_WITHIN_S,
    Asked,
    Fails,
    JobFolder,
    Model,
    Said,
    Server,
    all_right,
    assert_whole,
    finish,
    serving,
    spec_of,
)

DOWN = {"refuses connections": 0, "answers 503": 503, "breaks off": 500}


@pytest.fixture
def virtual_clock() -> trio.testing.MockClock:
    return trio.testing.MockClock(autojump_threshold=THREADS_ANSWER_WITHIN_S)


class Outage:
    """A model that goes away after some answers, for `seconds`."""

    def __init__(self, *, after: int, seconds: float, status: int) -> None:
        self.model = Model(self._play, delay_s=lambda _: 0.2)
        self.ends_at: float | None = None
        self._after = after
        self._seconds = seconds
        self._status = status

    def _play(self, asked: Asked) -> Said | Fails:
        now = trio.current_time()
        if self.ends_at is None and len(self.model.answered) >= self._after:
            self.ends_at = now + self._seconds
        if self.ends_at is not None and now < self.ends_at:
            return Fails(self._status, "down")
        return all_right(asked)


@pytest.mark.parametrize("status", DOWN.values(), ids=DOWN)
def test_a_minute_without_a_server_is_waited_out(
    tmp_path: Path, virtual_clock: trio.testing.MockClock, status: int
) -> None:
    outage = Outage(after=5, seconds=60.0, status=status)

    async def main() -> None:
        begun_at = trio.current_time()
        result = await finish(spec_of(tmp_path, outage.model))
        assert result.complete
        assert 60.0 < trio.current_time() - begun_at < 120.0
        assert result.report.failed_requests == 0
        assert all(call.ended for call in result.uncertain)
        assert (status == 500) == bool(result.uncertain)  # only what was accepted may be on the bill

    trio.run(main, clock=virtual_clock)
    assert_whole(tmp_path / "rows.jsonl", 60)
    assert len(outage.model.answered) == len(set(outage.model.answered)) == 12
    assert len(outage.model.asked) < 60


@pytest.mark.parametrize("status", DOWN.values(), ids=DOWN)
def test_an_outage_longer_than_the_patience_ends_the_run_and_a_later_one_completes_it(
    tmp_path: Path, virtual_clock: trio.testing.MockClock, status: int
) -> None:
    outage = Outage(after=5, seconds=1000.0, status=status)
    spec = spec_of(tmp_path, outage.model, limits={"outage_patience_s": 30.0})

    async def main() -> None:
        result = await finish(spec)
        assert not result.complete
        assert result.report.valid == 25
        assert result.report.missing == 35
        assert trio.current_time() < 200.0
        assert "down" in str(result.error)
        await trio.sleep(1000.0)
        result = await finish(spec, resume=True)
        assert result.complete

    trio.run(main, clock=virtual_clock)
    assert_whole(tmp_path / "rows.jsonl", 60)
    assert len(outage.model.answered) == len(set(outage.model.answered)) == 12


def test_while_it_waits_it_says_for_what_once_a_minute(
    tmp_path: Path, virtual_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage = Outage(after=5, seconds=200.0, status=503)
    said = io.StringIO()

    async def tell(job_display: Lines, watch: Watch) -> None:
        async with open_job(spec_of(tmp_path, outage.model)) as job, trio.open_nursery() as nursery:

            async def look() -> None:
                assert job.engine is not None
                while True:
                    snapshot = await job.engine.metrics()
                    for line in watch.news(snapshot):
                        job_display.say(line)
                    job_display.show(job.report, watch.note(snapshot))
                    await trio.sleep(job_display.interval_s)

            nursery.start_soon(look)
            assert (await job.finish()).complete
            nursery.cancel_scope.cancel()

    async def main() -> None:
        monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=trio.current_time))
        with contextlib.redirect_stderr(said):
            await tell(Lines(), Watch(600.0))

    trio.run(main, clock=virtual_clock)
    lines = said.getvalue().splitlines()
    waiting = [line for line in lines if line.startswith("25 of 60 rows")]
    assert 3 <= len(waiting) <= 6
    assert all(line.endswith("; model: down") for line in waiting[1:])
    assert "model: down; trying again for up to outage_patience_s=600 s" in lines


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def test_the_command_says_what_was_waited_for_and_how_to_go_on(tmp_path: Path, server: Server) -> None:
    folder = JobFolder(tmp_path, server.url)
    folder.write(limits={"outage_patience_s": 0.3})
    server.script = lambda asked: all_right(asked) if asked.rows[0] < 20 else Fails(503, "back in an hour")
    ran = folder.run()
    assert ran.status == 1
    assert "every endpoint was closed for longer than outage_patience_s=0.3" in ran.last
    assert "back in an hour" in ran.last
    assert "put right what the last line says, then run it again with --resume" in ran.err
    server.script = all_right
    assert folder.run("--resume").status == 0
    assert_whole(folder.output, 60)
    assert len(server.answered) == len(set(server.answered)) == 12


def test_a_server_that_is_gone_altogether_is_told_and_waited_for(tmp_path: Path) -> None:
    with serving() as server:
        folder = JobFolder(tmp_path, server.url)
        folder.write(limits={"outage_patience_s": 0.3})
        server.script = lambda asked: all_right(asked) if asked.rows[0] < 20 else Fails(401, "ends here")
        assert folder.run().status == 1
    ran = folder.run("--resume")
    assert ran.status == 1
    assert "openai:scripted: " in ran.last
    assert "connection" in ran.last.lower()
    with serving() as server:
        folder.url = server.url
        folder.write()
        assert folder.run("--resume").status == 0
        assert_whole(folder.output, 60)
