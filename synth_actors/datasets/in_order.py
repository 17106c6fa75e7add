"""How do results that are made out of order leave in order, with few of them held?

Makers `take` a number, make its items and `put` them; the reader receives the items by number.  A number is given out
only while it is less than `window` ahead of the reader, so a slow first one does not let the others pile up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

import trio

Item = TypeVar("Item")

CHECKPOINT_EVERY = 64
"""Items received between two real checkpoints; at all others a pending cancellation is still seen."""


class InOrder(Generic[Item]):
    """Numbers 0 to `total` - 1 and their items."""

    def __init__(self, total: int, window: int) -> None:
        self._total = total
        self._window = window
        self._taken = 0  # numbers given out
        self._moved = 0  # numbers whose items are in `_ready`, or were
        self._done: dict[int, Sequence[Item]] = {}
        self._ready: deque[Item] = deque()
        self._ends: deque[int] = deque()  # per number in `_ready`: how many items in all were moved up to its end
        self._moved_items = 0
        self._received = 0
        self._read = 0  # numbers whose last item was received
        self._closed = False
        self._makers = trio.lowlevel.ParkingLot()
        self._reader = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<InOrder taken={self._taken}/{self._total} read={self._read} ready={len(self._ready)}>"

    @property
    def taken(self) -> int:
        """Numbers given out so far."""
        return self._taken

    @property
    def ready(self) -> int:
        """Items that `receive` gives without waiting."""
        return len(self._ready)

    async def take(self) -> int | None:
        """The next number to work on, as soon as there is room; None when there is none left."""
        while self._taken < self._total:
            if self._taken < self._read + self._window:
                self._taken += 1
                return self._taken - 1
            await self._makers.park()
        return None

    def stop(self) -> None:
        """Give out no more numbers; what was taken is still put and received."""
        self._total = min(self._total, self._taken)
        self._makers.unpark_all()
        self._reader.unpark_all()

    def put(self, number: int, items: Sequence[Item]) -> None:
        """The items of `number`, which was taken; each number once."""
        if self._closed:
            return
        self._done[number] = items
        while (found := self._done.pop(self._moved, None)) is not None:
            self._moved += 1
            self._moved_items += len(found)
            self._ready.extend(found)
            self._ends.append(self._moved_items)
        self._forget_read()
        self._reader.unpark_all()

    async def receive(self) -> Item:
        """The next item.

        Raises:
            trio.EndOfChannel: there is none left.
        """
        if self._received % CHECKPOINT_EVERY == 0:
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()
        while not self._ready:
            if self._moved == self._total:
                raise trio.EndOfChannel
            await self._reader.park()
        item = self._ready.popleft()
        self._received += 1
        self._forget_read()
        return item

    def _forget_read(self) -> None:
        while self._ends and self._ends[0] <= self._received:
            self._ends.popleft()
            self._read += 1
            self._makers.unpark()

    def take_finished(self) -> list[Item]:
        """All items that are there, by number, also beyond one that is not; nothing more is taken, put or received."""
        self._closed = True
        items = list(self._ready)
        self._ready.clear()
        for number in sorted(self._done):
            items.extend(self._done[number])
        self._done.clear()
        self._total = self._taken = self._moved
        self._makers.unpark_all()
        self._reader.unpark_all()
        return items
