"""What does an answer cost that is there already?

With everything on that a job has on: a time to live, a deadline, metrics (folding the samples is on the bill).  The
bare loop is what one writes by hand: SHA-256 of the request as JSON, an `OrderedDict`, a checkpoint that looks for
cancellation.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from hashlib import sha256

import trio

from benchmarks.case import Load, Measured
from benchmarks.suites.engine.provider import Instant
from benchmarks.timing import Spent, side_by_side, timed, us_each
from synth_actors import CacheConfig, Engine, EngineConfig, Request, open_engine

PROMPTS = 64
"""Different prompts in turn, so that recency really changes."""
PROMPT_BYTES = 1024
TIMEOUT_S = 30.0


def same_request(load: Load) -> Measured:
    """The same `Request` object again and again."""
    return _measured(load, fresh=False)


def new_request(load: Load) -> Measured:
    """A new `Request` each time, its prompt a new string each time, so that nothing can be remembered with either."""
    return _measured(load, fresh=True)


def _measured(load: Load, *, fresh: bool) -> Measured:
    count = load.operations
    prompts = _prompts(count) if fresh else _prompts(1) * count
    pair = side_by_side(load.repeat, partial(_fresh if fresh else _same, prompts), partial(_by_hand, prompts))
    return Measured(value=us_each(pair.engine.cpu_s, 1, count), bare=us_each(pair.bare.cpu_s, 1, count))


def _prompts(count: int) -> list[str]:
    """So many string objects with `PROMPTS` different values."""
    return [str(index % PROMPTS).ljust(PROMPT_BYTES, "x") for index in range(count)]


def _request(prompt: str) -> Request:
    return Request(prompt=prompt, max_tokens=200, timeout_s=TIMEOUT_S)


async def _same(prompts: list[str]) -> Spent:
    request = _request(prompts[0])

    async def loop(engine: Engine) -> None:
        for _ in prompts:
            await engine.generate(request)
        await engine.metrics()

    return await _with_engine(prompts, loop)


async def _fresh(prompts: list[str]) -> Spent:
    async def loop(engine: Engine) -> None:
        for prompt in prompts:
            await engine.generate(Request(prompt=prompt, max_tokens=200, timeout_s=TIMEOUT_S))
        await engine.metrics()

    return await _with_engine(prompts, loop)


async def _with_engine(prompts: list[str], loop: Callable[[Engine], Awaitable[None]]) -> Spent:
    async with open_engine(Instant(), EngineConfig(cache=CacheConfig(ttl_s=3600.0))) as engine:
        for prompt in set(prompts):
            await engine.generate(_request(prompt))
        spent = await timed(partial(loop, engine))
        hits = (await engine.metrics()).cache.hits
    if hits != len(prompts):
        raise RuntimeError(f"{hits} hits of {len(prompts)}: this measures something else than it says")
    return spent


async def _by_hand(prompts: list[str]) -> Spent:
    kept: OrderedDict[bytes, str] = OrderedDict((_key(prompt), "ok") for prompt in set(prompts))

    async def loop() -> None:
        for prompt in prompts:
            await trio.lowlevel.checkpoint_if_cancelled()
            key = _key(prompt)
            if key in kept:
                kept.move_to_end(key)

    return await timed(loop)


def _key(prompt: str) -> bytes:
    return sha256(json.dumps({"prompt": prompt, "max_tokens": 200}).encode()).digest()
