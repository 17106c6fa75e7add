"""How fast could a perfect scheduler be?"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heapreplace


def makespan(durations_s: Iterable[float], places: int) -> float:
    """When the last job ends if jobs start in this order, each as soon as one of `places` is free.

    This is list scheduling (Graham, 1966): work-conserving, no place is idle while a job waits.  Another order may end
    sooner, but the order of the input is what a scheduler that does not know the durations has.
    """
    free_at = [0.0] * places
    heapify(free_at)
    for duration_s in durations_s:
        heapreplace(free_at, free_at[0] + duration_s)
    return max(free_at)
