"""How does one run of a job go, and how does it end?

The first Ctrl-C, or SIGTERM, asks for nothing more and waits for the calls that are out, since they may be paid; a
second one is not waited for.  Every way to end leaves the whole rows and the journal behind.
"""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import trio

from synth_actors.cli.exports import Exporting, Exports, exporting
from synth_actors.cli.metrics_port import metrics_page
from synth_actors.cli.progress import Display
from synth_actors.cli.trouble import Watch
from synth_actors.cli.warnings import warnings_said
from synth_actors.datasets.jobs.beginning import Wish
from synth_actors.datasets.jobs.job_result import JobResult
from synth_actors.datasets.jobs.open_job import Job, open_prepared
from synth_actors.datasets.jobs.prepared import Prepared
from synth_actors.datasets.report import RowsReport
from synth_actors.errors import EngineClosedError, SynthActorsError
from synth_actors.snapshot import Snapshot
from synth_actors.telemetry.recording import Recorder

LOOK_EVERY_S = 0.5
"""How soon trouble with an endpoint is said."""


@dataclass(slots=True)
class Ending:
    """How a run goes and ended.  `error` is what kept the job from opening; what stopped it stands in `result`."""

    asked: int
    job: Job | None = None
    error: SynthActorsError | OSError | None = None
    signal: int | None = None
    elapsed_s: float = 0.0
    note: str = ""  # what keeps the rows from coming
    recorder: Recorder | None = None  # of a run with a report
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    def keep(self, recorder: Recorder) -> None:
        """What is to be reported is recorded by `recorder`."""
        self.recorder = recorder

    @property
    def result(self) -> JobResult | None:
        """What became of the job; None when it never opened."""
        return None if self.job is None else self.job.result

    @property
    def report(self) -> RowsReport:
        """What became of the rows so far."""
        if self.result is not None:
            return self.result.report
        return RowsReport(asked=self.asked) if self.job is None else self.job.report

    @property
    def snapshot(self) -> Snapshot | None:
        """What the engine knew at its end; None when none was needed."""
        return None if self.job is None else self.job.snapshot

    @property
    def stopped_by(self) -> SynthActorsError | OSError | None:
        """The error that ended it."""
        return self.error if self.result is None else self.result.error


def run(prepared: Prepared, wish: Wish, display: Display, exports: Exports) -> Ending:
    """Make the rows and the output.

    Raises:
        ConfigError: the port of `exports` cannot be used; nothing was opened.
    """
    ending = Ending(prepared.making.plan.job.count)
    started_at = time.monotonic()
    try:
        with warnings_said(display.say), metrics_page(exports.metrics_port, display.say) as page:
            export = partial(exporting, exports=exports, page=page, keep=ending.keep)
            try:
                trio.run(_watched, prepared, wish, display, ending, export)
            except* KeyboardInterrupt:  # one that came before or after signals are received: it ends no other way
                ending.signal = ending.signal or signal.SIGINT
            ending.elapsed_s = time.monotonic() - started_at  # closing the page takes up to half a second more
        display.close(ending.report, ending.snapshot)
    finally:
        display.close()
    return ending


async def _watched(prepared: Prepared, wish: Wish, display: Display, ending: Ending, export: Exporting) -> None:
    """Errors end as values here, so that the nursery wraps none of them."""
    async with trio.open_nursery() as nursery:
        await nursery.start(_stop_at_signals, prepared, display, ending)
        with ending.scope:
            try:
                async with open_prepared(prepared, wish) as job:
                    ending.job = job
                    display.watch(job.engine)
                    _begin(job, display, ending)
                    async with export(job.engine):
                        nursery.start_soon(_show, display, ending)
                        nursery.start_soon(_look, prepared, display, ending)
                        await job.finish()
            except (SynthActorsError, OSError) as exc:
                ending.error = exc
        nursery.cancel_scope.cancel()


def _begin(job: Job, display: Display, ending: Ending) -> None:
    for note in job.notes:
        display.say(note)
    if ending.signal is not None:
        job.drain()


async def _stop_at_signals(
    prepared: Prepared, display: Display, ending: Ending, task_status: trio.TaskStatus[None]
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            if ending.signal is not None or ending.job is None:
                ending.signal = ending.signal or number
                ending.scope.cancel()
                continue  # further ones change nothing
            ending.signal = number
            ending.job.drain()
            limit_s = prepared.config.drain_timeout_s
            ending.scope.deadline = trio.current_time() + limit_s
            if calls := ending.job.calls_out:
                what = "the call that is" if calls == 1 else f"the {calls} calls that are"
                display.say(f"stopping: up to {limit_s:g} s for {what} out; again to stop at once")


async def _show(display: Display, ending: Ending) -> None:
    while True:
        display.show(ending.report, ending.note)
        await trio.sleep(display.interval_s)


async def _look(prepared: Prepared, display: Display, ending: Ending) -> None:
    watch = Watch(prepared.config.outage_patience_s)
    engine = None if ending.job is None else ending.job.engine
    with suppress(EngineClosedError):  # whoever waits for rows is told why
        while engine is not None:
            await trio.sleep(LOOK_EVERY_S)
            snapshot = await engine.metrics()
            for line in watch.news(snapshot):
                display.say(line)
            ending.note = watch.note(snapshot)
