"""What do a closed and an open loop say of a server that stands still for a while?

In simulated time, so that it is the same everywhere and takes no time.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial
from itertools import count

import trio

from benchmarks.case import Load, Measured
from benchmarks.closed_loop import Call, Loop, closed_loop
from benchmarks.open_loop import open_loop
from synth_actors import Engine, EngineConfig, open_engine
from synth_actors.testing import ScriptedProvider, Step, simulate

LASTS_S = 100.0
STALLS_AT_S, STALLS_FOR_S = 40.0, 10.0
SERVICE_S = 0.05
OPEN_PER_S = 50
CALLERS = 5


def p99(load: Load) -> Measured:  # noqa: ARG001  (always the same)
    """Seconds: the open loop's, beside the closed loop's."""
    closed, opened = both()
    return Measured(value=opened.percentile_s(0.99), beside={"closed loop": closed.percentile_s(0.99)})


@lru_cache(maxsize=1)
def both() -> tuple[Loop, Loop]:
    """The closed loop of a few callers and the open loop of many users, each for `LASTS_S`."""
    return simulate(_closed), simulate(_open)


def _server() -> ScriptedProvider:
    def answer(_call: object) -> Step:
        now_s = trio.current_time() - start_s
        waits_s = STALLS_AT_S + STALLS_FOR_S - now_s if STALLS_AT_S <= now_s < STALLS_AT_S + STALLS_FOR_S else 0.0
        return Step(delay_s=waits_s + SERVICE_S)

    start_s = trio.current_time()
    return ScriptedProvider(answer)


async def _closed() -> Loop:
    async with open_engine(_server(), EngineConfig(max_concurrency=1000)) as engine:
        return await closed_loop(CALLERS, _until_the_end(engine), trio.current_time)


def _until_the_end(engine: Engine) -> Iterator[Call]:
    end_s = trio.current_time() + LASTS_S
    for number in count():
        if trio.current_time() >= end_s:
            return
        yield partial(engine.generate, f"Sentence {number} about otters.")


async def _open() -> Loop:
    async with open_engine(_server(), EngineConfig(max_concurrency=1000)) as engine:
        return await open_loop(
            (number / OPEN_PER_S, partial(engine.generate, f"Sentence {number} about otters."))
            for number in range(int(LASTS_S * OPEN_PER_S))
        )
