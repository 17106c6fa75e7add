"""Which of the engine's own figures does OpenTelemetry get, and how do they come out of trio's thread?

A metric reader asks in a thread of its own, and sometimes in trio's: `force_flush`, `shutdown`.  Only trio's thread may
look at the engine.  So whoever asks elsewhere has a snapshot taken there and waits for it, for `PATIENCE_S` at most:
trio's thread may itself be waiting for the reader just then (a `shutdown` inside the engine's block joins the reader's
thread), and who waited for ever would hang both.  What is then reported is the snapshot before.  No task in the engine
takes any for this: nobody pays for what nobody asks.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import trio

from synth_actors.snapshot import Snapshot

logger = logging.getLogger("synth_actors")

PATIENCE_S = 0.5
"""How long a reader waits for trio's thread; a turn of the engine takes a hundredth of it."""
REUSE_S = 0.05
"""A reader asks instrument by instrument: what was taken so short a time ago is of the same look."""

Kind = Literal["counter", "up_down_counter", "gauge"]
Labels = tuple[tuple[str, str], ...]
Point = tuple[float, Labels]
Reading = tuple[float | None, Labels]
"""None: it is not known, and neither is a sum that it belongs to."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One instrument: `read` gives its points in a snapshot, each with the labels that tell it from the others.

    Over several engines of one process counters and up-down counters are added up; a gauge is of the process, and the
    same whichever engine says it.
    """

    name: str
    kind: Kind
    unit: str  # by UCUM
    description: str
    read: Callable[[Snapshot], Iterator[Reading]]


def _requests(snapshot: Snapshot) -> Iterator[Point]:
    counters = snapshot.counters
    for outcome in ("succeeded", "failed", "cancelled"):
        yield getattr(counters, outcome), (("synth_actors.outcome", outcome),)


def _lookups(snapshot: Snapshot) -> Iterator[Point]:
    cache = snapshot.cache
    for result, count in (("hit", cache.hits), ("miss", cache.misses), ("follow", cache.follows)):
        yield count, (("synth_actors.cache.result", result),)


def _backlog(snapshot: Snapshot) -> Iterator[Point]:
    router = snapshot.router
    for state, count in (("ready", router.backlog), ("delayed", router.delayed)):
        yield count, (("synth_actors.state", state),)


def _calls(snapshot: Snapshot) -> Iterator[Point]:
    for name, endpoint in snapshot.router.endpoints.items():
        yield endpoint.attempts, (("synth_actors.endpoint", name),)


def _in_flight(snapshot: Snapshot) -> Iterator[Point]:
    for name, endpoint in snapshot.router.endpoints.items():
        yield endpoint.in_flight, (("synth_actors.endpoint", name),)


def _call_failures(snapshot: Snapshot) -> Iterator[Point]:
    for name, endpoint in snapshot.router.endpoints.items():
        for fault, count in (endpoint.failures or {}).items():
            yield count, (("synth_actors.endpoint", name), ("error.type", fault))


def _cost(snapshot: Snapshot) -> Iterator[Reading]:
    for name, endpoint in snapshot.router.endpoints.items():
        yield endpoint.cost_usd, (("synth_actors.endpoint", name),)


def _one(read: Callable[[Snapshot], float]) -> Callable[[Snapshot], Iterator[Point]]:
    def points(snapshot: Snapshot) -> Iterator[Point]:
        yield read(snapshot), ()

    return points


