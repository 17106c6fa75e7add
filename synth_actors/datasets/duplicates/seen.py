"""Was exactly this row there before?

A hash table of 64-bit digests, 16 to 32 bytes a row: a set of Python integers would take 100 MB for a million rows.
Two different rows are taken for the same with a probability of 3 in 100 million among a million rows.
"""

from __future__ import annotations

from array import array
from hashlib import blake2b


class SeenRows:
    """Digests of rows, with open addressing; `len` is the number of distinct ones."""

    __slots__ = ("_count", "_mask", "_table")

    def __init__(self) -> None:
        self._table = array("Q", bytes(8 * 1024))
        self._mask = 1023
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, row: bytes) -> bool:
        """Remember a row, given as its canonical bytes; False when it was there before."""
        digest = int.from_bytes(blake2b(row, digest_size=8).digest(), "big") or 1  # 0 marks a free slot
        slot = self._slot_of(digest)
        if self._table[slot] == digest:
            return False
        self._table[slot] = digest
        self._count += 1
        if 2 * self._count > self._mask:
            self._grow()
        return True

    def _slot_of(self, digest: int) -> int:
        slot = digest & self._mask
        while self._table[slot] not in (0, digest):
            slot = (slot + 1) & self._mask
        return slot

    def _grow(self) -> None:
        old = self._table
        self._mask = 2 * self._mask + 1
        self._table = array("Q", bytes(8 * (self._mask + 1)))
        for digest in old:
            if digest:
                self._table[self._slot_of(digest)] = digest
