"""Which of many caches, each of another size or another time to live, would have had it?

All caches are simulated at once, on the same lookups (Mattson et al. 1970, "Evaluation techniques for storage
hierarchies", does so for sizes).  They share one order of use, since a lookup makes its key the most recently used one
in every cache, whether it was found there or is stored anew.  An entry is one bit of its key's mask.  Without a time to
live the masks are what Mattson's stack distances are: a larger cache has all that a smaller one has, and the lowest bit
says the smallest that has the key.  With one they are more, because then there is no such distance: a small cache that
has lost a key and stored it again still has it when a larger one has let it expire.

A hit in all caches costs a few steps whatever their number; a miss costs some for every cache that missed.

Not all keys need be known.  `sampled_keys` says which are, and each takes as many places as it stands for keys.
"""

from __future__ import annotations

from bisect import bisect_left
from math import inf
from typing import Final

from synth_actors.policy.sampled_keys import Record, SampledKeys, Stored

EXPIRED_AT_ONCE: Final = 512
"""Steps of expiry in one lookup: after a long silence everything has expired, and nobody should wait for all that."""
DEAD_AT_MOST: Final = 1024
"""Places of either list that may be out of date before it is written anew: little memory, and seldom work."""
MASKS_REMEMBERED: Final = 1024


class Cache:
    """One simulated cache."""

    __slots__ = ("bit", "entries", "hand", "index", "taken", "ttl_s")

    def __init__(self, index: int, entries: int, ttl_s: float | None) -> None:
        self.index = index
        self.bit = 1 << index
        self.entries = entries
        self.ttl_s = ttl_s
        self.taken = 0  # of the entries: the weights of the keys that it has
        self.hand = 0  # no entry of it stands lower in the order of use

    def __repr__(self) -> str:
        return f"<Cache {self.taken}/{self.entries} ttl_s={self.ttl_s}>"


class _Lifetime:
    """The caches with one time to live."""

    __slots__ = ("bits", "hand", "ttl_s")

    def __init__(self, ttl_s: float) -> None:
        self.ttl_s = ttl_s
        self.bits = 0
        self.hand = 0  # nothing that was stored earlier is there any more


