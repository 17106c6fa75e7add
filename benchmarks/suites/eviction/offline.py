"""What could a cache save at most that knew the future?

Belady: what is asked for again last goes first; with answers of one size no cache has more hits (Belady, "A Study of
Replacement Algorithms for a Virtual-Storage Computer", IBM Systems Journal 1966).  With sizes and prices that is no
bound any more, and the best is too hard to compute.  What is a bound: between two times that a question is asked, its
answer takes bytes x time.  A cache has capacity x duration of that, and spends it on the intervals that save most for
theirs, forgetting that it may never be above its capacity at any one time.  PFOO-L: Berger, Beckmann, Harchol-Balter,
"Practical Bounds on Optimal Caching with Variable Object Sizes", Proc. ACM Meas. Anal. Comput. Syst. 2018.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from math import inf

from benchmarks.suites.eviction.replay import ROOMY, Bounds, Saved, accounted_bytes, spent_usd
from benchmarks.suites.eviction.workloads import Question, Workload


def belady(workload: Workload, bounds: Bounds) -> Saved:
    """What is asked for again last goes first, the newest answer included; what never comes again is not kept."""
    following = _next_uses(workload.asked)
    held: dict[int, float] = {}  # what is there, and when it is asked for again
    last_first: list[tuple[float, int]] = []  # may hold what has gone, or was asked for since
    held_bytes, hits, saved_usd = 0, 0, 0.0
    for again, number in zip(following, workload.asked, strict=True):
        question = workload.questions[number]
        size_bytes = accounted_bytes(question)
        if held.pop(number, None) is not None:
            hits += 1
            saved_usd += question.cost_usd
            held_bytes -= size_bytes
        if again == inf:
            continue
        held[number] = again
        heappush(last_first, (-again, number))
        held_bytes += size_bytes
        while held_bytes > bounds.max_bytes or len(held) > bounds.max_entries:
            use, other = heappop(last_first)
            if held.get(other) == -use:
                del held[other]
                held_bytes -= accounted_bytes(workload.questions[other])
    return Saved(hits / len(workload.asked), saved_usd / spent_usd(workload))


def upper_bound(workload: Workload, bounds: Bounds) -> Saved:
    """No cache has more hits, and none saves more dollars."""
    hits = _best_intervals(workload, bounds, lambda _question: 1.0)
    saved_usd = _best_intervals(workload, bounds, lambda question: question.cost_usd)
    return Saved(hits / len(workload.asked), saved_usd / spent_usd(workload))


def _best_intervals(workload: Workload, bounds: Bounds, worth: Callable[[Question], float]) -> float:
    by_bytes, room_held = _room(workload, bounds)
    last: dict[int, int] = {}
    intervals: list[tuple[float, float]] = []  # room x time, worth
    for time, number in enumerate(workload.asked):
        question = workload.questions[number]
        if (before := last.get(number)) is not None:
            intervals.append(((time - before) * (accounted_bytes(question) if by_bytes else 1), worth(question)))
        last[number] = time
    left: float = len(workload.asked) * room_held
    total = 0.0
    for room, saves in sorted(intervals, key=lambda interval: interval[0] / interval[1]):
        if room > left:
            return total + saves * left / room
        left -= room
        total += saves
    return total


def _room(workload: Workload, bounds: Bounds) -> tuple[bool, int]:
    """Whether bytes are what is short, and how many of them there are, or else of entries; file and memory together."""
    if bounds.max_bytes == ROOMY and not bounds.durable_bytes:
        return False, bounds.max_entries
    everything = sum(map(accounted_bytes, workload.questions))
    return True, min(bounds.max_bytes, everything) + bounds.durable_bytes


def _next_uses(asked: tuple[int, ...]) -> list[float]:
    following: dict[int, float] = {}
    uses = []
    for time in range(len(asked) - 1, -1, -1):
        uses.append(following.get(asked[time], inf))
        following[asked[time]] = float(time)
    return uses[::-1]
