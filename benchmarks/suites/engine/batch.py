"""Does a batch with slow calls in it keep every place busy?

The bare loop is `concurrency // 10` tasks that take the next call when they are done with the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import trio

from benchmarks.case import Load, Measured
from benchmarks.ideal import makespan
from benchmarks.suites.engine.provider import Sleeping
from benchmarks.timing import Spent, side_by_side, timed
from synth_actors import EngineConfig, Request, open_engine
from synth_actors.providers.base import Call

SLOW_S, FAST_S = 0.4, 0.02
SLOW_EVERY = 10


def wall(load: Load) -> Measured:
    """Seconds from the first call to the last outcome."""
    pair = side_by_side(load.repeat, partial(_engine, load), partial(_bare, load))
    delays = [_delay_of(number) for number in range(_calls(load))]
    return Measured(value=pair.engine.wall_s, bare=pair.bare.wall_s, ideal=makespan(delays, _at_once(load)))


def _at_once(load: Load) -> int:
    return max(1, load.concurrency // 10)


def _calls(load: Load) -> int:
    return 4 * load.concurrency


def _delay_of(number: int) -> float:
    return SLOW_S if number % SLOW_EVERY == 0 else FAST_S


def _delay(call: Call) -> float:
    return _delay_of(call.request.sample_index)


def _requests(load: Load) -> Iterator[Request]:
    return (Request(prompt="One sentence about otters.", sample_index=number) for number in range(_calls(load)))


async def _engine(load: Load) -> Spent:
    async with open_engine(Sleeping(_delay), EngineConfig(max_concurrency=_at_once(load))) as engine:

        async def work() -> None:
            async with engine.batch(_requests(load)) as outcomes:
                async for outcome in outcomes:
                    if outcome.error is not None:
                        raise outcome.error

        return await timed(work)


async def _bare(load: Load) -> Spent:
    provider, requests = Sleeping(_delay), _requests(load)

    async def worker() -> None:
        for request in requests:
            await provider.generate(Call(request=request, json_schema=None), None)

    async def work() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(_at_once(load)):
                nursery.start_soon(worker)

    return await timed(work)
