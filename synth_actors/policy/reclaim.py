"""Which segments are given back when memory is short, and which of their entries go?

Evicting in the exact order of the policy frees bytes in every segment and hardly a whole one.  So a cut-off is chosen
from a sample: the rank below which lie about as many bytes as are wanted, and somewhat more.  Then segments are
emptied, those first that give back most: what is colder than the cut-off is evicted, what is hotter is copied out.  The
work is an iterator of small steps, so that it can be spread over many turns between which entries come and go.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from synth_actors.policy.cache_entry import ENTRY_OVERHEAD_BYTES, Entry, Rank, Segment, in_pages, rank_of
from synth_actors.policy.segments import Segments, touches_to_copy, touches_to_release

SAMPLES_PER_SEGMENT: Final = 8
SAMPLES_AT_MOST: Final = 1024
"""Of one survey: they are sorted in one go."""

SORTED_IN_A_STEP: Final = 10
"""Sorting so many samples takes as long as touching an entry."""


SLACK: Final = 1.25
"""So much more than is wanted lies below the cut-off, so that the segments with the fewest cold entries need not be
emptied.  A higher one saves copying and evicts more out of order."""

COUNTED_IN_A_STEP: Final = 10


class Reclaimable(Protocol):
    """What the index offers to this work."""

    @property
    def footprint_bytes(self) -> int:
        """What the cache really occupies."""

    @property
    def segments(self) -> Segments:
        """Where its values lie."""

    def evict_for_memory(self, entry: Entry) -> None:
        """Let an entry go."""

    def move(self, entry: Entry) -> None:
        """Copy an entry's value out of its segment; if there is no memory even for that, let it go."""

    def settle(self, limit: int) -> int:
        """Do so much of the sorting that `coldest_rank` needs; how much was done."""

    def coldest_rank(self) -> Rank | None:
        """The rank of the entry that would go first, None without entries."""


class Sample(NamedTuple):
    """An entry, and the bytes of entries of its segment for which it stands, what they cost beside it included."""

    rank: Rank
    stands_for_bytes: float
    segment: Segment


def cut_off(samples: Sequence[Sample], share: float) -> Rank | None:
    """The rank up to which entries must go for this share of the bytes; None if none, the highest if all must go."""
    if share <= 0 or not samples:
        return None
    wanted_bytes = share * sum(sample.stands_for_bytes for sample in samples)
    below = 0.0
    by_rank = sorted(samples, key=lambda sample: sample.rank)
    for sample in by_rank:
        below += sample.stands_for_bytes
        if below >= wanted_bytes:
            return sample.rank
    return by_rank[-1].rank


def in_order_of_gain(segments: Sequence[Segment], samples: Sequence[Sample], coldest: Rank | None) -> list[Segment]:
    """Those first that give back the largest share of what they hold: dead, or not above the rank.

    Of equal ones, those that give back all they hold above all, the coldest first: a segment of entries that were
    copied long ago is young itself, and if it were left until last, all that goes would go before something colder.
    Segments of which there is no sample come last.
    """
    gains: dict[Segment, float] = {}
    totals: dict[Segment, float] = {}
    lowest: dict[Segment, Rank] = {}
    for rank, bytes_, segment in samples:
        totals[segment] = totals.get(segment, segment.dead_bytes) + bytes_
        is_cold = coldest is not None and rank <= coldest
        gains[segment] = gains.get(segment, segment.dead_bytes) + (bytes_ if is_cold else 0)
        lowest[segment] = min(rank, lowest.get(segment, rank))
    known = (segment for segment in segments if segment in gains)
    unknown = [segment for segment in segments if segment not in gains]
    return sorted(known, key=lambda segment: (-gains[segment] / totals[segment], lowest[segment])) + unknown


