"""What happened between two snapshots?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from synth_actors.histogram import NO_SAMPLES, Histogram, LatencySummary
from synth_actors.snapshot import SERIES, SUCCEEDED, SeriesSnapshot, Snapshot

Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceMetrics:
    """What an engine did in an interval of `elapsed_s` seconds.

    `mean_s` to `max_s` are of all requests that were answered in it, from the cache or not; `latency` has each series
    of `SERIES` by itself.  CPU is the whole process's.
    """

    elapsed_s: float  # from the first snapshot to the second
    throughput_per_s: float  # requests that succeeded
    mean_s: float
    p50_s: float
    p95_s: float
    p99_s: float
    p999_s: float
    max_s: float  # the upper end of its bucket, at most 0.1 % too high
    hit_rate: float  # hits per lookup, 0.0 to 1.0; 0.0 without a lookup
    error_rate: float  # failed requests per request that succeeded or failed, 0.0 to 1.0
    submitted: int
    succeeded: int
    failed: int
    cancelled: int
    paid_calls: int  # calls to endpoints, which may cost something
    retries: int  # of these: repetitions of one that failed
    input_tokens: int
    output_tokens: int
    output_tokens_per_s: float
    cost_usd: float | None  # None once an unpriced call was made
    mean_in_flight: float  # calls under way, on average
    mean_backlog: float  # requests that waited, on average
    rss_bytes: int  # at the end
    rss_change_bytes: int
    peak_rss_bytes: int  # since the engine opened
    cpu_s: float  # of all threads
    cpu_share: float  # of one core
    latency: Mapping[str, LatencySummary]


def between(before: Snapshot, after: Snapshot, *, cpu_s: float) -> PerformanceMetrics:
    """What happened from `before` to `after`, two snapshots of one engine with histograms.

    Raises:
        ValueError: they are of different engines, or in the wrong order.
    """
    elapsed_s = after.taken_at_s - before.taken_at_s
    if elapsed_s < 0.0:
        raise ValueError("the second snapshot was taken before the first")
    parts = dict(series_between(before, after))
    answered = Histogram.sum_of(
        part for (name, _, outcome, _), part in parts.items() if name.endswith("response") and outcome in SUCCEEDED
    ).summary()
    new, old = after.counters, before.counters
    succeeded, failed = new.succeeded - old.succeeded, new.failed - old.failed
    output_tokens = new.output_tokens - old.output_tokens
    lookups = _lookups(after) - _lookups(before)
    per_s = 1.0 / elapsed_s if elapsed_s > 0.0 else 0.0
    unpriced = new.cost_usd is None or old.cost_usd is None
    return PerformanceMetrics(
        elapsed_s=elapsed_s,
        throughput_per_s=succeeded * per_s,
        mean_s=answered.mean_s,
        p50_s=answered.p50_s,
        p95_s=answered.p95_s,
        p99_s=answered.p99_s,
        p999_s=answered.p999_s,
        max_s=answered.max_s,
        hit_rate=(after.cache.hits - before.cache.hits) / lookups if lookups else 0.0,
        error_rate=failed / (succeeded + failed) if succeeded + failed else 0.0,
        submitted=new.submitted - old.submitted,
        succeeded=succeeded,
        failed=failed,
        cancelled=new.cancelled - old.cancelled,
        paid_calls=new.paid_calls - old.paid_calls,
        retries=after.router.retries - before.router.retries,
        input_tokens=new.input_tokens - old.input_tokens,
        output_tokens=output_tokens,
        output_tokens_per_s=output_tokens * per_s,
        cost_usd=None if unpriced else (new.cost_usd or 0.0) - (old.cost_usd or 0.0),
        mean_in_flight=(after.router.busy_s - before.router.busy_s) * per_s,
        mean_backlog=(after.router.backlog_s - before.router.backlog_s) * per_s,
        rss_bytes=after.memory.rss_bytes,
        rss_change_bytes=after.memory.rss_bytes - before.memory.rss_bytes,
        peak_rss_bytes=after.memory.peak_rss_bytes,
        cpu_s=cpu_s,
        cpu_share=cpu_s * per_s,
        latency=_totals(parts),
    )


def series_between(before: Snapshot, after: Snapshot) -> Iterator[tuple[Key, Histogram]]:
    """What each series got from `before` to `after`, by (name, endpoint, outcome, actor).

    Raises:
        ValueError: they were taken without histograms, or of different engines, or in the wrong order.
    """
    old = {_key(series): _counts(series) for series in before.series}
    for series in after.series:
        key = _key(series)
        yield key, _counts(series).minus(old.pop(key, NO_SAMPLES))
    if old:
        raise ValueError("the first snapshot has series that the second has not")


def _totals(parts: Mapping[Key, Histogram]) -> dict[str, LatencySummary]:
    return {
        name: Histogram.sum_of(part for key, part in parts.items() if key[0] == name and key[2] in SUCCEEDED).summary()
        for name in SERIES
    }


def _key(series: SeriesSnapshot) -> Key:
    return series.name, series.endpoint, series.outcome, series.actor


def _counts(series: SeriesSnapshot) -> Histogram:
    if series.histogram is None:
        raise ValueError("the snapshot was taken without histograms: engine.metrics_now(histograms=True)")
    return series.histogram


def _lookups(snapshot: Snapshot) -> int:
    return snapshot.cache.hits + snapshot.cache.misses + snapshot.cache.follows
