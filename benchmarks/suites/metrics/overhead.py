"""What does a request cost more because the engine measures itself?

Two engines in one trio run do the same in turns, one with `metrics=False`: a turn is some tenths of a second, so that
whatever else the machine does hits both alike.  A turn ends with a snapshot, so all that it has measured is folded and
on its bill.  The value is the median cost without metrics and the median of what a turn with them costs more than its
neighbour.
"""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from statistics import median
from time import perf_counter, process_time

import trio

from benchmarks.case import Load, Measured
from benchmarks.suites.engine.provider import Instant
from benchmarks.suites.metrics.scrape import Scraper
from synth_actors import Engine, EngineConfig, Request, open_engine

OPERATIONS_PER_PAIR = 650
PAIRS_WATCHED = 3
OPERATIONS_PER_S = 5000
"""How long a turn is: with 10,000 short operations 0.2 s, and 2 s if somebody looks every second."""
INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is asked, by how many at once, and whether somebody looks at the metrics meanwhile."""

    callers: int
    cached: bool = False
    watched: bool = False


def of(work: Work, load: Load) -> Measured:
    """CPU microseconds of a request with metrics; beside it without."""
    return trio.run(_measured, work, load)


async def _measured(work: Work, load: Load) -> Measured:
    turn_s = load.operations / OPERATIONS_PER_S / (1 if work.watched else 10)
    pairs = PAIRS_WATCHED if work.watched else max(2, load.operations // OPERATIONS_PER_PAIR)
    on: list[float] = []
    off: list[float] = []
    async with AsyncExitStack() as stack:
        sides = [
            (found, _Side(await stack.enter_async_context(_engine(work, metrics=metrics)), work))
            for found, metrics in ((on, True), (off, False))
        ]
        for _, side in sides:
            await side.turn(turn_s)
        for pair in range(pairs):
            for found, side in sides[:: 1 if (pair + load.repeat) % 2 else -1]:
                found.append(await side.turn(turn_s))
    more = median(with_ - without for with_, without in zip(on, off, strict=True))
    return Measured(value=median(off) + more, bare=median(off), beside={"off": median(off)})


def _engine(work: Work, *, metrics: bool) -> AbstractAsyncContextManager[Engine]:
    return open_engine(Instant(), EngineConfig(max_concurrency=work.callers, metrics=metrics))


@dataclass(slots=True)
class _Side:
    engine: Engine
    work: Work
    numbers: count[int] = field(default_factory=count)

    async def turn(self, turn_s: float) -> float:
        """Ask for `turn_s` seconds; CPU microseconds of a request."""
        ask = await self._ask()
        gc.collect()
        before_s = process_time()
        async with _looked_at(self.engine, turn_s) if self._is_watched else AsyncExitStack():
            asked = await _crowd(self.work.callers, turn_s, ask)
        await self.engine.metrics()
        return (process_time() - before_s) * 1e6 / asked

    @property
    def _is_watched(self) -> bool:
        return self.work.watched and self.engine.config.metrics

    async def _ask(self) -> Callable[[], Awaitable[object]]:
        engine = self.engine
        if not self.work.cached:
            return lambda: engine.generate(Request(prompt=f"Sentence {next(self.numbers)} about otters."))
        same = Request(prompt="One sentence about otters.")
        await engine.generate(same)
        return lambda: engine.generate(same)


async def _crowd(callers: int, turn_s: float, ask: Callable[[], Awaitable[object]]) -> int:
    asked, end = 0, perf_counter() + turn_s

    async def caller() -> None:
        nonlocal asked
        while True:  # once at least, however short a turn is
            for _ in range(20):
                await ask()
            asked += 20
            await trio.lowlevel.checkpoint()
            if perf_counter() >= end:
                return

    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(caller)
    return asked


@asynccontextmanager
async def _looked_at(engine: Engine, turn_s: float) -> AsyncIterator[None]:
    """A reader of `watch_metrics` and a scrape every second; at least one of each in a turn."""
    interval_s = min(INTERVAL_S, turn_s / 2)
    scraper = Scraper(engine)

    async def read() -> None:
        async with engine.watch_metrics(interval_s) as snapshots:
            async for _ in snapshots:
                pass

    async def scrape() -> None:
        while True:
            await trio.sleep(interval_s)
            await scraper.scrape()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(scrape)
        yield
        nursery.cancel_scope.cancel()
