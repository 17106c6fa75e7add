"""Does the process stay inside its memory limit?

Looks at resident memory every quarter of a second, asks `policy.memory`, and tells the cache or the router what to give
up.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, assert_never

import trio

from synth_actors import messages
from synth_actors.actors.actor import Worker
from synth_actors.actors.mailbox import Mailbox
from synth_actors.errors import EngineClosedError
from synth_actors.machine import rss_bytes, trim_heap
from synth_actors.policy.memory import Fine, MemoryPolicy, NotReclaimable, Recover, Shrink, Slow, Verdict
from synth_actors.snapshot import MemorySnapshot

logger = logging.getLogger("synth_actors")


async def trim_in_thread() -> None:
    """Give free pages back to the system, off the loop."""
    await trio.to_thread.run_sync(trim_heap)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchdogSources:
    """What is looked at: accounted bytes of the cache, running calls, and the process."""

    accounted_bytes: Callable[[], int]
    in_flight: Callable[[], int]
    rss_bytes: Callable[[], int] = rss_bytes
    trim: Callable[[], Awaitable[None]] = trim_in_thread


class MemoryWatchdog(Worker[messages.Optimize]):
    """A worker that wakes up by itself; the only messages it gets are `Optimize`."""

    def __init__(
        self,
        mailbox: Mailbox[messages.Optimize],
        *,
        cache: Mailbox[Any],
        router: Mailbox[Any],
        policy: MemoryPolicy,
        sources: WatchdogSources,
        interval_s: float,
    ) -> None:
        super().__init__(mailbox)
        self._policy = policy
        self._sources = sources
        self._cache = cache
        self._router = router
        self._interval_s = interval_s
        self._due = trio.current_time() + interval_s
        self._peak_rss = 0
        self._shrinks = 0
        self._released = 0
        self._asked: tuple[int, int] | None = None  # wanted and accounted bytes at the last shrink, until counted

    async def run(self) -> None:
        """Look every `interval_s`, and serve `Optimize` in between."""
        while True:
            message: messages.Optimize | None = None
            with trio.move_on_at(self._due):
                message = await self.mailbox.receive()
            if message is None:
                await self._look()
                self._due = trio.current_time() + self._interval_s
            else:
                await self._serve(message)

    async def handle(self, message: messages.Optimize) -> None:
        """Drop what has expired, trim, and answer what the process really gave back."""
        before = self._read_rss()
        try:
            await self._cache.ask(messages.DropExpired())
        except EngineClosedError as exc:
            self._fail_reply(message, exc.__cause__)
            return
        await self._sources.trim()
        message.reply.send(max(0, before - self._read_rss()))

    def snapshot(self) -> MemorySnapshot:
        """The figures now; resident memory is read anew."""
        return MemorySnapshot(
            rss_bytes=self._read_rss(),
            peak_rss_bytes=self._peak_rss,
            limit_bytes=self._policy.limit_bytes,
            rss_at_open_bytes=self._policy.rss_at_open_bytes,
            state=self._policy.state,
            shrinks=self._shrinks,
            released_bytes=self._released,
        )

    async def _serve(self, message: messages.Optimize) -> None:
        began = perf_counter()
        self._in_hand.append(message)
        await self.handle(message)
        self._in_hand.clear()
        self.mailbox.handled(1, perf_counter() - began)

    async def _look(self) -> None:
        if self._asked is not None:
            await self._sources.trim()  # else what the cache gave up stays resident, and the policy gives up on it
            self._count_released(*self._asked)
            self._asked = None
        now = trio.current_time()
        accounted = self._sources.accounted_bytes()
        self._obey(self._policy.decide(self._read_rss(), accounted, self._sources.in_flight(), now), accounted)

    def _obey(self, verdict: Verdict, accounted: int) -> None:
        match verdict:
            case Fine():
                pass
            case Shrink(wanted_bytes=wanted):
                self._shrinks += 1
                self._asked = (wanted, accounted)
                self._cache.tell(messages.Shrink(wanted))
            case Slow(cap=cap) | Recover(cap=cap):
                logger.info("memory is %s: at most %d calls at once", self._policy.state, cap)
                self._router.tell(messages.SetConcurrencyCap(cap))
            case NotReclaimable(reason=reason):
                logger.warning("memory is not reclaimable: %s", reason)
            case _:
                assert_never(verdict)

    def _count_released(self, wanted: int, accounted_before: int) -> None:
        """What the cache holds less than before; what it stored meanwhile hides as much."""
        self._released += max(0, min(wanted, accounted_before - self._sources.accounted_bytes()))

    def _read_rss(self) -> int:
        rss = self._sources.rss_bytes()
        self._peak_rss = max(self._peak_rss, rss)
        return rss

    def __repr__(self) -> str:
        return f"<MemoryWatchdog {self._policy!r} peak={self._peak_rss}>"
