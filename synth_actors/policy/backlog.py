"""Who is next in line?

Requests that may go to the same set of endpoints stand in one lane, oldest first.  Only the heads of lanes are looked
at, so that ten thousand requests for a full endpoint cost those for another one nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import Generic, Protocol, TypeVar


class Queued(Protocol):
    """What can stand in line: `number` counts arrivals, `dropped` is set when nobody waits for it any more."""

    number: int
    dropped: bool


Q = TypeVar("Q", bound=Queued)

FEW = 64
"""Dropped items that may stay in the queues, however short these are."""


class Lane(Generic[Q]):
    """Requests that may go to `allowed`, by age: one that comes back for another try is older than most."""

    __slots__ = ("_heap", "allowed")

    def __init__(self, allowed: frozenset[str]) -> None:
        self.allowed = allowed
        self._heap: list[tuple[int, Q]] = []

    def head(self) -> Q | None:
        """The oldest that is still wanted; the dropped ones before it are forgotten."""
        heap = self._heap
        while heap and heap[0][1].dropped:
            heappop(heap)
        return heap[0][1] if heap else None

    def push(self, item: Q) -> None:
        """Queue `item`."""
        heappush(self._heap, (item.number, item))

    def pop(self) -> Q:
        """Take the head, which there is."""
        return heappop(self._heap)[1]

    def remove(self, items: set[Q]) -> None:
        """Take `items`, which are queued, out of the middle."""
        self._heap = [row for row in self._heap if row[1] not in items]
        heapify(self._heap)

    def __len__(self) -> int:
        return len(self._heap)

    def forget_dropped(self) -> None:
        """Keep only what is wanted."""
        self._heap = [row for row in self._heap if not row[1].dropped]
        heapify(self._heap)


class Backlog(Generic[Q]):
    """Lanes by the set of endpoints that they may use.  `wanted` and `len()` count what is still wanted."""

    def __init__(self) -> None:
        self._lanes: dict[frozenset[str], Lane[Q]] = {}
        self.wanted = 0
        self._dropped = 0  # since the queues were last cleared of them; those at a head went earlier

    def __len__(self) -> int:
        return self.wanted

    def push(self, item: Q, allowed: frozenset[str]) -> None:
        """Queue `item` among those that may go to `allowed`."""
        lane = self._lanes.get(allowed)
        if lane is None:
            lane = self._lanes[allowed] = Lane(allowed)
        lane.push(item)
        self.wanted += 1

    def pop(self, lane: Lane[Q]) -> Q:
        """Take the head of `lane`, which has one."""
        self.wanted -= 1
        return lane.pop()

    def remove(self, items: set[Q], allowed: frozenset[str]) -> None:
        """Take `items` out of the lane of `allowed`, where they are queued."""
        self.wanted -= len(items)
        self._lanes[allowed].remove(items)

    def drop(self, item: Q) -> None:
        """`item`, which is queued, is not wanted any more."""
        item.dropped = True
        self.wanted -= 1
        self._dropped += 1
        if self._dropped > max(self.wanted, FEW):  # rare enough to cost one step for each that was dropped
            self._dropped = 0
            for lane in self._lanes.values():
                lane.forget_dropped()

    def lanes(self) -> Sequence[tuple[Lane[Q], Q]]:
        """The lanes that have somebody, with their heads, the oldest head first."""
        if len(self._lanes) == 1:  # nearly always: no endpoints named, nothing failed over
            (only,) = self._lanes.values()
            first = only.head()
            return () if first is None else ((only, first),)
        heads = [(lane, lane.head()) for lane in self._lanes.values()]
        for lane, head in heads:
            if head is None:  # its set of endpoints may never be asked for again
                del self._lanes[lane.allowed]
        return sorted(((lane, head) for lane, head in heads if head is not None), key=lambda row: row[1].number)
