"""What did each actor and each endpoint do when?  A file for Perfetto, chrome://tracing or speedscope.

    with ChromeTrace("run.json") as trace:
        async with open_engine(..., tracing=trace) as engine: ...

What is in it, by the group it stands in:

    callers             `generate` and `stream`, from submission to answer
    CacheActor          `lookup` until it is known what was found, `fetch` from the file, `flight joined`
    RouterActor         `queue`, from accepted to dispatched, once for each call
    GeneratorActors     `call`, a lane for each of the pool
    MemoryWatchdog      memory, and what was done against its pressure
    MetricsActor        rates, and when they were looked at
    endpoint NAME       `call`, with its fault, tokens and dollars; `to first chunk`, and the chunks
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self
from weakref import WeakKeyDictionary

import trio

from synth_actors.errors import ConfigError
from synth_actors.intervals import checked_interval
from synth_actors.snapshot import Snapshot
from synth_actors.telemetry.chrome_events import EventLog
from synth_actors.telemetry.chrome_figures import EngineFigures
from synth_actors.telemetry.chrome_spans import Groups, RequestSpans, Run
from synth_actors.tracing import RequestTrace
from synth_actors.types import Request

MOST_EVENTS = 1_000_000
INTERVAL_S = 0.1


class ChromeTrace:
    """A Chrome trace of any number of engines, one after the other or at once, all in one thread.

    With a `path` it is a context manager that writes the file at the end of the block, whatever ends it; `write` does
    so at any time.  It holds at most `most_events` events, 10 to 20 bytes each; what comes after is dropped, and the
    file says how much.  Figures are looked at every `interval_s` at most, when something happens.  There is no text of
    a prompt, an answer or an error in it.  Time is that of trio's clock; the runs of several stand one after the other.

    Raises:
        ConfigError: `most_events` is no number above 0, or `interval_s` none.
    """

    def __init__(
        self, path: str | Path | None = None, *, most_events: int = MOST_EVENTS, interval_s: float = INTERVAL_S
    ) -> None:
        if not isinstance(most_events, int) or isinstance(most_events, bool) or most_events < 1:
            raise ConfigError(f"ChromeTrace: most_events={most_events!r}: give a whole number above 0")
        self._path = None if path is None else Path(path)
        self._interval_s = checked_interval("ChromeTrace", interval_s)
        self._log = EventLog(most_events)
        self._groups = Groups(self._log)
        self._thread = threading.get_ident()
        self._runs: WeakKeyDictionary[trio.abc.Clock, Run] = WeakKeyDictionary()
        self._open: set[int] = set()  # engines, each by the lowest number that was free

    @property
    def events(self) -> int:
        """How many it holds."""
        return self._log.events

    @property
    def dropped(self) -> int:
        """How many there was no room for."""
        return self._log.dropped

    def write(self, path: str | Path | None = None) -> Path:
        """Write what was seen so far to `path`, by default the one that it was made with; which one that was.

        A name that ends in `.gz` is compressed, as Perfetto and chrome://tracing read it.

        Raises:
            ConfigError: there is no path.
            OSError: it cannot be written.
        """
        target = self._path if path is None else Path(path)
        if target is None:
            raise ConfigError("ChromeTrace: no file to write to; give write() a path")
        from importlib import metadata  # takes longer than all the rest of this module

        self._log.write(target, {"writer": f"synth_actors {metadata.version('synth-actors')}"})
        return target

    def request(self, request: Request, *, number: int, streamed: bool) -> RequestTrace | None:
        """Begin the spans of a request."""
        if self._log.is_closed:
            return None
        run = self._run()
        run.look()
        return RequestSpans(run, request, number, streamed)

    def opened(self, take: Callable[[], Snapshot]) -> Callable[[], None]:
        """Draw the figures of an engine until it closes.

        Raises:
            ConfigError: this is not the thread in which the trace was made.
        """
        run = self._run()
        number = next(free for free in range(1, len(self._open) + 2) if free not in self._open)
        among = "" if number == 1 else f", engine {number}"
        self._groups.callers.mark("an engine opens", run.now_us(), {})
        self._open.add(number)
        run.figures[number] = EngineFigures(self._log, take, among, run.now_us())
        return partial(self._closed, number, run)

    def _closed(self, number: int, run: Run) -> None:
        self._open.discard(number)
        figures = run.figures.pop(number)
        run.left()
        if not self._log.is_closed:
            figures.close(run.now_us())
            self._groups.callers.mark("an engine closes", run.now_us(), {})

    def _run(self) -> Run:
        if threading.get_ident() != self._thread:
            raise ConfigError("ChromeTrace: an engine in another thread; give each thread a ChromeTrace of its own")
        clock = trio.lowlevel.current_clock()
        found = self._runs.get(clock)
        if found is None:
            found = self._runs[clock] = Run(self._groups, clock, self._interval_s)
        return found

    def __enter__(self) -> Self:
        if self._path is None:
            raise ConfigError("ChromeTrace: no file to write to at the end; give a path, as in ChromeTrace('run.json')")
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _exc: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._log.is_closed = True
        self.write()

    def __repr__(self) -> str:
        where = "" if self._path is None else f" {self._path}"
        return f"<ChromeTrace{where} events={self.events} dropped={self.dropped} engines={len(self._open)}>"
