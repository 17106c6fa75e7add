"""What came of so many requests at once?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from time import perf_counter

import trio

from benchmarks.case import Load, Measured, NotMeasured
from benchmarks.closed_loop import Loop
from benchmarks.engines import recorded_engine, upstream
from benchmarks.server import figures, open_files
from benchmarks.suites.concurrency.bearing import bearing
from synth_actors import Endpoint, Engine, EngineConfig
from synth_actors.telemetry.recording import Recording

LATENCY_S = 0.05
CALLS = 300
"""Rounds are asked for until there are so many."""
PATIENCE_S = 180.0
"""For all of it: a server that answers nobody before all calls are there would wait for one that got lost."""
MAX_TOKENS = 100
FILES_BESIDE = 100
"""What a process has open beside its connections."""
RECORDED = 200
"""The size that the report shows in full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    loop: Loop
    recording: Recording
    most_at_server: int | None


def per_s(size: int, load: Load) -> Measured:
    """Answers per second over all rounds, beside the most calls that the server had at one moment."""
    run = _run(size, load)
    return Measured(
        value=run.loop.per_s,
        ideal=None if load.endpoint else size / LATENCY_S,
        beside={} if run.most_at_server is None else {"at the server": float(run.most_at_server)},
        recording=run.recording if size == RECORDED else None,
    )


def p99(size: int, load: Load) -> Measured:
    """Milliseconds from the moment when all of a round were asked for."""
    return Measured(value=_run(size, load).loop.percentile_s(0.99) * 1e3)


def failed(size: int, load: Load) -> Measured:
    """Requests without an answer."""
    return Measured(value=float(_run(size, load).loop.failures))


@lru_cache(maxsize=1)
def _run(size: int, load: Load) -> _Run:
    if load.endpoint and size > load.concurrency:
        raise NotMeasured(f"--concurrency {load.concurrency} is the most that --endpoint gets at once")
    if size > load.operations:
        raise NotMeasured(f"this small load has {load.operations} operations")
    if (files := open_files()) < size + FILES_BESIDE:
        raise NotMeasured(f"needs {size + FILES_BESIDE:,} open files and may have {files:,}; ulimit -n allows more")
    rounds = 1 if load.endpoint else max(1, min(CALLS, load.operations) // size)
    with upstream(load, latency=LATENCY_S, hold=size) as endpoint:
        loop, recording = trio.run(_engine, size, rounds, load, endpoint)
        most = None if isinstance(endpoint, str) else figures(_address(endpoint))["most_in_flight"]
    if not loop.durations_s:
        raise NotMeasured(f"no request was answered: {loop.failed}")
    return _Run(loop=loop, recording=recording, most_at_server=most)


def _address(endpoint: Endpoint) -> str:
    return (endpoint.base_url or "").removesuffix("/v1")


async def _engine(size: int, rounds: int, load: Load, endpoint: Endpoint | str) -> tuple[Loop, Recording]:
    config, loop = EngineConfig(max_concurrency=size), Loop()
    async with recorded_engine(load, bearing(endpoint), config, title=f"{size:,} at once") as (engine, recorder):
        with trio.move_on_after(PATIENCE_S) as patience:
            began_s = perf_counter()
            for number in range(rounds):
                await _round(engine, size, number, loop)
            loop.elapsed_s = perf_counter() - began_s
    if patience.cancelled_caught:
        raise NotMeasured(f"not all were answered in {PATIENCE_S:g} s; answered {len(loop.durations_s):,}")
    return loop, recorder.recording()


async def _round(engine: Engine, size: int, number: int, loop: Loop) -> None:
    began_s = perf_counter()
    async with trio.open_nursery() as nursery:
        for index in range(size):
            prompt = f"Sentence {number}.{index} about otters."
            nursery.start_soon(loop.make, partial(engine.generate, prompt, max_tokens=MAX_TOKENS), began_s)
