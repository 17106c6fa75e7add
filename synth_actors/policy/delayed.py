"""Who tries again later?"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import inf
from typing import Generic, TypeVar

from synth_actors.policy.backlog import Queued

Q = TypeVar("Q", bound=Queued)


class Delayed(Generic[Q]):
    """Requests by the time at which they are ready.  `len()` counts what is still wanted."""

    __slots__ = ("_heap", "_wanted", "next_at")

    def __init__(self) -> None:
        self.next_at = inf  # when the next one is ready
        self._heap: list[tuple[float, int, Q]] = []
        self._wanted = 0

    def __len__(self) -> int:
        return self._wanted

    def push(self, item: Q, ready_at: float) -> None:
        """Keep `item` until `ready_at`."""
        heappush(self._heap, (ready_at, item.number, item))
        self._wanted += 1
        self._look()

    def pop(self) -> Q:
        """Take the one that is ready next."""
        item = heappop(self._heap)[2]
        self._wanted -= 1
        self._look()
        return item

    def take_if(self, is_wanted: Callable[[Q], bool]) -> list[Q]:
        """Take all that `is_wanted` says."""
        taken = [item for _, _, item in self._heap if not item.dropped and is_wanted(item)]
        if taken:
            leaving = set(taken)
            self._heap = [row for row in self._heap if row[2] not in leaving]
            heapify(self._heap)
            self._wanted -= len(taken)
            self._look()
        return taken

    def drop(self, item: Q) -> None:
        """`item`, which is here, is not wanted any more."""
        item.dropped = True
        self._wanted -= 1
        self._look()

    def _look(self) -> None:
        heap = self._heap
        while heap and heap[0][2].dropped:
            heappop(heap)
        self.next_at = heap[0][0] if heap else inf
