"""How long did things take, in tables?"""

from __future__ import annotations

from collections.abc import Sequence

from synth_actors.histogram import Histogram, LatencySummary
from synth_actors.snapshot import SeriesSnapshot, Snapshot
from synth_actors.telemetry.recording import Point, Recording
from synth_actors.telemetry.report.charts import CURVES, succeeded
from synth_actors.telemetry.report.table import Table
from synth_actors.telemetry.report.units import NONE, count, dollars, duration, rate, share, size_of

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999, "p99.99": 0.9999}


def percentiles_table(last: Snapshot) -> Table:
    """Of what succeeded, over all endpoints: the figures of the curves."""
    known = {label: succeeded(last, name) for name, (label, _) in CURVES.items()}
    return Table(
        caption="Durations of what succeeded",
        head=("duration", "samples", "mean", *PERCENTILES, "longest"),
        rows=[(label, *_percentiles(histogram)) for label, histogram in known.items() if histogram.count],
    )


def series_table(last: Snapshot) -> Table:
    """Each series apart: of an endpoint and how it ended, or of an actor."""
    there = [series for series in last.series if series.summary.count]
    return Table(
        caption="Durations by endpoint and outcome",
        head=("duration", "of", "outcome", "samples", "mean", "p50", "p95", "p99", "p99.9", "longest"),
        rows=[(*_named(series), *_summary(series.summary)) for series in there],
    )


def timeline_table(recording: Recording) -> Table:
    """The points of the pictures over time."""
    head = "until|succeeded|failed|calls|hits|lookups|hit rate|per second|p50|p99|under way|waiting|resident|spent"
    return Table(
        caption="Over time",
        head=head.split("|"),
        rows=[_at(point) for point in recording.points],
    )


def _percentiles(histogram: Histogram) -> Sequence[str]:
    found = histogram.percentiles_s(tuple(PERCENTILES.values()))
    mean_s = histogram.total_s / histogram.count
    return count(histogram.count), *map(duration, (mean_s, *found, histogram.max_s))


def _named(series: SeriesSnapshot) -> tuple[str, str, str]:
    label = CURVES[series.name][0] if series.name in CURVES else series.name.replace("_", " ")
    return label, series.endpoint or series.actor or NONE, series.outcome


def _summary(summary: LatencySummary) -> Sequence[str]:
    seconds = (summary.mean_s, summary.p50_s, summary.p95_s, summary.p99_s, summary.p999_s, summary.max_s)
    return count(summary.count), *map(duration, seconds)


def _at(point: Point) -> Sequence[str]:
    return (
        f"{point.at_s:,.2f} s",
        *map(count, (point.succeeded, point.failed, point.paid_calls, point.hits, point.lookups)),
        share(point.hits / point.lookups) if point.lookups else NONE,
        rate(point.throughput_per_s),
        *(duration(seconds) if seconds else NONE for seconds in (point.p50_s, point.p99_s)),
        count(point.in_flight),
        count(point.backlog),
        size_of(point.rss_bytes),
        dollars(point.cost_usd),
    )
