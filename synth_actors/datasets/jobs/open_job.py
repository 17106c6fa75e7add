"""How is a job run, inside a trio program?

`open_job` decides whether the job begins, goes on or is done, and opens its journal and an engine of its own; the `Job`
it gives makes the rows when they are read.  A script, a notebook or an asyncio program uses `run_job` instead.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import orjson
import trio

from synth_actors.datasets.jobs.beginning import (
    GIVEN_UP,
    Start,
    Wish,
    exported_files,
    make_room,
    open_output,
    rounds_of,
)
from synth_actors.datasets.jobs.export import Export, manifest_of, manifest_text, output_error, tells_of, write_whole
from synth_actors.datasets.jobs.job_result import JobResult
from synth_actors.datasets.jobs.job_run import JobRun
from synth_actors.datasets.jobs.journal import Journal
from synth_actors.datasets.jobs.journal_file import Standing, closing_standing, open_journal, read_standing, remove
from synth_actors.datasets.jobs.journal_tables import EXPORT
from synth_actors.datasets.jobs.prepared import Prepared, prepare
from synth_actors.datasets.outputs.sinks import FileInfo, Sink
from synth_actors.datasets.quality.quality import Quality
from synth_actors.datasets.quality.quality_report import QualityReport
from synth_actors.datasets.report import RowsReport
from synth_actors.engine import Engine, open_engine
from synth_actors.errors import ConfigError, EngineClosedError, SynthActorsError
from synth_actors.scopes import nursery_for_body, whole_context
from synth_actors.snapshot import Snapshot
from synth_actors.storage.errors import LockedError, StorageError

if TYPE_CHECKING:
    from synth_actors.datasets.jobs.job import JobSpec


CLOSING_S = 2.0
"""How long the last figures of the engine are waited for."""


class JobRows(trio.abc.ReceiveChannel[Any]):
    """The rows of a job in order.

    After the last row, what stopped the job is raised in place of the end, as `JobResult.raise_for_missing` does.
    """

    def __init__(self, job: Job, channel: trio.MemoryReceiveChannel[Any]) -> None:
        self._job = job
        self._channel = channel
        self.reader: trio.lowlevel.Task | None = None

    async def receive(self) -> Any:
        """The next row."""
        self.reader = trio.lowlevel.current_task()
        try:
            return await self._channel.receive()
        except trio.EndOfChannel:
            (await self._job.finish()).raise_for_missing()
            raise

    async def aclose(self) -> None:
        """Read no more; the job goes on."""
        await self._channel.aclose()

    def close(self) -> None:
        """The same, at once."""
        self._channel.close()


class Job:
    """A job that was opened.  Nothing is asked before `rows` or `finish`."""

    def __init__(
        self,
        prepared: Prepared,
        journal: Journal,
        before: Standing,
        *,
        engine: Engine | None,
        sink: Sink | None,
        rounds: int,
        notes: tuple[str, ...],
    ) -> None:
        self.notes = (*prepared.notes, *notes)
        self.engine = engine
        self.snapshot: Snapshot | None = None
        self.begun_at = monotonic()
        self._prepared = prepared
        self._journal = journal
        self._sink = sink
        places = prepared.config.max_concurrency
        self._run = JobRun(prepared.making, journal, before, engine=engine, places=places, rounds=rounds)
        self.before = replace(before, settled=(), begun=frozenset())  # only the run needs these, as long as the job is
        self._quality = Quality(prepared.making.schema.json_schema)
        self._start = trio.Event()
        self._ended = trio.Event()
        self._readers: trio.MemorySendChannel[Any] | None = None
        self._reading: JobRows | None = None
        self._result: JobResult | None = None
        self._done: tuple[FileInfo, ...] = ()
        self._is_empty = False
        self._has_let_go = False

    def __repr__(self) -> str:
        report = self.report
        return f"<Job {report.valid}/{report.asked} rows>"

    @property
    def report(self) -> RowsReport:
        """What became of the rows so far, those of earlier runs included; `usage` is the bill of all runs."""
        report = self._run.live.report()
        return replace(report, usage=self.before.usage + report.usage)

    def rows(self) -> JobRows:
        """All rows in order, also those that were made in earlier runs.  To be called once, before `finish`."""
        if self._start.is_set():
            raise ConfigError("rows: the job runs already; call rows() once, before finish()")
        self._readers, channel = trio.open_memory_channel[Any](0)
        self._reading = JobRows(self, channel)
        self._start.set()
        return self._reading

    @property
    def result(self) -> JobResult | None:
        """What became of the job; None before it has ended."""
        return self._result

    async def finish(self) -> JobResult:
        """Make all rows and the output; what became of them.

        Rows that this task has read some of go to nobody any more; another task may go on reading them.
        """
        self._start.set()
        if self._reading is not None and self._reading.reader is trio.lowlevel.current_task():
            self._reading.close()
        await self._ended.wait()
        assert self._result is not None
        return self._result

    def drain(self) -> None:
        """Ask for nothing more; calls that are out come to their end, since they may be paid."""
        self._run.asker.drain()

    @property
    def calls_out(self) -> int:
        """Paid calls that are under way."""
        return self._journal.calls_out

    @property
    def drain_timeout_s(self) -> float:
        """How long calls that are out may take to come to their end, in seconds."""
        return self._prepared.config.drain_timeout_s

    @property
    def has_nothing(self) -> bool:
        """Whether the journal holds nothing: no answer, and no call that may be on the bill."""
        return self.before.is_empty and (self._is_empty or not self._journal.is_used)

    @property
    def has_let_go(self) -> bool:
        """Whether the output was finished, or what there is of it kept."""
        return self._has_let_go

    @property
    def is_complete(self) -> bool:
        """Whether all rows are there, and in the output."""
        return self._result is not None and self._result.complete

    async def leave(self) -> None:
        """Nobody reads the rows any more: drain, as long as that may take."""
        if not self._start.is_set() or self._ended.is_set():
            return
        if self._reading is not None:
            self._reading.close()  # else the next row would wait for its reader for ever
        self.drain()
        with trio.move_on_after(self.drain_timeout_s):
            await self._ended.wait()

    # --------------------------------------------------------------------------------------------------- behind it

    async def work(self) -> None:
        """Make the rows, once somebody wants them."""
        await self._start.wait()
        export = Export(self._sink, self._quality, self._readers, in_pipe=self._prepared.output is None)
        error: SynthActorsError | OSError | None = None
        try:
            await self._run.run(export)
            error = self._run.asker.stopped_by
            if error is None and self._run.tally.missing == 0:
                await self._publish()
        except SynthActorsError as exc:
            error = exc
        except OSError as exc:
            error = output_error(exc, self._prepared.output)
        finally:
            with trio.CancelScope(shield=True):  # a few reads and writes, also when the job was stopped at once
                await self._end(error)

    async def _publish(self) -> None:
        """All rows are there: the output appears."""
        if self._sink is None:
            self._done = exported_files(self.before.facts)
            return
        files = await trio.to_thread.run_sync(self._sink.seal)
        await self._journal.note(**{EXPORT: orjson.dumps(files).decode()})
        await trio.to_thread.run_sync(self._sink.publish)
        self._done = files or (FileInfo(name="-", rows=self._sink.rows, bytes=0, sha256=""),)

    async def _end(self, error: SynthActorsError | OSError | None) -> None:
        self._has_let_go = True
        kept = None if self._sink is None or self._done else await trio.to_thread.run_sync(_kept, self._sink)
        if self.engine is not None:
            with trio.move_on_after(CLOSING_S), suppress(EngineClosedError):
                self.snapshot = await self.engine.metrics()
        after, problem = await self._last_look()
        error = error or problem
        self._is_empty = after.is_empty and after is not self.before  # which says nothing of this run
        report = replace(self._run.report(), usage=after.usage)
        quality = self._quality.report()
        output = self._prepared.output if self._done else None
        manifest = None
        try:
            if problem is None:  # else what the journal says is not known
                manifest = self._manifest(output, report, quality, after)
        except OSError as exc:
            error = error or output_error(exc, output)
        self._result = JobResult(
            report=report,
            quality=quality,
            output=output,
            files=self._done,
            manifest=manifest,
            kept=kept,
            kept_rows=0 if self._sink is None or kept is None else self._sink.rows,
            journal=self._prepared.journal,
            uncertain=after.uncertain,
            error=error,
            left_out=0 if self._sink is None else self._sink.encoder.left_out,
            elapsed_s=monotonic() - self.begun_at,
        )
        if self._readers is not None:
            self._readers.close()
        self._ended.set()

    async def _last_look(self) -> tuple[Standing, StorageError | None]:
        """Write down how the run ended; what stands in the journal then, and what was wrong with it."""
        problem: StorageError | None = None
        try:
            if self._journal.broken is None:
                if EXPORT not in self.before.facts:
                    await self._journal.end_run("complete" if self._done else "incomplete")
                if self._run.gave_up:
                    await self._journal.note(**{GIVEN_UP: str(self._run.tally.missing)})
        except StorageError as exc:
            problem = exc
        try:
            return await self._journal.read(closing_standing), problem
        except StorageError as exc:
            return self.before, problem or exc

    def _manifest(
        self, output: Path | None, report: RowsReport, quality: QualityReport, after: Standing
    ) -> Path | None:
        if output is None or self._prepared.short:
            return None
        path = manifest_of(output)
        facts = self._prepared.facts(self._done, report, quality, after)
        if self._sink is None and tells_of(path, facts):  # nothing was written anew
            return path
        write_whole(path, manifest_text(output, self._done, facts))
        return path


def _kept(sink: Sink) -> Path | None:
    try:
        return sink.keep()
    except OSError:  # the disk is full, or the pipe closed: what was written before stands
        return None


def open_job(
    spec: JobSpec | Mapping[str, Any] | str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    fork: bool = False,
) -> AbstractAsyncContextManager[Job]:
    """Open a job for as long as the `async with` block runs.

    `spec` is a `JobSpec`, its fields as a dict, or the path of a job file.  With `resume` it goes on with the journal
    that an earlier run has left: nothing that was answered is asked again.  `overwrite` lets it replace an existing
    output, and, without `resume`, begin anew; `fork` sets the earlier journal aside and begins another.  A job that is
    complete already is only read again.  Leaving the block early, also by an exception, drains: calls that are out come
    to their end, for `limits.drain_timeout_s` seconds at most; a cancellation stops at once.

    Raises:
        ConfigError: the job is wrong, or what an earlier run has left is in the way; nothing was asked.
        JobChangedError: the journal was begun by another job.
        StorageError: the journal is damaged, in use, or cannot be written.
    """
    if not trio.lowlevel.in_trio_run():
        raise ConfigError("open_job: runs under trio; a script, a notebook or an asyncio program calls run_job")
    return open_prepared(prepare(spec), Wish(resume=resume, overwrite=overwrite, fork=fork))


@whole_context
async def open_prepared(prepared: Prepared, wish: Wish) -> AsyncIterator[Job]:
    """`open_job` for a job that was made ready."""
    start = await trio.to_thread.run_sync(make_room, prepared.journal, prepared.identity, wish, prepared.output)
    sink = await trio.to_thread.run_sync(open_output, prepared, wish, start)
    job: Job | None = None
    try:
        async with AsyncExitStack() as stack:
            store = open_journal(
                prepared.journal,
                prepared.identity,
                prepared.tariff(),
                durability=prepared.durability,
                reserve_bytes=prepared.reserve_bytes,
            )
            journal, before = await stack.enter_async_context(store)
            engine = None
            if EXPORT not in before.facts:
                spent_usd = before.spent_usd  # uncertain calls at their most
                opening = open_engine(prepared.endpoints, prepared.config, attempt_log=journal, spent_usd=spent_usd)
                engine = await stack.enter_async_context(opening)
            rounds = await rounds_of(journal, before)
            job = Job(prepared, journal, before, engine=engine, sink=sink, rounds=rounds, notes=start.notes)
            async with nursery_for_body() as nursery:
                nursery.start_soon(job.work)
                try:
                    yield job
                finally:  # also when the reader fails: what is out may be paid
                    await job.leave()
    finally:
        if sink is not None and (job is None or not job.has_let_go):
            sink.keep()
        if _leaves_nothing(prepared, start, job):
            with suppress(LockedError):  # another run has begun meanwhile
                remove(prepared.journal)


def _leaves_nothing(prepared: Prepared, start: Start, job: Job | None) -> bool:
    """Whether the journal may go: nothing was asked, or a short job has all its rows in its output."""
    if job is None:
        return start.standing is None and _is_new(prepared.journal)
    return job.has_nothing or (prepared.short and job.is_complete)


def _is_new(journal: Path) -> bool:
    """Whether a run that could not begin has made this journal."""
    try:
        return journal.exists() and read_standing(journal).is_empty
    except SynthActorsError:  # whatever it is, it is not ours to delete
        return False
