"""Does every row get the values that were asked for, the same ones for ever, and is every mistake named?"""

from __future__ import annotations

import copy
import datetime
import itertools
import json
import random
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_actors.datasets.columns.column_specs import ColumnSpec
from synth_actors.datasets.columns.columns import Columns
from synth_actors.datasets.draws import columns_of
from synth_actors.errors import ConfigError

CUSTOMER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "plan": {"$ref": "#/$defs/Plan"},
        "age": {"type": "integer", "minimum": 18, "maximum": 90},
        "price": {"type": "number", "multipleOf": 0.25},
        "score": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "joined_on": {"type": "string", "format": "date"},
        "seen_at": {"type": "string", "format": "date-time"},
        "name": {"type": "string"},
        "a.b": {"type": "string"},
        "address": {"type": "object", "properties": {"city": {"type": "string", "minLength": 2}, "country": {}}},
        "twin": {"$ref": "#/properties/age"},
    },
    "$defs": {"Plan": {"enum": ["free", "pro", None]}},
}


def columns(seed: int = 0, folder: Path = Path(), **specs: dict[str, Any]) -> Columns:
    made = {name.replace("__", "."): ColumnSpec(**fields) for name, fields in specs.items()}
    return Columns(made, CUSTOMER, seed=seed, folder=folder)


def drawn(name: str, fields: dict[str, Any], rows: int = 500, *, folder: Path = Path(), seed: int = 0) -> list[Any]:
    made = columns(seed, folder, **{name: fields})
    return [made.fill(row, {})[name] for row in range(rows)]


def test_the_same_row_is_drawn_the_same_for_ever() -> None:
    made = columns(
        seed=7,
        plan={"values": {"free": 0.8, "pro": 0.2}},
        age={"min": 18, "max": 90},
        joined_on={"min": datetime.date(2024, 1, 1), "max": datetime.date(2026, 1, 1)},
        weather={"values": ["rain", "sun", "snow"]},
    )
    assert made.words(40) == ['plan = "free"', "age = 32", 'joined_on = "2024-08-22"', 'weather = "sun"']


def test_a_property_is_binding_and_any_other_name_is_only_told() -> None:
    made = columns(plan={"values": ["pro"]}, weather={"values": ["rain"]})
    row = {"plan": "free", "name": "Ada"}
    assert made.words(0) == ['plan = "pro"', 'weather = "rain"']
    assert made.fill(0, row) == {"plan": "pro", "name": "Ada"}
    assert row == {"plan": "free", "name": "Ada"}
    assert made.notes == ("columns.weather: is no property of the schema; it is only told to the model",)
    assert made.names == ("plan", "weather")
    assert made.taken == {"plan"}


def test_a_name_that_is_nearly_a_property_is_asked_about() -> None:
    (note,) = columns(adress__city={"values": ["Rome"]}).notes
    assert "did you mean 'address.city'?" in note


def test_examples_are_only_told_even_for_a_property() -> None:
    made = columns(name={"examples": ["Ada", {"first": "Bob"}], "per_row": 2})
    assert {*made.words(0), *made.words(1)} <= {
        'name like "Ada", {"first": "Bob"}',
        'name like {"first": "Bob"}, "Ada"',
    }
    assert made.fill(0, {"name": "Eve"}) == {"name": "Eve"}
    assert made.taken == {"name"}
    assert made.notes == ()


def test_a_column_inside_an_object_needs_that_object() -> None:
    made = columns(address__city={"values": ["Rome"]})
    assert made.fill(0, {"address": {"country": "Italy"}}) == {"address": {"country": "Italy", "city": "Rome"}}
    for row in ({}, {"address": None}, {"address": [1]}, [1], "text", None):
        assert made.fill(0, row) == row


def test_an_object_is_put_before_what_is_inside_it() -> None:
    made = columns(address__city={"values": ["Rome"]}, address={"values": [{"city": "Oslo", "country": "Norway"}]})
    assert made.fill(0, {}) == {"address": {"city": "Rome", "country": "Norway"}}


def test_a_property_with_a_dot_in_its_name_is_found() -> None:
    assert columns(a__b={"values": ["x"]}).fill(0, {}) == {"a.b": "x"}


