"""How is a job run from a program that knows nothing of trio?

In a thread of its own, while the caller waits: that works in a script, in a notebook and inside a running asyncio loop.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from synth_actors.datasets.jobs.job_result import JobResult
from synth_actors.datasets.jobs.open_job import Job, open_job
from synth_actors.errors import ConfigError

if TYPE_CHECKING:
    from synth_actors.datasets.jobs.job import JobSpec

STOPPED = "the job was stopped; run it again with resume=True, and nothing that was answered is asked again"
LOOK_EVERY_S = 0.2
"""How often the waiting thread looks up; on Windows a signal is seen only then."""


def run_job(
    spec: JobSpec | Mapping[str, Any] | str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    fork: bool = False,
) -> JobResult:
    """Run a job to its end and return what became of it; the arguments are those of `open_job`.

    The first Ctrl-C asks for nothing more and lets calls that are out come to their end, since they may be paid, for
    `limits.drain_timeout_s` seconds at most; a second one stops at once.  Either way KeyboardInterrupt is raised when
    everything that came is in the journal.  What the handler of another signal raises has the same effect, and is then
    raised instead.

    Raises:
        ConfigError: the job is wrong, or this is called inside a trio program: use `open_job` there.
        JobIncompleteError: rows are missing; `result` says why.
        SynthActorsError, OSError: what stopped the job (BudgetExceededError, GenerationError, a full disk, ...).
    """
    if trio.lowlevel.in_trio_run():
        raise ConfigError("run_job: blocks, and this is a trio program; write `async with open_job(...) as job`")
    running = _Running(spec, resume=resume, overwrite=overwrite, fork=fork)
    thread = threading.Thread(target=running.run, name="synth-actors-job")
    with _interrupts(running):
        thread.start()
        _wait_for(running)
    thread.join()
    return running.outcome()


def _wait_for(running: _Running) -> None:
    """Not with `Thread.join`, which takes a thread for ended when a handler raises meanwhile (Python 3.11)."""
    try:
        while not running.over.wait(LOOK_EVERY_S):
            pass
    except BaseException:  # the handler of another signal has raised: the job does not go on by itself
        running.interrupt()
        _wait_for(running)
        raise


class _Running:
    """The job in its thread, and how to stop it from another one."""

    def __init__(self, spec: Any, **wish: bool) -> None:
        self.interrupts = 0
        self.over = threading.Event()
        self._spec = spec
        self._wish = wish
        self._error: BaseException | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._job: Job | None = None
        self._scope = trio.CancelScope()

    def run(self) -> None:
        """In the thread."""
        try:
            trio.run(self._main)
        except BaseException as exc:  # noqa: BLE001  (it is raised again where the caller waits)
            self._error = exc
        finally:
            self.over.set()

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with self._scope:
            async with open_job(self._spec, **self._wish) as self._job:
                self._stop()  # an interrupt may have come before
                await self._job.finish()

    def interrupt(self) -> None:
        """Ctrl-C was pressed."""
        self.interrupts += 1
        if self._token is not None:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._stop)

    def _stop(self) -> None:
        if self.interrupts > 1:
            self._scope.cancel()
        elif self.interrupts and self._job is not None:
            self._job.drain()
            self._scope.deadline = trio.current_time() + self._job.drain_timeout_s

    def outcome(self) -> JobResult:
        """The result, or what was raised."""
        if self._error is not None:
            raise self._error
        result = None if self._job is None else self._job.result
        if self.interrupts and (result is None or not result.complete):
            raise KeyboardInterrupt(STOPPED)
        assert result is not None
        result.raise_for_missing()
        return result


@contextmanager
def _interrupts(running: _Running) -> Iterator[None]:
    """SIGINT is for the job while this lasts; asyncio's own handler would only cancel a task that cannot run now."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: running.interrupt())
    try:
        yield
    finally:
        if before is not None:  # else a host that is not Python has set it
            signal.signal(signal.SIGINT, before)
