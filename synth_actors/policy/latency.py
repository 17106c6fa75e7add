"""How long do things take, in all and at each endpoint?

Samples come in batches and are counted by bucket (`histogram`); the percentiles are worked out when they are asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from synth_actors.bucket_counts import GrowingCounts, index_of
from synth_actors.histogram import HIGHEST_S, NO_SAMPLES, US_PER_S, Histogram, LatencySummary, summarise
from synth_actors.samples import SeriesKey
from synth_actors.snapshot import SERIES, SUCCEEDED, SeriesSnapshot


def tpot_of(service_s: float, ttft_s: float | None, output_tokens: int) -> float | None:
    """Time per output token after the first, in seconds; None when it was not streamed or had one token at most."""
    if ttft_s is None or output_tokens < 2:
        return None
    return max(0.0, service_s - ttft_s) / (output_tokens - 1)


class Tally:
    """A batch of samples, counted by bucket.  Equal buckets are counted in C."""

    __slots__ = ("counts", "max_s", "out_of_range", "total_s")

    def __init__(self, samples: Sequence[float]) -> None:
        valid = [sample for sample in samples if 0.0 <= sample <= HIGHEST_S]
        self.out_of_range = len(samples) - len(valid)
        self.total_s = sum(valid)
        self.max_s = max(valid, default=0.0)
        self.counts = Counter([index_of(int(sample * US_PER_S + 0.5)) for sample in valid])


class LatencySeries:
    """One series of durations in seconds.

    Count, mean and maximum are exact; samples that are negative, above one hour or no numbers at all stand in no
    percentile and are counted as `out_of_range`.
    """

    __slots__ = ("_buckets", "_histogram", "_max_s", "_out_of_range", "_summary", "_total_s")

    def __init__(self) -> None:
        self._buckets = GrowingCounts()
        self._out_of_range = 0
        self._total_s = 0.0
        self._max_s = 0.0
        self._summary: LatencySummary | None = LatencySummary()
        self._histogram: Histogram | None = NO_SAMPLES

    def record_many(self, samples: Sequence[float]) -> None:
        """Add samples."""
        if samples:
            self.add(Tally(samples))

    def add(self, tally: Tally) -> None:
        """Add a batch."""
        self._summary = self._histogram = None
        self._out_of_range += tally.out_of_range
        self._total_s += tally.total_s
        self._max_s = max(self._max_s, tally.max_s)
        self._buckets.add(tally.counts)

    def summary(self) -> LatencySummary:
        """The percentiles so far; remembered until the next sample."""
        if self._summary is None:
            self._summary = summarise(self._buckets, self._total_s, self._max_s, self._out_of_range)
        return self._summary

    def histogram(self) -> Histogram:
        """A frozen copy of all counts; remembered until the next sample."""
        if self._histogram is None:
            self._histogram = Histogram.of(
                self._buckets.copy(), total_s=self._total_s, max_s=self._max_s, out_of_range=self._out_of_range
            )
        return self._histogram

    def __repr__(self) -> str:
        count = self._buckets.count
        return f"<LatencySeries count={count} max={self._max_s:.6f}s out_of_range={self._out_of_range}>"


class Latencies:
    """Every series, and of each name the aggregate over all that succeeded."""

    __slots__ = ("_series", "_totals")

    def __init__(self) -> None:
        self._totals = {name: LatencySeries() for name in SERIES}
        self._series: dict[SeriesKey, LatencySeries] = {}

    def add(self, key: SeriesKey, samples: Sequence[float]) -> None:
        """Add samples of one series, and work out its percentiles: `series` has nothing left to do."""
        tally = Tally(samples)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = LatencySeries()
        series.add(tally)
        series.summary()
        if key.outcome in SUCCEEDED:
            self._totals[key.name].add(tally)

    def totals(self) -> dict[str, LatencySummary]:
        """The aggregates, by the names of `SERIES`."""
        return {name: series.summary() for name, series in self._totals.items()}

    def series(self, *, histograms: bool) -> Iterable[SeriesSnapshot]:
        """Every series that has a sample."""
        for key, series in self._series.items():
            yield SeriesSnapshot(
                name=key.name,
                endpoint=key.endpoint,
                outcome=key.outcome,
                actor=key.actor,
                summary=series.summary(),
                histogram=series.histogram() if histograms else None,
            )

    def __repr__(self) -> str:
        return f"<Latencies series={len(self._series)}>"
