"""When is the first outcome of a batch there, and when all?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from time import perf_counter

import trio

from benchmarks.case import Load, Measured, NotMeasured
from benchmarks.engines import recorded_engine, upstream
from synth_actors import Endpoint, EngineConfig, Request

LATENCY_S = 0.05
AT_ONCE_SHARE = 2
OPERATIONS_PER_CALL = 20
MAX_TOKENS = 100


def first_outcome(load: Load) -> Measured:
    """Milliseconds from asking for the batch, beside those of the whole list."""
    first_s, whole_s = _run(load)
    return Measured(value=first_s * 1e3, beside={"the whole list": whole_s * 1e3})


@lru_cache(maxsize=1)
def _run(load: Load) -> tuple[float, float]:
    with upstream(load, latency=LATENCY_S) as endpoint:
        return trio.run(_engine, load, endpoint)


async def _engine(load: Load, endpoint: Endpoint | str) -> tuple[float, float]:
    at_once = max(1, load.concurrency // AT_ONCE_SHARE)
    calls = load.concurrency if load.endpoint else max(load.concurrency, load.operations // OPERATIONS_PER_CALL)
    config = EngineConfig(max_concurrency=at_once)
    async with recorded_engine(load, endpoint, config, title="a batch") as (engine, _):
        await engine.generate("The first call makes and imports what the others find.", max_tokens=MAX_TOKENS)
        began_s = perf_counter()
        async with engine.batch(_requests(calls, "streamed")) as outcomes:
            first = await outcomes.receive()
            first_s = perf_counter() - began_s
            failed = [outcome.error async for outcome in outcomes if outcome.error is not None]
        began_s = perf_counter()
        listed = await engine.generate_batch(_requests(calls, "list"))
        whole_s = perf_counter() - began_s
    if errors := [*failed, *(outcome.error for outcome in (first, *listed) if outcome.error is not None)]:
        raise NotMeasured(f"{len(errors)} requests failed, one of them since {errors[0]}")
    return first_s, whole_s


def _requests(calls: int, kind: str) -> Iterator[Request]:
    return (Request(prompt=f"Fact {number} about otters ({kind}).", max_tokens=MAX_TOKENS) for number in range(calls))
