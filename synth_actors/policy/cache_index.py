"""Do we have it, and what goes first?

An index in memory with two bounds, entries and accounted bytes, that is never above either.  Recency is the order of an
`OrderedDict` (a touch costs 0.05 us), expiry stands in a sorted list.  To make room, what has expired goes first, then
what was used longest ago.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from sortedcontainers import SortedList

if TYPE_CHECKING:
    from collections.abc import Set

V = TypeVar("V")

ENTRY_OVERHEAD_BYTES: Final = 350
"""What one entry costs beside its value: the entry, its key, and its places in both orders.

Measured on CPython 3.11 with `tracemalloc` and kept honest by a test: N entries with fresh 16-byte keys, a TTL and one
shared value are stored, and the growth is divided by N.  It is 305 to 346 for N from 1,000 to 100,000, depending on how
full the hash table is just then; the larger, rounded up, so that the cache never holds more than it says.
"""


class Absent(Enum):
    """Why a lookup has nothing to give."""

    MISS = "miss"
    STALE = "stale"  # it was there, and its time was over


class Admission(Enum):
    """What became of a value that was to be stored."""

    STORED = "stored"
    REFUSED = "refused"  # it alone is larger than the whole cache


MISS: Final = Absent.MISS
STALE: Final = Absent.STALE
STORED: Final = Admission.STORED
REFUSED: Final = Admission.REFUSED


class Entry(Generic[V]):
    """What the cache holds for one key.  `size_bytes` is what is accounted for it, `ENTRY_OVERHEAD_BYTES` included."""

    __slots__ = ("expires_at", "identity", "key", "size_bytes", "value")

    def __init__(self, key: bytes, value: V, size_bytes: int, expires_at: float, identity: str) -> None:
        self.key = key
        self.value = value
        self.size_bytes = size_bytes
        self.expires_at = expires_at
        self.identity = identity

    def __repr__(self) -> str:
        return f"<Entry {self.key.hex()} {self.size_bytes} bytes until {self.expires_at:g} of {self.identity}>"


class CacheIndex(Generic[V]):
    """An LRU index with a time to live, bounded by entries and by bytes.

    The counters are plain ints that only grow.  Every lookup is one of `hits` and `misses` (`stale` are those misses
    that found an expired entry); every value given to `store` is one of `stored` and `refused`; every stored value is
    still there or was counted once in `replaced`, `expired`, `evicted_for_space`, `evicted_for_memory` or `discarded`.
    """

    def __init__(self, max_entries: int, max_bytes: int, ttl_s: float | None) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.ttl_s = ttl_s
        self.accounted_bytes = 0
        self.hits = self.misses = self.stale = 0
        self.stored = self.refused = self.replaced = self.discarded = 0
        self.expired = self.evicted_for_space = self.evicted_for_memory = 0
        self._entries: OrderedDict[bytes, Entry[V]] = OrderedDict()  # least recently used first
        self._expiries: SortedList[tuple[float, bytes]] = SortedList()
        self._next_expiry: float | None = None

    def lookup(self, key: bytes, *, now: float, identities: Set[str] | None = None) -> Entry[V] | Absent:
        """The live entry of `key`, which becomes the most recently used one; else `MISS` or `STALE`.

        An expired entry is dropped on the spot.  One made by an endpoint that is not among `identities` is a miss and
        stays for whoever may have it; None allows every identity.
        """
        entry = self._entries.get(key)
        if entry is None:
            self.misses += 1
            return MISS
        if entry.expires_at <= now:
            return self._found_stale(entry)
        if identities is not None and entry.identity not in identities:
            self.misses += 1
            return MISS
        self._entries.move_to_end(key)
        self.hits += 1
        return entry

    def store(
        self, key: bytes, value: V, size_bytes: int, *, now: float, identity: str, ttl_s: float | None = None
    ) -> Admission:
        """Keep `value` for `ttl_s` seconds (None: for the `ttl_s` of the index) as the most recently used entry.

        `size_bytes` is the size of the value alone.  An older entry of the key goes in any case: the newer answer is
        the one to give, and where it cannot be kept there is none to give.
        """
        accounted = size_bytes + ENTRY_OVERHEAD_BYTES
        older = self._entries.get(key)
        if older is not None:
            self._remove(older)
            self.replaced += 1
        if accounted > self.max_bytes or self.max_entries < 1:
            self.refused += 1
            return REFUSED
        self._make_room(accounted, now)
        lifetime_s = self.ttl_s if ttl_s is None else ttl_s
        self._add(Entry(key, value, accounted, inf if lifetime_s is None else now + lifetime_s, identity))
        self.stored += 1
        return STORED

    def expire(self, now: float, limit: int) -> int:
        """Drop at most `limit` expired entries, the longest expired first; how many were dropped."""
        dropped = 0
        while dropped < limit and self._next_expiry is not None and self._next_expiry <= now:
            self._remove(self._entries[self._expiries[0][1]])
            dropped += 1
        self.expired += dropped
        return dropped

    def shrink(self, bytes_wanted: int, limit: int) -> int:
        """Evict what was used longest ago until `bytes_wanted` accounted bytes are gone; the bytes that are.

        At most `limit` entries in one call, so that the caller's turn stays short: call again while it gives something.
        """
        before = self.accounted_bytes
        for _ in range(min(limit, len(self._entries))):
            if before - self.accounted_bytes >= bytes_wanted:
                break
            self._remove(self._coldest())
            self.evicted_for_memory += 1
        return before - self.accounted_bytes

    def next_expiry(self) -> float | None:
        """When the next entry expires, None when none will.  Costs an attribute: it is read after every delivery."""
        return self._next_expiry

    def discard(self, key: bytes) -> bool:
        """Forget the entry of `key`; whether there was one."""
        entry = self._entries.get(key)
        if entry is None:
            return False
        self._remove(entry)
        self.discarded += 1
        return True

    def clear(self) -> None:
        """Forget every entry; the counters stay."""
        self.discarded += len(self._entries)
        self._entries.clear()
        self._expiries.clear()
        self._next_expiry = None
        self.accounted_bytes = 0

    def _found_stale(self, entry: Entry[V]) -> Absent:
        self._remove(entry)
        self.misses += 1
        self.stale += 1
        self.expired += 1
        return STALE

    def _make_room(self, accounted: int, now: float) -> None:
        while len(self._entries) >= self.max_entries or self.accounted_bytes + accounted > self.max_bytes:
            if not self.expire(now, limit=1):
                self._remove(self._coldest())
                self.evicted_for_space += 1

    def _coldest(self) -> Entry[V]:
        return next(iter(self._entries.values()))

    def _add(self, entry: Entry[V]) -> None:
        self._entries[entry.key] = entry
        self.accounted_bytes += entry.size_bytes
        if entry.expires_at != inf:
            self._expiries.add((entry.expires_at, entry.key))
            if self._next_expiry is None or entry.expires_at < self._next_expiry:
                self._next_expiry = entry.expires_at

    def _remove(self, entry: Entry[V]) -> None:
        del self._entries[entry.key]
        self.accounted_bytes -= entry.size_bytes
        if entry.expires_at != inf:
            self._expiries.remove((entry.expires_at, entry.key))
            self._next_expiry = self._expiries[0][0] if self._expiries else None

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __repr__(self) -> str:
        return (
            f"<CacheIndex entries={len(self)}/{self.max_entries} bytes={self.accounted_bytes}/{self.max_bytes}"
            f" hits={self.hits} misses={self.misses}>"
        )
