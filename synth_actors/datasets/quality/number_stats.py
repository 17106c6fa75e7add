"""What is known of the numbers and the lengths at one path?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress

from synth_actors.datasets.quality import strange
from synth_actors.datasets.quality.quality_report import Lengths, Numbers
from synth_actors.datasets.quality.sketches import Extremes, Frequencies, Moments, Rows, Sample, digest
from synth_actors.datasets.quality.strange import PER_COLUMN, RARE_SHARE, Strange, far_out, shown

LARGEST = 1e140
"""Numbers beyond it are counted apart: the sum of the squares of many would be no float."""
QUANTILES = (5, 25, 50, 75, 95)
SAMPLED_NUMBERS = 2048


def number_digests(keys: Iterable[float]) -> list[bytes]:
    """Equal for equal numbers: 1 and 1.0 are the same in JSON."""
    return [digest(str(int(key)) if key == int(key) else repr(key)) for key in keys]


class LengthStats:
    """Lengths of texts or arrays."""

    __slots__ = ("count", "empty", "least", "most", "total")

    def __init__(self) -> None:
        self.count = self.empty = self.total = self.most = 0
        self.least: int | None = None

    def add(self, lengths: Sequence[int]) -> None:
        """At least one length."""
        least = min(lengths)
        self.least = least if self.least is None else min(self.least, least)
        self.most = max(self.most, max(lengths))
        self.count += len(lengths)
        self.total += sum(lengths)
        if least == 0:
            self.empty += lengths.count(0)

    def report(self) -> Lengths | None:
        """The figures now; None without a length."""
        if not self.count:
            return None
        mean = self.total / self.count
        return Lengths(count=self.count, min=self.least or 0, mean=mean, max=self.most, empty=self.empty)


class NumberStats:
    """Numbers of one path."""

    __slots__ = ("_extremes", "_sample", "_too_large", "beyond", "frequencies", "moments")

    def __init__(self) -> None:
        self.frequencies: Frequencies[float] = Frequencies(number_digests)
        self.moments = Moments()
        self._extremes = Extremes(shown)
        self._sample: Sample[float] = Sample(SAMPLED_NUMBERS, float)
        self.beyond = 0
        self._too_large: list[tuple[int, str]] = []

    def add(self, values: Sequence[float], rows: Rows) -> None:
        """At least one value, and the rows."""
        if not (min(values) >= -LARGEST and max(values) <= LARGEST and sum(values) == sum(values)):
            values, rows = self._set_apart(values, rows)
            if not values:
                return
        self.frequencies.add(values)
        floats = list(map(float, values))
        self.moments.add(floats)
        self._extremes.add(floats, values, rows)
        self._sample.add(values, rows)

    def _set_apart(self, values: Sequence[float], rows: Rows) -> tuple[Sequence[float], Rows]:
        fit = [-LARGEST <= value <= LARGEST for value in values]  # no NaN does
        beyond = [(row, value) for row, value, fits in zip(rows.numbers, values, fit, strict=True) if not fits]
        self.beyond += len(beyond)
        self._too_large += [(row, shown(value)) for row, value in beyond[: PER_COLUMN - len(self._too_large)]]
        return list(compress(values, fit)), rows.where(fit)

    def report(self) -> Numbers | None:
        """The figures now; None when no number was small enough."""
        if not self.moments.count:
            return None
        sample = sorted(self._sample.values())
        return Numbers(
            count=self.moments.count,
            min=_plain(min(self._extremes.low)),
            max=_plain(max(self._extremes.high)),
            mean=self.moments.mean,
            standard_deviation=self.moments.standard_deviation,
            quantiles={str(share): _plain(sample[(len(sample) - 1) * share // 100]) for share in QUANTILES},
            sampled=len(sample),
        )

    def strange(self, column: str) -> list[Strange]:
        """Numbers that are too large, or rare and far from the others."""
        often = max(1, RARE_SHARE * self.moments.count)
        return [
            Strange(row=row, column=column, value=value, why="too large for any figure", kind=strange.BEYOND)
            for row, value in self._too_large
        ] + [
            Strange(
                row=far.row,
                column=column,
                value=far.label,
                why=f"{far.distance:,.1f} robust standard deviations from the median {far.centre:,.6g}",
                kind=strange.OUTLIER,
                distance=far.distance,
            )
            for far in far_out(self._extremes, self._sample.values())
            if self.frequencies.counts.get(far.key, 0) <= often
        ]


def _plain(value: float) -> float:
    return int(value) if abs(value) < 2**53 and value == int(value) else value
