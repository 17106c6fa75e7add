"""Read an answer while it is made.  Two readers of the same request share one call."""

import trio

from synth_actors import Engine, Request, open_engine

REQUEST = Request(prompt="Describe a lighthouse at dawn.", max_tokens=300)


async def read(engine: Engine, name: str) -> None:
    async with engine.stream(REQUEST) as stream:
        async for chunk in stream:
            print(f"{name} {chunk.index}: {chunk.text!r}")
        response = await stream.response()
        print(f"{name}: whole, {response.usage.output_tokens} tokens of its own, {response.source}")


async def main() -> None:
    async with open_engine(["local"]) as engine, trio.open_nursery() as nursery:
        nursery.start_soon(read, engine, "reader A")
        nursery.start_soon(read, engine, "reader B")


trio.run(main)
