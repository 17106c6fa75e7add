"""Which points make a percentile curve?

As HdrHistogram plots it (Gil Tene): the abscissa is 1 / (1 - percentile) on a logarithmic scale, so that 90 %, 99 % and
99.9 % are equally far apart, with five points for every half of the way that is left to 100 %.  A curve ends where its
samples do: the largest of n stands at n, since nothing is known of rarer ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from synth_actors.histogram import Histogram

POINTS_PER_HALF = 5


def common_axis(histograms: Sequence[Histogram]) -> tuple[float, ...]:
    """1 / (1 - percentile) of each point, rising from 1.0 (0 %): for all curves, with the end of each of them."""
    ends = {float(histogram.count) for histogram in histograms if histogram.count}
    return tuple(sorted({1.0, *ends, *_grid(max(ends, default=1.0))}))


def curve(histogram: Histogram, axis: Sequence[float]) -> tuple[float | None, ...]:
    """The durations in seconds at the points of `axis`; None behind the last sample."""
    there = [at for at in axis if at <= histogram.count]
    shares = [1.0 - 1.0 / at if at < histogram.count else 1.0 for at in there]
    return (*histogram.percentiles_s(shares), *[None] * (len(axis) - len(there)))


def _grid(end: float) -> Iterable[float]:
    left = 1.0  # of the samples; halved again and again
    while left * end > 1.0:
        for step in range(POINTS_PER_HALF):
            at = 1.0 / (left * (1.0 - step / (2 * POINTS_PER_HALF)))
            if at < end:
                yield at
        left /= 2
