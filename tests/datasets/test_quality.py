"""Does the report say what a look at all rows would say, whatever the rows are?"""

from __future__ import annotations

import gc
import json
import math
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_actors.datasets.quality.column_stats import MAX_DEPTH, MAX_PATHS
from synth_actors.datasets.quality.quality import BATCH_ROWS, Quality
from synth_actors.datasets.quality.quality_report import Column, QualityReport

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "plan": {"enum": ["free", "team", "gold", None]},
        "born": {"type": ["string", "null"], "format": "date"},
        "address": {"$ref": "#/$defs/Address"},
        "tags": {"type": "array", "items": {"enum": ["new", "old"]}},
    },
    "$defs": {"Address": {"properties": {"city": {"type": "string"}, "floor": {"type": "integer"}}}},
}
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
)


def _quality(rows: Iterable[Any], schema: Mapping[str, Any] | None = None) -> Quality:
    quality = Quality(schema or {})
    for number, row in enumerate(rows):
        quality.add(row, number)
    return quality


def _report(rows: Iterable[Any], schema: Mapping[str, Any] | None = None) -> QualityReport:
    return _quality(rows, schema).report()


def _column(report: QualityReport, path: str) -> Column:
    return next(column for column in report.columns if column.path == path)


def _of(values: Iterable[Any], schema: Mapping[str, Any] | None = None) -> Column:
    """The report on one column with these values."""
    rows = [{"it": value} for value in values]
    return _column(_report(rows, {"properties": {"it": schema or {}}}), "it")


# -- columns -----------------------------------------------------------------------------------------------------------
def test_columns_are_the_leaves_of_schema_and_data_with_the_schema_first() -> None:
    report = _report([{"extra": 1, "tags": ["new"], "address": {"zip": "1", "city": "Ulm"}}], PERSON)
    paths = [column.path for column in report.columns]
    assert paths == ["name", "plan", "born", "address.city", "address.floor", "address.zip", "tags", "tags[]", "extra"]


def test_presence_is_counted_against_the_objects_that_could_have_had_the_key() -> None:
    rows = [{"name": "A", "address": {"city": "Ulm"}}, {"name": None}, {"address": None}, {"address": {}}]
    report = _report(rows, PERSON)
    name, city, address = _column(report, "name"), _column(report, "address.city"), _column(report, "address")
    assert (name.present, name.nulls, name.absent) == (2, 1, 2)
    assert (city.present, city.absent) == (1, 1)
    assert (address.present, address.nulls, address.absent) == (3, 1, 1)
    assert address.types == {"object": 2, "null": 1}


def test_a_key_that_looks_like_a_path_is_quoted() -> None:
    report = _report([{"a.b": 1, "a": {"b": 2}, "c[]": 3, "": 4, "x\n": 5}])
    assert [column.path for column in report.columns] == ['"a.b"', "a.b", '"c[]"', '""', '"x\\n"']


def test_arrays_are_a_column_of_lengths_and_one_of_items() -> None:
    report = _report([{"tags": ["new", "old", "new"]}, {"tags": []}, {"tags": [{"deep": 1}]}], PERSON)
    tags, items = _column(report, "tags"), _column(report, "tags[]")
    assert tags.items is not None
    assert (tags.items.min, tags.items.max, tags.items.empty) == (0, 3, 1)
    assert tags.items.mean == pytest.approx(4 / 3)
    assert (items.present, items.types, items.distinct) == (4, {"string": 3, "object": 1}, None)
    assert _column(report, "tags[].deep").present == 1


