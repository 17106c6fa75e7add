"""What can still be said of a long run of values when only a few of them may be kept?

Nothing here draws at random: what is kept follows from digests (the same on every machine), so that one run of values
always leaves the same sketch.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from hashlib import blake2b
from itertools import compress
from math import fsum, inf, sqrt
from operator import itemgetter
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")
Key = TypeVar("Key", bound=Hashable)

EXACT_VALUES = 1000
"""Different values up to which their number is exact."""
KEPT_DIGESTS = 1024
DISTINCT_ERROR = 1 / sqrt(KEPT_DIGESTS - 2)
"""Relative standard error of an estimated number of different values: 3.1 %."""
KEPT_VALUES = 512
CROWDED = 1536
"""Counted values at which all but the most frequent `KEPT_VALUES` are forgotten."""
KEPT_EXTREMES = 3

WORD = 0xFFFF_FFFF_FFFF_FFFF
STEP = 0x9E37_79B9_7F4A_7C15
"""From the rank of one item of a row to that of the next: multiples of the golden ratio are spread evenly (Weyl)."""
_HIGHEST = b"\xff" * 9


def digest(text: str) -> bytes:
    """Eight bytes, the same on every machine; also of a text with half a surrogate pair, which JSON allows."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def digests(texts: Collection[str]) -> list[bytes]:
    """`digest` of each, written out: where all values differ this is a quarter of all work."""
    try:
        return [blake2b(text.encode(), digest_size=8).digest() for text in texts]
    except UnicodeEncodeError:
        return [digest(text) for text in texts]


def rank_of(number: int) -> int:
    """The place of a row in the order in which rows are sampled: SplitMix64 (Steele et al. 2014) of its number."""
    mixed = (number * STEP + 0x632B_E59B_D9B4_E019) & WORD
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58_476D_1CE4_E5B9) & WORD
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D0_49BB_1331_11EB) & WORD
    return mixed ^ (mixed >> 31)


class Cardinality:
    """About how many different digests came: k minimum values (Bar-Yossef et al. 2002, Beyer et al. 2007).

    Exact below `KEPT_DIGESTS`, then with a relative standard error of `DISTINCT_ERROR`.  Holds 8 bytes of digest, some
    100 with Python's share, for at most twice `KEPT_DIGESTS`.
    """

    __slots__ = ("_kept", "_limit")

    def __init__(self) -> None:
        self._kept: set[bytes] = set()
        self._limit = _HIGHEST

    def add(self, digests: Iterable[bytes]) -> None:
        """Digests from `digest`, each any number of times."""
        limit = self._limit
        self._kept.update([digest for digest in digests if digest < limit])
        if len(self._kept) >= 2 * KEPT_DIGESTS:
            lowest = self._lowest()
            self._kept = set(lowest)
            self._limit = lowest[-1]  # of those to come, only lower ones count

    def _lowest(self) -> list[bytes]:
        return sorted(self._kept)[:KEPT_DIGESTS]

    def estimate(self) -> float:
        """The number of different digests."""
        if len(self._kept) < KEPT_DIGESTS:
            return len(self._kept)
        share = (int.from_bytes(self._lowest()[-1], "big") + 1) / (WORD + 1)
        return (KEPT_DIGESTS - 1) / share


class Frequencies(Generic[Key]):
    """How often did each value come, and how many different ones were there?

    All exact up to `EXACT_VALUES` different values.  Beyond, `Cardinality` estimates how many there are, and the counts
    follow Misra and Gries (1982) with the cut of Agarwal et al. (2012): `counts[value]` is at most `error` too low,
    never too high, and `error` is at most one in `KEPT_VALUES` of all values.
    """

    __slots__ = ("_digests", "_distinct", "counts", "error", "total")

    def __init__(self, digests: Callable[[Collection[Key]], list[bytes]]) -> None:
        self.counts: Counter[Key] = Counter()
        self.error = 0
        self.total = 0
        self._digests = digests
        self._distinct: Cardinality | None = None

    def add(self, values: Sequence[Key]) -> list[Key]:
        """Count `values`; those that are not among the counted ones so far come back, each once."""
        counts = self.counts
        fresh = [value for value in dict.fromkeys(values) if value not in counts]
        counts.update(values)
        self.total += len(values)
        if self._distinct is not None:
            self._distinct.add(self._digests(fresh))
        elif len(counts) > EXACT_VALUES:
            self._distinct = Cardinality()
            self._distinct.add(self._digests(counts))
        if len(counts) > CROWDED:
            self._forget_the_rare()
        return fresh

    def _forget_the_rare(self) -> None:
        cut = sorted(self.counts.values(), reverse=True)[KEPT_VALUES]
        self.error += cut
        self.counts = Counter({value: count - cut for value, count in self.counts.items() if count > cut})

    @property
    def exact(self) -> bool:
        """Whether `distinct` is exact, and `counts` whole."""
        return self._distinct is None

    @property
    def distinct(self) -> int:
        """Different values; see `exact`."""
        if self._distinct is None:
            return len(self.counts)
        return min(max(round(self._distinct.estimate()), EXACT_VALUES + 1), self.total)


