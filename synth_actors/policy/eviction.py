"""Which entry goes first when there is no room?

An order is told of every entry that comes, is used, and goes, and names the one that deserves least to stay.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Protocol

from sortedcontainers import SortedList

from synth_actors.policy.cache_entry import Entry

UNSETTLED_AT_MOST: Final = 200
"""After so many hits and removals the lowest may no longer stand rightly, and a store should not have to see to all."""


class Order(Protocol):
    """Sets `touched` and `priority` of the entries it is told of."""

    def add(self, entry: Entry) -> None: ...
    def touch(self, entry: Entry) -> None: ...
    def remove(self, entry: Entry) -> None: ...
    def clear(self) -> None: ...

    def coldest(self) -> Entry:
        """The entry that goes first; the order must not be empty."""

    def evicted(self, entry: Entry) -> None:
        """The coldest entry goes now, to make room."""

    def settle(self, limit: int, /) -> int:
        """Do at most `limit` steps of the sorting that was put off; how many were done."""

    @property
    def is_unsettled(self) -> bool:
        """Whether so much sorting was put off that some of it should be done before the next store."""


class LeastRecentlyUsed:
    """What was used longest ago goes first.  `entries` is the index's own, which is kept in that order."""

    is_unsettled: Final = False

    def __init__(self, entries: OrderedDict[bytes, Entry]) -> None:
        self._entries = entries
        self._tick = 0

    def add(self, entry: Entry) -> None:
        """It is in `entries` already, as the last."""
        entry.touched = self._tick = self._tick + 1

    def touch(self, entry: Entry) -> None:
        """Becomes the last; 0.1 us."""
        entry.touched = self._tick = self._tick + 1
        self._entries.move_to_end(entry.key)

    def remove(self, entry: Entry) -> None:
        """`entries` knows."""

    def clear(self) -> None:
        """`entries` knows."""

    def coldest(self) -> Entry:
        """The first."""
        return next(iter(self._entries.values()))

    def evicted(self, entry: Entry) -> None:
        """Nothing depends on it."""

    def settle(self, _limit: int, /) -> int:
        """Always settled."""
        return 0


class GreedyDualSizeFrequency:
    """What would save least for the room it takes goes first.

    An entry's priority is L + frequency x worth / size as of its last use, with L the priority of the entry that was
    evicted last, so that what was worth much long ago goes at last; between equal priorities the one used longest ago
    goes.  Without any worth this is LRU.  Cherkasova, "Improving WWW Proxies Performance with Greedy-Dual-Size-
    Frequency Caching Policy", HP Laboratories 1998.  A hit changes only the entry's own figures; they can only rise, so
    the entry is sorted again when it is the lowest of all, and the order stays exact.

    The worth of an entry is its tokens if `by_tokens`, else its dollars, nothing if they are unknown.  `entries` is the
    index's own.  `fair_bytes` is the share of the bytes that each entry may have when the cache is full of
    entries: one that is smaller takes that much room all the same, because it takes a place.  (The dominant share of
    two resources: Ghodsi et al., "Dominant Resource Fairness", NSDI 2011.)
    """

    def __init__(self, entries: dict[bytes, Entry], *, by_tokens: bool, fair_bytes: float) -> None:
        self._entries = entries
        self._by_tokens = by_tokens
        self._fair_bytes = fair_bytes
        self._floor = 0.0
        self._tick = 0
        self._sorted: SortedList[tuple[float, int, bytes]] = SortedList()
        self._unsettled = 0  # hits and removals since the lowest was known to stand rightly

    def add(self, entry: Entry) -> None:
        """Sort it in."""
        worth = entry.tokens if self._by_tokens else entry.cost_usd
        entry.touched = self._tick = self._tick + 1
        entry.density = worth / max(entry.size_bytes, self._fair_bytes) if worth else 0.0
        entry.priority = self._floor + entry.density
        self._sort_in(entry)

    def touch(self, entry: Entry) -> None:
        """Used once more; 0.2 us."""
        entry.touched = self._tick = self._tick + 1
        entry.frequency = frequency = entry.frequency + 1
        entry.priority = self._floor + frequency * entry.density
        self._unsettled += 1

    def remove(self, entry: Entry) -> None:
        """It has gone, for whatever reason."""
        self._sorted.remove(entry.ranked)
        self._unsettled += 1
        entry.ranked = None

    def clear(self) -> None:
        """All have gone."""
        self._sorted.clear()
        self._unsettled = 0

    def coldest(self) -> Entry:
        """The one of the lowest priority."""
        while not self._settle_lowest():
            pass
        return self._entries[self._sorted[0][2]]

    def evicted(self, entry: Entry) -> None:
        """Its priority is what all that come or are used from now on start from."""
        self._floor = entry.priority

    def settle(self, limit: int, /) -> int:
        """Sort again what has risen and is still among the lowest."""
        for done in range(limit):
            if not self._sorted or self._settle_lowest():
                self._unsettled = 0
                return done
        return limit

    @property
    def is_unsettled(self) -> bool:
        """The lowest may not stand rightly, nor the next ones, nor the next."""
        return self._unsettled > UNSETTLED_AT_MOST

    def _settle_lowest(self) -> bool:
        """Whether the lowest stands rightly; else it is sorted again."""
        _priority, touched, key = self._sorted[0]
        entry = self._entries[key]
        if entry.touched == touched:
            return True
        del self._sorted[0]
        self._sort_in(entry)
        return False

    def _sort_in(self, entry: Entry) -> None:
        entry.ranked = (entry.priority, entry.touched, entry.key)
        self._sorted.add(entry.ranked)

    def __repr__(self) -> str:
        return f"<GreedyDualSizeFrequency {len(self._sorted)} entries above {self._floor:g}>"