def test_weights_come_out_as_they_were_given() -> None:
    for fields in ({"values": ["free", "pro"], "weights": [4, 1.0]}, {"values": {"free": 0.4, "pro": 0.1}}):
        found = Counter(drawn("plan", fields, 20_000))
        assert found["pro"] / 20_000 == pytest.approx(0.2, abs=0.01)


def test_without_weights_every_value_comes_about_as_often() -> None:
    found = Counter(drawn("plan", {"values": ["free", "pro", None]}, 9000))
    assert all(count == pytest.approx(3000, abs=200) for count in found.values())
    assert len(found) == 3


def test_rows_seeds_and_columns_are_drawn_apart() -> None:
    span = {"min": 0, "max": 2**60}
    made = columns(0, here=span, there=span)
    words = [word.partition(" = ")[2] for row in range(500) for word in made.words(row)]
    assert len(set(words)) == 1000
    assert drawn("score", span) != drawn("score", span, seed=1)


@given(low=st.integers(-50, 50), span=st.integers(0, 30), step=st.integers(1, 7))
def test_whole_numbers_are_those_of_a_range(low: int, span: int, step: int) -> None:
    found = drawn("score", {"min": low, "max": low + span, "step": step}, 400)
    assert set(found) <= set(range(low, low + span + 1, step))
    assert all(type(value) is int for value in found)


def test_both_ends_are_reached() -> None:
    assert set(drawn("age", {"min": 18, "max": 21})) == {18, 19, 20, 21}
    days = [datetime.date(2024, 2, 28), datetime.date(2024, 3, 1)]
    assert set(drawn("joined_on", {"min": days[0], "max": days[1]})) == {"2024-02-28", "2024-02-29", "2024-03-01"}
    assert set(drawn("price", {"min": 1, "max": 1.5})) == {1.0, 1.25, 1.5}  # in steps of the schema's multipleOf


@given(low=st.decimals(-5, 5, places=2), count=st.integers(1, 20), step=st.sampled_from(["0.1", "0.25", "0.01", "3"]))
def test_decimals_are_exact_multiples_of_the_step(low: Decimal, count: int, step: str) -> None:
    allowed = [float(low + index * Decimal(step)) for index in range(count)]
    spec = ColumnSpec(min=float(low), max=allowed[-1], step=float(step))
    made = Columns({"x": spec}, {}, seed=0)
    found = {float(word.partition(" = ")[2]) for row in range(100) for word in made.words(row)}
    assert found <= set(allowed)


@given(low=st.floats(-1e300, 1e300), high=st.floats(-1e300, 1e300), row=st.integers(0, 10**9))
def test_a_decimal_without_a_step_lies_between_its_bounds(low: float, high: float, row: int) -> None:
    low, high = sorted((low, high))
    (word,) = Columns({"x": ColumnSpec(min=low, max=high)}, {}, seed=0).words(row)
    assert low <= json.loads(word.partition(" = ")[2]) <= high


def test_a_decimal_without_a_step_is_short_to_read() -> None:
    (word,) = Columns({"x": ColumnSpec(min=0.0, max=500)}, {}, seed=0).words(3)
    assert len(word.partition(".")[2]) <= 3


def test_moments_have_seconds_and_an_offset() -> None:
    low, high = (datetime.datetime(2024, 1, 1, hour, tzinfo=datetime.UTC) for hour in (0, 1))
    found = drawn("seen_at", {"min": low, "max": high, "step": 600})
    assert set(found) == {f"2024-01-01T00:{minute}0:00Z" for minute in range(6)} | {"2024-01-01T01:00:00Z"}


def test_a_moment_without_an_offset_is_refused_with_the_remedy() -> None:
    low = datetime.datetime(2024, 1, 1)
    with pytest.raises(ConfigError, match="write it with its offset: 2024-01-01T00:00:00Z"):
        columns(seen_at={"min": low, "max": low})


@given(count=st.integers(1, 12), data=st.data())
def test_the_examples_of_a_row_are_different_ones(count: int, data: st.DataObject) -> None:
    per_row = data.draw(st.integers(1, count))
    made = Columns({"like": ColumnSpec(examples=list(range(count)), per_row=per_row)}, {}, seed=0)
    seen = set()
    for row in range(40):
        (word,) = made.words(row)
        shown = [int(text) for text in word.removeprefix("like like ").split(", ")]
        assert len(set(shown)) == per_row
        seen |= set(shown)
    assert seen <= set(range(count))
    assert len(seen) == count or count > per_row


