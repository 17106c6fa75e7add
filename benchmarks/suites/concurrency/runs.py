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
from synth_actors import Endpoint, EngineConfig
from synth_actors.telemetry.recording import Recording

LATENCY_S = 0.05
CALLS = 300
ROUNDS = 2
"""Calls for each place: the engine begins with few at once and has one more after each answer (slow start)."""
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

    def under_way(self) -> dict[str, float]:
        """The most calls that were under way at a look, four a second, and that the server had at any moment."""
        seen = {"under way": float(max((point.in_flight for point in self.recording.points), default=0))}
        return seen if self.most_at_server is None else {**seen, "at the server": float(self.most_at_server)}


def per_s(size: int, load: Load) -> Measured:
    """Answers per second."""
    run = _run(size, load)
    return Measured(
        value=run.loop.per_s,
        ideal=None if load.endpoint else size / LATENCY_S,
        beside=run.under_way(),
        recording=run.recording if size == RECORDED else None,
    )


def p99(size: int, load: Load) -> Measured:
    """Milliseconds from the moment when all were asked for."""
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
    rounds = 1 if load.endpoint else max(ROUNDS, min(CALLS, load.operations) // size)
    with upstream(load, latency=LATENCY_S) as endpoint:
        loop, recording = trio.run(_engine, size, rounds, load, endpoint)
        most = None if isinstance(endpoint, str) else figures(_address(endpoint))["most_in_flight"]
    if not loop.durations_s:
        raise NotMeasured(f"no request was answered: {loop.failed}")
    return _Run(loop=loop, recording=recording, most_at_server=most)


def _address(endpoint: Endpoint) -> str:
    return (endpoint.base_url or "").removesuffix("/v1")


async def _engine(size: int, rounds: int, load: Load, endpoint: Endpoint | str) -> tuple[Loop, Recording]:
    config = EngineConfig(max_concurrency=size)
    async with recorded_engine(load, endpoint, config, title=f"{size:,} at once") as (engine, recorder):
        await engine.generate("The first call makes and imports what the others find.", max_tokens=MAX_TOKENS)
        loop, began_s = Loop(), perf_counter()
        async with trio.open_nursery() as nursery:
            for number in range(rounds * size):
                ask = partial(engine.generate, f"Sentence {number} about otters.", max_tokens=MAX_TOKENS)
                nursery.start_soon(loop.make, ask, began_s)
        loop.elapsed_s = perf_counter() - began_s
    return loop, recorder.recording()
