"""How are durations counted, so that any percentile of them is right to a thousandth?

High Dynamic Range histograms (Gil Tene, hdrhistogram.org) of 1 us to 1 h with 3 significant digits.  The buckets are
those of the `hdrhistogram` package, which the exporters write files with; the counts are kept sparsely, since a dense
array takes 190 kB a series and most of it is never used.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

HIGHEST_S = 3600.0
SIGNIFICANT_DIGITS = 3
EXACT_BELOW_US = 2048  # 3 digits need 2048 steps in each power of two; below that every microsecond has its own
US_PER_S = 1_000_000
_STEP_BITS = EXACT_BELOW_US.bit_length() - 1
_MARKS = (0.5, 0.95, 0.99, 0.999)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySummary:
    """Percentiles of one series in seconds, from an HDR histogram of 1 us to 1 h with 3 significant digits."""

    count: int = 0
    mean_s: float = 0.0
    p50_s: float = 0.0
    p95_s: float = 0.0
    p99_s: float = 0.0
    p999_s: float = 0.0
    max_s: float = 0.0
    out_of_range: int = 0  # samples below 0 or above 1 h: counted here, in no percentile


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Durations by bucket, at one moment or between two.

    `counts[i]` samples fell into the bucket whose lowest value is `lowest_us[i]` microseconds; only buckets that are in
    use are there, in rising order.  `total_s` is the exact sum of the samples, `max_s` the exact largest one, between
    two moments the upper end of its bucket.
    """

    lowest_us: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()
    total_s: float = 0.0
    max_s: float = 0.0
    out_of_range: int = 0

    @property
    def count(self) -> int:
        """How many samples."""
        return sum(self.counts)

    def percentile_s(self, share: float) -> float:
        """The value at the nearest rank that covers `share` (0.0 to 1.0) of the samples, in seconds; 0.0 without any.

        It is the upper end of the bucket: at most 0.1 % above the sample of that rank, or half a microsecond beside it.
        """
        return self.percentiles_s((share,))[0]

    def percentiles_s(self, shares: Sequence[float]) -> list[float]:
        """`percentile_s` of several shares, in one walk."""
        return percentiles_s(self.lowest_us, self.counts, self.max_s, shares)

    def summary(self) -> LatencySummary:
        """Count, mean, percentiles, maximum."""
        return summarise(self.lowest_us, self.counts, self.total_s, self.max_s, self.out_of_range)

    def at_most(self, bounds_s: Sequence[float]) -> list[int]:
        """How many samples are not above each of the rising `bounds_s`, to the resolution of a bucket.

        A bucket that a bound falls into counts when its lowest value is not above the bound.
        """
        running = [0, *accumulate(self.counts)]
        return [running[bisect_right(self.lowest_us, int(bound * US_PER_S + 0.5))] for bound in bounds_s]

    def minus(self, earlier: Histogram) -> Histogram:
        """What came after `earlier`, which is an earlier state of this one.

        Raises:
            ValueError: `earlier` holds samples that this one does not.
        """
        before = dict(zip(earlier.lowest_us, earlier.counts, strict=True))
        left = {low: n - before.pop(low, 0) for low, n in zip(self.lowest_us, self.counts, strict=True)}
        if before or min(left.values(), default=0) < 0:
            raise ValueError("the other histogram is no earlier state of this one")
        last = max((low for low, count in left.items() if count), default=0)
        max_s = min(self.max_s, highest_equivalent(last) / US_PER_S)
        return _of(left, self.total_s - earlier.total_s, max_s, self.out_of_range - earlier.out_of_range)

    @staticmethod
    def sum_of(parts: Iterable[Histogram]) -> Histogram:
        """All samples of `parts` together."""
        counts: dict[int, int] = {}
        total_s = max_s = 0.0
        out_of_range = 0
        for part in parts:
            for low, count in zip(part.lowest_us, part.counts, strict=True):
                counts[low] = counts.get(low, 0) + count
            total_s += part.total_s
            max_s = max(max_s, part.max_s)
            out_of_range += part.out_of_range
        return _of(counts, total_s, max_s, out_of_range)


NO_SAMPLES = Histogram()


def _of(counts: Mapping[int, int], total_s: float, max_s: float, out_of_range: int) -> Histogram:
    used = sorted(low for low, count in counts.items() if count)
    return Histogram(
        lowest_us=tuple(used),
        counts=tuple(counts[low] for low in used),
        total_s=max(0.0, total_s) if used else 0.0,
        max_s=max_s,
        out_of_range=out_of_range,
    )


def summarise(
    lowest_us: Sequence[int], counts: Sequence[int], total_s: float, max_s: float, out_of_range: int
) -> LatencySummary:
    """The summary of these buckets; see `Histogram`."""
    count = sum(counts)
    if not count:
        return LatencySummary(out_of_range=out_of_range)
    p50_s, p95_s, p99_s, p999_s = percentiles_s(lowest_us, counts, max_s, _MARKS)
    return LatencySummary(
        count=count,
        mean_s=total_s / count,
        p50_s=p50_s,
        p95_s=p95_s,
        p99_s=p99_s,
        p999_s=p999_s,
        max_s=max_s,
        out_of_range=out_of_range,
    )


def percentiles_s(
    lowest_us: Sequence[int], counts: Sequence[int], max_s: float, shares: Sequence[float]
) -> list[float]:
    """The values at the nearest ranks, each the upper end of its bucket; 0.0 without samples.

    The `hdrhistogram` package rounds ranks, which at small counts puts p95 below the only slow sample, and walks all
    23,552 counters in Python: 1.6 ms each.  This walks once, in C, over the buckets that are in use.
    """
    running = list(accumulate(counts))
    if not running or not running[-1]:
        return [0.0] * len(shares)
    ranks = (max(1, _rank(running[-1], share)) for share in shares)
    places = (min(bisect_left(running, rank), len(running) - 1) for rank in ranks)
    return [min(highest_equivalent(lowest_us[place]) / US_PER_S, max_s) for place in places]


def _rank(count: int, share: float) -> int:
    """The smallest whole rank that covers `share`; a millionth of a rank is an error of floating point."""
    exact = count * share
    whole = int(exact)
    return whole if exact - whole < 1e-6 else whole + 1


def lowest_equivalent(value_us: int) -> int:
    """The lower end of the bucket that `value_us` falls into."""
    if value_us < EXACT_BELOW_US:
        return value_us
    shift = value_us.bit_length() - _STEP_BITS
    return value_us >> shift << shift


def highest_equivalent(value_us: int) -> int:
    """The upper end of the bucket that `value_us` falls into."""
    if value_us < EXACT_BELOW_US:
        return value_us
    shift = value_us.bit_length() - _STEP_BITS
    return (value_us >> shift << shift) + (1 << shift) - 1
