"""Do we have it, and what goes to make room?

An index in memory with two bounds, entries and accounted bytes, that is never above either.  The values lie in segments
(`segments`), an order says which entry goes first (`eviction`), and a sorted list which has expired: that goes before
anything that lives.  Work that need not be done at once, giving memory back and cleaning segments, is done in small
portions by `tend`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Any, Final, Literal

from sortedcontainers import SortedList

from synth_actors.policy.cache_entry import ENTRY_OVERHEAD_BYTES, Entry, Rank, Segment, in_pages, rank_of
from synth_actors.policy.eviction import GreedyDualSizeFrequency, LeastRecentlyUsed, Order
from synth_actors.policy.reclaim import Evicted, Reclaim
from synth_actors.policy.segments import Allocate, Segments, touches_to_copy, touches_to_release

if TYPE_CHECKING:
    from collections.abc import Set

__all__ = [
    "ENTRY_OVERHEAD_BYTES",
    "MISS",
    "NO_ROOM",
    "REFUSED",
    "STALE",
    "STORED",
    "Absent",
    "Admission",
    "CacheIndex",
    "Entry",
]


class Absent(Enum):
    """Why a lookup has nothing to give."""

    MISS = "miss"
    STALE = "stale"  # it was there, and its time was over


class Admission(Enum):
    """What became of a value that was to be stored."""

    STORED = "stored"
    REFUSED = "refused"  # it is larger than a value may be
    NO_ROOM = "no_room"  # it is larger than the whole cache, or the system has no memory for it


MISS: Final = Absent.MISS
STALE: Final = Absent.STALE
STORED: Final = Admission.STORED
REFUSED: Final = Admission.REFUSED
NO_ROOM: Final = Admission.NO_ROOM


class CacheIndex:
    """An index with a time to live, bounded by entries and by bytes.

    `accounted_bytes` is the sum of what the entries are accounted for; `footprint_bytes` what they really occupy: whole
    pages, and what is dead between live values.

    The counters are plain ints that only grow.  Every lookup is one of `hits` and `misses` (`stale` are those misses
    that found an expired entry); every value given to `store` is one of `stored`, `refused` and `no_room`; every stored
    value is still there or was counted once in `replaced`, `expired`, `evicted_for_space`, `evicted_for_memory` or
    `discarded`.
    `evicted_out_of_order` are those of `evicted_for_memory` that went although a colder entry stayed when all was done.
    """

    def __init__(
        self,
        *,
        max_entries: int,
        max_bytes: int,
        ttl_s: float | None,
        policy: Literal["lru", "cost"] = "lru",
        worth: Literal["usd", "tokens"] = "tokens",
        max_entry_bytes: int | None = None,
        allocate: Allocate = bytearray,
    ) -> None:
        """`worth` is what the policy "cost" saves; `max_entry_bytes` bounds one value (None: only `max_bytes` does)."""
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.max_entry_bytes = max_entry_bytes
        self.ttl_s = ttl_s
        self.accounted_bytes = 0
        self.hits = self.misses = self.stale = 0
        self.stored = self.refused = self.no_room = self.replaced = self.discarded = 0
        self.expired = self.evicted_for_space = self.evicted_for_memory = self.evicted_out_of_order = 0
        self.segments = Segments(max_bytes, allocate)
        self._entries: dict[bytes, Entry]
        self._order: Order
        if policy == "lru":
            by_use: OrderedDict[bytes, Entry] = OrderedDict()
            self._entries = by_use
            self._order = LeastRecentlyUsed(by_use)
        else:
            self._entries = {}
            fair_bytes = max_bytes / max(1, max_entries)
            self._order = GreedyDualSizeFrequency(self._entries, by_tokens=worth == "tokens", fair_bytes=fair_bytes)
        self._expiries: SortedList[tuple[float, bytes]] = SortedList()
        self._next_expiry: float | None = None
        self._bound_bytes: float = inf  # of the footprint
        self._ceiling_bytes: float = inf  # that, or as long as it is above, what it has come down to
        self._reclaim: Reclaim | None = None
        self._work: Iterator[int] | None = None  # the steps of it, or of a cleaning

    # ------------------------------------------------------------------------------------------------ one key

    def lookup(self, key: bytes, *, now: float, identities: Set[str] | None = None) -> Entry | Absent:
        """The live entry of `key`, which has been used once more; else `MISS` or `STALE`.

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
        self._order.touch(entry)
        self.hits += 1
        return entry

    def value(self, entry: Entry) -> bytes:
        """The value of an entry: bytes that nobody else can change.  Raises LookupError when the entry has gone."""
        return self.segments.read(entry)

    def store(
        self,
        key: bytes,
        value: bytes,
        *,
        now: float,
        identity: str,
        label: Any = None,
        tokens: int = 0,
        cost_usd: float | None = None,
        ttl_s: float | None = None,
    ) -> Admission:
        """Keep `value` for `ttl_s` seconds (None: for the `ttl_s` of the index) as the most recently used entry.

        `REFUSED` when the value is larger than one may be: it is kept nowhere, and an older entry of the key stays.
        `NO_ROOM` when only this cache has no place for it: another tier may have, so the older one goes.
        """
        if self.max_entry_bytes is not None and len(value) > self.max_entry_bytes:
            self.refused += 1
            return REFUSED
        older = self._entries.get(key)
        if older is not None:
            self._remove(older)
            self.replaced += 1
        needed_bytes = in_pages(len(value)) + ENTRY_OVERHEAD_BYTES
        ceiling_bytes = max(self._bound_bytes, self._ceiling_bytes - needed_bytes)
        if not self._fits(len(value)) or needed_bytes > ceiling_bytes:
            self.no_room += 1
            return NO_ROOM
        accounted = len(value) + ENTRY_OVERHEAD_BYTES
        lifetime_s = self.ttl_s if ttl_s is None else ttl_s
        entry = Entry(key, accounted, inf if lifetime_s is None else now + lifetime_s, identity)
        entry.label, entry.tokens, entry.cost_usd = label, tokens, cost_usd
        self._make_room(accounted, now)
        self._ceiling_bytes = ceiling_bytes
        self._make_way(needed_bytes, now)
        try:
            self.segments.add(entry, value)
        except MemoryError:
            self.no_room += 1
            return NO_ROOM
        self._add(entry)
        self.stored += 1
        return STORED

    def discard(self, key: bytes) -> bool:
        """Forget the entry of `key`; whether there was one."""
        entry = self._entries.get(key)
        if entry is None:
            return False
        self._remove(entry)
        self.discarded += 1
        return True

    def clear(self) -> None:
        """Forget every entry and give all memory back; the counters stay."""
        self.discarded += len(self._entries)
        self._entries.clear()
        self._order.clear()
        self._expiries.clear()
        self._next_expiry = None
        self.segments.clear()
        self.accounted_bytes = 0
        self._reclaim = self._work = None

    # ------------------------------------------------------------------------------------------------ expiry

    def expire(self, now: float, limit: int) -> int:
        """Drop at most `limit` expired entries, the longest expired first; how many were dropped."""
        dropped = 0
        while dropped < limit and self._drop_expired(now):
            dropped += 1
        return dropped

    def next_expiry(self) -> float | None:
        """When the next entry expires, None when none will.  Costs an attribute: it is read after every delivery."""
        return self._next_expiry

    # ------------------------------------------------------------------------------------------------ memory

    @property
    def footprint_bytes(self) -> int:
        """What it really occupies: the written pages of all segments, dead bytes included, and what entries cost."""
        return self.segments.resident_bytes + len(self._entries) * ENTRY_OVERHEAD_BYTES

    @property
    def is_busy(self) -> bool:
        """Whether `tend` has something to do now: a shrink, cleaning, or sorting that was put off."""
        return self._work is not None or self.segments.is_littered or self._order.is_unsettled

    def bound_footprint(self, bytes_: int) -> None:
        """From now on a store leaves the footprint at no more than that; whatever is in its way goes, coldest first.

        Nothing goes by this alone (`begin_shrink` is for that), but as long as more is occupied a store gives back
        about twice what it takes, and what a shrink has given back is not occupied again.  Values that are being copied
        from one segment to another may come on top for a moment, at most a segment of them.
        """
        self._bound_bytes = bytes_
        self._ceiling_bytes = max(bytes_, self.footprint_bytes)

    def begin_shrink(self, bytes_wanted: int) -> None:
        """Give back so many bytes of the footprint as of now; `tend` does it, and drops what has expired first.

        A newer wish takes the place of one that is not fulfilled yet; 0 ends it.
        """
        before = self._reclaim
        if before is None and bytes_wanted <= 0:
            return
        self._end_work()
        target_bytes = self.footprint_bytes - max(0, bytes_wanted)
        self._reclaim = Reclaim(self, target_bytes, before.evicted if before is not None else Evicted())
        self._work = self._reclaim.steps()

    def tend(self, now: float, limit: int) -> bool:
        """Do work that was put off, touching at most `limit` entries; whether there is more to do at once.

        First what has expired is dropped, then the shrink goes on, then segments are cleaned.  A large value counts as
        many entries, so that a turn takes no longer for it.
        """
        left = limit
        while left > 0 and (touched := self._drop_expired(now)):
            left -= touched
        while left > 0 and (self._work is not None or self._begin_cleaning()):
            left -= self._step()
        self._order.settle(max(0, left))
        self._ceiling_bytes = max(self._bound_bytes, min(self._ceiling_bytes, self.footprint_bytes))
        return self.is_busy or (self._next_expiry is not None and self._next_expiry <= now)

    def evict_for_memory(self, entry: Entry) -> None:
        """Let an entry go because memory is short."""
        self._remove(entry)
        self.evicted_for_memory += 1

    def move(self, entry: Entry) -> None:
        """Copy an entry's value out of its segment; if there is no memory even for that, let it go."""
        try:
            self.segments.move(entry)
        except MemoryError:
            self.evict_for_memory(entry)

    def settle(self, limit: int) -> int:
        """Do at most so much of the sorting that was put off; how much was done."""
        return self._order.settle(limit)

    def coldest_rank(self) -> Rank | None:
        """The rank of the entry that would go first, None without entries."""
        return rank_of(self._order.coldest()) if self._entries else None

    def _step(self) -> int:
        """One step of the work under way: how many entries that touched; 0 if it ended instead."""
        assert self._work is not None
        for touched in self._work:
            return touched
        self._end_work()
        return 0

    def _end_work(self) -> None:
        if self._reclaim is not None:
            self.evicted_out_of_order += self._reclaim.out_of_order
        self._reclaim = self._work = None

    def _begin_cleaning(self) -> bool:
        if not self.segments.is_littered:
            return False
        self._work = self._empty(self.segments.most_dead())
        return True

    def _empty(self, segment: Segment) -> Iterator[int]:
        self.segments.seal(segment)
        while segment.entries:
            entry = segment.entries[-1]
            self.move(entry)
            yield touches_to_copy(entry.value_bytes)

    # ------------------------------------------------------------------------------------------------ inside

    def _fits(self, size_bytes: int) -> bool:
        return size_bytes + ENTRY_OVERHEAD_BYTES <= self.max_bytes and self.max_entries > 0

    def _drop_expired(self, now: float) -> int:
        """Drop the entry that expired longest ago: how many entries that touched, 0 when none has expired."""
        if self._next_expiry is None or self._next_expiry > now:
            return 0
        entry = self._entries[self._expiries[0][1]]
        self._remove(entry)
        self.expired += 1
        return touches_to_release(entry.value_bytes)

    def _found_stale(self, entry: Entry) -> Absent:
        self._remove(entry)
        self.misses += 1
        self.stale += 1
        self.expired += 1
        return STALE

    def _make_room(self, accounted: int, now: float) -> None:
        while len(self._entries) >= self.max_entries or self.accounted_bytes + accounted > self.max_bytes:
            if not self.expire(now, limit=1):
                entry = self._order.coldest()
                self._order.evicted(entry)
                self._remove(entry)
                self.evicted_for_space += 1

    def _make_way(self, needed_bytes: int, now: float) -> None:
        """Bring the footprint so low that this much more is no more than the ceiling.

        What was put off comes first, since it gives back without taking a live entry.  Whole segments are given back,
        so this is little work for most stores and the emptying of a segment for a few.
        """
        while self.footprint_bytes + needed_bytes > self._ceiling_bytes:
            if self.expire(now, limit=1):
                continue
            if self._work is not None or self._begin_cleaning():
                self._step()
                continue
            entry = self._order.coldest()
            self._order.evicted(entry)
            self.evict_for_memory(entry)

    def _add(self, entry: Entry) -> None:
        self._entries[entry.key] = entry
        self._order.add(entry)
        self.accounted_bytes += entry.size_bytes
        if entry.expires_at != inf:
            self._expiries.add((entry.expires_at, entry.key))
            if self._next_expiry is None or entry.expires_at < self._next_expiry:
                self._next_expiry = entry.expires_at

    def _remove(self, entry: Entry) -> None:
        del self._entries[entry.key]
        self._order.remove(entry)
        self.segments.remove(entry)
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
