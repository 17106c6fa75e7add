"""Does the process stay inside its memory limit?

Looks at resident memory, at what the engine holds, and at the container's room every quarter of a second, asks
`policy.memory`, and tells the cache or the router what to give up, and the cache how far it may grow until then.
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
from synth_actors.errors import ConfigError, EngineClosedError
from synth_actors.feed import Held
from synth_actors.machine import Container, ContainerMemory, rss_bytes, trim_heap
from synth_actors.policy.growth import Growth
from synth_actors.policy.memory import Fine, MemoryPolicy, NotReclaimable, Reading, Recover, Shrink, Slow, Trim, Verdict
from synth_actors.snapshot import MemorySnapshot

logger = logging.getLogger("synth_actors")

WatchdogMessage = messages.Optimize | messages.SetMemoryLimit


async def trim_in_thread() -> None:
    """Give free pages back to the system, off the loop, however many threads the program keeps busy."""
    await trio.to_thread.run_sync(trim_heap, limiter=trio.CapacityLimiter(1))


async def read_in_thread(container: Container) -> ContainerMemory | None:
    """The figures of a container that is nearly full, likewise."""
    return await trio.to_thread.run_sync(container.read, limiter=trio.CapacityLimiter(1))


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchdogSources:
    """What is looked at: bytes that the cache occupies, running calls and what they hold, process and container.

    `pages_bytes` is the part of `cache_bytes` that lies in pages of its own, which are gone the moment they are free.
    """

    cache_bytes: Callable[[], int]
    pages_bytes: Callable[[], int]
    in_flight: Callable[[], int]
    held: Held
    rss_bytes: Callable[[], int] = rss_bytes
    container: Container | None = None
    read: Callable[[Container], Awaitable[ContainerMemory | None]] = read_in_thread
    trim: Callable[[], Awaitable[None]] = trim_in_thread


class MemoryWatchdog(Worker[WatchdogMessage]):
    """A worker that wakes up by itself; the only messages it gets are `Optimize` and `SetMemoryLimit`."""

    def __init__(
        self,
        mailbox: Mailbox[WatchdogMessage],
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
        self._growth = Growth()  # of what nothing accounts for
        self._peak_rss = 0
        self._shrinks = self._released = self._trims = 0
        self._bound_told: int | None = None
        self._pages_before: int | None = None  # at the last shrink or look, until what it gave back was counted

    async def run(self) -> None:
        """Look every `interval_s`, and serve what is asked in between."""
        if self._bound_told is None:
            await self._begin()
        while True:
            message: WatchdogMessage | None = None
            with trio.move_on_at(self._due):
                message = await self.mailbox.receive()
            if message is None:
                await self._look()
                self._due = trio.current_time() + self._interval_s
            else:
                await self._serve(message)

    async def handle(self, message: WatchdogMessage) -> None:
        """Give back what can be given, or look by a new limit."""
        match message:
            case messages.Optimize():
                await self._optimize(message)
            case messages.SetMemoryLimit():
                await self._set_limit(message)
            case _:
                assert_never(message)

    async def _optimize(self, message: messages.Optimize) -> None:
        """Drop what has expired, trim, and answer what the process really gave back."""
        before = self._read_rss()
        try:
            await self._cache.ask(messages.DropExpired())
        except EngineClosedError as exc:
            self._fail_reply(message, exc.__cause__)
            return
        await self._trim()
        freed = max(0, before - self._read_rss())
        await self._look()  # so that the state is that of the memory as it is now
        message.reply.send(freed)

    async def _set_limit(self, message: messages.SetMemoryLimit) -> None:
        try:
            self._policy.set_limit(message.limit_bytes)
        except ConfigError as exc:
            text = str(exc)
            message.reply.fail(lambda: ConfigError(text))
            return
        await self._look()
        message.reply.send(True)

    def snapshot(self) -> MemorySnapshot:
        """The figures now; resident memory and the container's are read anew."""
        policy, held, growth = self._policy, self._sources.held, self._growth.trend()
        container = self._sources.container.read() if self._sources.container is not None else None
        return MemorySnapshot(
            rss_bytes=self._read_rss(),
            peak_rss_bytes=self._peak_rss,
            limit_bytes=policy.limit_bytes,
            rss_at_open_bytes=policy.rss_at_open_bytes,
            high_bytes=policy.high_bytes,
            low_bytes=policy.low_bytes,
            state=policy.state,
            cache_bytes=self._sources.cache_bytes(),
            calls_bytes=held.calls_bytes,
            queued_bytes=held.queued_bytes,
            rss_per_accounted_byte=policy.rss_per_accounted_byte,
            bytes_per_call=policy.calls.bytes_per_call,
            container_limit_bytes=container.limit_bytes if container is not None else None,
            container_working_set_bytes=container.working_set_bytes if container is not None else None,
            shrinks=self._shrinks,
            released_bytes=self._released,
            trims=self._trims,
            cache_bound_bytes=policy.cache_bound_bytes,
            slowdowns=policy.slowdowns,
            not_reclaimable=policy.given_up,
            growth_bytes_per_s=growth.bytes_per_s,
            growth_span_s=growth.span_s,
            growth_rising_share=growth.rising_share,
        )

    async def _serve(self, message: WatchdogMessage) -> None:
        began = perf_counter()
        self._in_hand.append(message)
        await self.handle(message)
        self._in_hand.clear()
        self.mailbox.handled(1, perf_counter() - began)

    async def _begin(self) -> None:
        """How far the cache may grow until the first look: nobody has done anything yet."""
        rss = self._policy.rss_at_open_bytes
        container = await self._near_container(rss)
        self._policy.begin(self._read(trio.current_time(), rss, container))
        self._tell_bound()

    async def _look(self) -> None:
        now = trio.current_time()
        if self._policy.judges_at(now):
            await self._trim()  # else what was given up stays resident, and the policy gives up on it
        self._count_released()
        rss = self._read_rss()
        container = await self._near_container(rss)
        reading = self._read(now, rss, container)
        self._growth.note(now, rss - reading.cache_bytes - reading.calls_bytes - reading.queued_bytes)
        verdict = self._policy.decide(reading)
        self._tell_bound()
        await self._obey(verdict)

    def _tell_bound(self) -> None:
        if (bound := self._policy.cache_bound_bytes) != self._bound_told:
            self._bound_told = bound
            self._cache.tell(messages.BoundCache(bound))

    def _read(self, now: float, rss: int, container: ContainerMemory | None) -> Reading:
        held = self._sources.held
        return Reading(
            rss_bytes=rss,
            cache_bytes=self._sources.cache_bytes(),
            calls_bytes=held.calls_bytes,
            queued_bytes=held.queued_bytes,
            in_flight=self._sources.in_flight(),
            container_limit_bytes=container.limit_bytes if container is not None else None,
            container_room_bytes=container.room_bytes if container is not None else 0,
            now=now,
        )

    async def _near_container(self, rss: int) -> ContainerMemory | None:
        """The container's figures, when they may matter."""
        container = self._sources.container
        if container is None or not container.may_be_near(lambda limit: self._policy.near_room_bytes(limit, rss)):
            return None
        return await self._sources.read(container)

    async def _obey(self, verdict: Verdict) -> None:
        match verdict:
            case Fine():
                pass
            case Shrink(wanted_bytes=wanted):
                self._shrinks += 1
                self._pages_before = self._sources.pages_bytes()
                self._cache.tell(messages.Shrink(wanted))
            case Trim():
                await self._trim()
            case Slow(cap=cap) | Recover(cap=cap):
                logger.info("memory is %s: at most %d calls at once", self._policy.state, cap)
                self._router.tell(messages.SetConcurrencyCap(cap))
            case NotReclaimable(reason=reason):
                logger.warning("memory is not reclaimable: %s", reason)
            case _:
                assert_never(verdict)

    async def _trim(self) -> None:
        self._trims += 1
        await self._sources.trim()

    def _count_released(self) -> None:
        """The pages that the cache has less than at the last look; what it stored meanwhile hides as much.

        A shrink may take longer than from one look to the next, so it is counted until nothing goes any more.
        """
        if self._pages_before is not None:
            pages = self._sources.pages_bytes()
            self._released += max(0, self._pages_before - pages)
            self._pages_before = pages if pages < self._pages_before else None

    def _read_rss(self) -> int:
        rss = self._sources.rss_bytes()
        self._peak_rss = max(self._peak_rss, rss)
        return rss

    def __repr__(self) -> str:
        return f"<MemoryWatchdog {self._policy!r} peak={self._peak_rss}>"
