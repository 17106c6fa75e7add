"""How many chunks of streamed answers per second, and at what cost?

Two ways in which they come: as fast as they are read, many in one read when the reader is the slower one; and one by
one, each waking the reader.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import trio

from benchmarks.case import Load, Measured, NotMeasured
from benchmarks.suites.wire.clients import BARE_LEAN, BARE_OWN, READERS, SDK_LEAN, SDK_OWN, MakeReader
from benchmarks.suites.wire.serving import Scheme, Target, serving
from benchmarks.suites.wire.tally import Tally, tallied
from benchmarks.wire_server import Rules

MOST_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """How the chunks of an answer come: up to so many, `gap_s` apart."""

    name: str
    chunks: int
    gap_s: float


FAST: Final = Flow(name="as fast as they are read", chunks=200, gap_s=0.0)
SLOW: Final = Flow(name="20 ms apart", chunks=50, gap_s=0.02)
CHUNKS_PER_OPERATION = 0.2
"""Of each stream, so that a small load is small."""


def per_second(scheme: Scheme, flow: Flow, load: Load) -> Measured:
    """Chunks per second by httpx2's client on our transport and our parser; bare is the SDK as it comes."""
    chunks, found = _read(scheme, flow, load)
    rates = {name: chunks * tally.done / tally.wall_s for name, tally in found.items()}
    return _beside(rates)


def cpu(scheme: Scheme, flow: Flow, load: Load) -> Measured:
    """CPU microseconds of a chunk in this process, a share of the call itself among them; of the same run."""
    chunks, found = _read(scheme, flow, load)
    return _beside({name: tally.cpu_us / chunks for name, tally in found.items()})


def _beside(figures: dict[str, float]) -> Measured:
    beside = {name: figures[name] for name in (SDK_LEAN, BARE_OWN)}
    return Measured(value=figures[BARE_LEAN], bare=figures[SDK_OWN], beside=beside)


@lru_cache(maxsize=1)
def _read(scheme: Scheme, flow: Flow, load: Load) -> tuple[int, dict[str, Tally]]:
    if load.endpoint is not None:
        raise NotMeasured("needs a server that does as it is told; leave out --endpoint")
    chunks = max(1, min(flow.chunks, int(load.operations * CHUNKS_PER_OPERATION)))
    names = list(READERS)
    turn = load.repeat % len(names)  # each is first in turn
    rules = Rules(chunks=chunks, gap_s=flow.gap_s)
    with serving(scheme, rules, connections=load.concurrency) as target:
        return chunks, {
            name: trio.run(_tally, READERS[name], target, load.concurrency, chunks)
            for name in names[turn:] + names[:turn]
        }


async def _tally(make: MakeReader, target: Target, streams: int, chunks: int) -> Tally:
    reader = make(target)

    async def read(prompt: str) -> None:
        if (pieces := await reader.read_stream(prompt)) != chunks:
            raise RuntimeError(f"{pieces} pieces of {chunks}: this measures something else than it says")

    try:
        await read("The first call makes and imports what the others find.")
        # Over connections that are open, as a call of the other rows is.
        opened = await tallied(streams, streams, reader.call, most_s=MOST_S, kind="first")
        tally = await tallied(streams, streams, read, most_s=MOST_S, kind="stream")
    finally:
        await reader.aclose()
    if opened.done < streams or tally.done < streams:
        raise NotMeasured(f"of {streams} streams {tally.done} were read to their end: {opened.failed} {tally.failed}")
    return tally
