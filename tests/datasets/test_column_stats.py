"""Do the parts of a column count what they are given, batch after batch?"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_actors.datasets.quality import strange
from synth_actors.datasets.quality.column_stats import ColumnStats, Paths
from synth_actors.datasets.quality.number_stats import LARGEST, LengthStats, NumberStats, number_digests
from synth_actors.datasets.quality.sketches import Rows
from synth_actors.datasets.quality.text_stats import LONG_CHARS, TextStats, label_of
from synth_actors.datasets.quality.time_stats import TimeStats, seconds_of


def _rows(count: int, start: int = 0) -> Rows:
    return Rows.numbered(range(start, start + count))


# -- numbers and lengths -----------------------------------------------------------------------------------------------
@given(st.integers(-(2**53), 2**53))
def test_equal_numbers_have_one_digest_however_they_are_written(number: int) -> None:
    assert len(set(number_digests([number, float(number)]))) == 1
    assert number_digests([number]) != number_digests([number + 0.5 if abs(number) < 2**50 else number + 2])


@given(st.lists(st.lists(st.integers(0, 9), min_size=1), min_size=1))
def test_lengths_are_those_of_all_batches(batches: list[list[int]]) -> None:
    stats = LengthStats()
    for batch in batches:
        stats.add(batch)
    all_lengths = [length for batch in batches for length in batch]
    report = stats.report()
    assert report is not None
    assert (report.min, report.max, report.empty) == (min(all_lengths), max(all_lengths), all_lengths.count(0))
    assert report.mean == pytest.approx(sum(all_lengths) / len(all_lengths))


def test_the_largest_numbers_have_figures_that_are_numbers() -> None:
    stats = NumberStats()
    stats.add([LARGEST, -LARGEST] * 500, _rows(1000))
    report = stats.report()
    assert report is not None
    assert (report.mean, stats.beyond) == (0.0, 0)
    assert report.standard_deviation == pytest.approx(LARGEST)


@pytest.mark.parametrize("value", [10**400, -(10**400), 1e141, float("inf"), float("nan")])
@pytest.mark.parametrize("at", [0, 1, 4])
def test_a_number_beyond_all_figures_is_found_wherever_it_stands(value: float, at: int) -> None:
    values: list[float] = [1, 2.5, 3, 4]
    values.insert(at, value)
    stats = NumberStats()
    stats.add(values, _rows(5, 70))
    report = stats.report()
    assert report is not None
    assert (report.min, report.max, stats.beyond) == (1, 4, 1)
    assert [(one.row, one.kind) for one in stats.strange("it")] == [(70 + at, strange.BEYOND)]


def test_a_number_that_comes_often_is_not_strange_however_far_it_is() -> None:
    often, once = NumberStats(), NumberStats()
    often.add([1, 2, 3, 4] * 100 + [9999] * 5, _rows(405))
    once.add([1, 2, 3, 4] * 100 + [9999], _rows(401))
    assert often.strange("it") == []
    assert [(one.row, one.value) for one in once.strange("it")] == [(400, "9999")]


# -- times -------------------------------------------------------------------------------------------------------------
@given(st.dates(), st.datetimes(), st.integers(-14, 14))
def test_seconds_are_those_of_the_standard_library_with_utc_where_no_offset_is_named(
    day: date, moment: datetime, hours: int
) -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    there = moment.replace(tzinfo=timezone(timedelta(hours=hours)))
    assert seconds_of(day.isoformat()) == (datetime(day.year, day.month, day.day, tzinfo=UTC) - epoch).total_seconds()
    assert seconds_of(moment.isoformat()) == (moment.replace(tzinfo=UTC) - epoch).total_seconds()
    assert seconds_of(there.isoformat()) == (there - epoch).total_seconds()


@pytest.mark.parametrize("text", ["", "soon", "2024-13-01", "2023-02-29", "24:00"])
def test_what_is_no_date_has_no_seconds(text: str) -> None:
    assert seconds_of(text) is None


def test_a_date_far_from_the_others_is_strange_and_the_first_row_of_it_is_named() -> None:
    stats = TimeStats()
    stats.add([f"2020-{1 + n % 12:02}-15" for n in range(240)] + ["1900-01-01", "1900-01-01", "?"], _rows(243))
    (one,) = stats.strange("born")
    assert (one.row, one.value) == (240, "1900-01-01")
    assert "days before the median 2020-" in one.why


# -- texts -------------------------------------------------------------------------------------------------------------
@given(st.lists(st.text("ab", min_size=LONG_CHARS - 1, max_size=LONG_CHARS + 2), min_size=1, max_size=30))
def test_texts_around_the_bound_are_told_apart(texts: list[str]) -> None:
    stats = TextStats({}, "it")
    stats.add(texts, _rows(len(texts)))
    assert stats.frequencies.distinct == len(set(texts))
    assert all(len(label_of(key)) <= strange.SHOWN_CHARS for key in stats.frequencies.counts)


def test_a_text_of_another_length_than_all_others_is_strange() -> None:
    stats = TextStats({}, "code")
    stats.add([f"AB{n:04}" for n in range(100)] + ["AB12345"], _rows(101))
    (one,) = stats.strange("code")
    assert (one.row, one.why) == (100, "7 characters, where 6 are usual")


@pytest.mark.parametrize("name", ["first_name", "first name", "First Name", "First name", "FIRST NAME"])
def test_the_name_of_the_column_is_no_value(name: str) -> None:
    stats = TextStats({}, "people[].first_name")
    stats.add(["Anna", name, "Berta"], _rows(3))
    assert [(one.row, one.why) for one in stats.strange("it")] == [(1, "the name of the column")]


def test_odd_texts_are_counted_beyond_the_three_that_are_kept() -> None:
    stats = TextStats({}, "it")
    stats.add([f"bell {n}\x07" for n in range(50)] * 2, _rows(100))
    assert stats.oddities() == {"damaged": 50}
    assert [one.row for one in stats.strange("it")] == [0, 1, 2]


# -- the tree ----------------------------------------------------------------------------------------------------------
@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.none() | st.integers() | st.lists(st.text(), max_size=2))))
def test_every_value_is_counted_where_it_stands(rows: list[dict[str, Any]]) -> None:
    root = ColumnStats("$", {}, Paths({}))
    if rows:
        root.add(rows, _rows(len(rows)))
    counted = {column.path: column.report(asked) for column, asked in root.leaves()}
    for key in "abc":
        values = [row[key] for row in rows if key in row]
        items = [item for value in values if isinstance(value, list) for item in value]
        assert (counted[key].present if key in counted else 0) == len(values)
        assert (counted[f"{key}[]"].present if f"{key}[]" in counted else 0) == len(items)
        if key in counted:
            assert (counted[key].absent, counted[key].nulls) == (len(rows) - len(values), values.count(None))
