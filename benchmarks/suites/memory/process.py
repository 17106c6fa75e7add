"""What does one process with an engine in it hold?  Run by `runs.py` with a `Work` as JSON; prints a `Result`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import trio

from benchmarks.suites.engine.in_flight import peak_bytes
from benchmarks.suites.memory.results import REFUSED, Result, Work, to_json
from synth_actors import CacheConfig, Engine, EngineConfig, Request, SynthActorsError, open_engine
from synth_actors.machine import rss_bytes
from synth_actors.telemetry.recording import recorded

CACHE_ENTRIES = 1000
MAX_TOKENS = 100


async def measure(work: Work) -> Result:
    """Do the work in an engine of its own."""
    cache = CacheConfig(max_entries=CACHE_ENTRIES) if work.kind == "steady" else CacheConfig(enabled=False)
    config = EngineConfig(max_concurrency=work.concurrency, cache=cache, budget_usd=work.budget_usd)
    async with open_engine(work.endpoint, config) as engine:
        await engine.generate("The first call makes and imports what the others find.", max_tokens=MAX_TOKENS)
        async with recorded(engine, title=f"memory: {work.kind}", interval_s=0.25) as recorder:
            marks = _Marks(start_bytes=rss_bytes())
            await (_all_at_the_end if work.kind == "list" else _as_they_come)(engine, work, marks)
            end_bytes = rss_bytes()
        recording = recorder.recording()
    return Result(
        start_bytes=marks.start_bytes,
        after_tenth_bytes=marks.after.get(_tenth(work), end_bytes),
        after_half_bytes=marks.after.get(_half(work), end_bytes),
        end_bytes=end_bytes,
        peak_bytes=max(peak_bytes(), end_bytes),
        failed=marks.failed,
        spent_usd=recording.last.router.budget_spent_usd or 0.0,
        recording=recording,
    )


@dataclass(slots=True, kw_only=True)
class _Marks:
    """Resident bytes before the first call and after so many; how many failed."""

    start_bytes: int
    after: dict[int, int] = field(default_factory=dict)
    failed: int = 0


async def _as_they_come(engine: Engine, work: Work, marks: _Marks) -> None:
    done = 0
    async with engine.batch(_requests(work.calls)) as outcomes:
        async for outcome in outcomes:
            done += 1
            marks.failed += outcome.error is not None
            if done in (_tenth(work), _half(work)):
                marks.after[done] = rss_bytes()


async def _all_at_the_end(engine: Engine, work: Work, marks: _Marks) -> None:
    outcomes = await engine.generate_batch(_requests(work.calls))
    marks.failed = sum(outcome.error is not None for outcome in outcomes)


def _tenth(work: Work) -> int:
    return max(1, work.calls // 10)


def _half(work: Work) -> int:
    return max(1, work.calls // 2)


def _requests(calls: int) -> Iterator[Request]:
    return (Request(prompt=f"Sentence {number} about otters.", max_tokens=MAX_TOKENS) for number in range(calls))


def main(argument: str) -> None:
    """Print the result of the work that `argument` says."""
    try:
        result = trio.run(measure, Work(**json.loads(argument)))
    except SynthActorsError as exc:
        print(" ".join(str(exc).split()), file=sys.stderr)
        sys.exit(REFUSED)
    print(to_json(result))


if __name__ == "__main__":
    main(sys.argv[1])
