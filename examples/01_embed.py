"""The engine inside a trio program, in ten lines.  Runs offline; swap "local" for a real endpoint."""

import trio

from synth_actors import open_engine


async def main() -> None:
    async with open_engine(["local"]) as engine:  # e.g. ["anthropic:claude-haiku-5-5", "local"]: order = preference
        response = await engine.generate("One sentence about otters.", max_tokens=200)
        print(response.text)
        again = await engine.generate("One sentence about otters.", max_tokens=200)
        print(f"asked again: from the {again.source}, cost {again.usage.cost_usd} dollars")


trio.run(main)
