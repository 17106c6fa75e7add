"""How long does each call take when requests come at their own times, whoever was answered or not?

An open loop: a call is counted from when it was to be sent.  What a stall delays is in the figures, where a closed loop
would have waited and sent nothing (coordinated omission, Gil Tene).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import trio

from benchmarks.closed_loop import Call, Loop


async def open_loop(calls: Iterable[tuple[float, Call]], clock: Callable[[], float] = trio.current_time) -> Loop:
    """Make each call at its time, in seconds from now and in rising order; none waits for another.

    When this falls behind, the call is late by its own measure: that is in its duration.
    """
    loop, start_s = Loop(), clock()
    async with trio.open_nursery() as nursery:
        for at_s, call in calls:
            due_s = start_s + at_s
            if (early_s := due_s - clock()) > 0:
                await trio.sleep(early_s)
            nursery.start_soon(loop.make, call, due_s, clock)
    loop.elapsed_s = clock() - start_s
    return loop
