"""Do calls wait for each other at the server?

What it shows is the time to the first token: the median of a window of calls, beside the lowest that such medians have
been for a while (Vegas, Brakmo 1995; Netflix's gradient limit).  A window holds as many calls as may be under way, at
least 20, so that each round of calls is judged once, and a median of many is not moved by a few.

Whatever makes the times longer need not be a queue of ours: prompts grow, neighbours come.  If much
fewer calls wait as long as before, what is usual now becomes the new measure.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf
from statistics import median

FEWEST_SAMPLES = 20
MOST_SAMPLES = 200
FIRST_SAMPLES = 5
"""The first answers of all come from calls that nobody stood in the way of, also where there are few places."""
QUEUED_RATIO = 2.0
"""The usual time to the first token over the best one from which on calls wait for each other: twice in a row, so that
chance does not decide,"""
LONG_RATIO = 4.0
"""and at once from here on."""
STEADY = 3
"""Only so many medians in a row are a measure: the lowest of a thousand is much below what is usual."""
PASSED_SHARE = 0.75
FEWER_SHARE = 0.5
HELPED_RATIO = 0.75
"""So many of the calls that still wait more than this share of what they waited: having fewer has not helped."""


@dataclass(frozen=True, slots=True)
class Flows:
    """Nothing waits, as far as one can see."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """Perhaps they wait; the next window will tell."""


@dataclass(frozen=True, slots=True)
class Queues:
    """They wait: `ratio` times as long as when nothing waits."""

    ratio: float


@dataclass(frozen=True, slots=True)
class NotOurs:
    """It takes longer for another reason: `limit` calls, as before, were right."""

    limit: float


Verdict = Flows | Suspect | Queues | NotOurs

FLOWS, SUSPECT = Flows(), Suspect()


class QueueWatch:
    """The times to the first token of one endpoint, window by window."""

    __slots__ = ("_best_s", "_idle", "_medians", "_samples", "_since", "_strikes", "_trouble", "_unseen")

    def __init__(self) -> None:
        self._samples: list[float] = []
        self._idle: list[float] = []  # of calls that were too few to wait for each other
        self._unseen = 0  # calls without a time, since the last window was too long
        self._medians: deque[float] = deque(maxlen=STEADY)
        self._best_s = inf
        self._since = -inf  # calls from before tell about another limit
        self._strikes = 0  # windows in a row that were too long
        self._trouble: tuple[float, float] | None = (
            None  # the limit when calls began to wait, and how long they did at most
        )

    def add(self, ttft_s: float, *, begun_at: float, limit: float, is_used: bool, is_hasty: bool) -> Verdict | None:
        """A call dispatched at `begun_at` had its first token; a verdict at the end of a window.

        `is_used`: as many calls are under way as may be.  If there are fewer, the time is no queue but the measure.
        `is_hasty`: the limit grows so fast that the shortest windows are wanted.
        """
        if begun_at < self._since:
            return None
        if not is_used:
            return self._measure(ttft_s)
        self._samples.append(ttft_s)
        if self._best_s == inf and len(self._samples) == FIRST_SAMPLES:
            self._best_s = max(self._samples)
        if len(self._samples) < (FEWEST_SAMPLES if is_hasty else min(max(limit, FEWEST_SAMPLES), MOST_SAMPLES)):
            return None
        usual_s = median(self._samples)
        self._samples.clear()
        return self._judge(usual_s, limit)

    def _measure(self, ttft_s: float) -> Verdict | None:
        self._idle.append(ttft_s)
        if len(self._idle) < FEWEST_SAMPLES:
            return None
        self._best_s = median(self._idle)
        self._idle.clear()
        self._medians.clear()
        self._trouble, self._strikes = None, 0
        return FLOWS

    def add_unseen(self) -> None:
        """A call was answered that was not streamed: where there are only such, nothing stays suspect for ever."""
        self._unseen += 1
        if self._unseen >= FEWEST_SAMPLES:
            self._unseen = self._strikes = 0

    @property
    def is_suspect(self) -> bool:
        """Whether the last window was too long."""
        return self._strikes > 0

    def start_over(self, now: float) -> None:
        """The limit was changed."""
        self._since = now
        self._strikes = 0
        self._samples.clear()

    def _judge(self, usual_s: float, limit: float) -> Verdict:
        self._medians.append(usual_s)
        if len(self._medians) == STEADY:
            self._best_s = min(self._best_s, max(self._medians))
        ratio = usual_s / self._best_s if self._best_s > 0.0 else 1.0
        if ratio <= QUEUED_RATIO:
            if self._trouble is not None and limit >= PASSED_SHARE * self._trouble[0]:
                self._trouble = None  # that many calls do not wait any more
            self._strikes = 0
            return FLOWS
        self._strikes += 1
        self._unseen = 0
        if self._strikes == 1 and ratio < LONG_RATIO:
            return SUSPECT
        return self._in_trouble(usual_s, limit, ratio)

    def _in_trouble(self, usual_s: float, limit: float, ratio: float) -> Verdict:
        if limit < 2.0:  # there is nobody to wait for
            return self._not_ours(usual_s, limit if self._trouble is None else self._trouble[0])
        if self._trouble is not None and limit <= FEWER_SHARE * self._trouble[0]:
            before, waited_s = self._trouble
            self._trouble = None
            if usual_s > HELPED_RATIO * waited_s:
                return self._not_ours(usual_s, before)
        most, waited_s = self._trouble or (limit, usual_s)
        self._trouble = (max(most, limit), max(waited_s, usual_s))  # the queue was still growing when it was noticed
        return Queues(ratio)

    def _not_ours(self, usual_s: float, limit: float) -> NotOurs:
        self._best_s = usual_s
        self._medians.clear()
        self._trouble = None
        return NotOurs(limit)
