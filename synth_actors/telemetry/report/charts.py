"""Which pictures does a recording give?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from synth_actors.histogram import Histogram
from synth_actors.snapshot import SUCCEEDED, Snapshot
from synth_actors.telemetry.recording import Point, Recording
from synth_actors.telemetry.report.chart import Chart, Line, Unit, said_over_time
from synth_actors.telemetry.report.curves import common_axis, curve
from synth_actors.telemetry.report.units import duration

CURVES: Mapping[str, tuple[str, int]] = {
    "response": ("response", 0),
    "queue": ("queue", 1),
    "service": ("service", 2),
    "ttft": ("first token", 4),
    "tpot": ("each further token", 6),
    "connect": ("connect", 7),
    "cached_response": ("from the cache", 5),
}
"""Label and colour of the series that are drawn, in this order."""
MOST_ENDPOINTS = 8
"""More lines nobody tells apart; the table has all."""
SHORT = 0.2
"""Of the time between two looks: less is too short for a rate."""


def percentile_charts(last: Snapshot) -> Iterator[Chart]:
    """Of each duration over all endpoints, and of the calls of each endpoint where there are several."""
    known = {label: (succeeded(last, name), colour) for name, (label, colour) in CURVES.items()}
    yield from _percentile_chart("Latency by percentile", known)
    if len(last.router.endpoints) > 1:
        names = list(last.router.endpoints)[:MOST_ENDPOINTS]
        apart = {name: (succeeded(last, "service", name), colour) for colour, name in enumerate(names)}
        yield from _percentile_chart("Service time of a call by percentile and endpoint", apart)


def charts_over_time(recording: Recording) -> Iterator[Chart]:
    """What happened when, and what a cache of another size would have done; nothing empty."""
    if recording.points:
        yield from _over_time(recording.points)
    yield from _by_cache_size(recording.last)


def succeeded(last: Snapshot, name: str, endpoint: str | None = None) -> Histogram:
    """What succeeded of a series: over all endpoints, or of one."""
    return Histogram.sum_of(
        series.histogram
        for series in last.series
        if series.name == name
        and series.outcome in SUCCEEDED
        and series.histogram is not None
        and endpoint in (None, series.endpoint)
    )


def _percentile_chart(title: str, histograms: Mapping[str, tuple[Histogram, int]]) -> Iterator[Chart]:
    there = {label: pair for label, pair in histograms.items() if pair[0].count}
    if not there:
        return
    axis = common_axis([histogram for histogram, _ in there.values()])
    lines = [
        Line(label=label, unit="s", values=curve(histogram, axis), colour=colour)
        for label, (histogram, colour) in there.items()
    ]
    said = "; ".join(f"{label}: {_said(histogram)}" for label, (histogram, _) in there.items())
    yield Chart(title=title, axis="percentile", x=axis, lines=lines, is_log=True, said=said)


def _said(histogram: Histogram) -> str:
    p50, p99 = (duration(value) for value in histogram.percentiles_s((0.5, 0.99)))
    return f"{histogram.count:,} samples, half within {p50}, 99 % within {p99}, all within {duration(histogram.max_s)}"


def _over_time(points: Sequence[Point]) -> Iterator[Chart]:
    start = points[0].at_s - points[0].elapsed_s
    x = (start, *(point.at_s for point in points))
    for title, lines, is_log in (
        ("Requests per second", _rates(points), False),
        ("Response time", _latencies(points), True),
        ("Under way and waiting", _gauges(points), False),
        ("Resident memory", _memory(points), False),
        ("Cache hit rate", _hit_rates(points), False),
        ("Output tokens per second", _tokens(points), False),
        ("Dollars spent", _dollars(points), False),
    ):
        if lines:
            said = said_over_time(lines)
            yield Chart(title=title, axis="time", x=x, lines=lines, is_log=is_log, said=said)


def _rates(points: Sequence[Point]) -> list[Line]:
    of_kinds: dict[str, tuple[int, Callable[[Point], float]]] = {
        "succeeded": (0, lambda point: point.succeeded),
        "cache hits": (5, lambda point: point.hits),
        "calls": (2, lambda point: point.paid_calls),
        "failed": (3, lambda point: point.failed),
    }
    return [
        _rate(points, label, colour, what)
        for label, (colour, what) in of_kinds.items()
        if label == "succeeded" or any(map(what, points))
    ]


def _rate(points: Sequence[Point], label: str, colour: int, what: Callable[[Point], float]) -> Line:
    values = _since_before(points, what, lambda point: point.elapsed_s)
    return Line(label=label, unit="1/s", values=values, colour=colour, is_step=True, is_area=label == "succeeded")


def _since_before(
    points: Sequence[Point], what: Callable[[Point], float], per: Callable[[Point], float]
) -> tuple[float | None, ...]:
    """What is of the time before each point; the first of them begins where the picture does.

    The last look comes when the run ends, maybe at once after the one before: then both are of the time of both, since
    two requests in a millisecond are no 2,000 a second.
    """
    groups = [[point] for point in points]
    if len(points) > 1 and points[-1].elapsed_s < SHORT * points[-2].elapsed_s:
        groups[-2:] = [list(points[-2:])] * 2
    shares = [(sum(map(what, group)), sum(map(per, group))) for group in groups]
    values = [amount / divisor if divisor > 0 else None for amount, divisor in shares]
    return (values[0], *values)


def _latencies(points: Sequence[Point]) -> list[Line]:
    if not any(point.p99_s for point in points):
        return []
    return [
        Line(label="p50", unit="s", values=(None, *(point.p50_s or None for point in points)), colour=0),
        Line(label="p99", unit="s", values=(None, *(point.p99_s or None for point in points)), colour=3),
    ]


def _gauges(points: Sequence[Point]) -> list[Line]:
    return [
        _gauge(points, "under way", "", 2, lambda point: point.in_flight),
        _gauge(points, "waiting", "", 1, lambda point: point.backlog),
    ]


def _gauge(points: Sequence[Point], label: str, unit: Unit, colour: int, what: Callable[[Point], float | None]) -> Line:
    """What was so at each point; of the beginning nothing is known."""
    return Line(label=label, unit=unit, values=(None, *map(what, points)), colour=colour)


def _memory(points: Sequence[Point]) -> list[Line]:
    line = _gauge(points, "resident", "bytes", 4, lambda point: point.rss_bytes)
    return [replace(line, is_area=True)]


def _hit_rates(points: Sequence[Point]) -> list[Line]:
    if not any(point.hits for point in points):
        return []
    values = _since_before(points, lambda point: point.hits, lambda point: point.lookups)
    return [Line(label="hits", unit="share", values=values, colour=5, is_step=True, is_area=True)]


def _tokens(points: Sequence[Point]) -> list[Line]:
    if not any(point.output_tokens for point in points):
        return []
    return [_rate(points, "output tokens", 6, lambda point: point.output_tokens)]


def _dollars(points: Sequence[Point]) -> list[Line]:
    if not any(point.cost_usd for point in points):
        return []
    return [_gauge(points, "spent", "USD", 1, lambda point: point.cost_usd)]


def _by_cache_size(last: Snapshot) -> Iterator[Chart]:
    """What the hit rate would have been with other sizes; see `CurvesSnapshot`."""
    sizes = last.cache.curves.size
    if len(sizes) < 2 or not any(point.hit_rate for point in sizes):
        return
    line = Line(label="hits", unit="share", values=[point.hit_rate for point in sizes], colour=5)
    yield Chart(
        title="Hit rate that a cache of another size would have had",
        axis="entries",
        x=[float(point.max_entries) for point in sizes],
        lines=[line],
        said=f"{said_over_time([line])}; entries: {sizes[0].max_entries:,} to {sizes[-1].max_entries:,}",
    )
