"""How do percentiles get into a table (`.hgrm`) that the HdrHistogram plotters draw?

The layout is that of `outputPercentileDistribution` in Java, to the last digit: five rows for every half of the way
that is left to 100 %, each with the value, the percentile that it was looked for, and how many samples it covers.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import IO, Literal, get_args

from synth_actors.errors import ConfigError
from synth_actors.histogram import EXACT_BELOW_US, Histogram, highest_equivalent
from synth_actors.telemetry.hdr_encoding import BUCKETS, SUB_BUCKETS

Unit = Literal["us", "ms"]
US_PER_UNIT = {"us": 1.0, "ms": 1000.0}
TICKS_PER_HALF_DISTANCE = 5
_DECIMALS = 3


def write_percentiles(histogram: Histogram, target: str | os.PathLike[str] | IO[str], unit: Unit = "ms") -> None:
    """Write the percentile table to a path, which is replaced, or to a text file that is open.

    The values are in `unit`, with three decimals; the table does not say which, since its layout has no place for it.
    Mean and deviation are those of the buckets, as in Java.

    Raises:
        ConfigError: `histogram` is none, or `unit` is neither "us" nor "ms".
        OSError: the file cannot be written.
    """
    histogram = _checked(histogram)
    if unit not in get_args(Unit):
        raise ConfigError(f"write_percentiles: unit={unit!r}: give 'us' or 'ms'; three decimals of more are too coarse")
    text = "".join(_lines(histogram, US_PER_UNIT[unit]))
    if isinstance(target, str | os.PathLike):
        Path(target).write_text(text, encoding="utf-8", newline="\n")
    else:
        target.write(text)


def _checked(given: object) -> Histogram:
    if isinstance(given, Histogram):
        return given
    shown = "None" if given is None else f"an object of class {type(given).__name__}"
    raise ConfigError(
        f"write_percentiles: {shown} is no Histogram; give the `histogram` of a series of"
        " engine.metrics_now(histograms=True)"
    )


def _lines(histogram: Histogram, us_per_unit: float) -> Iterator[str]:
    yield f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}\n\n"
    for value_us, percentile, count in _rows(histogram):
        row = f"{_number(value_us / us_per_unit, 3, 12)} {_number(percentile / 100.0, 12, 2)} {count:10}"
        yield f"{row}\n" if percentile == 100.0 else f"{row} {_number(1.0 / (1.0 - percentile / 100.0), 2, 14)}\n"
    mean_us, deviation_us = _moments(histogram)
    max_us = highest_equivalent(histogram.lowest_us[-1]) if histogram.lowest_us else 0
    mean, deviation, most = (_number(us / us_per_unit, _DECIMALS, 12) for us in (mean_us, deviation_us, max_us))
    yield f"#[Mean    = {mean}, StdDeviation   = {deviation}]\n"
    yield f"#[Max     = {most}, Total count    = {histogram.count:12}]\n"
    yield f"#[Buckets = {BUCKETS:12}, SubBuckets     = {SUB_BUCKETS:12}]\n"


def _rows(histogram: Histogram) -> Iterator[tuple[int, float, int]]:
    """Value in microseconds, the percentile aimed at, samples so far; see `PercentileIterator` in Java."""
    total = histogram.count
    aim = 0.0
    so_far = 0
    for low_us, count in zip(histogram.lowest_us, histogram.counts, strict=True):
        so_far += count
        value_us = highest_equivalent(low_us)
        while 100.0 * so_far / total >= aim:
            yield value_us, aim, so_far
            if so_far == total:
                yield value_us, 100.0, so_far
                return
            aim += 100.0 / _ticks(aim)


def _ticks(percentile: float) -> int:
    """Into how many steps 0 % to 100 % would be cut at the scale of `percentile`."""
    halvings = int(math.log(100.0 / (100.0 - percentile)) / math.log(2))
    return TICKS_PER_HALF_DISTANCE << (halvings + 1)


def _moments(histogram: Histogram) -> tuple[float, float]:
    """Mean and standard deviation in microseconds, each sample taken for the middle of its bucket."""
    total = histogram.count
    if not total:
        return 0.0, 0.0
    buckets = [(_middle(low), count) for low, count in zip(histogram.lowest_us, histogram.counts, strict=True)]
    mean = sum(middle * float(count) for middle, count in buckets) / total
    return mean, math.sqrt(sum((middle - mean) ** 2 * count for middle, count in buckets) / total)


def _middle(low_us: int) -> int:
    return low_us if low_us < EXACT_BELOW_US else (low_us + highest_equivalent(low_us) + 1) // 2


def _number(value: float, decimals: int, width: int) -> str:
    """As Java's `%f`, which rounds the shortest decimal form of a double, a half away from zero."""
    rounded = Decimal(repr(value)).quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP)
    return f"{rounded:{width}f}"
