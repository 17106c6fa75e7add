"""What does it cost to run finished work again, in a new engine with the same durable file?"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from benchmarks.case import Load, Measured
from synth_actors import CacheConfig, EngineConfig, Request, open_engine
from synth_actors.testing import ScriptedProvider

REQUESTS_PER_CONCURRENCY = 10

PLACES_SHARE = 10
"""One in so many answers fits into memory: the others can only come from the file."""


def paid_again(load: Load) -> Measured:
    """The real engine and the real file: calls of the second run beside those of the first."""
    requests = REQUESTS_PER_CONCURRENCY * load.concurrency
    with TemporaryDirectory() as folder:
        path = Path(folder, "answers.sqlite")
        first = trio.run(paid_calls, requests, path)
        again = trio.run(paid_calls, requests, path)
    return Measured(value=again, beside={"first run": first})


async def paid_calls(requests: int, path: Path) -> int:
    """Ask for all in a new engine; how often the provider was called."""
    provider = ScriptedProvider()
    cache = CacheConfig(path=path, max_entries=max(1, requests // PLACES_SHARE))
    async with open_engine([provider], EngineConfig(cache=cache)) as engine:
        outcomes = await engine.generate_batch([Request(prompt=f"question {number}") for number in range(requests)])
    failed = [outcome.error for outcome in outcomes if outcome.error is not None]
    if failed:
        raise failed[0]
    return len(provider.calls)
