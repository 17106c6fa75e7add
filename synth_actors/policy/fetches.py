"""What is asked of the durable tier, and what goes into the next question?

One question is under way at a time, and the next one takes what came meanwhile: a single lookup waits for nobody, and
under load a hundred share one hop to a thread.  Whoever changes its mind is withdrawn, also while it is being asked.
"""

from __future__ import annotations

from collections.abc import Hashable
from itertools import islice
from typing import Generic, TypeVar

R = TypeVar("R", bound=Hashable)


class Fetches(Generic[R]):
    """Those who wait to be asked about and those in the question under way, in the order in which they came."""

    __slots__ = ("_asked", "_largest", "_unanswered", "_waiting")

    def __init__(self, largest: int) -> None:
        self._largest = largest  # how many one question takes
        self._waiting: dict[R, None] = {}
        self._asked: dict[R, None] = {}
        self._unanswered = 0  # of the question under way, the withdrawn included

    def add(self, route: R) -> None:
        """`route` is to be asked about."""
        self._waiting[route] = None

    def withdraw(self, route: R) -> bool:
        """What the tier has of `route` is of no interest any more; whether it was, until now."""
        for group in (self._waiting, self._asked):
            if route in group:
                del group[route]
                return True
        return False

    def question(self) -> list[R]:
        """The next question, which is then under way; empty while another one is, or when nobody waits."""
        if self._unanswered:
            return []
        routes = list(islice(self._waiting, self._largest))
        for route in routes:
            del self._waiting[route]
            self._asked[route] = None
        self._unanswered = len(routes)
        return routes

    def answered(self, route: R) -> bool:
        """The answer of one `route` of the question is dealt with now: whether it is still wanted."""
        self._unanswered -= 1
        wanted = route in self._asked
        if wanted:
            del self._asked[route]
        return wanted

    def __contains__(self, route: object) -> bool:
        return route in self._waiting or route in self._asked

    def __len__(self) -> int:
        return len(self._waiting) + len(self._asked)

    def __repr__(self) -> str:
        return f"<Fetches waiting={len(self._waiting)} asked={len(self._asked)}>"
