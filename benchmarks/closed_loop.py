"""How long does each call take when so many callers each make one after another?

A closed loop: a caller asks again only when it was answered.  It measures what a server can do; it is blind to waiting
that its own silence avoids (coordinated omission, Gil Tene), which `open_loop` sees.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from math import ceil
from time import perf_counter

import trio

from benchmarks.case import NotMeasured
from synth_actors import SynthActorsError

MOST_FAILED = 0.01
ROUNDING = 1e-9
"""0.14 x 50 is 7.000000000000001 in floats, and the seventh sample covers it."""

Call = Callable[[], Awaitable[object]]


@dataclass(slots=True, kw_only=True)
class Loop:
    """What came of many calls: seconds of each that was answered, the others by their error's name; all of it."""

    durations_s: list[float] = field(default_factory=list)
    failed: dict[str, int] = field(default_factory=dict)
    elapsed_s: float = 0.0

    @property
    def failures(self) -> int:
        """Calls that were not answered."""
        return sum(self.failed.values())

    @property
    def per_s(self) -> float:
        """Answers per second."""
        return len(self.durations_s) / self.elapsed_s if self.elapsed_s > 0 else 0.0

    def percentile_s(self, share: float) -> float:
        """The duration at the nearest rank that covers `share` of the answers, exact; 0.0 without any."""
        if not self.durations_s:
            return 0.0
        rank = ceil(share * len(self.durations_s) - ROUNDING)
        return sorted(self.durations_s)[max(0, rank - 1)]

    def check(self) -> None:
        """Errors are quick, and no figure is made of them.

        Raises:
            NotMeasured: more than `MOST_FAILED` of the calls were not answered.
        """
        if self.failures > MOST_FAILED * (self.failures + len(self.durations_s)) or not self.durations_s:
            raise NotMeasured(f"{self.failures} calls failed, {len(self.durations_s)} were answered: {self.failed}")

    async def make(self, call: Call, began_s: float, clock: Callable[[], float] = perf_counter) -> None:
        """Make one call, counted from `began_s` of `clock`."""
        try:
            await call()
        except SynthActorsError as exc:
            self.failed[type(exc).__name__] = self.failed.get(type(exc).__name__, 0) + 1
        else:
            self.durations_s.append(clock() - began_s)


async def closed_loop(callers: int, calls: Iterable[Call], clock: Callable[[], float] = perf_counter) -> Loop:
    """`callers` tasks take the next of `calls` until none is left."""
    loop, rest, began_s = Loop(), iter(calls), clock()

    async def caller() -> None:
        for call in rest:
            await loop.make(call, clock(), clock)

    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(caller)
    loop.elapsed_s = clock() - began_s
    return loop
