"""What does the engine add to a call?

Every request is a new one, so each goes all the way: miss, flight, backlog, limiter, attempt, entry, metrics.  The bare
loop makes the same calls to the same provider under a `CapacityLimiter` of the same size.
"""

from __future__ import annotations

from functools import partial
from itertools import count

import trio

from benchmarks.case import Load, Measured
from benchmarks.suites.engine.provider import Instant
from benchmarks.timing import Spent, side_by_side, timed_callers, us_each
from synth_actors import EngineConfig, Request, open_engine
from synth_actors.providers.base import Call

CALLS_PER_OPERATION = 5
"""A call takes several times as long as the short operations that `Load.operations` counts."""


def generate(callers: int, load: Load) -> Measured:
    """`generate` without an entry, by `callers` tasks."""
    calls = max(load.operations // CALLS_PER_OPERATION, callers)
    pair = side_by_side(load.repeat, partial(engine_loop, callers, calls), partial(bare_loop, callers, calls))
    return Measured(value=us_each(pair.engine.cpu_s, callers, calls), bare=us_each(pair.bare.cpu_s, callers, calls))


async def engine_loop(callers: int, calls: int) -> Spent:
    """So many calls through an engine."""
    numbers = count()
    async with open_engine(Instant(), EngineConfig(max_concurrency=callers)) as engine:

        async def loop(times: int) -> None:
            for _ in range(times):
                await engine.generate(Request(prompt=f"Sentence {next(numbers)} about otters."))

        spent = await timed_callers(callers, calls, loop)
        await engine.metrics()
    return spent


async def bare_loop(callers: int, calls: int) -> Spent:
    """The same without one."""
    provider, limiter = Instant(), trio.CapacityLimiter(callers)
    call = Call(request=Request(prompt="One sentence about otters."), json_schema=None)

    async def loop(times: int) -> None:
        for _ in range(times):
            async with limiter:
                await provider.generate(call, None)

    return await timed_callers(callers, calls, loop)
