"""Does memory grow although nothing that is accounted does?

What is noted is kept as at most 128 points over the whole run, each the lowest of its interval: garbage comes in waves,
and what a wave leaves behind is what counts.  When there are too many points, each two become one and intervals are
twice as long from then on.

The slope is the median of those between any two points (Theil 1950, "A rank-invariant method of linear and polynomial
regression analysis"; Sen 1968, "Estimates of the regression coefficient based on Kendall's tau", JASA 63), which up to
29 % of the points may be far off without moving much.  A beginning is no leak: modules, pools and caches fill up once,
so the first third of the run does not count.  Nor is a step one, something large that is allocated and kept: a leak is
higher again and again, so the run is also cut into stretches, and it is said how many end up above the one before.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Final

POINTS_AT_MOST: Final = 128
STRETCHES: Final = 16
"""Of some points each: from one point to the next noise hides what rises slowly."""
KNOWN_FROM_S: Final = 60.0
"""Over a shorter span than this nothing is said: it would be the beginning."""
FIRST_PART_LEFT_OUT: Final = 1 / 3

_Point = tuple[float, float]  # when, bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """How memory grew over the latest two thirds of the run; all is 0.0 as long as that is not known.

    `bytes_per_s` is the median slope over `span_s` seconds.  `rising_share`, 0.0 to 1.0, is how many of 15 stretches
    had a higher lowest point than the one before: near 1.0 for a leak, about 0.5 for what goes up and down, near 0.0
    for what does not move or did so once.  `grown_bytes` lies between the lowest points of the first and last stretch.
    """

    bytes_per_s: float = 0.0
    span_s: float = 0.0
    rising_share: float = 0.0
    grown_bytes: float = 0.0

    @property
    def is_known(self) -> bool:
        """Whether the run is long enough to say anything."""
        return self.span_s > 0.0


class Growth:
    """Watches one figure in bytes."""

    def __init__(self) -> None:
        self._points: list[_Point] = []
        self._notes_per_point = 1
        self._notes = 0  # in the interval under way
        self._lowest: _Point = (0.0, 0.0)
        self._trend: Trend | None = Trend()  # None: not worked out since the latest point

    def note(self, now: float, bytes_: float) -> None:
        """It is so many bytes at `now`, in seconds, which never goes back; 0.2 us."""
        if not self._notes or bytes_ < self._lowest[1]:
            self._lowest = (now, bytes_)
        self._notes += 1
        if self._notes >= self._notes_per_point:
            self._notes = 0
            self._points.append(self._lowest)
            self._trend = None
            if len(self._points) >= POINTS_AT_MOST:
                self._halve()

    def trend(self) -> Trend:
        """How it grew; remembered until the next point is complete, since it takes up to 1 ms to work out."""
        if self._trend is None:
            self._trend = _trend_of(self._points)
        return self._trend

    def _halve(self) -> None:
        pairs = zip(self._points[::2], self._points[1::2], strict=True)
        self._points = [min(one, other, key=_bytes_of) for one, other in pairs]
        self._notes_per_point *= 2

    def __repr__(self) -> str:
        return f"<Growth points={len(self._points)} notes_per_point={self._notes_per_point}>"


def _trend_of(points: list[_Point]) -> Trend:
    from_s = points[0][0] + (points[-1][0] - points[0][0]) * FIRST_PART_LEFT_OUT
    latest = [point for point in points if point[0] >= from_s]
    span_s = latest[-1][0] - latest[0][0]
    if span_s < KNOWN_FROM_S or len(latest) < STRETCHES:
        return Trend()
    lowest = [min(bytes_ for _, bytes_ in stretch) for stretch in _stretches(latest)]
    rising = sum(later > earlier for earlier, later in pairwise(lowest))
    return Trend(
        bytes_per_s=_median_slope(latest),
        span_s=span_s,
        rising_share=rising / (STRETCHES - 1),
        grown_bytes=lowest[-1] - lowest[0],
    )


def _stretches(points: list[_Point]) -> list[list[_Point]]:
    """All points, in their order, as evenly as they can be shared out."""
    ends = [len(points) * number // STRETCHES for number in range(STRETCHES + 1)]
    return [points[start:end] for start, end in pairwise(ends)]


def _median_slope(points: list[_Point]) -> float:
    pairs = combinations(points, 2)
    slopes = sorted((late - early) / (at - before) for (before, early), (at, late) in pairs if at > before)
    middle = len(slopes) // 2
    return slopes[middle] if len(slopes) % 2 else (slopes[middle - 1] + slopes[middle]) / 2


def _bytes_of(point: _Point) -> float:
    return point[1]
