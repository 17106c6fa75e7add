"""Who is next in line?

Requests that may go to the same set of endpoints stand in one lane, oldest first.  Only the heads of lanes are looked
at, so that ten thousand requests for a full endpoint cost those for another one nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar


class Queued(Protocol):
    """What can stand in line: `number` counts arrivals, `dropped` is set when nobody waits for it any more."""

    number: int
    dropped: bool


Q = TypeVar("Q", bound=Queued)

FEW = 64
"""Dropped items that may stay in the queues, however short these are."""


class Lane(Generic[Q]):
    """Requests that may go to `allowed`; `closed_since` is when the last of these closed, None while one is open."""

    __slots__ = ("allowed", "closed_since", "queue")

    def __init__(self, allowed: frozenset[str]) -> None:
        self.allowed = allowed
        self.closed_since: float | None = None
        self.queue: deque[Q] = deque()

    def head(self) -> Q | None:
        """The oldest that is still wanted; the dropped ones before it are forgotten."""
        queue = self.queue
        while queue and queue[0].dropped:
            queue.popleft()
        return queue[0] if queue else None


class Backlog(Generic[Q]):
    """Lanes by the set of endpoints that they may use.  `wanted` and `len()` count what is still wanted."""

    def __init__(self) -> None:
        self._lanes: dict[frozenset[str], Lane[Q]] = {}
        self.wanted = 0
        self._dropped = 0  # since the queues were last cleared of them; those at a head went earlier

    def __len__(self) -> int:
        return self.wanted

    def push(self, item: Q, allowed: frozenset[str]) -> Lane[Q]:
        """Queue `item`; one that is older than the lane's end (a retry) goes to its front."""
        lane = self._lanes.get(allowed)
        if lane is None:
            lane = self._lanes[allowed] = Lane(allowed)
        if lane.queue and item.number < lane.queue[-1].number:
            lane.queue.appendleft(item)
        else:
            lane.queue.append(item)
        self.wanted += 1
        return lane

    def pop(self, lane: Lane[Q]) -> Q:
        """Take the head of `lane`, which has one."""
        self.wanted -= 1
        return lane.queue.popleft()

    def drop(self, item: Q) -> None:
        """`item`, which is queued, is not wanted any more."""
        item.dropped = True
        self.wanted -= 1
        self._dropped += 1
        if self._dropped > max(self.wanted, FEW):  # rare enough to cost one step for each that was dropped
            self._forget_dropped()

    def _forget_dropped(self) -> None:
        self._dropped = 0
        for lane in self._lanes.values():
            lane.queue = deque(item for item in lane.queue if not item.dropped)

    def lanes(self) -> Sequence[tuple[Lane[Q], Q]]:
        """The lanes that have somebody, with their heads, the oldest head first."""
        if len(self._lanes) == 1:  # nearly always: no endpoints named, nothing failed over
            (only,) = self._lanes.values()
            first = only.head()
            return () if first is None else ((only, first),)
        heads = [(lane, head) for lane in self._lanes.values() if (head := lane.head()) is not None]
        return sorted(heads, key=lambda row: row[1].number)
