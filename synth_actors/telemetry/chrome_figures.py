"""Which figures of an engine are drawn along the time line, and what do they say that the actors did?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter

from synth_actors.snapshot import Snapshot
from synth_actors.telemetry.chrome_events import EventLog, Group, Span

ACTORS: Mapping[str, str] = {
    "cache": "CacheActor",
    "store": "StoreActor",
    "router": "RouterActor",
    "generators": "GeneratorActors",
    "watchdog": "MemoryWatchdog",
    "metrics": "MetricsActor",
}
"""By the names of their mailboxes, in the order in which a request meets them."""
CALLERS = "callers"
CALLERS_ORDER, ACTORS_ORDER, ENDPOINTS_ORDER = 0, 10, 100
MIB = 2**20


def actor_group(log: EventLog, mailbox: str, among: str = "") -> Group:
    """The group of an actor; `among` tells those of engines that are open at the same time apart."""
    return log.group(ACTORS[mailbox] + among, ACTORS_ORDER + list(ACTORS).index(mailbox))


def endpoint_group(log: EventLog, endpoint: str, among: str = "") -> Group:
    """The group of an endpoint."""
    return log.group(f"endpoint {endpoint}{among}", ENDPOINTS_ORDER)


@dataclass(frozen=True, slots=True)
class Curves:
    """One drawing below an actor: `read` gives its curves, of a snapshot and the one before."""

    mailbox: str
    name: str
    read: Callable[[Snapshot, Snapshot], Mapping[str, float]]


def _per_s(now: Snapshot, before: Snapshot) -> Mapping[str, float]:
    elapsed_s = now.taken_at_s - before.taken_at_s
    done = now.counters.succeeded - before.counters.succeeded
    return {"succeeded": done / elapsed_s if elapsed_s > 0 else 0.0}


def _hit_rate(now: Snapshot, before: Snapshot) -> Mapping[str, float]:
    hits = now.cache.hits - before.cache.hits
    lookups = hits + now.cache.misses - before.cache.misses + now.cache.follows - before.cache.follows
    return {"%": 100.0 * hits / lookups if lookups else 0.0}


CURVES = (
    Curves("cache", "entries", lambda now, _: {"entries": now.cache.entries}),
    Curves("cache", "hit rate", _hit_rate),
    Curves("cache", "flights", lambda now, _: {"flights": now.cache.flights}),
    Curves("router", "requests", lambda now, _: {"in flight": now.router.in_flight, "backlog": now.router.backlog}),
    Curves("router", "delayed", lambda now, _: {"delayed": now.router.delayed}),
    Curves("generators", "started", lambda now, _: {"started": now.router.generators}),
    Curves("watchdog", "resident, MiB", lambda now, _: {"MiB": now.memory.rss_bytes / MIB}),
    Curves("watchdog", "accounted, MiB", lambda now, _: {"MiB": now.memory.accounted_bytes / MIB}),
    Curves("watchdog", "concurrency cap", lambda now, _: {"calls": now.router.concurrency_cap}),
    Curves("metrics", "requests/s", _per_s),
    Curves("metrics", "waiting", lambda now, _: {"waiting": now.counters.waiting}),
)


def _acts(now: Snapshot, before: Snapshot) -> Iterator[tuple[str, str, int]]:
    """What actors did in between, that no request is told of: mailbox, what, how often."""
    pairs = (
        ("cache", "evicted for space", now.cache.evicted_for_space, before.cache.evicted_for_space),
        ("cache", "evicted for memory", now.cache.evicted_for_memory, before.cache.evicted_for_memory),
        ("cache", "expired", now.cache.expired, before.cache.expired),
        ("watchdog", "had the cache shrunk", now.memory.shrinks, before.memory.shrinks),
        ("watchdog", "trimmed the heap", now.memory.trims, before.memory.trims),
        ("watchdog", "lowered the concurrency", now.memory.slowdowns, before.memory.slowdowns),
    )
    for mailbox, what, after, earlier in pairs:
        if after > earlier:
            yield mailbox, what, after - earlier


class EngineFigures:
    """The curves of one engine, from its opening to its end."""

    def __init__(self, log: EventLog, take: Callable[[], Snapshot], among: str, at_us: int) -> None:
        self._log = log
        self._take = take
        self._among = among
        self._pressure: Span | None = None
        self._state = "ok"
        self._before = take()
        self._pages = {mailbox: self._group(mailbox) for mailbox in ACTORS}
        self.look(at_us)

    def look(self, at_us: int) -> None:
        """Draw what is so now."""
        began_s = perf_counter()
        now, before = self._take(), self._before
        took_us = round((perf_counter() - began_s) * 1e6)
        self._before = now
        for curves in CURVES:
            self._pages[curves.mailbox].counter(curves.name, at_us, curves.read(now, before))
        for mailbox, statistics in now.mailboxes.items():
            if mailbox in self._pages:
                self._pages[mailbox].counter("mailbox", at_us, {"depth": statistics.depth})
        for mailbox, what, times in _acts(now, before):
            self._pages[mailbox].mark(what, at_us, {"times": times})
        self._endpoints(now, at_us)
        self._watch(now.memory.state, at_us)
        self._pages["metrics"].mark("snapshot", at_us, {"took_us": took_us})

    def close(self, at_us: int) -> None:
        """The last look; then all curves fall to nothing, so that none goes on where no engine is."""
        self.look(at_us)
        self._watch("ok", at_us)
        for curves in CURVES:
            values = curves.read(self._before, self._before)
            self._pages[curves.mailbox].counter(curves.name, at_us + 1, dict.fromkeys(values, 0.0))
        for mailbox in self._before.mailboxes.keys() & self._pages.keys():
            self._pages[mailbox].counter("mailbox", at_us + 1, {"depth": 0})
        for name in self._before.router.endpoints:
            endpoint_group(self._log, name, self._among).counter("calls", at_us + 1, {"in flight": 0})

    def _group(self, mailbox: str) -> Group:
        return actor_group(self._log, mailbox, self._among)

    def _endpoints(self, now: Snapshot, at_us: int) -> None:
        for name, endpoint in now.router.endpoints.items():
            group = endpoint_group(self._log, name, self._among)
            group.counter("calls", at_us, {"in flight": endpoint.in_flight})
            group.counter("output tokens", at_us, {"tokens": endpoint.output_tokens})
            if endpoint.cost_usd is not None:
                group.counter("cost, $", at_us, {"$": endpoint.cost_usd})

    def _watch(self, state: str, at_us: int) -> None:
        """A span of the watchdog for as long as memory is short."""
        if state == self._state:
            return
        if self._pressure is not None:
            self._pressure.end(at_us, {})
        self._pressure = None if state == "ok" else self._pages["watchdog"].begin(state, at_us, {})
        self._state = state