class Rows:
    """The rows that a run of values belongs to: their numbers, and their ranks in the order of sampling."""

    __slots__ = ("_order", "_ordered", "numbers", "ranks")

    def __init__(self, numbers: Sequence[int], ranks: Sequence[int]) -> None:
        self.numbers = numbers
        self.ranks = ranks
        self._order: list[int] = []
        self._ordered: list[int] = []

    @classmethod
    def numbered(cls, numbers: Sequence[int]) -> Rows:
        """Rows with the ranks that follow from their numbers."""
        return cls(numbers, list(map(rank_of, numbers)))

    def where(self, here: Sequence[bool]) -> Rows:
        """Some of them."""
        return Rows(list(compress(self.numbers, here)), list(compress(self.ranks, here)))

    def of_items(self, counts: Sequence[int]) -> Rows:
        """Each row as often as it has items, every item with a rank of its own."""
        numbers = [number for number, count in zip(self.numbers, counts, strict=True) for _ in range(count)]
        pairs = zip(self.ranks, counts, strict=True)
        return Rows(numbers, [(rank + at * STEP) & WORD for rank, count in pairs for at in range(count)])

    def lowest(self, limit: int) -> list[int]:
        """Where the ranks below `limit` stand.  They are sorted once, for many columns share the rows."""
        if not self._order:
            self._order = sorted(range(len(self.ranks)), key=self.ranks.__getitem__)
            self._ordered = [self.ranks[at] for at in self._order]
        return self._order[: bisect_left(self._ordered, limit)]


class Sample(Generic[Value]):
    """`size` values by chance, or all while there are fewer: those whose rows have the lowest ranks.

    Which ones are kept does not depend on the order in which they came.  Holds at most `2 * size`.
    """

    __slots__ = ("_kept", "_limit", "_made", "_size")

    def __init__(self, size: int, made: Callable[[Any], Value]) -> None:
        self._size = size
        self._made = made
        self._kept: list[tuple[int, Value]] = []
        self._limit = WORD + 1

    def add(self, values: Sequence[Any], rows: Rows) -> None:
        """Values and their rows; what is kept of one is what `made` makes of it."""
        ranks, made = rows.ranks, self._made
        self._kept += [(ranks[at], made(values[at])) for at in rows.lowest(self._limit)]
        if len(self._kept) >= 2 * self._size:
            self._cut()
            self._limit = self._kept[-1][0]

    def _cut(self) -> None:
        self._kept.sort(key=itemgetter(0))  # values need no order
        del self._kept[self._size :]

    def values(self) -> list[Value]:
        """The sample, in the order of the ranks."""
        self._cut()
        return [value for _, value in self._kept]


class Moments:
    """Mean and standard deviation, merged batch by batch (Chan et al. 1979, the batched form of Welford 1962)."""

    __slots__ = ("_squares", "count", "mean")

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0

    def add(self, values: Sequence[float]) -> None:
        """At least one value, none so large that its square is no float."""
        count = len(values)
        mean = fsum(values) / count
        squares = fsum([(value - mean) * (value - mean) for value in values])
        total = self.count + count
        step = mean - self.mean
        self._squares += squares + step * step * self.count * count / total
        self.mean += step * count / total
        self.count = total

    @property
    def standard_deviation(self) -> float:
        """Of the values seen as the whole population; 0 for fewer than two."""
        return sqrt(self._squares / self.count) if self.count > 1 else 0.0


class Extremes:
    """The `KEPT_EXTREMES` lowest and highest different keys: `low[key]` is the first row with it, and its label."""

    __slots__ = ("_highest", "_label", "_lowest", "high", "low")

    def __init__(self, label: Callable[[Any], str]) -> None:
        self.low: dict[float, tuple[int, str]] = {}
        self.high: dict[float, tuple[int, str]] = {}
        self._label = label
        self._lowest = inf  # a key below it belongs to `low`
        self._highest = -inf

    def add(self, keys: Sequence[float], values: Sequence[Any], rows: Rows) -> None:
        """At least one key, with the values that `label` makes labels of, and their rows."""
        if min(keys) < self._lowest:
            new = {key for key in keys if key < self._lowest} - self.low.keys()
            self._keep(self.low, sorted(new), keys, values, rows)
            for key in sorted(self.low)[KEPT_EXTREMES:]:
                del self.low[key]
            self._lowest = max(self.low) if len(self.low) == KEPT_EXTREMES else inf
        if max(keys) > self._highest:
            new = {key for key in keys if key > self._highest} - self.high.keys()
            self._keep(self.high, sorted(new, reverse=True), keys, values, rows)
            for key in sorted(self.high, reverse=True)[KEPT_EXTREMES:]:
                del self.high[key]
            self._highest = min(self.high) if len(self.high) == KEPT_EXTREMES else -inf

    def _keep(
        self,
        known: dict[float, tuple[int, str]],
        new: Sequence[float],
        keys: Sequence[float],
        values: Sequence[Any],
        rows: Rows,
    ) -> None:
        for key in new[:KEPT_EXTREMES]:
            at = keys.index(key)
            known[key] = (rows.numbers[at], self._label(values[at]))
