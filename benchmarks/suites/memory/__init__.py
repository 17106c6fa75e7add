"""How much memory does it take, and does it come to rest?"""

from __future__ import annotations

from benchmarks.case import Case, Claim
from benchmarks.suites.memory import runs


def memory(concurrency: int) -> tuple[Case, ...]:  # noqa: ARG001  (every load says its own)
    """Resident memory of a process that runs the engine, the interpreter and all libraries included.

    A new process makes 30 requests for each caller that --concurrency says, over real HTTP, with answers of 1.8 KB and
    a cache that holds 1,000: what is resident at the most, at the end, and how much of it came after the first tenth of
    the requests.  Most of that is the cache, which fills meanwhile; what came after the first half stands beside it and
    is where a leak would show.  Two more processes ask for answers of 24 KB without a cache: one reads a batch as its
    outcomes come and lets go of each, the other gets the whole list.  Where more than a hundredth of the requests fails
    nothing is reported: errors are small.
    """
    return (
        Case(name="peak resident", unit="MB", measure=runs.peak, is_warmed_up=False),
        Case(name="resident at the end", unit="MB", measure=runs.at_the_end, is_warmed_up=False),
        Case(name="growth after the first tenth", unit="MB", measure=runs.growth, is_warmed_up=False),
        Case(
            name="a batch read as it comes, peak above the start",
            unit="MB",
            measure=runs.streamed,
            claim=Claim(text="memory of a batch with streaming against without", than="as a list", better="less"),
            is_warmed_up=False,
        ),
    )