class Miniatures:
    """LRU caches, one for each `(entries, ttl_s)` of `shapes`; an entry is gone the moment that it expires.

    So it is in `cache_index`, too, as far as anybody can see: there an expired entry is never served, and goes before
    an entry that lives.
    """

    def __init__(self, shapes: list[tuple[int, float | None]]) -> None:
        self.caches = tuple(Cache(index, entries, ttl_s) for index, (entries, ttl_s) in enumerate(shapes))
        self.keys = SampledKeys()
        self.steps = 0  # misses of any cache: what the simulation costs
        self._all = (1 << len(self.caches)) - 1
        self._log: list[Record] = []  # the order of use; a record counts only where its `place` says that it stands
        self._stores: list[Stored] = []  # by time
        self._log_limit = self._stores_limit = DEAD_AT_MOST
        lifetimes = {ttl_s: _Lifetime(ttl_s) for _, ttl_s in shapes if ttl_s is not None}
        for cache in self.caches:
            if cache.ttl_s is not None:
                lifetimes[cache.ttl_s].bits |= cache.bit
        self._lifetimes = tuple(lifetimes.values())
        self._shortest_s = min(lifetimes, default=inf)
        self._next_expiry = inf
        self._by_mask: dict[int, tuple[Cache, ...]] = {}

    def lookup(self, key: bytes, now: float, joined: bool) -> Record | None:
        """Look up in every cache, and store where it was not: the record, whose `answered` says where it was.

        None for a key that is not in the sample.  With `joined` it is said for the second time, as of the last lookup,
        and only the order of use changes; unless there was no such lookup, or its value has gone everywhere.
        """
        if now >= self._next_expiry:
            self._expire(now)
        record = self.keys.get(key)
        if record is None:
            record = self.keys.add(key)
            if record is None:
                return None
        elif now >= self._next_expiry:  # there is more than could be dropped at once
            self._expire_record(record, now)
        log = self._log
        record.place = len(log)
        log.append(record)
        if not joined or not record.mask:
            record.answered = mask = record.mask
            if mask != self._all:
                self._store(record, now, self._all ^ mask)
        if record.place >= self._log_limit:
            self._rewrite_log()
        return record

    def not_kept(self, key: bytes) -> None:
        """The value that the last lookup led to is in no cache after all: drop it where that lookup stored it."""
        record = self.keys.get(key)
        if record is not None:
            stored_then = record.mask & ~record.answered
            for stored in list(record.stores()):
                if gone := stored.bits & stored_then:
                    self._drop(stored, gone)

    def caches_of(self, mask: int) -> tuple[Cache, ...]:
        """The caches whose bits are set."""
        caches = self._by_mask.get(mask)
        if caches is None:
            if len(self._by_mask) >= MASKS_REMEMBERED:
                self._by_mask.clear()
            caches = self._by_mask[mask] = tuple(cache for cache in self.caches if mask & cache.bit)
        return caches

    def thin(self) -> None:
        """Let the sample become smaller."""
        self.keys.thin()
        for cache in self.caches:
            cache.taken = 0
        for mask, weight in self.keys.weights_by_mask().items():
            for cache in self.caches_of(mask):
                cache.taken += weight
        for cache in self.caches:
            self._make_room(cache, 0)

    # ------------------------------------------------------------------------------------------------ room

    def _store(self, record: Record, now: float, bits: int) -> None:
        weight, caches = record.weight, self.caches_of(bits)
        self.steps += len(caches)
        for cache in caches:
            if cache.taken + weight > cache.entries:
                self._make_room(cache, weight)
            cache.taken += weight
        record.mask |= bits
        record.stored = stored = Stored(record, now, bits)
        self._stores.append(stored)
        if now + self._shortest_s < self._next_expiry:
            self._next_expiry = now + self._shortest_s
        if len(self._stores) >= self._stores_limit:
            self._rewrite_stores()

    def _make_room(self, cache: Cache, weight: int) -> None:
        """Evict what was used longest ago, till `weight` more is no more than `entries`.

        What weighs more than one goes if more than half of it is too much, so that on average the cache is full.
        """
        log, bit, place = self._log, cache.bit, cache.hand
        surplus = cache.taken + weight - cache.entries
        while surplus > 0 and cache.taken:
            record = log[place]
            if record.mask & bit and record.place == place:
                freed = record.weight
                if surplus + surplus <= freed:
                    break
                surplus -= freed
                cache.taken -= freed
                stored = record.stored
                if stored is not None and stored.bits & bit and stored.bits != bit:  # mostly: `_clear` takes longer
                    stored.bits ^= bit
                    record.mask ^= bit
                else:
                    self._clear(record.store_of(bit), bit)
            place += 1
        cache.hand = place

    def _clear(self, stored: Stored, bits: int) -> None:
        record = stored.record
        record.mask ^= bits
        stored.bits ^= bits
        if not record.mask:
            self.keys.forget(record)
        elif not stored.bits:
            record.drop(stored)

    # ------------------------------------------------------------------------------------------------ time

    def _expire(self, now: float) -> None:
        left = EXPIRED_AT_ONCE
        self._next_expiry = inf
        for lifetime in self._lifetimes:
            left = self._expire_of(lifetime, now, left)

    def _expire_of(self, lifetime: _Lifetime, now: float, left: int) -> int:
        """Drop what has lived so long, in at most `left` steps; how many are left."""
        stores, ttl_s = self._stores, lifetime.ttl_s
        while lifetime.hand < len(stores):
            stored = stores[lifetime.hand]
            gone = stored.bits & lifetime.bits
            if gone and (left <= 0 or stored.at + ttl_s > now):
                self._next_expiry = min(self._next_expiry, stored.at + ttl_s)
                break
            if gone:
                self._drop(stored, gone)
                left -= 1
            lifetime.hand += 1
        return left

    def _expire_record(self, record: Record, now: float) -> None:
        """Drop what has expired of a record that is about to be used, and so stays known."""
        for stored in list(record.stores()):
            for lifetime in self._lifetimes:
                gone = stored.bits & lifetime.bits
                if gone and stored.at + lifetime.ttl_s <= now:
                    self._drop(stored, gone)
        self.keys.remember(record)

    def _drop(self, stored: Stored, bits: int) -> None:
        weight = stored.record.weight
        for cache in self.caches_of(bits):
            cache.taken -= weight
        self._clear(stored, bits)

    # ------------------------------------------------------------------------------------------------ lists

    def _rewrite_log(self) -> None:
        places = [place for place, record in enumerate(self._log) if record.place == place]
        self._log = [self._log[place] for place in places]
        for cache in self.caches:
            cache.hand = bisect_left(places, cache.hand)
        for place, record in enumerate(self._log):
            record.place = place
        self._log_limit = len(places) + DEAD_AT_MOST

    def _rewrite_stores(self) -> None:
        places = [place for place, stored in enumerate(self._stores) if stored.bits]
        self._stores = [self._stores[place] for place in places]
        for lifetime in self._lifetimes:
            lifetime.hand = bisect_left(places, lifetime.hand)
        self._stores_limit = len(places) + DEAD_AT_MOST

    def __repr__(self) -> str:
        return f"<Miniatures caches={len(self.caches)} keys={len(self.keys)}>"