def test_a_schema_that_contains_itself_is_entered_once_and_the_data_lead_further() -> None:
    tree = {"properties": {"name": {"type": "string"}, "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}}
    assert [column.path for column in _report([], tree).columns] == ["name", "next"]
    report = _report([{"name": "a", "next": {"name": "b", "next": None}}], tree)
    assert [column.path for column in report.columns] == ["name", "next.name", "next.next"]


# -- figures against naive ones ----------------------------------------------------------------------------------------
@given(st.lists(st.sampled_from([None, True, False, 0, 1, 1.5, -7, "a", "b", "", "a b"]), max_size=60))
def test_small_columns_are_counted_exactly(values: list[Any]) -> None:
    column = _of(values)
    texts, numbers = [v for v in values if isinstance(v, str)], [v for v in values if type(v) in (int, float)]
    booleans = [v for v in values if isinstance(v, bool)]
    assert (column.present, column.nulls) == (len(values), values.count(None))
    assert column.distinct == len(set(texts)) + len(set(numbers)) + len(set(booleans))
    assert column.distinct_exact
    expected = Counter(texts) + Counter(map(str, numbers)) + Counter(str(v).lower() for v in booleans)
    assert dict(column.top) == (expected if expected and max(expected.values()) > 1 else {})
    assert column.true_share == (booleans.count(True) / len(booleans) if booleans else None)


@given(st.lists(st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_figures_of_few_numbers_are_those_of_the_statistics_module(values: list[float]) -> None:
    numbers = _of(values).numbers
    assert numbers is not None
    assert (numbers.min, numbers.max, numbers.count) == (min(values), max(values), len(values))
    assert numbers.mean == pytest.approx(statistics.fmean(values), rel=1e-9, abs=1e-6)
    assert numbers.standard_deviation == pytest.approx(statistics.pstdev(values), rel=1e-6, abs=1e-3)
    assert numbers.quantiles["50"] == statistics.median_low(values)


def test_figures_of_many_rows_are_near_the_true_ones() -> None:
    total = 30_000
    rows = [
        {"id": f"row {n}", "half": f"{n % (total // 2)}", "n": (n * 7919) % total, "k": n % 7} for n in range(total)
    ]
    report = _report(rows)
    for path, truth in {"id": total, "half": total / 2, "n": total}.items():
        column = _column(report, path)
        assert column.distinct is not None
        assert not column.distinct_exact
        assert abs(column.distinct / truth - 1) < 0.13
    numbers, few = _column(report, "n").numbers, _column(report, "k")
    assert numbers is not None
    assert (numbers.min, numbers.max, numbers.sampled) == (0, total - 1, 2048)
    assert numbers.mean == pytest.approx((total - 1) / 2)
    for share, value in numbers.quantiles.items():
        assert abs(value / total - int(share) / 100) < 0.05
    assert (few.distinct, few.distinct_exact) == (7, True)
    assert few.entropy == pytest.approx(1.0, abs=1e-4)


def test_texts_have_lengths_and_empty_ones_are_counted() -> None:
    texts = _of(["", "ab", "abcd", ""]).texts
    assert texts is not None
    assert (texts.min, texts.mean, texts.max, texts.empty) == (0, 1.5, 4, 2)


def test_long_texts_that_begin_alike_are_different_values() -> None:
    column = _of(["x" * 500 + str(number % 3) for number in range(30)])
    assert (column.distinct, [count for _, count in column.top]) == (3, [10, 10, 10])
    assert all(len(value) <= 80 for value, _ in column.top)


def test_the_earliest_and_the_latest_time_are_found_across_offsets() -> None:
    values = ["2024-01-01T00:30:00+02:00", "2023-12-31T23:00:00Z", "2024-01-01T00:00:00-05:00", "soon"]
    times = _of(values, {"format": "date-time"}).times
    assert times is not None
    assert (times.earliest, times.latest) == (values[0], values[2])
    assert (times.count, times.unreadable) == (3, 1)


def test_dates_are_known_by_their_looks_where_the_schema_is_silent() -> None:
    times = _of(["2024-01-02", "1999-12-31"]).times
    assert times is not None
    assert (times.earliest, times.latest) == ("1999-12-31", "2024-01-02")
    assert _of(["2024-01-02", "yesterday"]).times is None


def test_declared_values_that_never_occurred_are_named() -> None:
    report = _report([{"plan": "free", "tags": ["new"]}, {"plan": "team", "tags": []}], PERSON)
    assert _column(report, "plan").unseen == ("gold", "null")
    assert _column(report, "tags[]").unseen == ("old",)
    assert _of([True], {"enum": [1, True, "a"]}).unseen == ("a", "1")


# -- diversity ---------------------------------------------------------------------------------------------------------
@given(st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_entropy_is_that_of_the_shares_over_its_largest(counts: list[int]) -> None:
    values = [f"v{at}" for at, count in enumerate(counts) for _ in range(count + 1)]
    shares = [(count + 1) / len(values) for count in counts]
    naive = -sum(share * math.log(share) for share in shares) / math.log(len(counts)) if len(counts) > 1 else 0.0
    assert _of(values).entropy == pytest.approx(naive, abs=1e-5)


def test_entropy_knows_the_declared_values_that_never_came_and_says_nothing_of_many_values() -> None:
    assert _of(["a", "b"] * 10, {"enum": ["a", "b", "c", "d"]}).entropy == pytest.approx(0.5)
    assert _of([str(number) for number in range(500)] * 2).entropy is None
    assert _of(["a", "b", "c"]).entropy is None


@pytest.mark.parametrize(
    ("values", "constant"), [(["x"] * 96 + ["y"] * 4, "x"), ([None] * 99 + [1], "null"), ([True] * 30, "true")]
)
def test_a_column_of_nearly_one_value_is_told(values: list[Any], constant: str) -> None:
    assert _of(values).constant == constant


def test_a_column_of_two_values_or_of_few_rows_is_not_nearly_constant() -> None:
    assert _of(["x"] * 94 + ["y"] * 6).constant is None
    assert _of(["x"] * 5).constant is None


def test_word_variety_is_the_share_of_different_words_and_pairs_of_free_text() -> None:
    words = _of(["the cat sat down here", "the dog sat down there"] * 20).words
    assert words is not None
    assert (words.texts, words.words) == (40, 200)
    assert words.distinct_1 == pytest.approx(7 / 200)
    assert words.distinct_2 == pytest.approx(7 / 160)
    assert _of(["one word"] * 40).words is None


# -- strange values ----------------------------------------------------------------------------------------------------
def test_strange_values_are_found_with_row_column_and_reason() -> None:
    rows: list[dict[str, Any]] = [
        {"name": f"Name {n}", "age": 20 + n % 50, "born": f"19{50 + n % 40}-01-01", "code": f"C{n % 90 + 10}"}
        for n in range(2000)
    ]
    rows[7]["name"] = "John Doe"
    rows[1234]["name"] = "Caf\ufffd"
    rows[300]["age"] = 999
    rows[1999]["born"] = "9999-12-31"
    rows[55]["code"] = "C1"
    rows[56]["code"] = "code"
    report = _report(rows)
    found = {(one.row, one.column) for one in report.strangest}
    assert {(7, "name"), (1234, "name"), (300, "age"), (1999, "born"), (55, "code"), (56, "code")} <= found
    age = next(one for one in report.strangest if one.column == "age")
    assert (age.value, "median" in age.why) == ("999", True)
    assert _column(report, "name").oddities == {"damaged": 1, "placeholder": 1}


def test_declared_values_are_no_placeholders() -> None:
    rows = [{"it": "unknown"}] * 3
    assert _report(rows, {"properties": {"it": {"enum": ["unknown", "known"]}}}).strangest == ()
    assert len(_report(rows).strangest) == 1


def test_one_name_in_another_script_is_strange_but_half_of_them_are_not() -> None:
    latin, cyrillic = [f"Anna {n}" for n in range(300)], [f"Анна {n}" for n in range(300)]
    (one,) = _report([{"name": name} for name in [*latin, "Анна"]]).strangest
    assert (one.row, one.why) == (300, "Cyrillic, as in 1 of 301 texts")
    assert _report([{"name": name} for name in [*latin, *cyrillic]]).strangest == ()


def test_at_most_three_of_a_column_and_twenty_overall_are_shown() -> None:
    rows = [{f"column {column}": f"N/A{'?' * (n == 3)} {n}\x00" for column in range(10)} for n in range(50)]
    strangest = _report(rows).strangest
    assert len(strangest) == 20
    assert max(Counter(one.column for one in strangest).values()) <= 3


# -- unusual rows ------------------------------------------------------------------------------------------------------
def test_rows_that_are_no_objects_are_a_column_of_their_own() -> None:
    report = _report([1, "two", None, [3, 4], {"a": 1}])
    assert (report.rows, report.not_objects) == (5, 4)
    assert [column.path for column in report.columns] == ["$", "a", "$[]"]
    assert "4 of 5 rows are no objects" in report.lines()


def test_numbers_beyond_floats_are_counted_apart() -> None:
    column = _of([1, 2, 10**400, -(10**5000), math.inf, math.nan])
    assert column.numbers is not None
    assert (column.numbers.max, column.numbers.count, column.oddities) == (2, 2, {"beyond range": 4})
    assert _of([math.nan, 10**400]).numbers is None
    strangest = _report([{"a": 10**5000}]).strangest
    assert [one.value for one in strangest] == ["an integer of 16610 bits"]


def test_ten_thousand_keys_are_counted_where_they_are_not_looked_at() -> None:
    report = _report([{f"key {n}": n for n in range(start, start + 100)} for start in range(0, 10_000, 100)])
    assert len(report.columns) == MAX_PATHS
    assert report.values_left_out == 10_000 - MAX_PATHS
    assert abs(report.paths_left_out / (10_000 - MAX_PATHS) - 1) < 0.13
    assert any("further paths" in line for line in report.lines())


def test_deep_rows_are_entered_to_a_bound_and_no_further() -> None:
    deep: Any = 1
    for _ in range(900):
        deep = {"in": deep}
    report = _report([deep])
    assert [column.path for column in report.columns] == [".".join(["in"] * MAX_DEPTH)]
    assert (report.values_left_out, report.paths_left_out) == (1, 1)
    nested: Any = []
    for _ in range(900):
        nested = [nested]
    assert _report([nested]).columns[-1].path == "$" + "[]" * MAX_DEPTH


def test_what_is_no_json_is_refused_with_its_place() -> None:
    quality = Quality({})
    quality.add({"a": {"b": object()}}, 0)
    with pytest.raises(TypeError, match=r"a\.b: object is no JSON type"):
        quality.report()


def test_a_schema_of_any_shape_is_no_obstacle() -> None:
    for schema in (
        {"properties": True, "items": True, "enum": 3},
        {"properties": {"it": True}},
        {"$ref": "#/$defs/none"},
    ):
        assert _report([{"it": 1}], schema).columns[0].present == 1


@settings(max_examples=50)
@given(st.lists(JSON, max_size=6))
def test_every_json_row_gives_a_report_that_is_json_and_fits_a_terminal(rows: list[Any]) -> None:
    report = _report(rows)
    assert json.loads(json.dumps(report.as_dict(), allow_nan=False))["rows"] == len(rows)
    assert all(len(line) <= 120 and line.isprintable() for line in report.lines())


# -- determinism -------------------------------------------------------------------------------------------------------
def _varied(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{n * 7919 % 100_003:x}",
            "x": (n * 0.37) % 11,
            "note": f"word {n % 91} and {n % 17} more of it",
            "t": [n % 5] * (n % 3),
        }
        for n in range(count)
    ]


@settings(max_examples=10)
@given(st.sets(st.integers(1, 1200), max_size=2))
def test_a_report_in_between_changes_no_later_one(stops: set[int]) -> None:
    rows = _varied(1200)
    quality = Quality({})
    for number, row in enumerate(rows):
        quality.add(row, number)
        if number in stops:
            assert quality.report().rows == number + 1
    assert quality.report() == _report(rows)
    assert quality.report() == quality.report()


PROGRAM = """
import json
from tests.datasets.test_quality import _report, _varied
print(json.dumps(_report(_varied(3000)).as_dict()))
"""


def test_another_process_says_the_same() -> None:
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PYTHONHASHSEED": "77", "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(said.stdout) == json.loads(json.dumps(_report(_varied(3000)).as_dict()))


# -- memory ------------------------------------------------------------------------------------------------------------
def test_memory_does_not_grow_with_the_rows() -> None:
    quality = _quality([])
    sizes = []
    for start in (0, 20 * BATCH_ROWS):
        for number in range(start, start + 20 * BATCH_ROWS):
            quality.add({"id": f"{number}", "x": number * 0.5, "t": ["a" * (number % 300)]}, number)
        sizes.append(_held(quality))
    assert sizes[1] < 1.3 * sizes[0]


def _held(thing: Any) -> int:
    """Objects that are reachable from `thing`."""
    seen: set[int] = set()
    todo = [thing]
    while todo:
        one = todo.pop()
        if id(one) not in seen and not isinstance(one, type | ModuleType) and not callable(one):
            seen.add(id(one))
            todo += gc.get_referents(one)
    return len(seen)
