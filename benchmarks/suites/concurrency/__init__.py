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

    All of a size are asked for at the same moment, up to 100 in several rounds.  In the first the server answers nobody
    before it has all of them, so that they really are under way together: "at the server" is the most that it counted
    at one moment.  Then it takes 50 ms for a call; the ideal is what a client that costs nothing would get.  A duration
    counts from the moment of asking: connections are opened, calls sent and answers read one after another by a single
    thread, so the p99 is about the time that all of a round take.  "failed" counts requests.  10,000 at once is
    measured in one repeat only.

    The limit that the engine seeks for a server is left out, since this one is known to bear all: by default an engine
    begins with 16 calls at once and has one more after each answer, so that 10,000 new requests never are under way at
    the same moment at a server that answers this soon.  With --endpoint the limit holds.
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
