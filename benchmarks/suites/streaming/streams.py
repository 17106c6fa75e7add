"""When do the pieces of an answer come?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from time import perf_counter

import trio

from benchmarks.case import Load, Measured, NotMeasured
from benchmarks.closed_loop import Call, Loop, closed_loop
from benchmarks.engines import recorded_engine, upstream
from synth_actors import Endpoint, Engine, EngineConfig
from synth_actors.telemetry.recording import Recording

LATENCY_S = 0.01
CHUNKS, GAP_S = 50, 0.004
READERS_SHARE = 10
OPERATIONS_PER_CALL = 100
ENDPOINT_ROUNDS = 2
MAX_TOKENS = 1200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """Seconds to the first piece, and between any two."""

    first: Loop = field(default_factory=Loop)
    between: Loop = field(default_factory=Loop)
    whole: Loop = field(default_factory=Loop)


def first_chunk(mark: float, load: Load) -> Measured:
    """Milliseconds from asking, beside those of the same answer that is not streamed."""
    read, recording = _run(load)
    whole_ms = read.whole.percentile_s(mark) * 1e3
    return Measured(
        value=read.first.percentile_s(mark) * 1e3,
        beside={"not streamed": whole_ms},
        recording=recording if mark == 0.5 else None,
    )


def between_chunks(mark: float, load: Load) -> Measured:
    """Milliseconds, of the same run."""
    read, _ = _run(load)
    if not read.between.durations_s:
        raise NotMeasured(f"{load.endpoint}: every answer came in one piece")
    return Measured(value=read.between.percentile_s(mark) * 1e3, ideal=None if load.endpoint else GAP_S * 1e3)


@lru_cache(maxsize=1)
def _run(load: Load) -> tuple[_Read, Recording]:
    readers = max(1, load.concurrency // READERS_SHARE)
    calls = max(readers, load.operations // OPERATIONS_PER_CALL)
    if load.endpoint:
        calls = min(calls, ENDPOINT_ROUNDS * readers)
    with upstream(load, latency=LATENCY_S, chunks=CHUNKS, gap=GAP_S) as endpoint:
        read, recording = trio.run(_engine, load, readers, calls, endpoint)
    for loop in (read.first, read.whole):
        loop.check()
    return read, recording


async def _engine(load: Load, readers: int, calls: int, endpoint: Endpoint | str) -> tuple[_Read, Recording]:
    read, config = _Read(), EngineConfig(max_concurrency=load.concurrency)
    async with recorded_engine(load, endpoint, config, title="streams") as (engine, recorder):
        await _stream(engine, _Read(), "The first call makes and imports what the others find.")
        streamed = await closed_loop(readers, (partial(_stream, engine, read, prompt) for prompt in _prompts(calls)))
        read.first.failed.update(streamed.failed)
    async with recorded_engine(load, _unstreamed(endpoint), config, title="the same, not streamed") as (engine, _):
        await engine.generate("The first call makes and imports what the others find.", max_tokens=MAX_TOKENS)
        whole = await closed_loop(readers, _asking(engine, calls))
        read.whole.durations_s += whole.durations_s
        read.whole.failed.update(whole.failed)
    return read, recorder.recording()


def _unstreamed(endpoint: Endpoint | str) -> Endpoint | str:
    return endpoint if isinstance(endpoint, str) else endpoint.model_copy(update={"stream": "never"})


async def _stream(engine: Engine, read: _Read, prompt: str) -> None:
    asked_s = last_s = perf_counter()
    pieces = 0
    async with engine.stream(prompt, max_tokens=MAX_TOKENS) as stream:
        async for _ in stream:
            now_s = perf_counter()
            (read.between if pieces else read.first).durations_s.append(now_s - (last_s if pieces else asked_s))
            last_s, pieces = now_s, pieces + 1
        await stream.response()


def _asking(engine: Engine, calls: int) -> Iterator[Call]:
    return (partial(engine.generate, prompt, max_tokens=MAX_TOKENS) for prompt in _prompts(calls))


def _prompts(calls: int) -> Iterator[str]:
    return (f"Page {number} about otters." for number in range(calls))