class Evicted:
    """The ranks of what was evicted, in 16 bytes each: memory is short just now."""

    __slots__ = ("_priorities", "_touches")

    def __init__(self) -> None:
        self._priorities = array("d")
        self._touches = array("q")

    def add(self, rank: Rank) -> None:
        """One more."""
        self._priorities.append(rank[0])
        self._touches.append(rank[1])

    def take(self, limit: int) -> list[Rank]:
        """At most so many of them, which are forgotten."""
        ranks = list(zip(self._priorities[-limit:], self._touches[-limit:], strict=True))
        del self._priorities[-limit:], self._touches[-limit:]
        return ranks

    def __len__(self) -> int:
        return len(self._priorities)


class Reclaim:
    """One shrink of `index` until it occupies no more than `target_bytes`.

    Its steps give how many entries they have touched, or what took as long.  `evicted` are those of the shrink that it
    takes the place of; `out_of_order` counts those that turned out to be so at the end.
    """

    def __init__(self, index: Reclaimable, target_bytes: int, evicted: Evicted) -> None:
        self._index = index
        self._target_bytes = target_bytes
        self.evicted = evicted
        self.out_of_order = 0
        self._spares = True  # what is colder than the cut-off, as long as copying seems to be enough

    def steps(self) -> Iterator[int]:
        """Does the work, which may be given up after any step."""
        index = self._index
        litter_bytes = index.segments.dead_bytes  # the first round may find enough without evicting anybody
        while self._is_above():
            samples: list[Sample] = []
            yield from self._survey(samples)
            live_bytes = index.footprint_bytes - index.segments.dead_bytes
            if not live_bytes:  # nothing is left, or it has gone meanwhile
                break
            wanted_bytes = index.footprint_bytes - self._target_bytes - litter_bytes
            coldest = cut_off(samples, SLACK * wanted_bytes / live_bytes)
            segments = in_order_of_gain(tuple(index.segments), samples, coldest)
            yield (len(samples) + len(segments)) // SORTED_IN_A_STEP
            evicted_before = len(self.evicted)
            for segment in segments:
                if not self._is_above():
                    break
                yield from self._empty(segment, coldest)
            # Copied values may take more pages than they left.  A round that only copied is not done again.
            self._spares = litter_bytes > 0 or len(self.evicted) > evicted_before
            litter_bytes = 0
        yield from self._count_out_of_order()

    def _is_above(self) -> bool:
        return self._index.footprint_bytes > self._target_bytes

    def _survey(self, samples: list[Sample]) -> Iterator[int]:
        segments = tuple(self._index.segments)
        if not segments:
            return
        each = max(1, min(SAMPLES_PER_SEGMENT, SAMPLES_AT_MOST // len(segments)))
        for segment in segments[:: -(-len(segments) // SAMPLES_AT_MOST)]:
            count = len(segment.entries)
            picked = [segment.entries[number * count // each] for number in range(each)] if count else []
            bytes_each = (segment.live_bytes + count * ENTRY_OVERHEAD_BYTES) / each
            for entry in picked:
                samples.append(Sample(rank_of(entry), bytes_each, segment))
                yield 1

    def _empty(self, segment: Segment, coldest: Rank | None) -> Iterator[int]:
        index = self._index
        index.segments.seal(segment)
        while segment.entries:
            entry = segment.entries[-1]
            rank = rank_of(entry)
            if coldest is not None and rank <= coldest and not (self._spares and self._is_enough_without(segment)):
                self.evicted.add(rank)
                index.evict_for_memory(entry)
                yield touches_to_release(entry.value_bytes)
            else:
                index.move(entry)
                yield touches_to_copy(entry.value_bytes)

    def _is_enough_without(self, segment: Segment) -> bool:
        """Whether the target is reached, by the look of it, if all that lives in the segment is copied out."""
        freed_bytes = segment.resident_bytes - in_pages(segment.live_bytes)
        return self._index.footprint_bytes - freed_bytes <= self._target_bytes

    def _count_out_of_order(self) -> Iterator[int]:
        while self._index.settle(1):
            yield 1
        staying = self._index.coldest_rank()
        if staying is None:
            return
        while part := self.evicted.take(COUNTED_IN_A_STEP):
            self.out_of_order += sum(rank > staying for rank in part)
            yield 1
