"""How do the durations of a run get into an HDR interval log (`.hlog`), which other tools read?

The log has one line for every interval and series in which something happened.  Values are microseconds and
`Interval_Max` is in milliseconds, a thousand to one.  Java's `HistogramLogProcessor` takes a million to one for
granted, nanoseconds, and is told so by `-outputValueUnitRatio 1000`.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import quote

import trio

from synth_actors.errors import ConfigError, EngineClosedError
from synth_actors.histogram import NO_SAMPLES, Histogram, highest_equivalent
from synth_actors.intervals import checked_interval
from synth_actors.scopes import nursery_for_body, whole_context
from synth_actors.telemetry.hdr_encoding import encode

if TYPE_CHECKING:
    from synth_actors.engine import Engine
    from synth_actors.snapshot import SeriesSnapshot, Snapshot

logger = logging.getLogger("synth_actors")

US_PER_MS = 1000
PAUSE_S = 0.0002
"""Between two lines, in which trio's thread gets Python's lock if it waits for it, instead of after 5 ms."""
LAST_S = 2.0
"""How long the last interval may take to reach the file when the block is left."""
_OPEN: set[str] = set()
"""Files that logs of this process are written to."""
_BEGINNING = b"#["
_SAFE_IN_A_TAG = "/:@+=~!$&'()*;?[]"  # what would end a tag, a comma, a blank, a line break, becomes %2C and so on


class HlogWriter:
    """Writes an interval log to a path, or to a text file that is open.

    A log that exists is continued behind what it holds, under a header of its own: readers go by the base time that was
    said last.  `start_wall_s` is the Unix time that the times of the lines count from.

    Raises:
        ConfigError: the file holds something else than an interval log.
        OSError: it cannot be opened or written; so do the methods.
    """

    def __init__(self, target: str | os.PathLike[str] | IO[str], *, start_wall_s: float) -> None:
        self.lines = 0
        self._owns_file = isinstance(target, str | os.PathLike)
        self._file = _opened(Path(target)) if isinstance(target, str | os.PathLike) else target
        try:
            self._write_header(start_wall_s)
        except OSError:
            with suppress(OSError):  # what it holds cannot be written now either
                self.close()
            raise

    def _write_header(self, start_wall_s: float) -> None:
        date = time.strftime("%a %b %d %H:%M:%S UTC %Y", time.gmtime(start_wall_s))
        self._file.write(
            "#[Logged by synth-actors: values in microseconds, Interval_Max in milliseconds]\n"
            "#[Histogram log format version 1.3]\n"
            f"#[StartTime: {start_wall_s:.3f} (seconds since epoch), {date}]\n"
            f"#[BaseTime: {start_wall_s:.3f} (seconds since epoch)]\n"
            '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n'
        )
        self._file.flush()

    def write(self, histogram: Histogram, *, start_s: float, end_s: float, tag: str | None = None) -> None:
        """One line: what happened from `start_s` to `end_s`, in seconds after `start_wall_s`."""
        max_us = highest_equivalent(histogram.lowest_us[-1]) if histogram.lowest_us else 0
        head = "" if tag is None else f"Tag={quote(tag, safe=_SAFE_IN_A_TAG, errors='replace')},"
        times = f"{start_s:.3f},{end_s - start_s:.3f},{max_us / US_PER_MS:.3f}"
        self._file.write(f"{head}{times},{encode(histogram)}\n")
        self.lines += 1

    def flush(self) -> None:
        """Let readers see what was written."""
        self._file.flush()

    def close(self) -> None:
        """Flush, and close the file if it was opened here."""
        if self._owns_file:
            self._file.close()
        else:
            self._file.flush()

    def __enter__(self) -> HlogWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<HlogWriter {getattr(self._file, 'name', 'stream')} lines={self.lines}>"


def _opened(path: Path) -> IO[str]:
    has_torn_line = path.is_file() and _ends_within_a_line(path)
    file = path.open("a", encoding="utf-8", newline="\n")
    if has_torn_line:  # its writer was killed
        file.write("\n")
    return file


def _ends_within_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        beginning = file.read(len(_BEGINNING))
        if not beginning:
            return False
        if beginning != _BEGINNING:
            raise ConfigError(f"hlog {str(path)!r}: holds something else than an interval log; name another file")
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def tag_of(series: SeriesSnapshot) -> str:
    """What a series is called in a log: `response.anthropic:claude-haiku-5-5.call`, `mailbox_wait.router`."""
    parts = (series.name, series.actor) if series.actor else (series.name, series.endpoint, series.outcome)
    return ".".join(filter(None, parts))


@dataclass(slots=True)
class _Interval:
    """The histograms by tag at its beginning and at its end."""

    start_s: float
    end_s: float
    before: Mapping[str, Histogram]
    after: Mapping[str, Histogram]

    def write(self, writer: HlogWriter) -> None:
        for tag, histogram in self.after.items():
            earlier = self.before.get(tag, NO_SAMPLES)
            if histogram is not earlier and (new := histogram.minus(earlier)).count:
                writer.write(new, start_s=self.start_s, end_s=self.end_s, tag=tag)
                time.sleep(PAUSE_S)
        writer.flush()


class IntervalLog:
    """What `log_intervals` gives: how it goes.

    `intervals` have ended so far, silent ones included; `lines` are written.  `problem` is what ended the log early.
    """

    def __init__(self, engine: Engine, path: Path) -> None:
        self.path = path
        self.intervals = 0
        self.problem: OSError | None = None
        self._engine = engine
        self._begun = self._last = engine.metrics_now(histograms=True, whole=True)
        self._before = _by_tag(self._last)
        self._unwritten: deque[_Interval] = deque()
        self._writer: HlogWriter | None = None
        self._failed: OSError | None = None  # as a thread has found it
        self._ends = False
        self._one_thread = trio.CapacityLimiter(1)  # none of those that the program may keep busy

    @property
    def lines(self) -> int:
        """Lines written so far."""
        return 0 if self._writer is None else self._writer.lines

    async def open(self) -> None:
        """Raises `ConfigError` when the file is no log or cannot be opened."""
        try:
            self._writer = await trio.to_thread.run_sync(
                self._open_here, limiter=self._one_thread, abandon_on_cancel=True
            )
        except OSError as exc:
            reason = exc.strerror or str(exc)
            raise ConfigError(f"hlog {str(self.path)!r}: cannot be written ({reason}); name another file") from exc
        finally:
            self._ends = self._writer is None

    def _open_here(self) -> HlogWriter:
        """In the thread.  One that was abandoned, since opening hangs, closes what it has opened at last."""
        writer = HlogWriter(self.path, start_wall_s=self._begun.wall_time)
        if self._ends:
            writer.close()
        return writer

    async def run(self, interval_s: float) -> None:
        """Write an interval every `interval_s` until cancelled, or there is trouble, or the engine is closed."""
        due = trio.current_time()
        with suppress(EngineClosedError):
            while self.problem is None:
                due = max(due + interval_s, trio.current_time())
                await trio.sleep_until(due)
                self._look()
                await self._write()

    async def close(self) -> None:
        """Write the last interval, also when cancelled, unless the disk hangs for longer than `LAST_S`."""
        with trio.move_on_after(LAST_S, shield=True) as patience:
            with suppress(EngineClosedError):
                await self._engine.metrics()  # returns when everything is folded, be it ever so much
                self._look()
            self._ends = True
            await self._write()
        if patience.cancelled_caught:
            self._ends = True
            self._warn(TimeoutError(f"no answer for {LAST_S:g} s"))

    def _look(self) -> None:
        now = self._engine.metrics_now(histograms=True)
        after = _by_tag(now)
        opened_at = self._begun.taken_at_s
        times = (self._last.taken_at_s - opened_at, now.taken_at_s - opened_at)
        self._unwritten.append(_Interval(*times, before=self._before, after=after))
        self._last, self._before = now, after
        self.intervals += 1

    async def _write(self) -> None:
        if self._writer is None or self.problem is not None:
            return
        write = partial(self._write_here, self._writer)
        try:
            await trio.to_thread.run_sync(write, limiter=self._one_thread, abandon_on_cancel=True)
        except OSError as exc:
            self._warn(exc)

    def _write_here(self, writer: HlogWriter) -> None:
        """In the thread.  One that was abandoned while the disk hung closes the file when it comes back.

        Raises:
            OSError: writing has failed, now or in a thread that was abandoned.
        """
        if self._failed is not None:
            raise self._failed
        try:
            while self._unwritten:
                self._unwritten.popleft().write(writer)
            if self._ends and not self._unwritten:  # else there is another thread to come, for the last interval
                writer.close()
        except OSError as exc:
            self._failed = exc
            with suppress(OSError):  # what it still holds cannot be written either
                writer.close()
            raise

    def _warn(self, problem: OSError) -> None:
        self.problem = problem
        said = problem.strerror or str(problem)
        logger.warning("hlog %s: cannot be written (%s): it ends here, the run goes on", self.path, said)

    def __repr__(self) -> str:
        return f"<IntervalLog {self.path} lines={self.lines}>"


def _by_tag(snapshot: Snapshot) -> dict[str, Histogram]:
    return {tag_of(series): series.histogram for series in snapshot.series if series.histogram is not None}


@contextmanager
def _only_log_at(path: Path) -> Iterator[None]:
    """Two logs of one engine in one file would have everything in it twice."""
    file = os.path.abspath(path)  # links are not followed: a disk that hangs would hold trio's thread up
    if file in _OPEN:
        raise ConfigError(f"hlog {str(path)!r}: another log of this process is written there; name another file")
    _OPEN.add(file)
    try:
        yield
    finally:
        _OPEN.discard(file)


@whole_context
async def log_intervals(
    engine: Engine, path: str | os.PathLike[str], interval_s: float = 1.0
) -> AsyncIterator[IntervalLog]:
    """Write an interval log of the engine while the block runs: an async context manager.

    Every `interval_s` seconds, what happened since the last time; on leaving the block, also by an exception or a
    cancellation, the rest.  The file is written by a thread.  When that fails one warning is logged, `problem` of the
    log says why, and the engine is not disturbed.

    Raises:
        ConfigError: `interval_s` is no number above 0, `path` cannot be opened, is no interval log or is written by
            another one, or the engine records no durations.
    """
    interval_s = checked_interval("log_intervals", interval_s)
    if not engine.config.metrics:
        raise ConfigError("log_intervals: EngineConfig(metrics=False) records no durations; leave that out to log them")
    log = IntervalLog(engine, Path(path))
    with _only_log_at(log.path):
        await log.open()
        try:
            async with nursery_for_body() as nursery:
                nursery.start_soon(log.run, interval_s)
                yield log
        finally:
            await log.close()
