"""What happens to the memory of one process with an engine in it?  Run by `runs.py`, prints a result."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from time import perf_counter

import trio

from benchmarks.suites.engine.in_flight import peak_bytes
from benchmarks.suites.engine.provider import Instant
from benchmarks.suites.reclaim.results import Beside, Filled, Lowered, Refilled, Resident, Result, Steady, to_json
from synth_actors import CacheConfig, Engine, EngineConfig, Request, open_engine
from synth_actors.machine import rss_bytes
from synth_actors.messages import SetMemoryLimit
from synth_actors.policy.memory_thresholds import DEFAULT_THRESHOLDS
from synth_actors.providers.base import Call, Completion, Emit
from synth_actors.types import Usage

MB = 1_000_000
ANSWER_BYTES = 1600
LOOK_EVERY_S = 0.01
REACHED_WITHIN_S = 30.0
CALL_S = 0.05
SETTLED_WITHIN_S = 10.0
HOT_PROMPTS = 200
USAGE = Usage(input_tokens=100, output_tokens=400)
LARGE_ANSWER_BYTES = 40_000
ROOM_BYTES = 50 * 2**20
"""Between what is resident at opening and the limit, for many more answers than fit."""
PEAK_EVERY_S = 0.005
RECORDS = {
    "type": "array",
    "minItems": 10,
    "maxItems": 10,
    "items": {
        "type": "object",
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "full_name": {"type": "string", "minLength": 3, "maxLength": 60},
            "email": {"type": "string", "format": "email"},
            "city": {"type": "string", "minLength": 2, "maxLength": 40},
            "plan": {"enum": ["free", "pro", "team"]},
            "age": {"type": "integer", "minimum": 18, "maximum": 90},
            "signed_up_on": {"type": "string", "format": "date"},
            "monthly_spend": {"type": "number", "minimum": 0, "maximum": 500},
            "is_active": {"type": "boolean"},
            "note": {"type": ["string", "null"], "maxLength": 120},
        },
        "required": ["id", "full_name", "email", "city", "plan", "age"],
        "additionalProperties": False,
    },
}


class _Writer(Instant):
    """Answers with a text of its own for every call, about as long as ten records; `delay_s` late."""

    name = "writer"
    identity = "benchmarks|writer"

    def __init__(self, delay_s: float = 0.0, answer_bytes: int = ANSWER_BYTES) -> None:
        self._random = random.Random(1)
        self._delay_s = delay_s
        self._answer_bytes = answer_bytes
        self.active = self.most = self.done = 0

    async def generate(self, call: Call, emit: Emit | None) -> Completion:  # noqa: ARG002
        """Another text each time, so that no two entries share it."""
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            await trio.sleep(self._delay_s)
        finally:
            self.active -= 1
        self.done += 1
        length = self._random.randrange(self._answer_bytes * 3 // 4, self._answer_bytes * 5 // 4)
        return Completion(text=self._random.randbytes(length // 2).hex(), stop_reason="end", usage=USAGE)


async def _fill(engine: Engine, requests: Iterator[Request]) -> None:
    async with engine.batch(requests) as outcomes:
        async for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error


def _prompts(total: int) -> Iterator[Request]:
    return (Request(prompt=f"Ten records about otters, part {number}.") for number in range(total))


async def lowered(concurrency: int, entries: int, ticks: int) -> Result:
    """Fill the cache, lower the limit so that its low mark is a fifth less than what the engine holds, and look on."""
    cache = CacheConfig(max_entries=entries, max_bytes=entries * 8 * 1024)
    config = EngineConfig(max_concurrency=concurrency, cache=cache, memory_limit_bytes=8 * 2**30)
    async with open_engine(_Writer(), config) as engine:
        await _fill(engine, _prompts(entries))
        before = await engine.metrics()
        memory = before.memory
        wanted = int(0.8 * (memory.rss_bytes - memory.rss_at_open_bytes))
        target = memory.rss_at_open_bytes + wanted
        began = perf_counter()
        limit = memory.rss_at_open_bytes + int(wanted / DEFAULT_THRESHOLDS.low_mark)
        await engine._wiring.watchdog.ask(SetMemoryLimit(limit))
        reached_after_s = await _reached(target, began)
        await trio.sleep(2 * config.memory_check_interval_s)  # the watchdog sees it, too
        settled = await engine.metrics()
        changes = await _changes(engine, config.memory_check_interval_s, ticks)
        after = await engine.metrics()
    return Lowered(
        entries_before=before.cache.entries,
        entries_after=settled.cache.entries,
        reached_after_s=reached_after_s,
        rss_before_bytes=memory.rss_bytes,
        rss_after_bytes=settled.memory.rss_bytes,
        released_bytes=settled.memory.released_bytes,
        footprint_given_up_bytes=memory.cache_bytes - settled.memory.cache_bytes,
        shrinks=after.memory.shrinks,
        changes_after=changes,
    )


async def _reached(target_bytes: int, began: float) -> float:
    with trio.move_on_after(REACHED_WITHIN_S):
        while rss_bytes() > target_bytes:  # noqa: ASYNC110  (nobody says when the system has taken pages back)
            await trio.sleep(LOOK_EVERY_S)
    return perf_counter() - began


async def _changes(engine: Engine, tick_s: float, ticks: int) -> int:
    """Shrinks and changes of state in so many ticks."""
    before, changes = (await engine.metrics()).memory, 0
    for _ in range(ticks):
        await trio.sleep(tick_s)
        memory = (await engine.metrics()).memory
        changes += (memory.state != before.state) + memory.shrinks - before.shrinks
        before = memory
    return changes


async def records(concurrency: int, entries: int) -> Result:
    """Entries of ten records each, made by `local` under a schema and checked as those of any provider."""
    requests = (
        Request(prompt="Ten customers of a shop.", output_schema=RECORDS, sample_index=number, max_tokens=8192)
        for number in range(entries)
    )
    async with open_engine("local", EngineConfig(max_concurrency=concurrency)) as engine:
        await _fill(engine, requests)
        cached = (await engine.metrics()).cache.entries
    if cached != entries:
        raise RuntimeError(f"{cached} of {entries} entries are cached: this measures something else than it says")
    return Resident(entries=cached, peak_bytes=peak_bytes())


async def steady(concurrency: int, requests: int) -> Result:
    """A small cache, every second request for one of a few prompts; the others are new and push entries out."""
    numbers = count()
    after_a_tenth = peak = 0

    async def loop(engine: Engine) -> None:
        nonlocal after_a_tenth, peak
        while (number := next(numbers)) < requests:
            prompt = f"hot {number % HOT_PROMPTS}" if number % 2 else f"new {number}"
            await engine.generate(Request(prompt=prompt))
            if number == requests // 10:
                after_a_tenth = rss_bytes()
            elif number > requests // 10 and number % 1000 == 0:
                peak = max(peak, rss_bytes())

    cache = CacheConfig(max_entries=1000)
    async with open_engine(_Writer(), EngineConfig(max_concurrency=concurrency, cache=cache)) as engine:
        async with trio.open_nursery() as nursery:
            for _ in range(concurrency):
                nursery.start_soon(loop, engine)
        hits = (await engine.metrics()).cache.hits
    if not requests // 4 < hits < requests * 3 // 4:
        raise RuntimeError(f"{hits} hits of {requests}: this measures something else than it says")
    return Steady(hits=hits, after_a_tenth_bytes=after_a_tenth, peak_after_bytes=max(peak, rss_bytes()))


async def beside(concurrency: int, held_mb: int, seconds: float) -> Result:
    """A program that holds much already opens an engine, and then takes half as much again."""
    held = [_memory(held_mb)]
    provider = _Writer(CALL_S)
    config = EngineConfig(max_concurrency=concurrency, cache=CacheConfig(max_entries=1000))
    numbers = count()
    async with open_engine(provider, config) as engine, trio.open_nursery() as nursery:

        async def loop() -> None:
            while True:
                await engine.generate(Request(prompt=f"Sentence {next(numbers)} about otters."))

        for _ in range(2 * concurrency):  # so that some always wait
            nursery.start_soon(loop)
        below, _ = await _look_on(engine, provider, "ok", seconds)
        limit = (await engine.metrics()).memory.limit_bytes
        held.append(_memory(max(held_mb // 2, (limit - rss_bytes()) // MB + 100)))
        provider.most = 0
        above, lowest_cap = await _look_on(engine, provider, "not_reclaimable", seconds)
        nursery.cancel_scope.cancel()
    return Beside(most_at_once=provider.most, lowest_cap=lowest_cap, calls_per_s_below=below, calls_per_s_above=above)


async def _look_on(engine: Engine, provider: _Writer, state: str, seconds: float) -> tuple[float, int]:
    """Calls a second, and the lowest cap, for at least so long, and until the watchdog has come to `state`."""
    began, done, lowest = perf_counter(), provider.done, sys.maxsize
    while True:
        await trio.sleep(LOOK_EVERY_S * 5)
        snapshot, elapsed_s = await engine.metrics(), perf_counter() - began
        lowest = min(lowest, snapshot.router.concurrency_cap)
        if elapsed_s >= seconds and snapshot.memory.state == state:
            return (provider.done - done) / elapsed_s, lowest
        if elapsed_s > seconds + SETTLED_WITHIN_S:
            raise RuntimeError(f"the watchdog is {snapshot.memory.state}: this measures something else than it says")


async def filled(concurrency: int, answers: int, path: str) -> Result:
    """Write so many large answers to a file: again and again, until it has taken every one of them."""
    provider, calls = _Writer(answer_bytes=LARGE_ANSWER_BYTES), -1
    config = EngineConfig(max_concurrency=concurrency, cache=CacheConfig(path=path, ttl_s=None, max_entries=1))
    while provider.done != calls:
        calls = provider.done
        async with open_engine(provider, config) as engine:
            await _fill(engine, _prompts(answers))
    return Filled(answers=answers)


async def refilled(concurrency: int, answers: int, seconds: float, path: str) -> Result:
    """Ask for all that is in the file, round after round, with room for a part of it."""
    limit = rss_bytes() + ROOM_BYTES
    cache = CacheConfig(path=path, ttl_s=None, max_bytes=2**30, max_entries=10**6)
    config = EngineConfig(max_concurrency=concurrency, memory_limit_bytes=limit, cache=cache)
    looks: list[int] = []
    async with open_engine(_Writer(), config) as engine, trio.open_nursery() as nursery:
        nursery.start_soon(_watch, looks)
        began = perf_counter()
        with trio.move_on_after(seconds):
            while True:
                await _fill(engine, _prompts(answers))
        elapsed_s = perf_counter() - began
        snapshot = await engine.metrics()
        nursery.cancel_scope.cancel()
    return Refilled(
        limit_bytes=limit,
        peak_bytes=max(looks),
        above_share=sum(look > limit for look in looks) / len(looks),
        hits_per_s=snapshot.cache.hits / elapsed_s,
        paid_calls=snapshot.counters.paid_calls,
        shrinks=snapshot.memory.shrinks,
        entries=snapshot.cache.entries,
        evicted=snapshot.cache.evicted_for_memory,
        evicted_out_of_order=snapshot.cache.evicted_out_of_order,
    )


async def _watch(looks: list[int]) -> None:
    while True:
        looks.append(rss_bytes())
        await trio.sleep(PEAK_EVERY_S)


def _memory(megabytes: int) -> bytearray:
    """So much that is really resident."""
    return bytearray(b"x" * MB) * megabytes


SCENARIOS: dict[str, Callable[..., Awaitable[Result]]] = {
    "lowered": lowered,
    "records": records,
    "steady": steady,
    "beside": beside,
    "filled": filled,
    "refilled": refilled,
}


def _argument(text: str) -> float | str:
    """A number, or a path, which has a separator."""
    return text if os.sep in text else int(text) if text.isdecimal() else float(text)


if __name__ == "__main__":
    sys.stdout.buffer.write(to_json(trio.run(SCENARIOS[sys.argv[1]], *map(_argument, sys.argv[2:]))))
