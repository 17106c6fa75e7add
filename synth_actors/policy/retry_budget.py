"""Is there still room for another try?

Failures after acceptance may have been paid, and each repetition burdens a server that is in trouble already.  So all
requests share one budget of repetitions (Linkerd's and Finagle's retry budget): a tenth of the requests of the last 10
seconds, and never less than 10.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from math import inf, nextafter

SHARE = 0.1
FEWEST = 10
WINDOW_S = 10.0
NO_ROOM = "not tried again: the retry budget, a tenth of the requests of the last 10 s and at least 10, is used up"
_SLICE_S = 0.1
"""Requests are counted by the tenth of a second, so that a thousand of them cost no thousand entries."""


class RetryBudget:
    """Repetitions per window.  Times are monotonic seconds, given from outside, and never go back."""

    __slots__ = ("_booked", "_requests", "_slices")

    def __init__(self) -> None:
        self._slices: deque[tuple[float, int]] = deque()  # when a slice began, and how many requests came in it
        self._requests = 0
        self._booked: list[float] = []  # when repetitions take place, in order

    def request(self, now: float) -> None:
        """A request came."""
        if self._slices and now - self._slices[-1][0] < _SLICE_S:
            began, count = self._slices.pop()
            self._slices.append((began, count + 1))
        else:
            self._forget(now)
            self._slices.append((now, 1))
        self._requests += 1

    def allowance(self, at: float) -> int:
        """How many repetitions the 10 seconds before `at`, which may be to come, may hold as far as one knows."""
        known = self._requests
        for began, count in self._slices:
            if began > at - WINDOW_S:
                break
            known -= count
        return max(FEWEST, int(SHARE * known))

    def book(self, now: float, *, within_s: float) -> float | None:
        """Book one repetition: when it may take place; None when there is no room within `within_s` seconds."""
        self._forget(now)
        booked, at = self._booked, now
        while True:
            last, allowance = bisect_right(booked, at), self.allowance(at)
            if last - bisect_right(booked, at - WINDOW_S) < allowance:
                insort(booked, at)
                return at
            at = max(booked[last - allowance] + WINDOW_S, nextafter(at, inf))
            if at > now + within_s:
                return None

    def _forget(self, now: float) -> None:
        while self._slices and self._slices[0][0] <= now - WINDOW_S:
            self._requests -= self._slices.popleft()[1]
        if self._booked and self._booked[0] <= now - WINDOW_S:
            del self._booked[: bisect_right(self._booked, now - WINDOW_S)]
