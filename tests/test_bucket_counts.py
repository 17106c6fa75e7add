"""Are counts by bucket right, and does a copy stay what it was?"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from synth_actors.bucket_counts import BucketCounts, GrowingCounts, highest_equivalent, index_of, lowest_of
from synth_actors.histogram import NO_SAMPLES, Histogram

HIGHEST_US = 3_600_000_000
values = st.one_of(
    st.integers(0, 3000), st.integers(0, HIGHEST_US), st.sampled_from([0, 1, 2047, 2048, 2049, 4095, 4096, HIGHEST_US])
)
batches = st.lists(st.lists(values, max_size=30), max_size=8)


def by_index(batch: list[int]) -> Counter[int]:
    return Counter(map(index_of, batch))


def counts_of(samples: list[int]) -> BucketCounts:
    return BucketCounts.of(by_index(samples))


def naive(samples: list[int]) -> dict[int, int]:
    return dict(sorted(Counter(lowest_of(index_of(sample)) for sample in samples).items()))


@given(values)
def test_the_buckets_are_those_of_hdrhistogram(value_us: int) -> None:
    theirs = HdrHistogram(1, HIGHEST_US, 3)
    assert lowest_of(index_of(value_us)) == theirs.get_lowest_equivalent_value(value_us)
    assert highest_equivalent(value_us) == theirs.get_highest_equivalent_value(value_us)


def test_every_bucket_follows_the_one_before_without_a_gap() -> None:
    lows = [lowest_of(index) for index in range(index_of(HIGHEST_US) + 1)]
    assert all(highest_equivalent(low) + 1 == following for low, following in pairwise(lows))
    assert [index_of(low) for low in lows] == list(range(len(lows)))


@given(batches)
def test_a_copy_is_what_it_was_whatever_is_added_later(batches: list[list[int]]) -> None:
    growing, so_far, copies = GrowingCounts(), list[int](), []
    for batch in batches:
        growing.add(by_index(batch))
        so_far += batch
        copies.append((growing.copy(), naive(so_far)))
    for copied, expected in copies:
        assert dict(copied.used()) == expected
        assert copied.count == sum(expected.values())
    if copies:
        assert dict(growing.used()) == copies[-1][1]


@given(st.lists(values, min_size=1, max_size=40))
def test_the_sample_of_every_rank_is_found(samples: list[int]) -> None:
    ordered = [lowest_of(index_of(sample)) for sample in sorted(samples)]
    assert counts_of(samples).at_ranks(range(1, len(samples) + 1)) == ordered


@given(st.lists(values, max_size=40), st.lists(values, max_size=10))
def test_how_many_are_at_most_a_value_is_what_one_counts(samples: list[int], bounds: list[int]) -> None:
    expected = [sum(index_of(sample) <= index_of(bound) for sample in samples) for bound in bounds]
    assert counts_of(samples).at_most(bounds) == expected


@given(st.lists(values, max_size=40), st.lists(values, max_size=40))
def test_what_was_added_is_what_is_left_without_what_was_before(before: list[int], later: list[int]) -> None:
    growing = GrowingCounts()
    growing.add(by_index(before))
    earlier = growing.copy()
    growing.add(by_index(later))
    left = growing.copy().minus(earlier)
    assert dict(left.used()) == naive(later)
    assert left.count == len(later)
    assert left.highest_us() == (highest_equivalent(max(later)) if later else 0)
    assert dict(left.plus(earlier).used()) == naive(before + later)


def test_a_histogram_from_elsewhere_that_holds_more_is_no_earlier_state() -> None:
    with pytest.raises(OverflowError):
        counts_of([5, 5, 70_000]).minus(counts_of([5, 80_000]))


@given(st.lists(values, max_size=40))
def test_a_histogram_made_of_what_another_shows_is_equal_to_it(samples: list[int]) -> None:
    kept = Histogram.of(counts_of(samples), total_s=3.0, max_s=2.0, out_of_range=1)
    shown = Histogram(lowest_us=kept.lowest_us, counts=kept.counts, total_s=3.0, max_s=2.0, out_of_range=1)
    assert shown == kept
    assert hash(shown) == hash(kept)
    assert shown.count == kept.count == len(samples)
    assert shown.percentiles_s((0.0, 0.5, 1.0)) == kept.percentiles_s((0.0, 0.5, 1.0))
    assert shown.minus(kept).counts == ()


def test_what_a_histogram_does_not_have_is_named() -> None:
    with pytest.raises(AttributeError, match="'Histogram' object has no attribute 'median'"):
        NO_SAMPLES.median  # noqa: B018
