"""Which attempts have run out of time, and when must somebody look again?

A timer for each attempt would cost a sixth of all that the engine does for it, and nearly all of them end long before
it.  So there is one time to look, not later than any attempt can be overdue: `shortest_s` after the first one began,
and after a look the earliest deadline that was found, or `shortest_s` later, for those that begin meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Protocol, TypeVar


class Timed(Protocol):
    """What has a deadline: `inf` while there is none, and never less than `shortest_s` after it was set."""

    deadline: float


T = TypeVar("T", bound=Timed)


class Overdue:
    """When to look.  `look_at` is `inf` while nothing runs."""

    __slots__ = ("_shortest_s", "look_at")

    def __init__(self, shortest_s: float) -> None:
        self.look_at = inf
        self._shortest_s = shortest_s

    def begins(self, now: float) -> None:
        """Something with a deadline may begin from now on."""
        if self.look_at == inf:
            self.look_at = now + self._shortest_s

    def look(self, running: Iterable[T], now: float) -> list[T]:
        """Those of `running` whose deadline has come; they are not looked for again."""
        if now < self.look_at:
            return []
        over: list[T] = []
        self.look_at = inf
        for one in running:
            if one.deadline <= now:
                one.deadline = inf
                over.append(one)
            self.look_at = min(self.look_at, one.deadline, now + self._shortest_s)
        return over
