"""What does the cache know of one answer, and where does its text lie?"""

from __future__ import annotations

from mmap import PAGESIZE
from typing import Any, Final, Protocol

Rank = tuple[float, int]
"""How much an entry deserves to stay: its priority (0.0 under LRU), then when it was last used.  Lower goes first."""

ENTRY_OVERHEAD_BYTES: Final = 700
"""What one entry costs beside its value: the entry, its key, and its places in all orders.

Measured on CPython 3.11 with `tracemalloc` and kept honest by a test: N entries with fresh 16-byte keys, figures of
their own and a TTL are stored and used, and the growth is divided by N.  For N from 1,000 to 100,000 it is 490 to 580
under LRU and 610 to 700 under "cost", depending on how full the hash table is just then; the largest, so that the cache
never holds more than it says.
"""

ENTRIES_PER_SEGMENT: Final = 1000
"""So that emptying a segment of tiny values is bounded, too."""


class Entry:
    """What the cache holds for one key; its value stands in a segment.

    `size_bytes` is what is accounted for it: the value and `ENTRY_OVERHEAD_BYTES`.  `label` is whatever the caller
    wants back with it, shared by many entries and not counted.  `cost_usd` is None when nobody knows the price.
    `touched` counts the stores and hits of the whole index, so that of two entries the one used later has more.
    """

    __slots__ = (
        *("cost_usd", "expires_at", "identity", "key", "label", "size_bytes", "tokens"),
        *("density", "frequency", "priority", "ranked", "touched"),  # of `eviction`
        *("offset", "segment", "slot"),  # of `segments`
    )

    def __init__(self, key: bytes, size_bytes: int, expires_at: float, identity: str) -> None:
        self.key = key
        self.size_bytes = size_bytes
        self.expires_at = expires_at
        self.identity = identity
        self.label: Any = None
        self.tokens = 0
        self.cost_usd: float | None = None
        self.density = 0.0
        self.frequency = 1
        self.priority = 0.0
        self.ranked: tuple[float, int, bytes] | None = None
        self.touched = 0
        self.offset = 0
        self.segment: Segment | None = None
        self.slot = 0

    @property
    def value_bytes(self) -> int:
        """The size of the value alone."""
        return self.size_bytes - ENTRY_OVERHEAD_BYTES

    def __repr__(self) -> str:
        return f"<Entry {self.key.hex()} {self.size_bytes} bytes until {self.expires_at:g} of {self.identity}>"


def rank_of(entry: Entry) -> Rank:
    """The rank of an entry as of now."""
    return (entry.priority, entry.touched)


class Memory(Protocol):
    """What a segment is made of: a `bytearray`, or an anonymous `mmap`, which also has `close`."""

    def __getitem__(self, part: slice, /) -> bytes | bytearray: ...
    def __setitem__(self, part: slice, data: bytes, /) -> None: ...


def in_pages(size_bytes: int) -> int:
    """So many bytes, rounded up to whole pages."""
    return -(-size_bytes // PAGESIZE) * PAGESIZE


class Segment:
    """A run of memory that is written once, from its start to its end, and given back as a whole."""

    __slots__ = ("entries", "live_bytes", "memory", "size_bytes", "written_bytes")

    def __init__(self, memory: Memory, size_bytes: int) -> None:
        self.memory = memory
        self.size_bytes = size_bytes
        self.written_bytes = 0
        self.live_bytes = 0
        self.entries: list[Entry] = []  # in no order

    @property
    def dead_bytes(self) -> int:
        """What was written and nobody has any more."""
        return self.written_bytes - self.live_bytes

    @property
    def resident_bytes(self) -> int:
        """The pages that were written: those behind them have never been touched."""
        return in_pages(self.written_bytes)

    def has_room(self, size_bytes: int) -> bool:
        """Whether a value of this size fits behind the others."""
        return self.written_bytes + size_bytes <= self.size_bytes and len(self.entries) < ENTRIES_PER_SEGMENT

    def __repr__(self) -> str:
        return f"<Segment {len(self.entries)} entries, {self.live_bytes}/{self.written_bytes}/{self.size_bytes} bytes>"
