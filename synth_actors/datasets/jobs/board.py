"""Which block is made next, and what does the reader get?

Makers `take` blocks that are not settled yet and `put` them; one reader gets every block in order.  All answers are in
the journal, so only blocks that the reader needs soon are held in memory: others are dropped, and read again when their
turn comes.  While the reader works through blocks on disk, makers go on; else they stay within a window of it.
"""

from __future__ import annotations

from collections.abc import Iterable

import trio

from synth_actors.datasets.block import Block


class Board:
    """Blocks 0 to `total` - 1; those in `settled` need no maker."""

    def __init__(self, total: int, settled: Iterable[int], window: int) -> None:
        self._settled = bytearray(total)
        self._on_disk_until = 0  # blocks below may have to be read again
        for number in settled:
            self._settled[number] = 1
            self._on_disk_until = max(self._on_disk_until, number + 1)
        self._window = window
        self._next = 0  # the first that was not given out
        self._read = 0  # what the reader wants, or has got last
        self._making: set[int] = set()
        self._held: dict[int, Block] = {}
        self._stopped = False
        self._makers = trio.lowlevel.ParkingLot()
        self._reader = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<Board read={self._read}/{len(self._settled)} making={len(self._making)} held={len(self._held)}>"

    def is_settled(self, number: int) -> bool:
        """Whether all answers of a block are in the journal."""
        return bool(self._settled[number])

    def settled_run(self, first: int, most: int) -> int:
        """The end (exclusive) of the settled blocks from `first` on, at most `most` of them."""
        end = self._settled.find(0, first, first + most)
        return min(first + most, len(self._settled)) if end < 0 else end

    async def take(self) -> int | None:
        """The next block to make, as soon as there is room; None when there is none left."""
        while not self._stopped:
            self._next = self._settled.find(0, self._next)
            if self._next < 0:
                self._next = len(self._settled)
                self._makers.unpark_all()  # the reader may come no more, and so wake none of them
                break
            if self._read < self._on_disk_until or self._next < self._read + self._window:
                self._next += 1
                self._making.add(self._next - 1)
                return self._next - 1
            await self._makers.park()
        return None

    def put(self, number: int, block: Block, *, settled: bool) -> None:
        """A block that was taken is as far as it comes in this run."""
        self._making.discard(number)
        self._settled[number] = settled
        if not settled or number < self._read + self._window:
            self._held[number] = block
        else:
            self._on_disk_until = max(self._on_disk_until, number + 1)
        self._reader.unpark_all()

    def stop(self) -> None:
        """Give out no more blocks; those under way are still put."""
        self._stopped = True
        self._makers.unpark_all()
        self._reader.unpark_all()

    def is_ready(self, number: int) -> bool:
        """Whether `get` need not wait."""
        return number in self._held or self.is_settled(number)

    async def get(self, number: int) -> Block | None:
        """Block `number`, for the one reader, which asks in order; None when it is not in memory: see the journal."""
        self._read = number
        self._makers.unpark()
        while True:
            if (block := self._held.pop(number, None)) is not None:
                return block
            if self._settled[number] or (self._stopped and number not in self._making):
                return None
            await self._reader.park()
