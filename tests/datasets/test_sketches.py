"""Do the sketches say what a look at all values would say?"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_actors.datasets.quality.sketches import (
    DISTINCT_ERROR,
    EXACT_VALUES,
    KEPT_EXTREMES,
    KEPT_VALUES,
    Cardinality,
    Extremes,
    Frequencies,
    Moments,
    Rows,
    Sample,
    digest,
    digests,
    rank_of,
)

Item = TypeVar("Item")
FLOATS = st.floats(-1e9, 1e9)


def _batches(values: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _rows(count: int, start: int = 0) -> Rows:
    return Rows.numbered(range(start, start + count))


@pytest.mark.parametrize("different", [10, 1000, 1500, 20_000, 100_000])
def test_the_number_of_different_values_is_exact_or_within_four_standard_errors(different: int) -> None:
    sketch = Cardinality()
    for batch in _batches([digest(f"value {number}") for number in range(different)], 500):
        sketch.add(batch)
        sketch.add(batch[:7])  # what came twice counts once
    estimate = sketch.estimate()
    assert estimate == different if different <= 1000 else abs(estimate / different - 1) < 4 * DISTINCT_ERROR


def test_the_order_of_the_values_does_not_change_the_estimate() -> None:
    all_digests = digests([str(number) for number in range(10_000)])
    forwards, backwards = Cardinality(), Cardinality()
    forwards.add(all_digests)
    for start in range(9900, -1, -100):
        backwards.add(all_digests[start : start + 100])
    assert forwards.estimate() == backwards.estimate()


def test_a_digest_is_the_same_on_every_machine_and_exists_for_half_a_surrogate_pair() -> None:
    assert digest("a").hex() == "40f89e395b66422f"
    assert digests(["a", "\ud800"]) == [digest("a"), digest("\ud800")]


def test_ranks_are_spread_evenly_whatever_the_numbers_are() -> None:
    for step in (1, 1000, 2**32):
        low = sum(rank_of(step * number) < 2**63 for number in range(4000))
        assert 1850 < low < 2150
    assert len({rank_of(number) for number in range(-2000, 2000)}) == 4000


@given(st.lists(st.lists(st.integers(0, 30), min_size=1), max_size=8))
def test_few_different_values_are_counted_exactly_and_the_fresh_ones_named_in_order(batches: list[list[int]]) -> None:
    sketch: Frequencies[int] = Frequencies(lambda keys: digests([str(key) for key in keys]))
    naive: Counter[int] = Counter()
    for batch in batches:
        assert sketch.add(batch) == [value for value in dict.fromkeys(batch) if value not in naive]
        naive.update(batch)
    assert sketch.counts == naive
    assert (sketch.distinct, sketch.exact, sketch.error, sketch.total) == (len(naive), True, 0, naive.total())


@pytest.mark.parametrize("heavy", [1, 30, 400])
def test_counts_of_many_values_are_too_low_by_at_most_the_error_that_is_told(heavy: int) -> None:
    values = [f"rare {number}" for number in range(4000)] + ["heavy"] * heavy + ["often"] * 900
    Random(heavy).shuffle(values)
    sketch: Frequencies[str] = Frequencies(digests)
    for batch in _batches(values, 256):
        sketch.add(batch)
    naive = Counter(values)
    assert not sketch.exact
    assert sketch.error <= len(values) / KEPT_VALUES
    assert all(naive[value] - sketch.error <= count <= naive[value] for value, count in sketch.counts.items())
    assert all(value in sketch.counts for value, count in naive.items() if count > sketch.error)
    assert abs(sketch.distinct / len(naive) - 1) < 4 * DISTINCT_ERROR


def test_an_estimate_is_never_below_what_was_counted_nor_above_all_values() -> None:
    sketch: Frequencies[str] = Frequencies(digests)
    sketch.add([str(number) for number in range(EXACT_VALUES + 1)])
    assert (sketch.exact, sketch.distinct) == (False, EXACT_VALUES + 1)


@given(st.lists(st.integers(0, 10**6), unique=True, max_size=200), st.integers())
def test_a_sample_is_the_rows_of_the_lowest_ranks_in_whatever_order_they_come(numbers: list[int], seed: int) -> None:
    shuffled = list(numbers)
    Random(seed).shuffle(shuffled)
    one, other = Sample(20, str), Sample(20, str)
    one.add(numbers, Rows.numbered(numbers))
    for batch in _batches(shuffled, 7):
        other.add(batch, Rows.numbered(batch))
    naive = [str(number) for number in sorted(numbers, key=rank_of)[:20]]
    assert one.values() == other.values() == naive


def test_a_sample_speaks_for_all_values() -> None:
    sample = Sample(2048, float)
    for start in range(0, 100_000, 1000):
        sample.add(range(start, start + 1000), _rows(1000, start))
    assert abs(statistics.median(sample.values()) - 50_000) < 5000
    assert len(sample.values()) == 2048


@given(st.lists(st.lists(FLOATS, min_size=1), min_size=1, max_size=6))
def test_moments_in_batches_are_those_of_all_values(batches: list[list[float]]) -> None:
    moments = Moments()
    for batch in batches:
        moments.add(batch)
    everything = [value for batch in batches for value in batch]
    assert moments.count == len(everything)
    assert moments.mean == pytest.approx(statistics.fmean(everything), rel=1e-9, abs=1e-3)
    assert moments.standard_deviation == pytest.approx(statistics.pstdev(everything), rel=1e-6, abs=1e-3)


@given(st.lists(st.lists(st.integers(-50, 50), min_size=1), min_size=1, max_size=6))
def test_extremes_are_the_outermost_different_keys_with_the_first_row_of_each(batches: list[list[int]]) -> None:
    extremes = Extremes(str)
    seen: list[int] = []
    for batch in batches:
        extremes.add(batch, batch, _rows(len(batch), len(seen)))
        seen += batch
    for found, outermost in (
        (extremes.low, sorted(set(seen))[:KEPT_EXTREMES]),
        (extremes.high, sorted(set(seen), reverse=True)[:KEPT_EXTREMES]),
    ):
        assert found == {key: (seen.index(key), str(key)) for key in outermost}


def test_items_of_a_row_have_its_number_and_ranks_of_their_own() -> None:
    rows = _rows(3).of_items([2, 0, 3])
    assert list(rows.numbers) == [0, 0, 2, 2, 2]
    assert len(set(rows.ranks)) == 5
    assert list(rows.where([True, False, True, False, False]).numbers) == [0, 2]
    assert [rows.ranks[at] for at in rows.lowest(2**64)] == sorted(rows.ranks)
