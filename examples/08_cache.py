"""Pay once: a second run, as a later process would make it, finds every answer in the file."""

from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from synth_actors import CacheConfig, EngineConfig, open_engine

PROMPTS = [f"Fact {number} about otters." for number in range(40)]


async def run(path: Path) -> None:
    # memory holds a tenth of it, the file all
    config = EngineConfig(cache=CacheConfig(path=path, ttl_s=None, max_entries=4, policy="cost"))
    async with open_engine(["local"], config) as engine:
        outcomes = await engine.generate_batch(PROMPTS, max_tokens=400)
        sources = {outcome.response.source for outcome in outcomes if outcome.response}
        snapshot = await engine.metrics()
        calls, cache = snapshot.counters.paid_calls, snapshot.cache
        print(f"{calls} calls, {cache.durable_hits} from the file, {cache.saved_tokens} tokens saved; {sources}")


async def main() -> None:
    with TemporaryDirectory() as folder:
        await run(Path(folder, "answers.cache"))
        await run(Path(folder, "answers.cache"))


if __name__ == "__main__":
    trio.run(main)
