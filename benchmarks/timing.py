"""What did this cost, in CPU and on the wall?

CPU is that of the whole process, so whatever the engine's actors do in the background is on the bill.
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter, process_time

import trio


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds."""

    cpu_s: float
    wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The engine and the bare loop at the same work, one right after the other."""

    engine: Spent
    bare: Spent


Loop = Callable[[int], Awaitable[None]]
"""Does an operation so many times, one after another."""


async def timed(work: Callable[[], Awaitable[object]]) -> Spent:
    """What `work` costs.  Garbage of others is collected before, its own counts."""
    gc.collect()
    cpu_s, wall_s = process_time(), perf_counter()
    await work()
    return Spent(process_time() - cpu_s, perf_counter() - wall_s)


async def timed_callers(callers: int, operations: int, loop: Loop) -> Spent:
    """What `operations` cost when `callers` tasks share them; the tasks stand ready before the clock starts."""
    crowd = _Crowd(callers, max(1, operations // callers), loop)
    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(crowd.caller)
        await crowd.ready.wait()
        return await timed(crowd.work)


class _Crowd:
    def __init__(self, callers: int, each: int, loop: Loop) -> None:
        self.ready, self._gate, self._finished = trio.Event(), trio.Event(), trio.Event()
        self._missing = self._busy = callers
        self._each = each
        self._loop = loop

    async def caller(self) -> None:
        self._missing -= 1
        if not self._missing:
            self.ready.set()
        await self._gate.wait()
        await self._loop(self._each)
        self._busy -= 1
        if not self._busy:
            self._finished.set()

    async def work(self) -> None:
        self._gate.set()
        await self._finished.wait()


def us_each(cpu_s: float, callers: int, operations: int) -> float:
    """CPU microseconds of one operation of `timed_callers`."""
    return cpu_s * 1e6 / (max(1, operations // callers) * callers)


def side_by_side(repeat: int, engine: Callable[[], Awaitable[Spent]], bare: Callable[[], Awaitable[Spent]]) -> Pair:
    """Both, in turns first, each in a trio run of its own: noise of the machine hits both alike."""
    if repeat % 2:
        first = trio.run(engine)
        return Pair(engine=first, bare=trio.run(bare))
    first = trio.run(bare)
    return Pair(engine=trio.run(engine), bare=first)
