"""How much memory does this process take with so many calls in flight?  Run by `memory.py`, prints a `Resident`."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import trio

from benchmarks.suites.engine.memory import AS_JSON, Resident
from benchmarks.suites.engine.provider import Instant
from synth_actors import EngineConfig, Request, open_engine
from synth_actors.machine import rss_bytes
from synth_actors.providers.base import Call, Completion, Emit


class _Gate(Instant):
    """Answers nobody before `calls` wait at once."""

    def __init__(self, calls: int) -> None:
        self._missing = calls
        self._all_here = trio.Event()

    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        self._missing -= 1
        if not self._missing:
            self._all_here.set()
        await self._all_here.wait()
        return await super().generate(call, emit)


async def engine(calls: int) -> Resident:
    """All calls through an engine with room for all of them."""
    config = EngineConfig(max_concurrency=calls, max_waiting=calls)
    async with open_engine(_Gate(calls), config) as opened:
        before = rss_bytes()
        async with trio.open_nursery() as nursery:
            for number in range(calls):
                nursery.start_soon(opened.generate, Request(prompt=f"Sentence {number} about otters."))
        return Resident(before=before, peak=peak_bytes())


async def bare(calls: int) -> Resident:
    """All calls by tasks under a limiter."""
    provider, limiter = _Gate(calls), trio.CapacityLimiter(calls)
    before = rss_bytes()

    async def one(number: int) -> None:
        request = Request(prompt=f"Sentence {number} about otters.")
        async with limiter:
            await provider.generate(Call(request=request, json_schema=None), None)

    async with trio.open_nursery() as nursery:
        for number in range(calls):
            nursery.start_soon(one, number)
    return Resident(before=before, peak=peak_bytes())


def peak_bytes() -> int:
    """The most that was ever resident.  `ru_maxrss` would do, but Linux lets it begin with the parent's figure."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    run = {"engine": engine, "bare": bare}[sys.argv[1]]
    sys.stdout.buffer.write(AS_JSON.dump_json(trio.run(run, int(sys.argv[2]))))
