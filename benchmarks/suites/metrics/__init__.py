"""What do the metrics cost, for how long do they hold anybody up, and how exact are they?"""

from __future__ import annotations

from functools import partial

from benchmarks.case import Aim, Case
from benchmarks.suites.metrics import accuracy, overhead, stall

AIMED_AT = 100
"""The concurrency that the aims were set for."""
UNCACHED_US = 10.0
CACHED_US = 2.0
STALL_MS = 5.0
ERROR_PERCENT = 0.1


def metrics(concurrency: int) -> tuple[Case, ...]:
    """The suite; at a concurrency of 100 these are the sizes of its aims."""
    return (*_overhead(concurrency), *_stall(concurrency), *_accuracy())


def _overhead(callers: int) -> tuple[Case, ...]:
    us = "us CPU"

    def case(name: str, limit: float, of: overhead.Work) -> Case:
        return Case(name=name, unit=us, measure=partial(overhead.of, of), aim=Aim(limit=limit, of="share"))

    watched = "watched and scraped every second"
    return (
        case("uncached, 1 caller", UNCACHED_US, overhead.Work(callers=1)),
        case(f"uncached, {callers:,} callers", UNCACHED_US, overhead.Work(callers=callers)),
        case("cached, 1 caller", CACHED_US, overhead.Work(callers=1, cached=True)),
        case(f"cached, {callers:,} callers", CACHED_US, overhead.Work(callers=callers, cached=True)),
        case(f"uncached, {watched}", UNCACHED_US, overhead.Work(callers=callers, watched=True)),
        case(f"cached, {watched}", CACHED_US, overhead.Work(callers=callers, cached=True, watched=True)),
    )


def _stall(concurrency: int) -> tuple[Case, ...]:
    at_most = Aim(limit=STALL_MS) if concurrency == AIMED_AT else None
    above = Aim(limit=STALL_MS, of="share") if concurrency == AIMED_AT else None
    sync = (
        Case(name=f"{look}: takes", unit="ms CPU", measure=partial(stall.takes, look), aim=at_most)
        for look in stall.AT_ONCE
    )
    gaps = (
        Case(name=f"{look}: longest gap, {of}", unit=unit, measure=partial(stall.gap, look, unit), aim=above)
        for look in stall.LOOKS
        for unit, of in stall.UNITS.items()
    )
    return (*sync, *gaps)


def _accuracy() -> tuple[Case, ...]:
    return (
        Case(
            name="percentiles of 100,000 mixed samples: largest error of 5 seeds",
            unit="%",
            measure=accuracy.mixed,
            aim=Aim(limit=ERROR_PERCENT),
        ),
        Case(
            name="percentiles of 100,000 hits of 5 to 60 us: largest error of 5 seeds",
            unit="us",
            measure=accuracy.hits,
            aim=Aim(limit=accuracy.HALF_US),
        ),
    )
