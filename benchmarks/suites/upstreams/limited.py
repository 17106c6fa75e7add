"""How near to the ideal does the engine come where a server allows less than is asked, or is slow?

A server that allows so many calls at once answers the others 429 with retry-after 1.  No call may be lost.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache

import trio

from benchmarks.case import Load, Measured
from benchmarks.ideal import makespan
from benchmarks.server import PATHS, figures, serving
from benchmarks.suites.upstreams.sdks import MAX_TOKENS, MODEL
from benchmarks.timing import timed
from synth_actors import Endpoint, EngineConfig, open_engine

LATENCY_S = 0.1
FAST_S, SLOW_S = 0.05, 0.5
KIND = "openai"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Seconds from the first call to the last answer, and what each server counted."""

    wall_s: float
    servers: tuple[dict[str, int], ...]


def wall(servers: int, load: Load) -> Measured:
    """Seconds with so many servers of the same kind."""
    ideal_s = makespan([LATENCY_S] * _calls(load), servers * _allowed(load))
    return Measured(value=_limited(servers, load).wall_s, ideal=ideal_s)


def rejected(servers: int, load: Load) -> Measured:
    """Percent of the calls that the servers got; of the same run."""
    counts = _limited(servers, load).servers
    refused = sum(count["rejected"] for count in counts)
    return Measured(value=100 * refused / (refused + sum(count["accepted"] for count in counts)))


def fastest_wall(load: Load) -> Measured:
    """Seconds with a fast and a slow server."""
    return Measured(value=_fastest(load).wall_s, ideal=makespan([FAST_S] * _calls(load), max(1, load.concurrency // 5)))


def to_the_slow_one(load: Load) -> Measured:
    """Percent of the calls that the slow server got; of the same run."""
    return Measured(value=100 * _fastest(load).servers[1]["accepted"] / _calls(load))


def _calls(load: Load) -> int:
    return 6 * load.concurrency


def _allowed(load: Load) -> int:
    return max(1, 3 * load.concurrency // 10)


@lru_cache(maxsize=1)
def _limited(servers: int, load: Load) -> Run:
    options = {"allow": float(_allowed(load)), "latency": LATENCY_S, "retry_after": 1.0}
    config = EngineConfig(max_concurrency=load.concurrency, routing="least_loaded")
    return _run([options] * servers, config, _calls(load))


@lru_cache(maxsize=1)
def _fastest(load: Load) -> Run:
    config = EngineConfig(max_concurrency=max(1, load.concurrency // 5), routing="fastest")
    return _run([{"latency": FAST_S}, {"latency": SLOW_S}], config, _calls(load))


def _run(servers: list[dict[str, float]], config: EngineConfig, calls: int) -> Run:
    with ExitStack() as stack:
        urls = [stack.enter_context(serving(**options)) for options in servers]
        wall_s = trio.run(_generate_all, urls, config, calls)
        return Run(wall_s=wall_s, servers=tuple(figures(url) for url in urls))


async def _generate_all(urls: list[str], config: EngineConfig, calls: int) -> float:
    endpoints = [
        Endpoint(provider=KIND, model=MODEL, base_url=url + PATHS[KIND], name=f"server {number}")
        for number, url in enumerate(urls, 1)
    ]
    async with open_engine(endpoints, config) as engine:

        async def work() -> None:
            prompts = [f"Sentence {number} about otters." for number in range(calls)]
            for outcome in await engine.generate_batch(prompts, max_tokens=MAX_TOKENS):
                if outcome.error is not None:
                    raise outcome.error

        return (await timed(work)).wall_s
