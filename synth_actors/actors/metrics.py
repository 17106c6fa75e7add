"""What did the engine do so far, and how long did it take?

Samples are folded into histograms in small slices, one a turn, so that nobody waits long for the loop.  A snapshot is
answered once everything that was waiting when it was asked for is folded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from time import perf_counter, time

import trio

from synth_actors.actors.actor import Decider
from synth_actors.actors.mailbox import Mailbox
from synth_actors.messages import TakeSnapshot
from synth_actors.policy.latency import Latencies
from synth_actors.policy.lateness import Lateness
from synth_actors.samples import SampleBuffer, SeriesKey
from synth_actors.snapshot import (
    CacheSnapshot,
    Counters,
    LoopSnapshot,
    MailboxSnapshot,
    MemorySnapshot,
    RouterSnapshot,
    Snapshot,
)

COLLECT_INTERVAL_S = 0.25
FOLD_SLICE = 1000
"""Samples folded in one turn: about 0.3 ms, when no two of them share a bucket."""
SERIES_COSTS = 100
"""A series takes as long as so many samples, for its percentiles: they are worked out a few series a turn, so that a
snapshot of all has little left to do."""
FOLD_AT_ONCE = 1000
"""Samples folded for one synchronous snapshot, before which nobody else can be let in: as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Who is asked for the figures of which part; each answers at once with a frozen value."""

    cache: Callable[[], CacheSnapshot]
    router: Callable[[], RouterSnapshot]
    memory: Callable[[], MemorySnapshot]
    counters: Callable[[], Counters]
    mailboxes: Callable[[], Mapping[str, MailboxSnapshot]]
    mailbox_waits: Callable[[], Mapping[str, list[float]]]  # by actor, since it was asked last


@dataclass(slots=True)
class _Waiting:
    """Samples of one series that are not folded yet."""

    key: SeriesKey
    samples: list[float]


class MetricsActor(Decider[TakeSnapshot]):
    """Owns the histograms; everything else in a snapshot is read from its owner when the snapshot is taken."""

    def __init__(self, mailbox: Mailbox[TakeSnapshot], *, samples: SampleBuffer, sources: Sources) -> None:
        super().__init__(mailbox)
        self.latencies = Latencies()
        self._samples = samples
        self._sources = sources
        self._queue: deque[_Waiting | TakeSnapshot] = deque()  # in the order in which it came
        self._opened_at = trio.current_time()
        self._opened_real_s = perf_counter()
        self._lateness = Lateness()
        self._idle_at = self._opened_at  # since when there has been nothing to fold
        self._collect_at = self._opened_at + COLLECT_INTERVAL_S

    def handle(self, message: TakeSnapshot) -> None:
        """Collect what is waiting, and answer once it is folded: now, unless it is much."""
        self._collect()
        self._queue.append(message)
        self._fold(FOLD_SLICE)

    def snapshot_now(self, *, histograms: bool, whole: bool = False) -> Snapshot:
        """A snapshot without waiting.

        Unless it is to be `whole`, what had to be folded before and was too much for one turn is not in it.
        """
        self._collect()
        self._fold(FOLD_AT_ONCE)
        while whole and self._queue:
            self._fold(FOLD_AT_ONCE)
        return self._snapshot(histograms=histograms)

    def next_wakeup(self) -> float:
        """At once while there is something to fold, else when samples are collected next."""
        return -inf if self._queue else self._collect_at

    def wake(self) -> None:
        """Fold one slice, or collect."""
        if not self._queue:
            self._collect()
        self._fold(FOLD_SLICE)

    def on_stop(self, unread: list[TakeSnapshot], cause: BaseException | None) -> None:
        """Nobody gets a snapshot any more, neither who waits for the fold nor who was not read."""
        waiting = [item for item in self._queue if isinstance(item, TakeSnapshot)]
        self._queue.clear()
        super().on_stop(waiting + unread, cause)

    def _collect(self) -> None:
        now = trio.current_time()
        if now >= self._collect_at and not self._queue:  # else it is this actor that is late
            self._lateness.looked(now - max(self._collect_at, self._idle_at))
        self._collect_at = now + COLLECT_INTERVAL_S
        for key, samples in self._samples.take().items():
            self._queue.append(_Waiting(key, samples))
        for actor, waits in self._sources.mailbox_waits().items():
            if waits:
                self._queue.append(_Waiting(SeriesKey("mailbox_wait", "", "success", actor), waits))

    def _fold(self, budget: int) -> None:
        while self._queue and budget > 0:
            item = self._queue[0]
            if isinstance(item, TakeSnapshot):
                self._queue.popleft()
                self._answer(item)
                continue
            # from the end, since cutting off the front would copy the rest
            taken = item.samples[-budget:]
            del item.samples[-budget:]
            self.latencies.add(item.key, taken)
            budget -= len(taken) + SERIES_COSTS
            if not item.samples:
                self._queue.popleft()
        if not self._queue:
            self._idle_at = trio.current_time()

    def _loop(self) -> LoopSnapshot:
        lateness = self._lateness
        return LoopSnapshot(
            looks=lateness.looks,
            late=lateness.late,
            late_s=lateness.late_s,
            longest_late_s=lateness.longest_s,
            elapsed_s=perf_counter() - self._opened_real_s,
        )

    def _answer(self, message: TakeSnapshot) -> None:
        try:
            snapshot = self._snapshot(histograms=message.histograms)
            message.reply.send(snapshot)
        finally:
            self._fail_reply(message, None)  # only if a source raised: then this actor restarts without the message

    def _snapshot(self, *, histograms: bool) -> Snapshot:
        return Snapshot(
            taken_at_s=trio.current_time() - self._opened_at,
            wall_time=time(),
            latency=self.latencies.totals(),
            series=tuple(self.latencies.series(histograms=histograms)),
            cache=self._sources.cache(),
            router=self._sources.router(),
            memory=self._sources.memory(),
            loop=self._loop(),
            counters=self._sources.counters(),
            mailboxes=self._sources.mailboxes(),
        )

    def __repr__(self) -> str:
        return f"<Metrics waiting={self._samples.waiting} unfolded={sum(map(_size, self._queue))}>"


def _size(item: _Waiting | TakeSnapshot) -> int:
    return len(item.samples) if isinstance(item, _Waiting) else 0
