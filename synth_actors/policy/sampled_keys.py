"""Which keys are looked at, and for how many does each stand?

Those below a threshold: keys are digests, so that is chance, and the same chance for every lookup of a key (SHARDS:
Waldspurger et al., "Efficient MRC construction with SHARDS", FAST'15).  When there are too many, the threshold for new
ones is halved, and of those that are known only the ones stay that a threshold of their own lets stay.  That is higher
for keys that are asked for often, since on each of these much depends: a key that has been asked for 8 times as often
as most stays with 8 times the probability (sampling in proportion to size).  A key that stays with probability p stands
for 1/p keys (Horvitz and Thompson 1952, "A generalization of sampling without replacement from a finite universe"),
whose lookups and whose places in a cache are counted with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

_ALL_KEYS: Final = b"\xff" * 65  # above every digest of at most 64 bytes


class Record:
    """What is known of a key: which caches have it, and which had it at the last lookup that was not `joined`."""

    __slots__ = ("answered", "asked", "key", "mask", "place", "stored", "weight")

    def __init__(self, key: bytes, weight: int) -> None:
        self.key = key
        self.weight = weight  # how many keys it stands for
        self.asked = 0  # how often; the caller counts
        self.mask = self.answered = 0
        self.place = -1
        self.stored: Stored | None = None

    def stores(self) -> Iterator[Stored]:
        """Those that some cache still has, the newest first."""
        stored = self.stored
        while stored is not None:
            yield stored
            stored = stored.older

    def store_of(self, bit: int) -> Stored:
        """The one that the cache with this bit, which is set in the mask, still has."""
        stored = self.stored
        while stored is not None and not stored.bits & bit:
            stored = stored.older
        assert stored is not None  # the bits of the mask are those of the stores
        return stored

    def drop(self, stored: Stored) -> None:
        """Forget one of the stores."""
        if self.stored is stored:
            self.stored = stored.older
            return
        for newer in self.stores():
            if newer.older is stored:
                newer.older = stored.older


class Stored:
    """That a value was stored at a time, and which caches have it still."""

    __slots__ = ("at", "bits", "older", "record")

    def __init__(self, record: Record, at: float, bits: int) -> None:
        self.record = record
        self.at = at
        self.bits = bits
        self.older = record.stored


class SampledKeys:
    """At first every key; after `halvings` calls of `thin`, of new keys one in 2**halvings."""

    def __init__(self) -> None:
        self.records: dict[bytes, Record] = {}
        self.threshold = _ALL_KEYS
        self.halvings = 0
        self.get = self.records.get

    def add(self, key: bytes) -> Record | None:
        """The record of a key that is not known yet; None when it is not in the sample."""
        if key >= self.threshold:
            return None
        record = self.records[key] = Record(key, 1 << self.halvings)
        return record

    def remember(self, record: Record) -> None:
        """It is known, whether or not it has been forgotten."""
        self.records[record.key] = record

    def forget(self, record: Record) -> None:
        """It is not known any more, and no store of it counts."""
        del self.records[record.key]
        for stored in record.stores():
            stored.bits = 0
        record.stored = None
        record.mask = 0
        record.place = -1

    def thin(self) -> None:
        """Look at half as many new keys, and forget of the others about as many, less of those often asked for."""
        self.halvings += 1
        thresholds = [_threshold(halvings) for halvings in range(self.halvings + 1)]
        self.threshold = thresholds[-1]
        records = list(self.records.values())
        mean = sum(record.asked for record in records) / len(records) if records else 1.0
        for record in records:
            spared = max(0, int(record.asked / mean).bit_length() - 1)
            record.weight = max(record.weight, 1 << max(0, self.halvings - spared))
            if record.key >= thresholds[record.weight.bit_length() - 1]:
                self.forget(record)

    def weights_by_mask(self) -> dict[int, int]:
        """How many keys are in the same caches, by the mask of these."""
        weights: defaultdict[int, int] = defaultdict(int)
        for record in self.records.values():
            weights[record.mask] += record.weight
        return weights

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return f"<SampledKeys keys={len(self)} halvings={self.halvings}>"


def _threshold(halvings: int) -> bytes:
    return (1 << (64 - halvings)).to_bytes(8, "big") if halvings else _ALL_KEYS
