"""What would the hit rate be with another size, or another time to live?

Caches of other sizes and other times to live are simulated beside the real one (`miniatures`), on a sample of the keys
that becomes smaller when it holds too many or has been looked at for long enough (`sampled_keys`): fixed-size SHARDS
(Waldspurger et al., FAST'15) and "Cache modeling and optimization using miniature simulations" (Waldspurger et al.,
ATC'17).

All lookups are counted, so it is known by how many the sample says too many or too few.  SHARDS-adj takes those for
hits, since it is mostly the few keys asked for most that are in the sample or are not.  Here the share of hits among
them is estimated from the sample, too, where the lookups of a key count as often as it has been asked for: the
regression estimator (Särndal et al. 1992, "Model assisted survey sampling", 6.4).  Where keys are asked for evenly,
that leaves the sample's own hit rate; where a few are asked for most, it is SHARDS-adj.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from math import log
from typing import Final

from synth_actors.policy.miniatures import Miniatures
from synth_actors.snapshot import SizePoint, TtlPoint

LARGEST_FACTOR: Final = 32
"""The largest size looked at; then a sample of 4,096 keys leaves about 64 of them or more to the present size."""
SIZE_FACTORS: Final = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8, 16, LARGEST_FACTOR)
TTL_FACTORS: Final = (1 / 4, 1 / 2, 1, 2, 4, 10)

REVIEW_EVERY: Final = 256
"""Sampled lookups, more or less, between two looks at whether the sample should become smaller."""
STEPS_AT_FIRST: Final = 65_536
"""Misses of simulated caches, 0.3 us each, that are free: a short run is looked at as a whole.  From then on ..."""
STEPS_PER_LOOKUP: Final = 0.25
"""... so many are, or the sample is made smaller;"""
FEW_KEYS: Final = 2048
"""if it holds fewer keys than this, only when there have been so many steps that the rest matters less:"""
STEPS_WITH_FEW_KEYS: Final = 131_072
KEYS_TO_KEEP: Final = 768
"""It never is made so with fewer keys than this, ..."""
ENTRIES_TO_KEEP: Final = 64
"""... nor when its share of the present size is less than so many entries."""


class ReuseCurves:
    """Hit rates at sizes from `max_entries` / 16 to 32 times as many, and at `ttl_s` / 4 to 10 times as long, or none.

    They are shares of all lookups recorded so far, the first of each key included.  With `rate` 1.0 they are exactly
    what LRU caches would have had, if a value is stored when it is asked for: its time to live, which a hit does not
    prolong, begins by the duration of the call too early.  Takes at most about 1.6 MB.
    """

    def __init__(self, *, max_entries: int, ttl_s: float | None, sampled_at_most: int = 4096) -> None:
        """Raises ValueError for a `max_entries` below 1, a `ttl_s` not above 0 or a `sampled_at_most` below 32."""
        if max_entries < 1:
            raise ValueError(f"max_entries={max_entries}: a cache without entries has no hits; give at least 1")
        if ttl_s is not None and not ttl_s > 0.0:
            raise ValueError(f"ttl_s={ttl_s}: give seconds above 0, or None for entries that never expire")
        if sampled_at_most < LARGEST_FACTOR:
            raise ValueError(f"sampled_at_most={sampled_at_most}: give at least {LARGEST_FACTOR}")
        self.max_entries = max_entries
        self.ttl_s = ttl_s
        self._sampled_at_most = sampled_at_most
        self._sizes = sorted({max(1, int(max_entries * factor)) for factor in SIZE_FACTORS})
        self._ttls = [*(ttl_s * factor for factor in TTL_FACTORS), None] if ttl_s is not None else []
        shapes = [(size, ttl_s) for size in self._sizes]
        shapes += [(max_entries, other_s) for other_s in self._ttls if other_s != ttl_s]
        self._caches = Miniatures(shapes)
        self._keys = self._caches.keys
        self._records = self._keys.records
        self._threshold = self._keys.threshold
        self._counts = _Counts(len(shapes))
        self._review_at = REVIEW_EVERY
        self.lookups = 0

    def record(self, key: bytes, now: float, *, joined: bool = False) -> None:
        """One lookup, at `now` in seconds (never earlier than before), of a key: a digest of 8 to 64 bytes.

        With `joined` it waits for an answer that an earlier lookup of the key has led to.  It is a hit in the caches
        where that one was a hit, for there it would not have had to wait; so at the present size it is none.
        """
        self.lookups += 1
        if key >= self._threshold and key not in self._records:
            return
        record = self._caches.lookup(key, now, joined)
        if record is None:
            return
        weight, counts, answered = record.weight, self._counts, record.answered
        counts.lookups[answered] += weight
        if weight > 1:
            counts.doubts[answered] += record.asked * weight * (weight - 1)
        record.asked += 1
        if self.lookups >= self._review_at or len(self._records) > self._sampled_at_most:
            self._review()

    def not_kept(self, key: bytes) -> None:
        """What the last lookup of `key` led to was not kept: the call failed, or its answer is not worth keeping.

        So caches that did not have it still do not.  What they dropped to make room for it stays lost.
        """
        if key < self._threshold or key in self._records:
            self._caches.not_kept(key)

    @property
    def sampled_keys(self) -> int:
        """How many keys the simulated caches know at the moment."""
        return len(self._records)

    @property
    def rate(self) -> float:
        """The share of the key space that is looked at now: 1.0, 0.5, 0.25 ...; at 1.0 the curves are exact."""
        return 2.0**-self._keys.halvings

    # ------------------------------------------------------------------------------------------------ curves

    def size_curve(self) -> tuple[SizePoint, ...]:
        """By size, at the present time to live; without the largest ones if these change nothing.

        Empty before the first lookup.
        """
        rates = self._hit_rates()[: len(self._sizes)]
        while len(rates) > 1 and self._sizes[len(rates) - 1] > self.max_entries and rates[-1] == rates[-2]:
            rates.pop()
        return tuple(SizePoint(max_entries=size, hit_rate=rate) for size, rate in zip(self._sizes, rates, strict=False))

    def ttl_curve(self) -> tuple[TtlPoint, ...]:
        """By time to live, None last, at the present size; empty when entries never expire, or before any lookup."""
        rates = self._hit_rates()
        if not rates or self.ttl_s is None:
            return ()
        at_present = rates[self._sizes.index(self.max_entries)]
        others = iter(rates[len(self._sizes) :])
        return tuple(
            TtlPoint(ttl_s=ttl_s, hit_rate=at_present if ttl_s == self.ttl_s else next(others)) for ttl_s in self._ttls
        )

    def hit_rate_at(self, entries: int) -> float:
        """The hit rate at the present time to live, between two sizes of the curve by the logarithm of the size.

        Below the smallest size it is proportional to the size.

        Raises:
            ValueError: `entries` is below 0 or above the largest size looked at, or nothing has been recorded.
        """
        if not 0 <= entries <= self._sizes[-1]:
            raise ValueError(f"entries={entries}: looked at were sizes up to {self._sizes[-1]}; give one of these")
        rates = self._hit_rates()
        if not rates:
            raise ValueError("lookups=0: no hit rate is known before the first lookup; record one")
        at = bisect_left(self._sizes, entries)
        if entries == self._sizes[at]:
            return rates[at]
        if at == 0:
            return rates[0] * entries / self._sizes[0]
        low, high = self._sizes[at - 1], self._sizes[at]
        return rates[at - 1] + (rates[at] - rates[at - 1]) * log(entries / low) / log(high / low)

    # ------------------------------------------------------------------------------------------------ inside

    def _hit_rates(self) -> list[float]:
        """Of each simulated cache; empty before the first lookup."""
        if not self.lookups:
            return []
        hits = self._counts.estimate(self.lookups, self._caches)
        return [min(1.0, max(0.0, count / self.lookups)) for count in hits]

    def _review(self) -> None:
        self._counts.fold(self._caches)
        if self._costs_too_much():
            self._caches.thin()
        while len(self._records) > self._sampled_at_most:
            self._caches.thin()
        self._threshold = self._keys.threshold
        self._review_at = self.lookups + (REVIEW_EVERY << self._keys.halvings)

    def _costs_too_much(self) -> bool:
        keys = len(self._records)
        free = STEPS_AT_FIRST if keys >= FEW_KEYS else STEPS_WITH_FEW_KEYS
        return (
            self._caches.steps > free + STEPS_PER_LOOKUP * self.lookups
            and keys >= KEYS_TO_KEEP
            and self.max_entries * self.rate >= ENTRIES_TO_KEEP
        )

    def __repr__(self) -> str:
        return f"<ReuseCurves lookups={self.lookups} keys={self.sampled_keys} rate={self.rate:g}>"


class _Counts:
    """The lookups that the sample stands for, and how far it can be in doubt: by those caches that had the key.

    They are counted by mask, which costs a hit little, and brought to the caches now and then.
    """

    __slots__ = ("all_doubts", "all_lookups", "cache_doubts", "cache_hits", "doubts", "lookups")

    def __init__(self, caches: int) -> None:
        self.lookups: defaultdict[int, int] = defaultdict(int)
        self.doubts: defaultdict[int, int] = defaultdict(int)
        self.all_lookups = self.all_doubts = 0
        self.cache_hits = [0] * caches
        self.cache_doubts = [0] * caches

    def fold(self, caches: Miniatures) -> None:
        """Bring what is counted by mask to the caches."""
        self.all_lookups += sum(self.lookups.values())
        self.all_doubts += sum(self.doubts.values())
        for by_mask, by_cache in ((self.lookups, self.cache_hits), (self.doubts, self.cache_doubts)):
            for mask, count in by_mask.items():
                for cache in caches.caches_of(mask):
                    by_cache[cache.index] += count
            by_mask.clear()

    def estimate(self, lookups: int, caches: Miniatures) -> list[float]:
        """The hits of each cache among so many lookups."""
        self.fold(caches)
        missing = lookups - self.all_lookups
        shares = [doubt / self.all_doubts if self.all_doubts else 0.0 for doubt in self.cache_doubts]
        return [hits + share * missing for hits, share in zip(self.cache_hits, shares, strict=True)]
