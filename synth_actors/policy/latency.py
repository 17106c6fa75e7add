"""How long do things take?

High Dynamic Range histograms (Gil Tene, hdrhistogram.org) of 1 us to 1 h with 3 significant digits: whatever number of
samples, a percentile is at most 0.1 % above the sample that has its rank, or half a microsecond beside it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from synth_actors.snapshot import LatencySummary

HIGHEST_S = 3600.0
SIGNIFICANT_DIGITS = 3
EXACT_BELOW_US = 2048  # 3 digits need 2048 steps in each power of two; below that every microsecond has its own
_STEP_BITS = EXACT_BELOW_US.bit_length() - 1
_US_PER_S = 1_000_000


class LatencySeries:
    """One series of durations in seconds.

    The histogram is made with the first sample.  Count, mean and maximum are exact; samples that are negative, above
    one hour or no numbers at all stand in no percentile and are counted as `out_of_range`.
    """

    __slots__ = ("_histogram", "_max_s", "_min_s", "_out_of_range", "_summary", "_total_s")

    def __init__(self) -> None:
        self._histogram: Any = None
        self._out_of_range = 0
        self._total_s = 0.0
        self._min_s = HIGHEST_S
        self._max_s = 0.0
        self._summary: LatencySummary | None = LatencySummary()

    @property
    def histogram(self) -> Any:
        """The `hdrh.histogram.HdrHistogram` of microseconds, for exporters; None before the first sample."""
        return self._histogram

    def record_many(self, samples: Sequence[float]) -> None:
        """Add samples.  Equal buckets are counted first, since one `record_value` costs more than that."""
        if not samples:
            return
        self._summary = None
        valid = [sample for sample in samples if 0.0 <= sample <= HIGHEST_S]
        self._out_of_range += len(samples) - len(valid)
        if not valid:
            return
        self._total_s += sum(valid)
        self._min_s = min(self._min_s, min(valid))
        self._max_s = max(self._max_s, max(valid))
        self._record(Counter([_lowest_equivalent(int(sample * _US_PER_S + 0.5)) for sample in valid]))

    def summary(self) -> LatencySummary:
        """The percentiles so far; remembered until the next sample."""
        if self._summary is None:
            self._summary = self._summarise()
        return self._summary

    def _record(self, counts: Counter[int]) -> None:
        if self._histogram is None:
            from hdrh.histogram import HdrHistogram  # late: it is only needed once there is something to measure

            self._histogram = HdrHistogram(1, int(HIGHEST_S) * _US_PER_S, SIGNIFICANT_DIGITS)
        record = self._histogram.record_value
        for value_us, count in counts.items():
            record(value_us, count)

    def _summarise(self) -> LatencySummary:
        count = self._histogram.total_count if self._histogram is not None else 0
        if not count:
            return LatencySummary(out_of_range=self._out_of_range)
        p50_s, p95_s, p99_s, p999_s = self._at_permille(count, (500, 950, 990, 999))
        return LatencySummary(
            count=count,
            mean_s=self._total_s / count,
            p50_s=p50_s,
            p95_s=p95_s,
            p99_s=p99_s,
            p999_s=p999_s,
            max_s=self._max_s,
            out_of_range=self._out_of_range,
        )

    def _at_permille(self, count: int, marks: tuple[int, ...]) -> list[float]:
        """The values at the nearest ranks (the smallest rank that covers the share), each the upper end of its bucket.

        The library's own query rounds ranks, which at small counts puts p95 below the only slow sample, and walks all
        23,552 counters in Python: 1.6 ms each.  This walks once, in C, over the part that is in use.
        """
        first = _index(int(self._min_s * _US_PER_S + 0.5))
        last = _index(int(self._max_s * _US_PER_S + 0.5))
        running = list(accumulate(self._histogram.counts[first : last + 1]))
        ranks = [-(-count * mark // 1000) for mark in marks]
        return [self._upper_end_s(first + bisect_left(running, rank)) for rank in ranks]

    def _upper_end_s(self, index: int) -> float:
        value_us = self._histogram.get_highest_equivalent_value(self._histogram.get_value_from_index(index))
        return min(float(value_us) / _US_PER_S, self._max_s)

    def __repr__(self) -> str:
        count = self._histogram.total_count if self._histogram is not None else 0
        return f"<LatencySeries count={count} max={self._max_s:.6f}s out_of_range={self._out_of_range}>"


def _shift(value_us: int) -> int:
    return 0 if value_us < EXACT_BELOW_US else value_us.bit_length() - _STEP_BITS


def _lowest_equivalent(value_us: int) -> int:
    """The lower end of the bucket that `value_us` falls into."""
    if value_us < EXACT_BELOW_US:
        return value_us
    shift = value_us.bit_length() - _STEP_BITS
    return value_us >> shift << shift


def _index(value_us: int) -> int:
    """Where the histogram counts `value_us`; a test compares it with the library's own arithmetic."""
    shift = _shift(value_us)
    return (shift << (_STEP_BITS - 1)) + (value_us >> shift)
