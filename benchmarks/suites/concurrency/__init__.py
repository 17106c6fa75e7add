"""How many at once, and what becomes of them?"""

from __future__ import annotations

from functools import partial

from benchmarks.case import Case
from benchmarks.suites.concurrency import runs

SIZES = (10, 50, 100, 200, 1_000, 10_000)
MOST_WARMED_UP = 100
MOST_REPEATED = 1_000


def concurrency(concurrency: int) -> tuple[Case, ...]:  # noqa: ARG001  (the sizes are what is asked about)
    """10 to 10,000 requests at once, over real HTTP, each a task and a call under way of its own.

    Twice as many requests are asked for at the same moment, or 300 where that is more.  The engine begins with 16 at
    once and has one more after each answer (slow start), until all places are taken: "under way" is the most that were
    seen when the engine was looked at, four times a second, "at the server" the most that the server had received and
    not yet answered.  The server takes 50 ms for a call; the ideal is what a client would get of it that costs nothing
    and has all places from the start.  A duration counts from the moment of asking, so the p99 is about the time that
    all of them take: connections are opened and calls sent one after another by a single thread.  "failed" counts
    requests.  10,000 at once is measured in one repeat only.
    """
    return tuple(case for size in SIZES for case in _cases(size))


def _cases(size: int) -> tuple[Case, ...]:
    name = f"{size:,} at once"
    figures = {
        name: ("requests/s", runs.per_s),
        f"{name}, p99": ("ms", runs.p99),
        f"{name}, failed": ("requests", runs.failed),
    }
    return tuple(
        Case(
            name=name,
            unit=unit,
            measure=partial(measure, size),
            is_warmed_up=size <= MOST_WARMED_UP,
            once=size > MOST_REPEATED,
        )
        for name, (unit, measure) in figures.items()
    )
