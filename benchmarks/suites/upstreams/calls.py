"""How many calls per second, and at what cost, through the engine and by the SDK alone?

Both start a task for each call; the bare one takes a place of a `CapacityLimiter` and calls the SDK.  The server takes
50 ms for a call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import trio

from benchmarks.case import Load, Measured
from benchmarks.server import PATHS, serving
from benchmarks.suites.upstreams.sdks import MAX_TOKENS, MODEL, sdk_for
from benchmarks.timing import Pair, Spent, side_by_side, timed
from synth_actors import Engine, EngineConfig, SynthActorsError, open_engine

LATENCY_S = 0.05
OPERATIONS_PER_ROUND = 20
"""Of `Load.operations`, so that a small load is small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """So many calls at once, for so many rounds: enough that the first round does not decide."""

    kind: str
    at_once: int
    rounds: int

    @property
    def calls(self) -> int:
        """All calls."""
        return self.at_once * self.rounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What both took for so many calls, and how many of their calls failed."""

    calls: int
    pair: Pair
    engine_failed: int
    bare_failed: int


def per_second(crowd: Crowd, load: Load) -> Measured:
    """Calls per second; the ideal is that of a client that costs nothing."""
    outcome = _outcome(crowd, load)
    engine_s, bare_s = outcome.pair.engine.wall_s, outcome.pair.bare.wall_s
    return Measured(value=outcome.calls / engine_s, bare=outcome.calls / bare_s, ideal=crowd.at_once / LATENCY_S)


def cpu(crowd: Crowd, load: Load) -> Measured:
    """CPU microseconds of a call in this process, of the same run."""
    outcome = _outcome(crowd, load)
    engine_us, bare_us = outcome.pair.engine.cpu_s * 1e6, outcome.pair.bare.cpu_s * 1e6
    return Measured(value=engine_us / outcome.calls, bare=bare_us / outcome.calls)


def failed(crowd: Crowd, load: Load) -> Measured:
    """Calls that failed, of the same run."""
    outcome = _outcome(crowd, load)
    return Measured(value=outcome.engine_failed, bare=outcome.bare_failed)


@lru_cache(maxsize=1)
def _outcome(crowd: Crowd, load: Load) -> Outcome:
    failures: dict[str, int] = {"engine": 0, "bare": 0}
    crowd = replace(crowd, rounds=min(crowd.rounds, max(1, load.operations // OPERATIONS_PER_ROUND)))
    with serving(latency=LATENCY_S) as url:
        pair = side_by_side(load.repeat, partial(_engine, crowd, url, failures), partial(_bare, crowd, url, failures))
    return Outcome(calls=crowd.calls, pair=pair, engine_failed=failures["engine"], bare_failed=failures["bare"])


async def _engine(crowd: Crowd, url: str, failures: dict[str, int]) -> Spent:
    config = EngineConfig(max_concurrency=crowd.at_once)
    async with open_engine([f"{crowd.kind}:{MODEL}@{url}{PATHS[crowd.kind]}"], config) as engine:
        return await _timed_calls(crowd, partial(_generate, engine, failures))


async def _generate(engine: Engine, failures: dict[str, int], prompt: str) -> None:
    try:
        await engine.generate(prompt, max_tokens=MAX_TOKENS)
    except SynthActorsError:
        failures["engine"] += 1


async def _bare(crowd: Crowd, url: str, failures: dict[str, int]) -> Spent:
    sdk, limiter = sdk_for(crowd.kind, url), trio.CapacityLimiter(crowd.at_once)

    async def call(prompt: str) -> None:
        async with limiter:
            try:
                await sdk.call(prompt)
            except Exception:  # noqa: BLE001 - whatever an SDK raises: the call was lost
                failures["bare"] += 1

    try:
        return await _timed_calls(crowd, call)
    finally:
        await sdk.aclose()


async def _timed_calls(crowd: Crowd, call: Callable[[str], Awaitable[None]]) -> Spent:
    await call("The first call makes and imports what the others find.")

    async def work() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(crowd.calls):
                nursery.start_soon(call, f"Sentence {number} about otters.")

    return await timed(work)
