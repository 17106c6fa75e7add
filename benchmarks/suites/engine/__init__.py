"""What does the engine itself cost, when the provider costs nothing?"""

from __future__ import annotations

from functools import partial

from benchmarks.case import Aim, Case
from benchmarks.suites.engine import asks, batch, cached, keys, many, memory, references, sleeping, uncached

AIMED_AT = 100
"""The concurrency that the aims were set for."""


def engine(concurrency: int) -> tuple[Case, ...]:
    """The suite; at a concurrency of 100 these are the sizes of its aims."""
    c = concurrency
    few = max(1, c // 10)

    def aim(limit: float) -> Aim | None:
        return Aim(limit=limit) if c == AIMED_AT else None

    def share(limit: float) -> Aim | None:
        return Aim(limit=limit, of="share") if c == AIMED_AT else None

    def of_ideal(limit: float) -> Aim | None:
        return Aim(limit=limit, of="ideal") if c == AIMED_AT else None

    us = "us CPU"
    return (
        Case(name="checkpoint", unit=us, measure=references.checkpoint),
        Case(name="two task switches", unit=us, measure=references.two_switches),
        Case(name="ask by mailbox, 1 caller", unit=us, measure=partial(asks.by_mailbox, 1), aim=Aim(limit=15)),
        Case(name=f"ask by mailbox, {c:,} callers", unit=us, measure=partial(asks.by_mailbox, c), aim=aim(8)),
        Case(name=f"ask by mailbox, {10 * c:,} callers", unit=us, measure=partial(asks.by_mailbox, 10 * c)),
        Case(name="ask inline, 1 caller", unit=us, measure=asks.inline),
        Case(name="key of the same request of 4 KB", unit=us, measure=keys.same_request, aim=Aim(limit=20)),
        Case(name="key of a new request of 4 KB", unit=us, measure=keys.new_request, aim=Aim(limit=20)),
        Case(name="key of a new request of 4 KB, its formatting apart", unit=us, measure=keys.normalised),
        Case(name="cached generate, same request", unit=us, measure=cached.same_request, aim=Aim(limit=5)),
        Case(name="cached generate, new request of 1 KB", unit=us, measure=cached.new_request, aim=Aim(limit=10)),
        Case(name=f"cached generate, 1 of {1000 * c:,} answers", unit=us, measure=many.in_memory, aim=aim(15)),
        Case(name=f"hit in the file, each of {c:,} callers'", unit="us", measure=many.in_file, aim=aim(300)),
        Case(name=f"hit in the file, {c:,} callers, p50", unit="us", measure=many.in_file_latency, aim=aim(300)),
        Case(
            name="uncached generate, 1 caller",
            unit=us,
            measure=partial(uncached.generate, 1),
            aim=Aim(limit=60, of="share"),
        ),
        Case(name=f"uncached generate, {c:,} callers", unit=us, measure=partial(uncached.generate, c), aim=share(35)),
        Case(name=f"{30 * c:,} calls of 50 ms, {10 * c:,} at once", unit="s", measure=sleeping.wall),
        Case(name=f"{30 * c:,} calls of 50 ms, {10 * c:,} at once, each", unit=us, measure=sleeping.cpu),
        Case(
            name=f"batch of {4 * c:,}, every tenth 400 ms, else 20 ms, {few:,} at once",
            unit="s",
            measure=batch.wall,
            aim=of_ideal(1.05),
        ),
        Case(name=f"{100 * c:,} calls in flight: peak resident", unit="MB", measure=memory.peak, aim=aim(200)),
        Case(name=f"{100 * c:,} calls in flight: grown since opening", unit="MB", measure=memory.growth),
    )
