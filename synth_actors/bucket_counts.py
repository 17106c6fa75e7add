"""How many samples fell into which bucket, so that a copy of the counts costs next to nothing?

The buckets are those of HDR histograms of 1 us to 1 h with 3 significant digits: every microsecond below 2,048, then
1,024 buckets in each power of two.  The counters of a power of two are a block, and blocks that nothing fell into are
all the same one: a dense array takes 190 kB a series, and most of it is never used.  A copy shares the blocks, and
whoever counts on copies a block before it changes it.  The sums of short runs of counters are kept beside them, so that
a percentile is found in two short walks.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from operator import add, sub
from typing import TypeAlias

EXACT_BELOW_US = 2048  # 3 digits need 2048 steps in each power of two; below that every microsecond has its own
_STEP_BITS = EXACT_BELOW_US.bit_length() - 1
_HALF_BITS = _STEP_BITS - 1
_BLOCK_BITS = 10  # not less: Python's garbage collector looks at each block
_BLOCK = 1 << _BLOCK_BITS
_RUN_BITS = 7  # about the square root of all: so many sums are walked through, and so many counters
_RUN = 1 << _RUN_BITS
_RUNS_BITS = _BLOCK_BITS - _RUN_BITS
_HIGHEST_US = 3_600_000_000

Block: TypeAlias = "array[int]"


def index_of(value_us: int) -> int:
    """The number of the bucket that `value_us` falls into, counted from 0."""
    if value_us < EXACT_BELOW_US:
        return value_us
    shift = value_us.bit_length() - _STEP_BITS
    return (shift << _HALF_BITS) + (value_us >> shift)


def lowest_of(index: int) -> int:
    """The lower end of bucket number `index`, in microseconds."""
    if index < EXACT_BELOW_US:
        return index
    shift = (index >> _HALF_BITS) - 1
    return (index - (shift << _HALF_BITS)) << shift


def lowest_equivalent(value_us: int) -> int:
    """The lower end of the bucket that `value_us` falls into."""
    return lowest_of(index_of(value_us))


def highest_equivalent(value_us: int) -> int:
    """The upper end of the bucket that `value_us` falls into."""
    if value_us < EXACT_BELOW_US:
        return value_us
    shift = value_us.bit_length() - _STEP_BITS
    return (value_us >> shift << shift) + (1 << shift) - 1


_BLOCKS = (index_of(_HIGHEST_US) >> _BLOCK_BITS) + 1
_RUNS = _BLOCKS << _RUNS_BITS
_NOTHING: Block = array("Q", bytes(8 * _BLOCK))  # never written to


class BucketCounts:
    """Samples by bucket, at one moment; it never changes."""

    __slots__ = ("_blocks", "_sums", "count")

    def __init__(self, blocks: Sequence[Block], sums: Sequence[int], count: int) -> None:
        self._blocks = blocks
        self._sums = sums
        self.count = count

    @staticmethod
    def of(counts: Mapping[int, int]) -> BucketCounts:
        """`counts` by number of the bucket."""
        growing = GrowingCounts()
        growing.add(counts)
        return growing.copy()

    def used(self) -> Iterator[tuple[int, int]]:
        """The lowest value in microseconds and the count of each bucket that has one, in rising order."""
        for run, total in enumerate(self._sums):
            if total:
                first = run << _RUN_BITS
                yield from ((lowest_of(first + place), count) for place, count in enumerate(self._run(run)) if count)

    def _run(self, run: int) -> Block:
        start = run << _RUN_BITS & _BLOCK - 1
        return self._blocks[run >> _RUNS_BITS][start : start + _RUN]

    def at_ranks(self, ranks: Iterable[int]) -> list[int]:
        """The lowest values, in microseconds, of the buckets with these samples (1 is the smallest, `count` the last).

        The `hdrhistogram` package walks all 23,552 counters in Python for that: 1.6 ms each.
        """
        so_far = list(accumulate(self._sums))
        return [self._at_rank(rank, so_far) for rank in ranks]

    def _at_rank(self, rank: int, so_far: list[int]) -> int:
        run = bisect_left(so_far, rank)
        place = bisect_left(list(accumulate(self._run(run))), rank - so_far[run] + self._sums[run])
        return lowest_of((run << _RUN_BITS) + place)

    def at_most(self, values_us: Iterable[int]) -> list[int]:
        """How many samples lie in the bucket of each value or below it."""
        so_far = [0, *accumulate(self._sums)]
        return [self._up_to(index_of(value), so_far) for value in values_us]

    def _up_to(self, index: int, so_far: list[int]) -> int:
        within, run = index & _BLOCK - 1, index >> _RUN_BITS
        start = within & -_RUN
        return so_far[run] + sum(self._blocks[run >> _RUNS_BITS][start : within + 1])

    def highest_us(self) -> int:
        """The upper end of the last bucket that has a sample, in microseconds; 0 without any."""
        return highest_equivalent(self.at_ranks((self.count,))[0]) if self.count else 0

    def minus(self, earlier: BucketCounts) -> BucketCounts:
        """What came after `earlier`.

        Raises:
            OverflowError: there are buckets in which it has more.
        """
        return self._with(earlier, sub, self.count - earlier.count)

    def plus(self, other: BucketCounts) -> BucketCounts:
        """Both together."""
        return self._with(other, add, self.count + other.count)

    def _with(self, other: BucketCounts, operation: Callable[[int, int], int], count: int) -> BucketCounts:
        blocks = list(self._blocks)
        for number, theirs in enumerate(other._blocks):
            if theirs is _NOTHING:
                continue
            if operation is sub and blocks[number] is theirs:  # nothing fell into it meanwhile
                blocks[number] = _NOTHING
            else:
                blocks[number] = array("Q", map(operation, blocks[number], theirs))
        return BucketCounts(blocks, list(map(operation, self._sums, other._sums)), count)

    def __repr__(self) -> str:
        used = sum(block is not _NOTHING for block in self._blocks)
        return f"<{type(self).__name__} count={self.count} blocks={used}/{_BLOCKS}>"


class GrowingCounts(BucketCounts):
    """Samples by bucket, so far."""

    __slots__ = ("_own",)

    _blocks: list[Block]
    _sums: list[int]

    def __init__(self) -> None:
        super().__init__([_NOTHING] * _BLOCKS, [0] * _RUNS, 0)
        self._own: set[int] = set()  # the blocks that no copy shares

    def add(self, counts: Mapping[int, int]) -> None:
        """Add `counts` by number of the bucket."""
        blocks, sums, own = self._blocks, self._sums, self._own
        for index, count in counts.items():
            number = index >> _BLOCK_BITS
            if number not in own:
                blocks[number] = blocks[number][:]
                own.add(number)
            blocks[number][index & _BLOCK - 1] += count
            sums[index >> _RUN_BITS] += count
        self.count += sum(counts.values())

    def copy(self) -> BucketCounts:
        """The counts of this moment."""
        self._own.clear()
        return BucketCounts(tuple(self._blocks), tuple(self._sums), self.count)
