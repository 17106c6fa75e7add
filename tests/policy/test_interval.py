from __future__ import annotations

from dataclasses import replace

import pytest

from synth_actors.histogram import Histogram
from synth_actors.policy.interval import PerformanceMetrics, between
from synth_actors.policy.latency import LatencySeries
from synth_actors.snapshot import CacheSnapshot, Counters, MemorySnapshot, RouterSnapshot, SeriesSnapshot, Snapshot
from tests.policy.bottleneck_cases import EMPTY


def of(*samples_s: float) -> Histogram:
    series = LatencySeries()
    series.record_many(samples_s)
    return series.histogram()


def series(name: str, outcome: str, *samples_s: float) -> SeriesSnapshot:
    histogram = of(*samples_s)
    return SeriesSnapshot(name=name, endpoint="a", outcome=outcome, summary=histogram.summary(), histogram=histogram)


BEFORE = replace(
    EMPTY,
    taken_at_s=100.0,
    series=(series("response", "call", 50.0), series("response", "failed", 60.0)),
    counters=Counters(
        submitted=100, succeeded=70, failed=20, cancelled=5, paid_calls=80, input_tokens=1000, output_tokens=2000,
        cost_usd=3.0,
    ),
    cache=CacheSnapshot(hits=10, misses=30, follows=10),
    router=RouterSnapshot(endpoints={}, retries=7, busy_s=400.0, backlog_s=900.0),
    memory=MemorySnapshot(rss_bytes=500, peak_rss_bytes=600),
)  # fmt: skip
AFTER = replace(
    EMPTY,
    taken_at_s=104.0,
    series=(
        series("response", "call", 50.0, 2.0, 3.0),
        series("response", "failed", 60.0, 9.0),
        series("response", "shared", 2.5),
        series("cached_response", "cache", 0.001, 0.001, 0.001, 0.001, 0.001),
        series("service", "success", 1.0),
        series("service", "failed", 8.0),
    ),
    counters=Counters(
        submitted=112, succeeded=78, failed=22, cancelled=6, paid_calls=84, input_tokens=1040, output_tokens=2400,
        cost_usd=3.5,
    ),
    cache=CacheSnapshot(hits=15, misses=32, follows=11),
    router=RouterSnapshot(endpoints={}, retries=8, busy_s=410.0, backlog_s=902.0),
    memory=MemorySnapshot(rss_bytes=450, peak_rss_bytes=700),
)  # fmt: skip


def metrics(before: Snapshot = BEFORE, after: Snapshot = AFTER) -> PerformanceMetrics:
    return between(before, after, cpu_s=1.0)


def test_counts_are_those_of_the_interval_and_rates_are_by_its_length() -> None:
    found = metrics()
    assert found.elapsed_s == 4.0
    assert (found.submitted, found.succeeded, found.failed, found.cancelled) == (12, 8, 2, 1)
    assert (found.paid_calls, found.retries) == (4, 1)
    assert (found.input_tokens, found.output_tokens, found.output_tokens_per_s) == (40, 400, 100.0)
    assert found.throughput_per_s == 2.0
    assert found.error_rate == pytest.approx(0.2)
    assert found.hit_rate == pytest.approx(5 / 8)
    assert found.cost_usd == pytest.approx(0.5)
    assert (found.mean_in_flight, found.mean_backlog) == (2.5, 0.5)
    assert (found.rss_bytes, found.rss_change_bytes, found.peak_rss_bytes) == (450, -50, 700)
    assert (found.cpu_s, found.cpu_share) == (1.0, 0.25)


def test_percentiles_are_of_all_that_were_answered_from_the_cache_or_not_and_of_no_other() -> None:
    found = metrics()  # five hits, then 2.0, 2.5 and 3.0 s; the failed ones and those from before are left out
    assert found.mean_s == pytest.approx((5 * 0.001 + 2.0 + 2.5 + 3.0) / 8, rel=0.001)
    assert found.p50_s == pytest.approx(0.001, rel=0.001)
    assert found.p95_s == found.p99_s == found.p999_s == found.max_s == pytest.approx(3.0, rel=0.001)


def test_each_series_has_what_succeeded_in_the_interval_by_itself() -> None:
    latency = metrics().latency
    assert {name: row.count for name, row in latency.items() if row.count} == {
        "response": 3,
        "cached_response": 5,
        "service": 1,
    }
    assert latency["service"].max_s == pytest.approx(1.0, rel=0.001)


@pytest.mark.parametrize("which", ["before", "after"])
def test_dollars_are_not_known_once_a_price_was_not(which: str) -> None:
    snapshots = {"before": BEFORE, "after": AFTER}
    one = snapshots[which]
    snapshots[which] = replace(one, counters=replace(one.counters, cost_usd=None))
    assert metrics(**snapshots).cost_usd is None


def test_an_interval_of_no_length_has_no_rates() -> None:
    found = metrics(AFTER, AFTER)
    rates = (found.throughput_per_s, found.output_tokens_per_s, found.mean_in_flight, found.mean_backlog)
    assert rates == (0.0, 0.0, 0.0, 0.0)
    assert (found.cpu_share, found.hit_rate, found.error_rate, found.p99_s) == (0.0, 0.0, 0.0, 0.0)


def test_a_series_that_is_gone_belongs_to_another_engine() -> None:
    with pytest.raises(ValueError, match="series that the second has not"):
        metrics(BEFORE, replace(AFTER, series=AFTER.series[1:]))
