"""How long does an answer take?"""

from __future__ import annotations

from functools import partial

from benchmarks.case import Case
from benchmarks.suites.latency import loops, replay, stalled

MARKS = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
LOOPS = {"uncached": loops.uncached, "cached": loops.cached, "open loop": loops.open_at_70_percent}
TRACES = ("azure_code", "azure_conv")


def latency(concurrency: int) -> tuple[Case, ...]:  # noqa: ARG001  (every load says its own)
    """From asking to the answer, as whoever asks sees it, over real HTTP; percentiles of all samples, exact.

    The server takes 25 ms for a call, drawn log-normally with sigma 0.3: its own p99 is 50 ms.  "uncached" is a closed
    loop: a fifth as many callers as --concurrency says, each of which asks again when it was answered.  The "open loop"
    sends at times that are drawn beforehand (a Poisson process), at 70 % of the rate of the closed loop, and counts
    each request from when it was to be sent; "cached" does so at 1,000 a second with requests that were answered
    before, the replays with arrivals and sizes of Azure's traces, faster than they were.

    Why both: a closed loop hides what hurts most.  When the server stalls, its callers wait and send nothing; each has
    one slow sample, and all the requests that would have come meanwhile are missing from its percentiles (coordinated
    omission).  Users do not wait for each other.  The last line shows it, in simulated time: a server that answers in
    50 ms stands still for 10 of 100 seconds; a tenth of all users waits up to 10 s, the open loop's p99 says so, and
    the closed loop's p99 is as if nothing had been.  Judge a service by the open loop, and its capacity by the closed.
    """
    return (
        *(
            Case(name=f"uncached {name}", unit="ms", measure=partial(loops.uncached, mark))
            for name, mark in MARKS.items()
        ),
        *(Case(name=f"cached {name}", unit="ms", measure=partial(loops.cached, mark)) for name, mark in MARKS.items()),
        *(
            Case(name=f"open loop {name}", unit="ms", measure=partial(loops.open_at_70_percent, mark))
            for name, mark in MARKS.items()
        ),
        *(
            Case(name=f"replay of {trace} {name}", unit="ms", measure=partial(replay.replayed, trace, MARKS[name]))
            for trace in TRACES
            for name in ("p50", "p99")
        ),
        Case(name="stall of 10 s in 100 s, simulated: p99", unit="s", measure=stalled.p99),
    )
