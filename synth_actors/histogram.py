"""How are durations counted, so that any percentile of them is right to a thousandth?

High Dynamic Range histograms (Gil Tene, hdrhistogram.org) of 1 us to 1 h with 3 significant digits.  The buckets are
those of the `hdrhistogram` package, which the exporters write files with; how they are kept stands in `bucket_counts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from synth_actors.bucket_counts import (
    EXACT_BELOW_US,
    BucketCounts,
    highest_equivalent,
    index_of,
    lowest_equivalent,
)

__all__ = ["EXACT_BELOW_US", "Histogram", "LatencySummary", "highest_equivalent", "lowest_equivalent"]

HIGHEST_S = 3600.0
SIGNIFICANT_DIGITS = 3
US_PER_S = 1_000_000
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


class _Lazy:
    __slots__ = ("_buckets",)

    _buckets: BucketCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram(_Lazy):
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

    @classmethod
    def of(cls, buckets: BucketCounts, *, total_s: float, max_s: float, out_of_range: int) -> Histogram:
        """The same of counts that were kept; `lowest_us` and `counts` are made when somebody reads them."""
        made = object.__new__(cls)
        made._set(_buckets=buckets, total_s=total_s, max_s=max_s, out_of_range=out_of_range)
        return made

    def __getattr__(self, name: str) -> Any:
        """What was not made so far: with a hundred series it is much, and most readers want something else."""
        if name == "_buckets":
            pairs = zip(self.lowest_us, self.counts, strict=True)
            self._set(_buckets=BucketCounts.of({index_of(low): count for low, count in pairs}))
        elif name in ("lowest_us", "counts"):
            used = list(self._buckets.used())
            self._set(lowest_us=tuple(low for low, _ in used), counts=tuple(count for _, count in used))
        else:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return object.__getattribute__(self, name)

    def _set(self, **fields: Any) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @property
    def count(self) -> int:
        """How many samples."""
        return self._buckets.count

    def percentile_s(self, share: float) -> float:
        """The value at the nearest rank that covers `share` (0.0 to 1.0) of the samples, in seconds; 0.0 without any.

        It is the upper end of the bucket: at most 0.1 % above the sample of that rank, or half a microsecond beside it.
        """
        return self.percentiles_s((share,))[0]

    def percentiles_s(self, shares: Sequence[float]) -> list[float]:
        """`percentile_s` of several shares, in one walk."""
        return _percentiles_s(self._buckets, self.max_s, shares)

    def summary(self) -> LatencySummary:
        """Count, mean, percentiles, maximum."""
        return summarise(self._buckets, self.total_s, self.max_s, self.out_of_range)

    def at_most(self, bounds_s: Sequence[float]) -> list[int]:
        """How many samples are not above each of the `bounds_s` (0.0 or more), to the resolution of a bucket.

        A bucket that a bound falls into counts when its lowest value is not above the bound.
        """
        return self._buckets.at_most(int(min(bound, HIGHEST_S) * US_PER_S + 0.5) for bound in bounds_s)

    def minus(self, earlier: Histogram) -> Histogram:
        """What came after `earlier`, which is an earlier state of this one.

        Raises:
            ValueError: `earlier` holds samples that this one does not.
        """
        try:
            left = self._buckets.minus(earlier._buckets)
        except OverflowError as exc:
            raise ValueError("the other histogram is no earlier state of this one") from exc
        return Histogram.of(
            left,
            total_s=max(0.0, self.total_s - earlier.total_s) if left.count else 0.0,
            max_s=min(self.max_s, left.highest_us() / US_PER_S),
            out_of_range=self.out_of_range - earlier.out_of_range,
        )

    @staticmethod
    def sum_of(parts: Iterable[Histogram]) -> Histogram:
        """All samples of `parts` together."""
        buckets = NO_SAMPLES._buckets
        total_s = max_s = 0.0
        out_of_range = 0
        for part in parts:
            buckets = part._buckets.plus(buckets)
            total_s += part.total_s
            max_s = max(max_s, part.max_s)
            out_of_range += part.out_of_range
        return Histogram.of(buckets, total_s=total_s, max_s=max_s, out_of_range=out_of_range)


NO_SAMPLES = Histogram()


def summarise(buckets: BucketCounts, total_s: float, max_s: float, out_of_range: int) -> LatencySummary:
    """The summary of these buckets; see `Histogram`."""
    count = buckets.count
    if not count:
        return LatencySummary(out_of_range=out_of_range)
    p50_s, p95_s, p99_s, p999_s = _percentiles_s(buckets, max_s, _MARKS)
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


def _percentiles_s(buckets: BucketCounts, max_s: float, shares: Sequence[float]) -> list[float]:
    """The values at the nearest ranks, each the upper end of its bucket; 0.0 without samples.

    The `hdrhistogram` package rounds ranks, which at small counts puts p95 below the only slow sample.
    """
    count = buckets.count
    if not count:
        return [0.0] * len(shares)
    ranks = [min(max(1, _rank(count, share)), count) for share in shares]
    return [min(highest_equivalent(low_us) / US_PER_S, max_s) for low_us in buckets.at_ranks(ranks)]


def _rank(count: int, share: float) -> int:
    """The smallest whole rank that covers `share`; a millionth of a rank is an error of floating point."""
    exact = count * share
    whole = int(exact)
    return whole if exact - whole < 1e-6 else whole + 1
