"""What does it come to through the whole engine?

The same prompts by the engine, by raw sockets, and by the SDK of the server's maker as it comes, which a
`CapacityLimiter` holds to as many calls at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal

import trio

from benchmarks.asking import prompts
from benchmarks.case import Load, Measured, NotMeasured
from benchmarks.server import PATHS
from benchmarks.suites.upstreams.sdks import MAX_TOKENS, MODEL, sdk_for
from benchmarks.suites.wire.clients import OWN, RAW, raw
from benchmarks.suites.wire.serving import Target, serving
from benchmarks.timing import Spent, timed
from benchmarks.wire_server import Rules
from synth_actors import Endpoint, EngineConfig, open_engine

LATENCY_S = 0.2
ROUNDS = 10
SATURATED_ROUNDS = 20
OPERATIONS_PER_ROUND = 300
"""Of `Load.operations`, so that a small load is small."""
ENGINE = "engine"
SDK = "SDK"

ON_HTTPX2 = f"engine {OWN}"

_Run = Callable[[str, Target, Load, int], Awaitable[Spent]]
"""Makes so many calls of a kind, as many at once as the load says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """So many rounds of as many calls as there are callers, to a server that takes `latency_s` for each."""

    kind: str
    latency_s: float
    rounds: int


def waiting(kind: str) -> Work:
    """A server that takes as long as a fast one does."""
    return Work(kind=kind, latency_s=LATENCY_S, rounds=ROUNDS)


def saturated(kind: str) -> Work:
    """A server that answers at once."""
    return Work(kind=kind, latency_s=0.0, rounds=SATURATED_ROUNDS)


def wall(work: Work, load: Load) -> Measured:
    """Seconds of all; bare are raw sockets."""
    spent = _spent(work, load)
    ideal_s = _rounds(work, load) * work.latency_s
    beside = {name: spent[name].wall_s for name in (SDK, ON_HTTPX2)}
    return Measured(value=spent[ENGINE].wall_s, bare=spent[RAW].wall_s, beside=beside, ideal=ideal_s or None)


def per_second(work: Work, load: Load) -> Measured:
    """Calls per second; bare is the SDK."""
    spent, calls = _spent(work, load), _rounds(work, load) * load.concurrency
    rates = {name: calls / one.wall_s for name, one in spent.items()}
    return Measured(value=rates[ENGINE], bare=rates[SDK], beside={name: rates[name] for name in (RAW, ON_HTTPX2)})


def cpu(work: Work, load: Load) -> Measured:
    """CPU microseconds of a call in this process; bare is the SDK; of the same run."""
    spent, calls = _spent(work, load), _rounds(work, load) * load.concurrency
    each = {name: one.cpu_s * 1e6 / calls for name, one in spent.items()}
    return Measured(value=each[ENGINE], bare=each[SDK], beside={name: each[name] for name in (RAW, ON_HTTPX2)})


def _rounds(work: Work, load: Load) -> int:
    return max(1, min(work.rounds, load.operations // OPERATIONS_PER_ROUND))


@lru_cache(maxsize=1)
def _spent(work: Work, load: Load) -> dict[str, Spent]:
    if load.endpoint is not None:
        raise NotMeasured("needs a server that does as it is told; leave out --endpoint")
    runs: list[tuple[str, _Run]] = [
        (ENGINE, partial(_by_engine, "lean")),
        (ON_HTTPX2, partial(_by_engine, "httpx2")),
        (RAW, _by_raw),
        (SDK, _by_sdk),
    ]
    turn, calls = load.repeat % len(runs), _rounds(work, load) * load.concurrency
    with serving("plain", Rules(latency_s=work.latency_s), connections=load.concurrency) as target:
        return {name: trio.run(run, work.kind, target, load, calls) for name, run in runs[turn:] + runs[:turn]}


async def _by_engine(transport: Literal["lean", "httpx2"], kind: str, target: Target, load: Load, calls: int) -> Spent:
    endpoint = Endpoint(provider=kind, model=MODEL, base_url=target.url + PATHS[kind], name="server")
    config = EngineConfig(max_concurrency=load.concurrency, transport=transport)
    async with open_engine(endpoint, config, tracing=load.tracing) as engine:
        await engine.generate("The first call makes and imports what the others find.", max_tokens=MAX_TOKENS)

        async def work() -> None:
            for outcome in await engine.generate_batch(prompts(calls, kind), max_tokens=MAX_TOKENS):
                if outcome.error is not None:
                    raise outcome.error

        return await timed(work)


async def _by_raw(kind: str, target: Target, load: Load, calls: int) -> Spent:
    client = raw(target, kind)
    try:
        return await _shared(client.call, prompts(calls, kind), load.concurrency)
    finally:
        await client.aclose()


async def _by_sdk(kind: str, target: Target, load: Load, calls: int) -> Spent:
    sdk = sdk_for(kind, target.url)
    try:
        return await _shared(sdk.call, prompts(calls, kind), load.concurrency)
    finally:
        await sdk.aclose()


async def _shared(call: Callable[[str], Awaitable[object]], asked: Iterator[str], at_once: int) -> Spent:
    await call("The first call makes and imports what the others find.")

    async def caller() -> None:
        for prompt in asked:
            await call(prompt)

    async def work() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(at_once):
                nursery.start_soon(caller)

    return await timed(work)