FIGURES = (
    Figure("synth_actors.requests", "counter", "{request}", "Requests by how they ended.", _requests),
    Figure(
        "synth_actors.requests.waiting",
        "up_down_counter",
        "{request}",
        "Requests whose callers wait for an answer.",
        _one(lambda s: s.counters.waiting),
    ),
    Figure(
        "synth_actors.cache.lookups",
        "counter",
        "{lookup}",
        "Lookups by what they found: an answer, nothing, or somebody who asks the same.",
        _lookups,
    ),
    Figure(
        "synth_actors.cache.entries",
        "up_down_counter",
        "{entry}",
        "Answers that the cache holds in memory.",
        _one(lambda s: s.cache.entries),
    ),
    Figure(
        "synth_actors.cache.size",
        "up_down_counter",
        "By",
        "What these occupy.",
        _one(lambda s: s.cache.footprint_bytes),
    ),
    Figure(
        "synth_actors.router.backlog",
        "up_down_counter",
        "{request}",
        "Requests that wait for an endpoint: ready to go, or delayed until they are tried again.",
        _backlog,
    ),
    Figure(
        "synth_actors.router.retries",
        "counter",
        "{retry}",
        "Calls that were to be made again.",
        _one(lambda s: s.router.retries),
    ),
    Figure("synth_actors.calls", "counter", "{call}", "Calls that were sent.", _calls),
    Figure("synth_actors.calls.in_flight", "up_down_counter", "{call}", "Calls under way.", _in_flight),
    Figure("synth_actors.calls.failures", "counter", "{call}", "Calls that failed, by fault.", _call_failures),
    Figure("synth_actors.cost", "counter", "{USD}", "US dollars by endpoint, where its price is known.", _cost),
    Figure(
        "synth_actors.memory.rss",
        "gauge",
        "By",
        "Resident memory of the process.",
        _one(lambda s: s.memory.rss_bytes),
    ),
    Figure(
        "synth_actors.memory.limit",
        "gauge",
        "By",
        "What the engine keeps the process below.",
        _one(lambda s: s.memory.limit_bytes),
    ),
)


class _Live:
    """An engine that is open, and its last snapshot."""

    def __init__(self, take: Callable[[], Snapshot]) -> None:
        self._take = take
        self._token = trio.lowlevel.current_trio_token()
        self._thread = threading.get_ident()
        self._looked_at = 0.0
        self._closed = False
        self.snapshot: Snapshot | None = None
        self.look()

    def look(self) -> None:
        """Take a snapshot, in trio's thread.  What is raised here would end the run."""
        if self._closed:
            return
        try:
            self.snapshot = self._take()
        except Exception as exc:  # the one before stands
            logger.warning("no figures for OpenTelemetry: %r", exc, exc_info=exc)
        self._looked_at = time.monotonic()

    def close(self) -> None:
        """Look for the last time."""
        self.look()
        self._closed = True

    def freshen(self) -> None:
        """A snapshot of now, if it can be had soon."""
        if time.monotonic() - self._looked_at < REUSE_S:
            return
        if threading.get_ident() == self._thread:
            self.look()
            return
        done = threading.Event()

        def look() -> None:
            self.look()
            done.set()

        try:
            self._token.run_sync_soon(look)
        except trio.RunFinishedError:
            return
        if not done.wait(PATIENCE_S):
            self._looked_at = time.monotonic()  # the next instruments of this look do not wait again


class EngineFigures:
    """The figures of all engines that report to one meter: what the open ones say, and what the closed ones counted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: list[_Live] = []
        self._counted: dict[tuple[str, Labels], float | None] = {}

    def opened(self, take: Callable[[], Snapshot]) -> Callable[[], None]:
        """An engine has opened, in this thread; what is returned is to be called when it has closed."""
        live = _Live(take)
        with self._lock:
            self._live.append(live)

        def close() -> None:
            live.close()
            with self._lock:
                self._live.remove(live)
                self._add_up(live)

        return close

    def _add_up(self, live: _Live) -> None:
        if live.snapshot is None:
            return
        for figure in FIGURES:
            if figure.kind == "counter":
                for value, labels in figure.read(live.snapshot):
                    key = figure.name, labels
                    self._counted[key] = _sum(self._counted.get(key, 0), value)

    def points(self, figure: Figure) -> list[Point]:
        """Its points now, from any thread."""
        with self._lock:
            looked_at = list(self._live)
        for live in looked_at:  # without the lock: trio's thread may want it
            live.freshen()
        with self._lock:
            found = {labels: value for (name, labels), value in self._counted.items() if name == figure.name}
            for live in self._live:
                for value, labels in () if live.snapshot is None else figure.read(live.snapshot):
                    found[labels] = value if figure.kind == "gauge" else _sum(found.get(labels, 0), value)
        return [(value, labels) for labels, value in found.items() if value is not None]

    def __repr__(self) -> str:
        return f"<EngineFigures open={len(self._live)}>"


def _sum(so_far: float | None, more: float | None) -> float | None:
    """Nothing is better than too little: a counter that falls is taken for one that has begun anew."""
    return None if so_far is None or more is None else so_far + more
