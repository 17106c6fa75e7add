"""How long do answers take when callers wait for each other, and when they do not?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from random import Random

import trio

from benchmarks.arrivals import poisson
from benchmarks.case import Load, Measured
from benchmarks.closed_loop import Call, Loop, closed_loop
from benchmarks.engines import recorded_engine, upstream
from benchmarks.open_loop import open_loop
from synth_actors import Endpoint, Engine, EngineConfig
from synth_actors.telemetry.recording import Recording

LATENCY_S, SPREAD = 0.025, 0.3
CALLERS_SHARE = 5
OPERATIONS_PER_CALL = 10
OPEN_SHARE = 0.7
ENDPOINT_ROUNDS = 3
MAX_TOKENS = 100
HITS_PER_S = 1000.0
"""Of the cache itself: callers that never pause would measure how long they wait for each other's turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    closed: Loop
    hits: Loop
    opened: Loop
    recording: Recording


def uncached(mark: float, load: Load) -> Measured:
    """Milliseconds of new requests in the closed loop."""
    run = _run(load)
    return Measured(value=run.closed.percentile_s(mark) * 1e3, recording=run.recording if mark == 0.5 else None)


def cached(mark: float, load: Load) -> Measured:
    """The same of requests that were answered before, and come at their own times."""
    return Measured(value=_run(load).hits.percentile_s(mark) * 1e3)


def open_at_70_percent(mark: float, load: Load) -> Measured:
    """The same of new requests that come at their own times."""
    run = _run(load)
    return Measured(
        value=run.opened.percentile_s(mark) * 1e3, beside={"closed loop": run.closed.percentile_s(mark) * 1e3}
    )


@lru_cache(maxsize=1)
def _run(load: Load) -> _Run:
    with upstream(load, latency=LATENCY_S, spread=SPREAD, seed=load.repeat + 1000) as endpoint:
        run = trio.run(_engine, load, endpoint)
    for loop in (run.closed, run.hits, run.opened):
        loop.check()
    return run


async def _engine(load: Load, endpoint: Endpoint | str) -> _Run:
    callers = max(1, load.concurrency // CALLERS_SHARE)
    calls = max(callers, load.operations // OPERATIONS_PER_CALL)
    if load.endpoint:
        calls = min(calls, ENDPOINT_ROUNDS * callers)
    config = EngineConfig(max_concurrency=load.concurrency)
    async with recorded_engine(load, endpoint, config, title="closed loop, hits, open loop") as (engine, recorder):
        await engine.generate("The first call makes and imports what the others find.", max_tokens=MAX_TOKENS)
        closed = await closed_loop(callers, _asking(engine, _prompts(calls, "closed")))
        random = Random(load.repeat)
        times = poisson(HITS_PER_S, calls, random)
        hits = await open_loop(zip(times, _asking(engine, _prompts(calls, "closed")), strict=True))
        times = poisson(OPEN_SHARE * max(closed.per_s, 0.1), calls, random)
        opened = await open_loop(zip(times, _asking(engine, _prompts(calls, "open")), strict=True))
    return _Run(closed=closed, hits=hits, opened=opened, recording=recorder.recording())


def _prompts(count: int, kind: str) -> Iterator[str]:
    return (f"Sentence {number} about otters ({kind})." for number in range(count))


def _asking(engine: Engine, prompts: Iterable[str]) -> Iterator[Call]:
    return (partial(engine.generate, prompt, max_tokens=MAX_TOKENS) for prompt in prompts)
