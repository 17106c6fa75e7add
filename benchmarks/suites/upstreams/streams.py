"""What does one chunk of a streamed answer cost, through the engine, by its provider alone, and by the SDK alone?

Two ways in which chunks come: all at once, as many in a read as fit, and one by one, each waking the reader.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final

import trio

from benchmarks.case import Load, Measured
from benchmarks.server import PATHS, serving
from benchmarks.suites.upstreams.sdks import MAX_TOKENS, MODEL, sdk_for
from benchmarks.timing import Spent, timed
from synth_actors import Endpoint, Request, open_engine
from synth_actors.providers.base import Call, Provider


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """How chunks come: in `streams` answers at once, each of up to `chunks` chunks, `gap_s` apart."""

    name: str
    streams: int
    chunks: int
    gap_s: float


FLOWS: Final = (
    Flow(name="of many at once", streams=4, chunks=2000, gap_s=0.0),
    Flow(name="by itself", streams=16, chunks=500, gap_s=0.003),
)
CHUNKS_PER_OPERATION = 0.2
"""Of each stream, so that a small load is small."""

ReadStream = Callable[[str], Awaitable[int]]
"""Reads one streamed answer to a prompt and says how many pieces of text it had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PerChunk:
    """CPU microseconds of a chunk in this process."""

    engine: float
    provider: float
    sdk: float


def beside_provider(kind: str, flow: Flow, load: Load) -> Measured:
    """`engine.stream`, beside the provider's `generate` with an `emit` that counts."""
    found = _per_chunk(kind, flow, load)
    return Measured(value=found.engine, bare=found.provider)


def beside_sdk(kind: str, flow: Flow, load: Load) -> Measured:
    """`engine.stream`, beside the events of the SDK; of the same run."""
    found = _per_chunk(kind, flow, load)
    return Measured(value=found.engine, bare=found.sdk)


@lru_cache(maxsize=1)
def _per_chunk(kind: str, flow: Flow, load: Load) -> PerChunk:
    chunks = min(flow.chunks, int(load.operations * CHUNKS_PER_OPERATION))
    with serving(latency=0.0, chunks=chunks, gap=flow.gap_s) as url:
        runs = [partial(run, kind, url, flow.streams, chunks) for run in (_engine, _provider, _sdk)]
        turn = load.repeat % len(runs)  # each is first, second and last in turn
        spent = {run: trio.run(run) for run in runs[turn:] + runs[:turn]}
    engine, provider, sdk = (spent[run].cpu_s * 1e6 / (flow.streams * chunks) for run in runs)
    return PerChunk(engine=engine, provider=provider, sdk=sdk)


async def _engine(kind: str, url: str, streams: int, chunks: int) -> Spent:
    async with open_engine([f"{kind}:{MODEL}@{url}{PATHS[kind]}"]) as engine:

        async def read(prompt: str) -> int:
            pieces = 0
            async with engine.stream(prompt, max_tokens=MAX_TOKENS) as stream:
                async for _ in stream:
                    pieces += 1
            return pieces

        return await _timed_streams(read, streams, chunks)


async def _provider(kind: str, url: str, streams: int, chunks: int) -> Spent:
    provider = _provider_for(Endpoint(provider=kind, model=MODEL, base_url=url + PATHS[kind]))

    async def read(prompt: str) -> int:
        pieces: list[str] = []
        request = Request(prompt=prompt, max_tokens=MAX_TOKENS)
        await provider.generate(Call(request=request, json_schema=None), pieces.append)
        return len(pieces)

    try:
        return await _timed_streams(read, streams, chunks)
    finally:
        await provider.aclose()


async def _sdk(kind: str, url: str, streams: int, chunks: int) -> Spent:
    sdk = sdk_for(kind, url)
    try:
        return await _timed_streams(sdk.read_stream, streams, chunks)
    finally:
        await sdk.aclose()


def _provider_for(endpoint: Endpoint) -> Provider:
    if endpoint.provider == "anthropic":
        from synth_actors.providers.anthropic import AnthropicProvider

        return AnthropicProvider(endpoint)
    from synth_actors.providers.openai_compatible import OpenAICompatibleProvider

    return OpenAICompatibleProvider(endpoint)


async def _timed_streams(read: ReadStream, streams: int, chunks: int) -> Spent:
    await read("The first call makes and imports what the others find.")

    async def one(number: int) -> None:
        if (pieces := await read(f"Sentence {number} about otters.")) != chunks:
            raise RuntimeError(f"{pieces} pieces of {chunks}: this measures something else than it says")

    async def work() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(streams):
                nursery.start_soon(one, number)

    return await timed(work)
