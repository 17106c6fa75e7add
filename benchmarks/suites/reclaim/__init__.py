"""Is the memory limit kept in truth, and without emptying the cache?

Each scenario runs in a process of its own, through a real engine, so that what the others left behind is not counted.
"""

from __future__ import annotations

from benchmarks.case import Aim, Case
from benchmarks.suites.reclaim.runs import Runs, Sizes

AIMED_AT = 100
"""The concurrency that the aims were set for."""
FEWEST_ENTRIES = 4000
"""With fewer, what the engine holds beside the cache is a large part of what is to be given up."""


def reclaim(concurrency: int) -> tuple[Case, ...]:
    """The suite; at a concurrency of 100 these are the sizes of its aims."""
    c = concurrency
    sizes = Sizes(
        entries=max(600 * c, FEWEST_ENTRIES),
        ticks=min(60, c),
        record_entries=10 * c,
        requests=10_000 * c,
        held_mb=20 * c,
        seconds=min(5.0, c / 2),
        file_answers=60 * c,
        refill_s=min(10.0, c / 5),
    )
    runs = Runs(sizes)

    def most(limit: float) -> Aim | None:
        return Aim(limit=limit) if concurrency == AIMED_AT else None

    def least(limit: float) -> Aim | None:
        return Aim(limit=limit, at="least") if concurrency == AIMED_AT else None

    lowered = f"{sizes.entries:,} entries, target lowered by a fifth"
    beside = f"opened beside {sizes.held_mb:,} MB, which then grow by half"
    refill = f"{sizes.file_answers:,} answers of 40 kB from a file, room for 50 MiB"
    return (
        Case(name=f"{lowered}: reached after", unit="s", measure=runs.reached_after, aim=most(1)),
        Case(name=f"{lowered}: entries left", unit="share", measure=runs.entries_left, aim=least(0.7)),
        Case(name=f"{lowered}: of what was freed, not resident", unit="share", measure=runs.gone, aim=least(0.9)),
        Case(name=f"{lowered}: changes in {sizes.ticks} ticks after", unit="", measure=runs.changes, aim=most(0)),
        Case(
            name=f"{sizes.record_entries:,} entries of 10 records: peak resident",
            unit="MB",
            measure=runs.records,
            aim=most(120),
        ),
        Case(
            name=f"{sizes.requests:,} requests: growth after the first tenth",
            unit="MB",
            measure=runs.growth,
            aim=most(5),
        ),
        Case(name=f"{beside}: calls at once", unit="calls", measure=runs.at_once, aim=least(concurrency)),
        Case(name=f"{beside}: lowest cap", unit="calls", measure=runs.lowest_cap, aim=least(concurrency)),
        Case(name=f"{beside}: calls/s", unit="calls/s", measure=runs.rate),
        Case(name=f"{refill}: peak over limit", unit="share", measure=runs.peak, aim=most(1.05)),
        Case(name=f"{refill}: paid calls", unit="calls", measure=runs.paid, aim=most(0)),
        Case(name=f"{refill}: hits/s", unit="hits/s", measure=runs.hits),
    )
