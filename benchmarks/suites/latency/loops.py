"""How long do answers take when callers wait for each other, and when they do not?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from random import Random

import trio

from benchmarks.arrivals import poisson
from benchmarks.asking import Hits, asking, first_call, prompts
from benchmarks.case import Load, Measured, NotMeasured
from benchmarks.closed_loop import Loop, closed_loop
from benchmarks.engines import recorded_engine, upstream
from benchmarks.open_loop import open_loop
from synth_actors import Endpoint, EngineConfig
from synth_actors.telemetry.recording import Recording

LATENCY_S, SPREAD = 0.025, 0.3
CALLERS_SHARE = 5
OPERATIONS_PER_CALL = 10
OPEN_SHARE = 0.7
ENDPOINT_ROUNDS = 3
HITS_PER_S = 1000.0
"""Of the cache itself: callers that never pause would measure how long they wait for each other's turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """`problem` is why `again`, requests that were answered before, is no figure of the cache."""

    closed: Loop
    again: Loop
    problem: str | None
    opened: Loop
    recording: Recording


def uncached(mark: float, load: Load) -> Measured:
    """Milliseconds of new requests in the closed loop."""
    run = _run(load)
    run.closed.check()
    return Measured(value=run.closed.percentile_s(mark) * 1e3, recording=run.recording if mark == 0.5 else None)


def cached(mark: float, load: Load) -> Measured:
    """The same of requests that were answered before, and come at their own times."""
    run = _run(load)
    if run.problem is not None:
        raise NotMeasured(run.problem)
    run.again.check()
    return Measured(value=run.again.percentile_s(mark) * 1e3)


def open_at_70_percent(mark: float, load: Load) -> Measured:
    """The same of new requests that come at their own times."""
    run = _run(load)
    run.closed.check()
    run.opened.check()
    return Measured(
        value=run.opened.percentile_s(mark) * 1e3, beside={"closed loop": run.closed.percentile_s(mark) * 1e3}
    )


@lru_cache(maxsize=1)
def _run(load: Load) -> _Run:
    with upstream(load, latency=LATENCY_S, spread=SPREAD, seed=load.repeat + 1000) as endpoint:
        return trio.run(_engine, load, endpoint)


async def _engine(load: Load, endpoint: Endpoint | str) -> _Run:
    callers = max(1, load.concurrency // CALLERS_SHARE)
    calls = max(callers, load.operations // OPERATIONS_PER_CALL)
    if load.endpoint:
        calls = min(calls, ENDPOINT_ROUNDS * callers)
    config = EngineConfig(max_concurrency=load.concurrency)
    async with recorded_engine(load, endpoint, config, title="closed loop, hits, open loop") as (engine, recorder):
        hits, random = Hits(engine), Random(load.repeat)
        await first_call(engine)
        closed = await closed_loop(callers, hits.remembering(prompts(calls, "closed")))
        again = await open_loop(zip(poisson(HITS_PER_S, calls, random), hits.again(calls), strict=False))
        problem = hits.problem(again)
        answered = len(closed.durations_s)  # then it lasts little longer, however slow and faulty an endpoint is
        times = poisson(OPEN_SHARE * closed.per_s, answered, random)
        opened = await open_loop(zip(times, asking(engine, prompts(answered, "open")), strict=True))
    return _Run(closed=closed, again=again, problem=problem, opened=opened, recording=recorder.recording())