def age_of(row: int, rng: random.Random) -> int:
    return 18 + row % 3 + rng.randint(0, 1)


def test_a_function_gets_the_row_and_its_own_randomness() -> None:
    found = drawn("age", {"python": age_of}, 30)
    assert found == drawn("age", {"python": age_of}, 30)
    assert all(value - 18 - row % 3 in (0, 1) for row, value in enumerate(found))
    assert columns(age={"python": age_of}).identity() == {"age": {"python": f"{__name__}:age_of"}}


def test_a_function_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "columns_here.py").write_text("def age(row, rng):\n    return 20 + row\n")
    assert drawn("age", {"python": "columns_here:age"}, 3, folder=tmp_path) == [20, 21, 22]
    with pytest.raises(ConfigError, match="columns_here has no 'agee'; its functions are age"):
        columns(folder=tmp_path, age={"python": "columns_here:agee"})


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda row, rng: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda row, rng: 5, "5 is not valid: 5 is less than the minimum of 18"),
        (lambda row, rng: {1, 2}, "{1, 2} is no JSON value"),
        (lambda row: 20, "TypeError"),
        (lambda row, rng: float("nan"), "nan is no JSON value"),
    ],
)
def test_what_a_function_does_wrong_is_said_before_anything_is_paid(answer: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        columns(age={"python": answer})
    assert str(caught.value).startswith("columns.age: python = ")
    assert ", row 1: " in str(caught.value)
    assert words in str(caught.value)


def test_what_a_function_does_wrong_later_names_the_row() -> None:
    made = columns(age={"python": lambda row, rng: 20 if row < 5 else None})
    assert made.fill(4, {}) == {"age": 20}
    for ask in (made.words, lambda row: made.fill(row, {})):
        with pytest.raises(ConfigError, match=r"^columns.age: .*, row 6: null is not valid"):
            ask(5)


async def later(row: int, rng: random.Random) -> int:
    return 20


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("plan", {"values": ["free", "gold"]}, 'columns.plan: "gold" is not valid: "gold" is not one of'),
        ("plan", {"values": {"free": 1, "gold": 1}}, 'columns.plan: "gold" is not valid'),
        ("age", {"min": 17, "max": 30}, "columns.age: 17 is not valid: 17 is less than the minimum of 18"),
        ("age", {"min": 18, "max": 91}, "columns.age: 91 is not valid"),
        ("age", {"min": 18.5, "max": 30}, "columns.age: 18.5 is no whole number, and the schema says integer"),
        ("age", {"min": 18, "max": 30, "step": 0.5}, "columns.age: 0.5 is no whole number"),
        ("twin", {"values": [5]}, "columns.twin: 5 is not valid"),
        ("price", {"min": 0, "max": 1, "step": 0.1}, "is not a multiple of 0.25"),
        ("joined_on", {"min": 1, "max": 2}, "columns.joined_on: 1 is not valid"),
        ("address.city", {"values": ["x"]}, "columns.address.city: "),
        ("plan", {"file": "none.txt"}, "cannot be read"),
        ("plan", {"file": "a.xml"}, "give a .txt, .jsonl or .csv file"),
        ("plan", {"python": "no_such_module_here:f"}, "there is no module 'no_such_module_here'"),
        ("plan", {"python": "nonsense"}, "give package.module:function"),
        ("plan", {"python": "math:pi"}, "is a float; give a plain function"),
        ("plan", {"python": later}, "is an async function; give a plain function"),
    ],
)
def test_what_may_not_stand_there_is_named(name: str, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        drawn(name, fields)
    assert str(caught.value).startswith(f"columns.{name}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "give exactly one of values, min and max, file, examples, python"),
        ({"values": [1], "file": "a.txt"}, "give exactly one of .*, not values and file"),
        ({"min": 1}, "max is missing"),
        ({"max": 1}, "min is missing"),
        ({"min": 2, "max": 1}, "min = 2 is above max = 1"),
        ({"min": 1, "max": datetime.date(2024, 1, 1)}, "min is a number and max a date"),
        ({"min": "1", "max": "2"}, "min: '1' is not valid: give a number, or a date without quotes"),
        ({"min": True, "max": 2}, "min: True is not valid"),
        ({"min": 1, "max": float("inf")}, "max: inf is not valid"),
        ({"min": 1, "max": 2, "step": 0}, "step: 0 is not valid: give a number above 0"),
        ({"values": []}, "give at least one"),
        ({"values": "free"}, "give a list"),
        ({"values": 5}, "give a list"),
        ({"values": [1, 2], "weights": [1]}, "2 values and 1 weights"),
        ({"values": [1, 2], "weights": [1, 0]}, "the weight 0.0 is none"),
        ({"values": {"a": 1}, "weights": [1]}, "leave weights out"),
        ({"values": {"a": "b"}}, "the weight 'b' is none"),
        ({"values": [{1}]}, "is no JSON value"),
        ({"values": ["\ud800"]}, "is no JSON value"),
        ({"values": [1], "step": 1}, "step goes with min, not with values"),
        ({"python": age_of, "per_row": 2}, "per_row goes with examples, not with python"),
        ({"python": 5}, "give package.module:function"),
        ({"examples": [1], "per_row": 2}, "1 examples are fewer than per_row = 2"),
        ({"examples": [1], "field": "a"}, "field goes with a file"),
        ({"examples": {"a": 1}}, "give a list, or a file"),
        ({"valeus": [1]}, "did you mean 'values'"),
    ],
)
def test_a_column_that_says_too_little_or_too_much_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ColumnSpec(**fields)


