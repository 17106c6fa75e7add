from __future__ import annotations

import random
from dataclasses import replace
from math import inf, nan

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from synth_actors.histogram import (
    HIGHEST_S,
    NO_SAMPLES,
    Histogram,
    LatencySummary,
    highest_equivalent,
    lowest_equivalent,
)
from synth_actors.policy.latency import LatencySeries

MARKS = {"p50_s": 500, "p95_s": 950, "p99_s": 990, "p999_s": 999}
HALF_US = 0.5e-6


def nearest_rank(samples: list[float], permille: int) -> float:
    """The smallest sample that at least this share of the samples does not exceed."""
    ordered = sorted(samples)
    return ordered[max(1, -(-len(ordered) * permille // 1000)) - 1]


def series_of(*batches: list[float]) -> LatencySeries:
    series = LatencySeries()
    for batch in batches:
        series.record_many(batch)
    return series


def assert_percentiles_are_right(summary: LatencySummary, samples: list[float]) -> None:
    for field, permille in MARKS.items():
        exact = nearest_rank(samples, permille)
        assert abs(getattr(summary, field) - exact) <= max(exact * 0.001, HALF_US * 1.0001), (field, exact)


def mixed_samples(seed: int, count: int) -> list[float]:
    """Hits of some microseconds, calls of some hundred milliseconds, a tail of minutes."""
    rng = random.Random(seed)
    draws = (
        lambda: rng.uniform(2e-6, 40e-6),
        lambda: rng.lognormvariate(-1.5, 0.8),
        lambda: rng.expovariate(1 / 45.0) % HIGHEST_S,
    )
    return [rng.choices(draws, (50, 45, 5))[0]() for _ in range(count)]


@pytest.mark.parametrize("seed", range(5))
def test_percentiles_of_ten_thousand_mixed_samples_are_within_a_thousandth(seed: int) -> None:
    samples = mixed_samples(seed, 12_000)
    summary = series_of(samples).summary()
    assert summary.count == 12_000
    assert_percentiles_are_right(summary, samples)


@pytest.mark.parametrize("seed", range(3))
def test_calls_of_milliseconds_and_more_are_within_a_thousandth_without_allowance(seed: int) -> None:
    rng = random.Random(seed)
    samples = [rng.lognormvariate(-1.0, 1.2) + 0.001 for _ in range(10_000)]
    summary = series_of(samples).summary()
    for field, permille in MARKS.items():
        exact = nearest_rank(samples, permille)
        assert abs(getattr(summary, field) - exact) / exact <= 0.001


@given(st.lists(st.floats(min_value=0.0, max_value=HIGHEST_S), min_size=1, max_size=60))
def test_few_samples_have_the_percentile_of_their_nearest_rank(samples: list[float]) -> None:
    summary = series_of(samples).summary()
    assert summary.count == len(samples)
    assert summary.max_s == max(samples)
    assert summary.mean_s == pytest.approx(sum(samples) / len(samples))
    assert_percentiles_are_right(summary, samples)


@given(st.lists(st.floats(min_value=0.0, max_value=HIGHEST_S), min_size=1, max_size=60))
def test_percentiles_rise_and_never_pass_the_maximum(samples: list[float]) -> None:
    summary = series_of(samples).summary()
    assert summary.p50_s <= summary.p95_s <= summary.p99_s <= summary.p999_s <= summary.max_s


def test_one_slow_sample_of_twelve_is_the_p95() -> None:
    summary = series_of([0.010] * 11 + [5.0]).summary()
    assert summary.p50_s == pytest.approx(0.010, rel=0.001)
    assert summary.p95_s == summary.p99_s == summary.max_s == 5.0


def test_the_p999_of_a_thousand_samples_is_the_second_largest() -> None:
    summary = series_of([0.010] * 998 + [1.0, 9.0]).summary()
    assert summary.p999_s == pytest.approx(1.0, rel=0.001)
    assert summary.max_s == 9.0


def test_a_rank_is_rounded_up_unless_only_floating_point_has_made_it_a_fraction() -> None:
    histogram = series_of([0.1] * 7 + [0.2] * 93).histogram()
    assert 100 * 0.07 > 7.0  # in floating point
    assert histogram.percentile_s(0.07) == pytest.approx(0.1, rel=0.001)
    assert histogram.percentile_s(0.0701) == pytest.approx(0.2, rel=0.001)


def test_a_bound_is_rounded_to_whole_microseconds() -> None:
    histogram = series_of([1e-6, 2e-6, 3e-6]).histogram()
    assert histogram.at_most([1.4e-6, 1.6e-6, 2.4e-6, 2.6e-6]) == [1, 2, 2, 3]


def test_one_sample_is_every_percentile_exactly() -> None:
    summary = series_of([0.0123456]).summary()
    assert {summary.p50_s, summary.p95_s, summary.p99_s, summary.p999_s, summary.max_s} == {0.0123456}


def test_a_series_without_samples_has_a_summary_of_zeros() -> None:
    assert series_of([]).summary() == LatencySummary()
    assert LatencySeries().histogram() == NO_SAMPLES


@pytest.mark.parametrize("bad", [-1e-9, -3.0, HIGHEST_S * 1.000001, 4200.0, inf, -inf, nan])
def test_a_sample_out_of_range_is_counted_and_in_no_percentile(bad: float) -> None:
    only_bad = series_of([bad, bad]).summary()
    assert only_bad == LatencySummary(out_of_range=2)
    with_good = series_of([bad, 0.5], [bad]).summary()
    assert (with_good.count, with_good.out_of_range, with_good.max_s, with_good.mean_s) == (1, 2, 0.5, 0.5)


def test_the_ends_of_the_range_belong_to_it() -> None:
    summary = series_of([0.0, HIGHEST_S]).summary()
    assert (summary.count, summary.out_of_range) == (2, 0)
    assert summary.p50_s == 0.0
    assert summary.p99_s == HIGHEST_S


@given(st.lists(st.lists(st.floats(min_value=-1.0, max_value=4000.0), max_size=30), max_size=5))
def test_in_how_many_batches_samples_come_changes_nothing(batches: list[list[float]]) -> None:
    together = series_of([sample for batch in batches for sample in batch]).summary()
    apart = series_of(*batches).summary()
    assert apart.mean_s == pytest.approx(together.mean_s)
    for field in ("count", "out_of_range", "max_s", *MARKS):
        assert getattr(apart, field) == getattr(together, field)


def test_a_summary_is_remembered_until_a_new_sample_comes() -> None:
    series = series_of([0.1])
    first = series.summary()
    assert series.summary() is first
    series.record_many([0.2])
    assert series.summary().count == 2


def test_a_summary_is_not_remembered_past_a_sample_out_of_range() -> None:
    series = series_of([0.1])
    assert series.summary().out_of_range == 0
    series.record_many([-1.0])
    assert series.summary().out_of_range == 1


@given(st.integers(min_value=0, max_value=int(HIGHEST_S * 1e6)))
def test_buckets_are_those_of_the_library(value_us: int) -> None:
    library = HdrHistogram(1, int(HIGHEST_S * 1e6), 3)
    assert lowest_equivalent(value_us) == library.get_lowest_equivalent_value(value_us)
    assert highest_equivalent(value_us) == library.get_highest_equivalent_value(value_us)


def test_the_histogram_holds_every_sample_for_exporters() -> None:
    series = series_of([0.001, 0.002, 7.0, 7.0])
    histogram = series.histogram()
    assert dict(zip(histogram.lowest_us, histogram.counts, strict=True)) == {
        1000: 1,
        2000: 1,
        lowest_equivalent(7_000_000): 2,
    }
    assert histogram.summary() == series.summary()
    assert "count=4" in repr(series)


def test_a_histogram_does_not_change_when_samples_follow() -> None:
    series = series_of([0.001])
    before = series.histogram()
    series.record_many([0.001, 0.5])
    assert (before.count, series.histogram().count) == (1, 3)


SAMPLES = st.lists(st.floats(min_value=-1.0, max_value=4000.0), max_size=40)


@given(SAMPLES, SAMPLES)
def test_the_difference_of_two_states_is_what_came_between(first: list[float], then: list[float]) -> None:
    series = series_of(first)
    earlier = series.histogram()
    series.record_many(then)
    between, alone = series.histogram().minus(earlier), series_of(then).histogram()
    assert (between.lowest_us, between.counts, between.out_of_range) == (
        alone.lowest_us,
        alone.counts,
        alone.out_of_range,
    )
    assert between.total_s == pytest.approx(alone.total_s, abs=1e-6)
    assert between.max_s == pytest.approx(alone.max_s, rel=0.001, abs=1e-6)


def test_a_state_of_another_series_is_no_earlier_one() -> None:
    with pytest.raises(ValueError, match="no earlier state"):
        series_of([0.5]).histogram().minus(series_of([0.7]).histogram())
    with pytest.raises(ValueError, match="no earlier state"):
        series_of([0.5]).histogram().minus(series_of([0.5, 0.5]).histogram())


@given(st.lists(SAMPLES, max_size=4))
def test_the_sum_of_parts_is_the_histogram_of_all_samples(parts: list[list[float]]) -> None:
    together = series_of([sample for part in parts for sample in part]).histogram()
    summed = Histogram.sum_of(series_of(part).histogram() for part in parts)
    assert summed.total_s == pytest.approx(together.total_s)
    assert replace(summed, total_s=0.0) == replace(together, total_s=0.0)


@given(SAMPLES.filter(bool), st.lists(st.floats(min_value=1e-6, max_value=3600.0), min_size=1, max_size=8))
def test_how_many_are_at_most_a_bound_is_right_to_the_bucket(samples: list[float], bounds: list[float]) -> None:
    found = series_of(samples).histogram().at_most(sorted(bounds))
    valid = [sample for sample in samples if 0.0 <= sample <= HIGHEST_S]
    for bound, count in zip(sorted(bounds), found, strict=True):
        surely = sum(sample <= bound * 0.999 - 1e-6 for sample in valid)
        perhaps = sum(sample <= bound * 1.001 + 1e-6 for sample in valid)
        assert surely <= count <= perhaps


@pytest.mark.parametrize("seed", range(3))
def test_a_hundred_thousand_mixed_samples_are_within_a_thousandth_from_p50_to_p9999(seed: int) -> None:
    samples = sorted(mixed_samples(seed, 100_000))
    histogram = series_of(samples).histogram()
    for share in (0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999):
        exact = samples[-(-len(samples) * round(share * 10_000) // 10_000) - 1]
        assert abs(histogram.percentile_s(share) - exact) <= max(exact * 0.001, HALF_US * 1.0001), share
