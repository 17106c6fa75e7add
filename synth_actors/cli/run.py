"""How does one run of `generate` go, and how does it end?

Rows go to the sink as they come.  The first Ctrl-C stops asking for more, writes the rows that are there and lets the
engine close; a second one is not waited for.  Every way to end leaves the whole rows behind.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio
from pydantic import BaseModel

from synth_actors.cli.progress import Display
from synth_actors.cli.settings import Settings
from synth_actors.cli.trouble import Watch
from synth_actors.datasets.plan import RowsJob
from synth_actors.datasets.report import RowsReport
from synth_actors.datasets.rows import Rows, generate_rows
from synth_actors.datasets.sinks import Sink
from synth_actors.engine import Engine, open_engine
from synth_actors.errors import EngineClosedError, SynthActorsError
from synth_actors.snapshot import Snapshot

LOOK_EVERY_S = 0.5
"""How soon trouble with an endpoint is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything that was decided before the first call."""

    settings: Settings
    schema: type[BaseModel] | Mapping[str, Any]
    job: RowsJob
    in_thread: bool  # the sink may block, as a pipe does


@dataclass(slots=True)
class Ending:
    """How a run goes and ended.  `kept` is where the rows stand when there are fewer than asked for."""

    asked: int
    engine: Engine | None = None
    rows: Rows[Any] | None = None
    elapsed_s: float = 0.0
    snapshot: Snapshot | None = None
    error: SynthActorsError | OSError | None = None
    signal: int | None = None
    kept: Path | None = None
    note: str = ""  # what keeps the rows from coming
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    @property
    def report(self) -> RowsReport:
        """What became of the rows so far."""
        return RowsReport(asked=self.asked) if self.rows is None else self.rows.report

    @property
    def complete(self) -> bool:
        """Whether all rows are there, and in the file."""
        return self.report.complete and not isinstance(self.error, OSError)


def run(plan: Run, sink: Sink, display: Display) -> Ending:
    """Make the rows and finish the sink.  Whatever is raised, the sink has kept the whole rows."""
    ending = Ending(plan.job.count)
    kept = False
    try:
        trio.run(_watched, plan, sink, display, ending)
        if ending.complete:
            kept = True
            sink.finish()
    except OSError as exc:
        ending.error = exc
    finally:
        display.close()
        if not kept:
            ending.kept = _kept(sink, ending)
    return ending


def _kept(sink: Sink, ending: Ending) -> Path | None:
    try:
        return sink.keep()
    except OSError as exc:  # the disk is full, or the pipe closed: what was written before stands
        ending.error = ending.error or exc
        return None


async def _watched(plan: Run, sink: Sink, display: Display, ending: Ending) -> None:
    """Errors end as values here, so that the nursery wraps none of them."""
    started_at = time.monotonic()
    async with trio.open_nursery() as nursery:
        await nursery.start(_stop_at_signal, ending)
        nursery.start_soon(_show, display, ending)
        nursery.start_soon(_look, plan, display, ending)
        try:
            await _in_engine(plan, sink, ending)
        except (SynthActorsError, OSError) as exc:
            ending.error = exc
        nursery.cancel_scope.cancel()
    ending.elapsed_s = time.monotonic() - started_at


async def _stop_at_signal(ending: Ending, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            ending.signal = number
            break
    ending.scope.cancel()


async def _show(display: Display, ending: Ending) -> None:
    while True:
        display.show(ending.report, ending.note)
        await trio.sleep(display.interval_s)


async def _look(plan: Run, display: Display, ending: Ending) -> None:
    watch = Watch(plan.settings.engine.outage_patience_s)
    with suppress(EngineClosedError):  # whoever waits for rows is told why
        while True:
            await trio.sleep(LOOK_EVERY_S)
            if ending.engine is None:
                continue
            ending.snapshot = await ending.engine.metrics()
            for line in watch.news(ending.snapshot):
                display.say(line)
            ending.note = watch.note(ending.snapshot)


async def _in_engine(plan: Run, sink: Sink, ending: Ending) -> None:
    async with open_engine(plan.settings.endpoints, plan.settings.engine) as engine:
        ending.engine = engine
        with ending.scope:
            try:
                await _copy_all(engine, plan, sink, ending)
            except (SynthActorsError, OSError) as exc:
                ending.error = exc
        ending.snapshot = await engine.metrics()


async def _copy_all(engine: Engine, plan: Run, sink: Sink, ending: Ending) -> None:
    job = plan.job
    async with generate_rows(
        engine,
        plan.schema,
        job.count,
        job.rows_per_request,
        job.seed,
        job.instructions,
        max_tokens=job.max_tokens,
        temperature=job.temperature,
        max_attempts=job.max_attempts,
    ) as rows:
        ending.rows = rows
        try:
            await _copy(rows, sink, in_thread=plan.in_thread)
        finally:
            for row in rows.take_finished():  # paid, though an earlier one is not there
                sink.write(row)


async def _copy(rows: Rows[Any], sink: Sink, *, in_thread: bool) -> None:
    async for row in rows:
        sink.write(row)
        if rows.ready and not sink.full:
            continue
        if in_thread:
            await trio.to_thread.run_sync(sink.flush, abandon_on_cancel=True)
        else:
            sink.flush()
