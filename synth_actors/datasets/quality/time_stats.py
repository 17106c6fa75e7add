"""What is known of the dates and points in time at one path?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import compress

from synth_actors.datasets.quality import strange
from synth_actors.datasets.quality.quality_report import Times
from synth_actors.datasets.quality.sketches import Extremes, Rows, Sample
from synth_actors.datasets.quality.strange import Strange, far_out, shown

SAMPLED_TIMES = 512
DAY_S = 86_400

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def seconds_of(text: str) -> float | None:
    """Seconds since 1970 of an ISO 8601 date or point in time, UTC where it names no offset; None if it is neither."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return ((when if when.tzinfo else when.replace(tzinfo=UTC)) - _EPOCH).total_seconds()


class TimeStats:
    """Texts that should be dates or points in time."""

    __slots__ = ("_count", "_extremes", "_sample", "_unreadable")

    def __init__(self) -> None:
        self._count = self._unreadable = 0
        self._extremes = Extremes(shown)
        self._sample: Sample[float] = Sample(SAMPLED_TIMES, float)

    def add(self, texts: Sequence[str], rows: Rows) -> None:
        """Texts and their rows."""
        times = [seconds_of(text) for text in texts]
        readable = [seconds is not None for seconds in times]
        if not all(readable):
            texts, rows = list(compress(texts, readable)), rows.where(readable)
        read = [seconds for seconds in times if seconds is not None]
        self._unreadable += len(times) - len(read)
        self._count += len(read)
        if read:
            self._extremes.add(read, texts, rows)
            self._sample.add(read, rows)

    def report(self) -> Times | None:
        """The earliest and the latest; None where there are none, or most texts are none."""
        low, high = self._extremes.low, self._extremes.high
        if self._unreadable >= self._count:
            return None
        earliest, latest = low[min(low)][1], high[max(high)][1]
        return Times(count=self._count, unreadable=self._unreadable, earliest=earliest, latest=latest)

    def strange(self, column: str) -> list[Strange]:
        """Times far from the others."""
        return [
            Strange(
                row=far.row,
                column=column,
                value=far.label,
                why=_why(far.key, far.centre),
                kind=strange.OUTLIER,
                distance=far.distance,
            )
            for far in far_out(self._extremes, self._sample.values())
        ]


def _why(seconds: float, centre: float) -> str:
    side = "before" if seconds < centre else "after"
    middle = (_EPOCH + timedelta(seconds=centre)).date()
    return f"{abs(seconds - centre) / DAY_S:,.0f} days {side} the median {middle}"
