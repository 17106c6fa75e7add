"""How near to the ideal are many calls that wait, and what do they cost?

The bare loop starts a task for each call, which takes a place of a `CapacityLimiter` and makes the call.
"""

from __future__ import annotations

from functools import lru_cache, partial

import trio

from benchmarks.case import Load, Measured
from benchmarks.suites.engine.provider import Sleeping
from benchmarks.timing import Pair, Spent, side_by_side, timed
from synth_actors import EngineConfig, Request, open_engine
from synth_actors.providers.base import Call

DELAY_S = 0.05
ROUNDS = 3


def wall(load: Load) -> Measured:
    """Seconds from the first call to the last answer."""
    pair = _pair(load)
    return Measured(value=pair.engine.wall_s, bare=pair.bare.wall_s, ideal=ROUNDS * DELAY_S)


def cpu(load: Load) -> Measured:
    """CPU microseconds of one call, of the same run."""
    pair, calls = _pair(load), _calls(load)
    return Measured(value=pair.engine.cpu_s * 1e6 / calls, bare=pair.bare.cpu_s * 1e6 / calls)


def _at_once(load: Load) -> int:
    return 10 * load.concurrency


def _calls(load: Load) -> int:
    return ROUNDS * _at_once(load)


@lru_cache(maxsize=1)
def _pair(load: Load) -> Pair:
    return side_by_side(load.repeat, partial(_engine, load), partial(_bare, load))


async def _engine(load: Load) -> Spent:
    async with open_engine(Sleeping(lambda _: DELAY_S), EngineConfig(max_concurrency=_at_once(load))) as engine:

        async def work() -> None:
            async with trio.open_nursery() as nursery:
                for number in range(_calls(load)):
                    nursery.start_soon(engine.generate, Request(prompt=f"Sentence {number} about otters."))

        return await timed(work)


async def _bare(load: Load) -> Spent:
    provider, limiter = Sleeping(lambda _: DELAY_S), trio.CapacityLimiter(_at_once(load))
    call = Call(request=Request(prompt="One sentence about otters."), json_schema=None)

    async def one() -> None:
        async with limiter:
            await provider.generate(call, None)

    async def work() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(_calls(load)):
                nursery.start_soon(one)

    return await timed(work)
