"""How long do answers take when requests come as they came to a real service?"""

from __future__ import annotations

from functools import lru_cache, partial
from random import Random

import trio

from benchmarks.arrivals import Arrival, excerpt, trace
from benchmarks.case import Load, Measured
from benchmarks.closed_loop import Loop
from benchmarks.engines import local_server, recorded_engine
from benchmarks.open_loop import open_loop
from synth_actors import Endpoint, EngineConfig
from synth_actors.telemetry.recording import Recording

ARRIVALS_PER_S = 250.0
"""On average; the traces themselves have 2.6 and 5.5."""
OPERATIONS_PER_CALL = 20
PER_TOKEN_S = 0.0002
"""What the server takes for a token, beside `LATENCY_S`: 2,000 tokens take 0.4 s."""
LATENCY_S = 0.02
CHARACTERS_PER_TOKEN = 4
MOST_CHARACTERS = 20_000


def replayed(name: str, mark: float, load: Load) -> Measured:
    """Milliseconds from the time of a request in the trace `name` to its answer."""
    loop, recording = _run(name, load)
    loop.check()
    return Measured(value=loop.percentile_s(mark) * 1e3, recording=recording if mark == 0.5 else None)


@lru_cache(maxsize=2)
def _run(name: str, load: Load) -> tuple[Loop, Recording]:
    random = Random(load.repeat)
    calls = max(2, load.operations // OPERATIONS_PER_CALL)
    with local_server(load, latency=LATENCY_S, per_token=PER_TOKEN_S) as endpoint:
        arrivals = excerpt(trace(name), count=calls, lasting_s=calls / ARRIVALS_PER_S, random=random)
        return trio.run(_engine, name, load, endpoint, arrivals)


async def _engine(name: str, load: Load, endpoint: Endpoint, arrivals: list[Arrival]) -> tuple[Loop, Recording]:
    config = EngineConfig(max_concurrency=10 * load.concurrency)
    async with recorded_engine(load, endpoint, config, title=f"replay of {name}") as (engine, recorder):
        await engine.generate("The first call makes and imports what the others find.", max_tokens=1)
        loop = await open_loop(
            (each.at_s, partial(engine.generate, _prompt(number, each), max_tokens=max(1, each.output_tokens)))
            for number, each in enumerate(arrivals)
        )
    return loop, recorder.recording()


def _prompt(number: int, arrival: Arrival) -> str:
    length = min(MOST_CHARACTERS, arrival.input_tokens * CHARACTERS_PER_TOKEN)
    return (f"Request {number}. " + "otter " * (length // 6))[: max(20, length)]
