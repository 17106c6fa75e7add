"""For how long does a look at the metrics hold up everybody else?

A real engine under load, with ten endpoints and 150 series of 100,000 samples over five decades.  Between two looks
something falls into each of the series, else the engine would only show again what it has shown before.  Another task
does nothing but note how long it waits for its next turn, in windows with a look and in windows without, by turns: on
the wall, and in CPU time of trio's thread, which no other process disturbs.  What was there before is kept from the
garbage collector meanwhile (`gc.freeze`), for which either kind of window would pay by chance; what a look leaves is
not.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from statistics import median, quantiles
from time import perf_counter, thread_time

import trio

from benchmarks.case import Load, Measured
from benchmarks.suites.engine.provider import Sleeping
from benchmarks.suites.metrics.scrape import Scraper
from synth_actors import Endpoint, Engine, EngineConfig, Request, open_engine
from synth_actors.samples import SeriesKey

ENDPOINTS = tuple(f"endpoint-{number}" for number in range(10))
OUTCOMES: Mapping[str, tuple[str, ...]] = {
    "response": ("call", "shared", "failed", "cancelled", "deadline"),
    "queue": ("call",),
    "service": ("success", "rate_limited", "overloaded", "failed", "timed_out"),
    "ttft": ("success",),
    "tpot": ("success",),
    "cached_response": ("cache",),
    "connect": ("success",),
}
SAMPLES_PER_OPERATION = 10
NEW_SAMPLES = 20
"""In each series, between two looks."""
OPERATIONS_PER_WINDOW = 250
WINDOW_S = 0.03
CALL_S = 0.04
AT_ONCE = ("metrics_now()", "metrics_now(histograms=True)")
LOOKS = ("metrics()", *AT_ONCE, "scrape")
UNITS = {"ms": "on the wall", "ms CPU": "in CPU time"}

Look = Callable[[Engine], Awaitable[object]]


def takes(look: str, load: Load) -> Measured:
    """What one such snapshot takes in all, in CPU time: the longest; beside it the others."""
    taken_ms = _found(load).taken_ms[look]
    return Measured(value=max(taken_ms), beside={"p50": median(taken_ms), "p99": _p99(taken_ms)})


def gap(look: str, unit: str, load: Load) -> Measured:
    """The longest gap in a window with a look: on the wall the median window, in CPU time the worst."""
    found = _found(load)
    with_ms, without_ms = found.gaps_ms[look, unit, True], found.gaps_ms[look, unit, False]
    of = max if unit == "ms CPU" else median
    spread = {"p50": median(with_ms), "p99": _p99(with_ms), "without": of(without_ms)}
    return Measured(value=of(with_ms), bare=of(without_ms), beside=spread)


def _p99(values: list[float]) -> float:
    return quantiles(values, n=100, method="inclusive")[98]


@dataclass(slots=True)
class _Found:
    """Milliseconds: what a snapshot took, by look; the longest gap of a window, by look, unit, whether it had one."""

    taken_ms: dict[str, list[float]] = field(default_factory=dict)
    gaps_ms: dict[tuple[str, str, bool], list[float]] = field(default_factory=dict)


@lru_cache(maxsize=1)
def _found(load: Load) -> _Found:
    return trio.run(_look_on, load)


async def _look_on(load: Load) -> _Found:
    endpoints = [Endpoint(provider=_Named(name), name=name) for name in ENDPOINTS]
    config = EngineConfig(max_concurrency=load.concurrency, routing="least_loaded")
    found, windows = _Found(), max(2, load.operations // OPERATIONS_PER_WINDOW)
    async with open_engine(endpoints, config) as engine, trio.open_nursery() as nursery:
        filled = _Filled(engine, SAMPLES_PER_OPERATION * load.operations)
        nursery.start_soon(_keep_busy, engine, load.concurrency)
        gc.collect()
        gc.freeze()
        for name, look in _looks(engine).items():
            for window in range(2 * windows):
                filled.add()
                await engine.metrics()  # so that only the new samples are to be folded
                filled.add()
                gaps = await _window(engine, look if window % 2 else _nothing)
                for unit, longest_s in zip(UNITS, gaps, strict=True):
                    found.gaps_ms.setdefault((name, unit, bool(window % 2)), []).append(longest_s * 1e3)
        for name, histograms in zip(AT_ONCE, (False, True), strict=True):
            found.taken_ms[name] = [await _taken_ms(filled, histograms=histograms) for _ in range(windows)]
        gc.unfreeze()
        nursery.cancel_scope.cancel()
    return found


class _Named(Sleeping):
    def __init__(self, name: str) -> None:
        super().__init__(lambda _call: random.expovariate(1 / CALL_S))  # not all of them end in the same moment
        self.name = name
        self.identity = f"benchmarks|{name}"


class _Filled:
    """An engine that has seen much."""

    def __init__(self, engine: Engine, samples: int) -> None:
        self.engine = engine
        self._rng = random.Random(1)
        self._keys = [
            SeriesKey(name, endpoint, outcome)
            for endpoint in ENDPOINTS
            for name, outcomes in OUTCOMES.items()
            for outcome in outcomes
        ]
        drawn = [self._draw() for _ in range(samples)]
        for key in self._keys:
            engine._wiring._metrics.latencies.add(key, drawn)

    def add(self) -> None:
        """Something happens in each series."""
        for key in self._keys:
            for _ in range(NEW_SAMPLES):
                self.engine._wiring._samples._add((key.name, key.endpoint, key.outcome), self._draw())

    def _draw(self) -> float:
        return float(10.0 ** self._rng.uniform(-3.0, 2.0))


async def _keep_busy(engine: Engine, callers: int) -> None:
    numbers = count()

    async def caller() -> None:
        while True:
            await engine.generate(Request(prompt=f"Sentence {next(numbers)} about otters.", cache="bypass"))

    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(caller)


async def _nothing(_engine: Engine) -> None:
    await trio.lowlevel.checkpoint()


async def _metrics(engine: Engine) -> None:
    await engine.metrics()


def _looks(engine: Engine) -> dict[str, Look]:
    scraper = Scraper(engine)

    async def now(engine: Engine) -> None:
        engine.metrics_now()
        await trio.lowlevel.checkpoint()

    async def all_counts(engine: Engine) -> None:
        engine.metrics_now(histograms=True)
        await trio.lowlevel.checkpoint()

    async def scrape(_engine: Engine) -> None:
        await scraper.scrape()

    return dict(zip(LOOKS, (_metrics, now, all_counts, scrape), strict=True))


async def _window(engine: Engine, look: Look) -> tuple[float, float]:
    """The longest gap between two turns of a task while somebody looks, in seconds on the wall and of CPU."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(look, engine)
        longest_s = longest_cpu_s = 0.0
        began = last = perf_counter()
        last_cpu = thread_time()
        while last - began < WINDOW_S:
            await trio.lowlevel.checkpoint()
            now, now_cpu = perf_counter(), thread_time()
            longest_s, longest_cpu_s = max(longest_s, now - last), max(longest_cpu_s, now_cpu - last_cpu)
            last, last_cpu = now, now_cpu
    return longest_s, longest_cpu_s


async def _taken_ms(filled: _Filled, *, histograms: bool) -> float:
    await filled.engine.metrics()
    filled.add()
    before_s = thread_time()
    filled.engine.metrics_now(histograms=histograms)
    return (thread_time() - before_s) * 1e3