PATHS = st.sampled_from(["plan", "name", "address", "address.city", "address.country", "a.b"])
ROWS = st.recursive(
    st.one_of(st.none(), st.integers()),
    lambda inner: st.dictionaries(st.sampled_from(["plan", "address", "city", "x"]), inner, max_size=3),
    max_leaves=8,
)


def naive(row: Any, values: dict[str, Any]) -> Any:
    """Fill as a beginner would: copy all, then set one after the other, the shallow ones first."""
    row = copy.deepcopy(row)
    for name, value in sorted(values.items(), key=lambda item: item[0].startswith("address.")):
        keys = name.split(".") if name.startswith("address.") else [name]
        at = row
        for key in keys[:-1]:
            at = at.get(key) if isinstance(at, dict) else None
        if isinstance(at, dict):
            at[keys[-1]] = copy.deepcopy(value)
    return row


@given(row=ROWS, names=st.sets(PATHS, max_size=4))
def test_filling_is_setting_in_a_copy(row: Any, names: set[str]) -> None:
    values = {name: {"plan": "pro", "address": {"city": "Oslo", "z": 1}}.get(name, "Rome") for name in names}
    made = Columns({name: ColumnSpec(values=[value]) for name, value in values.items()}, CUSTOMER, seed=0)
    before = copy.deepcopy(row)
    assert made.fill(0, row) == naive(row, values)
    assert row == before


def test_what_the_user_gives_is_not_suggested_as_well() -> None:
    schema = {
        "type": "object",
        "properties": {
            "plan": {"enum": ["a", "b"]},
            "name": {"type": "string"},
            "address": {"type": "object", "properties": {"city": {"type": "string"}, "street": {"type": "string"}}},
        },
    }
    suggested = [
        [column.path for column in columns_of(schema, taken)]
        for taken in ((), {"plan"}, {"address"}, {"address.street"}, {"nam"})
    ]
    all_of_them = ["name", "plan", "address.city"]
    assert suggested == [all_of_them, ["name", "address.city"], ["name", "plan"], ["name", "plan"], all_of_them]


def test_no_column_is_no_work() -> None:
    made = Columns({}, CUSTOMER, seed=0)
    assert (made.words(0), made.fill(0, {"x": 1}), made.identity(), made.names) == ([], {"x": 1}, {}, ())
    assert repr(columns(plan={"values": ["pro"]})) == "<Columns plan>"


def test_every_pair_of_ways_is_refused() -> None:
    ways: dict[str, Any] = {"values": [1], "min": 1, "file": "a.txt", "examples": [1], "python": age_of}
    for one, other in itertools.combinations(ways, 2):
        with pytest.raises(ConfigError, match="give exactly one of"):
            ColumnSpec(**{one: ways[one], other: ways[other]})
