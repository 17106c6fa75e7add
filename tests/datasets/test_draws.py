"""Are drawn values allowed by the schema, the same everywhere, and different enough?"""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import orjson
from hypothesis import given
from hypothesis import strategies as st

from synth_actors.datasets.draws import MAX_COLUMNS, columns_of, suggestions

CUSTOMER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": "^C[0-9]+$"},
        "kind": {"const": "customer"},
        "name": {"type": "string"},
        "plan": {"$ref": "#/$defs/Plan"},
        "score": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 10}, {"type": "null"}]},
        "address": {"type": "object", "properties": {"city": {"type": "string"}}},
        "born_on": {"type": "string", "format": "date"},
    },
    "$defs": {"Plan": {"enum": ["free", "pro", None]}},
}


def test_columns_are_chosen_by_what_they_allow() -> None:
    assert [(column.path, column.kind) for column in columns_of(CUSTOMER)] == [
        ("name", "name"),
        ("plan", "choice"),
        ("born_on", "date"),
        ("score", "number"),
    ]


def test_a_column_that_depends_on_another_one_gets_no_suggestion() -> None:
    bound = {
        **CUSTOMER,
        "if": {"properties": {"plan": {"const": "free"}}},
        "then": {"properties": {"score": {"const": 0}}},
        "else": {"properties": {"born_on": {"minLength": 1}}},
    }
    assert [column.path for column in columns_of(bound)] == ["name", "plan", "address.city"]


def test_a_nested_column_is_named_by_its_path() -> None:
    nested = {"type": "object", "properties": {"address": CUSTOMER["properties"]["address"]}}
    (column,) = columns_of(nested)
    assert column.path == "address.city"


def test_never_more_columns_than_the_bound() -> None:
    wide = {"type": "object", "properties": {f"choice_{index}": {"enum": [1, 2]} for index in range(20)}}
    assert len(columns_of(wide)) == MAX_COLUMNS


def test_nothing_is_suggested_where_nothing_is_known() -> None:
    for schema in ({}, {"type": "string"}, {"$ref": "#"}, {"type": "object", "properties": {"x": True, "y": {}}}):
        assert columns_of(schema) == ()
    assert suggestions((), seed=0, row=0, attempt=0) == ""


def test_the_same_row_is_drawn_the_same_for_ever() -> None:
    drawn = suggestions(columns_of(CUSTOMER), seed=7, row=40, attempt=0)
    assert drawn == 'name starts with "Ar"; plan = "free"; born_on near 2022-03-13; score near 7'


def test_rows_seeds_and_tries_are_drawn_apart() -> None:
    columns = columns_of(CUSTOMER)
    drawn = [suggestions(columns, seed=s, row=row, attempt=a) for s in (0, 1) for a in (0, 1) for row in range(500)]
    assert len(set(drawn)) > 0.99 * len(drawn)


@given(
    schema=st.one_of(
        st.fixed_dictionaries(
            {"enum": st.lists(st.one_of(st.integers(-5, 5), st.text(max_size=3), st.none()), min_size=1, unique=True)},
            optional={"minimum": st.integers(-5, 5), "maxLength": st.integers(0, 3)},
        ),
        st.fixed_dictionaries(
            {
                "type": st.sampled_from(["integer", "number"]),
                "minimum": st.integers(-50, 0),
                "maximum": st.integers(1, 50),
            },
            optional={"multipleOf": st.sampled_from([1, 2, 5, 0.5]), "not": st.just({"const": 3})},
        ),
        st.fixed_dictionaries(
            {
                "type": st.just("number"),
                "exclusiveMinimum": st.floats(-9, 0),
                "exclusiveMaximum": st.floats(0.001, 9),
            }
        ),
    ),
    row=st.integers(0, 10_000),
)
def test_a_drawn_value_is_valid_in_the_eyes_of_another_validator(schema: dict[str, Any], row: int) -> None:
    drawn = suggestions(columns_of({"type": "object", "properties": {"x": schema}}), seed=0, row=row, attempt=0)
    if drawn:
        found = re.fullmatch(r"x (?:=|near) (.*)", drawn)
        assert found is not None
        jsonschema.Draft202012Validator(schema).validate(orjson.loads(found[1]))
