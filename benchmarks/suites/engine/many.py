"""What does a hit cost when the cache is large, and when the answer lies in the file?

The entries are put where they lie before the clock starts, past the engine: what is measured is `generate`.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from hashlib import blake2b
from math import ceil
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, time

import trio

from benchmarks.case import Load, Measured
from benchmarks.suites.engine.provider import Instant
from benchmarks.timing import Spent, side_by_side, timed, timed_callers, us_each
from synth_actors import CacheConfig, Engine, EngineConfig, Request, open_engine
from synth_actors.policy.answers import Made
from synth_actors.policy.cache_key import key_of
from synth_actors.tier import Kept, open_tier
from synth_actors.types import Answer

PROMPT_BYTES = 1024
ANSWER_BYTES = 1600
THINK_S = 0.2
"""Between two requests of a caller where latency is measured: a hundred of them ask 500 times a second."""
ASKED_EACH = 20

Measure = Callable[[Engine, Load], Awaitable[float]]


def _prompt(number: int) -> str:
    return str(number).ljust(PROMPT_BYTES, "x")


def _request(number: int) -> Request:
    return Request(prompt=_prompt(number), max_tokens=200)


def _text(number: int) -> str:
    return str(number).ljust(ANSWER_BYTES, "y")


# ------------------------------------------------------------------------------------------------------- in memory


def in_memory(load: Load) -> Measured:
    """A new request for one of 1,000 entries for each `load.concurrency`; the bare loop has the same keys and texts."""
    entries = 1000 * load.concurrency
    draw = random.Random(load.repeat)
    asked = [draw.randrange(entries) for _ in range(load.operations)]
    pair = side_by_side(load.repeat, partial(_by_engine, entries, asked), partial(_by_hand, entries, asked))
    return Measured(
        value=us_each(pair.engine.cpu_s, 1, len(asked)),
        bare=us_each(pair.bare.cpu_s, 1, len(asked)),
    )


async def _by_engine(entries: int, asked: list[int]) -> Spent:
    config = EngineConfig(cache=CacheConfig(max_entries=entries, max_bytes=2**40))
    async with open_engine(Instant(), config) as engine:
        answers = engine._wiring._cache._answers
        for number in range(entries):
            answer = Answer(text=_text(number), stop_reason="end", endpoint="instant", model="none")
            made = Made(answer, Instant.identity, 800, None)
            answers.keep(key_of(_request(number)), made, now=trio.current_time())

        async def loop() -> None:
            for number in asked:
                response = await engine.generate(_request(number))
                assert response.cached

        return await timed(loop)


async def _by_hand(entries: int, asked: list[int]) -> Spent:
    kept = OrderedDict((_key_by_hand(number), _text(number)) for number in range(entries))

    async def loop() -> None:
        for number in asked:
            await trio.lowlevel.checkpoint_if_cancelled()
            key = _key_by_hand(number)
            assert kept[key]
            kept.move_to_end(key)

    return await timed(loop)


def _key_by_hand(number: int) -> bytes:
    return blake2b(_prompt(number).encode(), digest_size=16).digest()


# ----------------------------------------------------------------------------------------------------- in the file


def in_file(load: Load) -> Measured:
    """Microseconds on the wall for each of many hits that `load.concurrency` callers get as fast as they can."""
    return Measured(value=_from_file(load, _flat_out))


def in_file_latency(load: Load) -> Measured:
    """Median microseconds from asking to the answer, `load.concurrency` callers that think between two requests."""
    return Measured(value=_from_file(load, _with_thought))


def _from_file(load: Load, measure: Measure) -> float:
    with TemporaryDirectory() as folder:
        return trio.run(_measured, load, Path(folder, "answers.cache"), measure)


async def _measured(load: Load, path: Path, measure: Measure) -> float:
    async with open_tier(path, ttl_s=None, max_file_bytes=2**40) as tier:
        for number in range(load.operations):
            tier.post(
                Kept(
                    key=key_of(_request(number)),
                    identity=Instant.identity,
                    text=_text(number),
                    stop_reason="end",
                    endpoint="instant",
                    model="none",
                    tokens=800,
                    cost_usd=None,
                    stored_at=time(),
                )
            )
            if number % 1000 == 999:
                await tier.flush()
    # memory holds nothing worth speaking of, so that every hit is one of the file
    config = EngineConfig(cache=CacheConfig(path=path, max_entries=1, ttl_s=None, max_file_bytes=2**40))
    async with open_engine(Instant(), config) as engine:
        found = await measure(engine, load)
        cache = (await engine.metrics()).cache
    if cache.misses:
        raise RuntimeError(f"{cache.misses} of the requests were no hits: this measures something else than it says")
    return found


async def _flat_out(engine: Engine, load: Load) -> float:
    draw = random.Random(load.repeat)

    async def loop(count: int) -> None:
        for _ in range(count):
            await engine.generate(_request(draw.randrange(load.operations)))

    spent = await timed_callers(load.concurrency, load.operations, loop)
    return us_each(spent.wall_s, load.concurrency, load.operations)


async def _with_thought(engine: Engine, load: Load) -> float:
    draw = random.Random(load.repeat)
    latencies_s: list[float] = []

    async def loop(count: int) -> None:
        for _ in range(count):
            await trio.sleep(draw.expovariate(1 / THINK_S))
            request = _request(draw.randrange(load.operations))
            began = perf_counter()
            await engine.generate(request)
            latencies_s.append(perf_counter() - began)

    each = min(ASKED_EACH, ceil(load.operations / load.concurrency))
    await timed_callers(load.concurrency, each * load.concurrency, loop)
    return median(latencies_s) * 1e6
