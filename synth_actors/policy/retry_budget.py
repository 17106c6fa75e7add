"""Is there still room for another try?

Failures after acceptance may have been paid, and each repetition burdens a server that is in trouble already.  So all
requests share one budget of repetitions (Linkerd's and Finagle's retry budget): a tenth of the requests of the last 10
seconds, and never less than 10.

A server that answers is not the one that a budget protects: two answers of these seconds allow one repetition more.  So
one that fails every third call is asked again for each of them, and has half as much more to do; without this, those
who wait for a repetition keep new requests out, fewer requests make the budget smaller, and a run takes a hundred times
as long.  With a server that answers nothing, it is a tenth.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from math import inf, nextafter

SHARE = 0.1
SHARE_OF_ANSWERS = 0.5
FEWEST = 10
WINDOW_S = 10.0
NO_ROOM = (
    "not tried again: the retry budget, of the last 10 s half the answers and a tenth of the requests, and at least 10,"
    " is used up"
)
_ROUNDING = 1e-6
_SLICE_S = 0.1
"""What comes is counted by the tenth of a second, so that a thousand requests cost no thousand entries."""


class RetryBudget:
    """Repetitions per window.  Times are monotonic seconds, given from outside, and never go back."""

    __slots__ = ("_booked", "_earned", "_slices")

    def __init__(self) -> None:
        self._slices: deque[tuple[float, float]] = deque()  # when a slice began, and what was earned in it
        self._earned = 0.0
        self._booked: list[float] = []  # when repetitions take place, in order

    def request(self, now: float) -> None:
        """A request came."""
        self._earn(SHARE, now)

    def answered(self, now: float) -> None:
        """A call was answered well."""
        self._earn(SHARE_OF_ANSWERS, now)

    def _earn(self, amount: float, now: float) -> None:
        if self._slices and now - self._slices[-1][0] < _SLICE_S:
            began, earned = self._slices.pop()
            self._slices.append((began, earned + amount))
        else:
            self._forget(now)
            self._slices.append((now, amount))
        self._earned += amount

    def allowance(self, at: float) -> int:
        """How many repetitions the 10 seconds before `at`, which may be to come, may hold as far as one knows."""
        known = self._earned
        for began, earned in self._slices:
            if began > at - WINDOW_S:
                break
            known -= earned
        return max(FEWEST, int(known + _ROUNDING))

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
            self._earned -= self._slices.popleft()[1]
        if not self._slices:
            self._earned = 0.0  # sums of floats do not come back to exactly 0
        if self._booked and self._booked[0] <= now - WINDOW_S:
            del self._booked[: bisect_right(self._booked, now - WINDOW_S)]
