"""Is every value of a schema held by the kind of its column?"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, computed_field

from synth_actors.datasets.outputs.table_columns import (
    BOOLEAN,
    DATE,
    DATE_TIME,
    DECIMAL,
    INTEGER,
    JSON,
    NUMBER,
    TEXT,
    TIME,
    UNSIGNED,
    Array,
    Kind,
    Record,
    columns_of,
)
from synth_actors.datasets.row_schema import RowSchema

STRING, WHOLE = {"type": "string"}, {"type": "integer"}
CAT = {"type": "object", "properties": {"kind": {"const": "cat"}, "lives": WHOLE}}
DOG = {"type": "object", "properties": {"kind": {"const": "dog"}, "bones": WHOLE}}
NAMED = {"type": "object", "properties": {"name": STRING}}


def date_of(name: str) -> dict[str, Any]:
    return {"type": "string", "format": name}


def kind_of(schema: Any, **definitions: Any) -> Kind:
    row = {"type": "object", "properties": {"a": schema}, "$defs": definitions}
    return columns_of(RowSchema(row))["a"]


KINDS: tuple[tuple[Any, Kind], ...] = (
    ({"type": "string"}, TEXT),
    ({"type": "string", "format": "uuid"}, TEXT),
    (date_of("date"), DATE),
    (date_of("date-time"), DATE_TIME),
    (date_of("time"), TIME),
    ({"type": "boolean"}, BOOLEAN),
    ({"type": "number"}, NUMBER),
    ({"type": "integer"}, INTEGER),
    ({"type": "integer", "minimum": 0}, INTEGER),
    ({"type": "integer", "exclusiveMaximum": 2**63}, INTEGER),
    ({"type": "integer", "minimum": 0, "maximum": 2**63}, UNSIGNED),
    ({"type": "integer", "minimum": 0, "maximum": 2.0**64}, DECIMAL),
    ({"type": "integer", "maximum": 2**63}, DECIMAL),
    ({"type": "integer", "minimum": -1e30, "maximum": 1}, DECIMAL),
    ({"type": "integer", "minimum": 0, "maximum": 1e39}, JSON),
    ({"enum": ["a", "b", None]}, TEXT),
    ({"enum": [1, 2]}, INTEGER),
    ({"enum": [1, 2.5]}, NUMBER),
    ({"enum": [1, 2**63]}, DECIMAL),
    ({"type": "integer", "const": 2**63}, UNSIGNED),
    ({"enum": ["a", 1]}, JSON),
    ({"enum": [[1]]}, JSON),
    ({"const": True}, BOOLEAN),
    ({"type": ["string", "null"]}, TEXT),
    ({"type": ["integer", "number"]}, NUMBER),
    ({"type": ["string", "integer"]}, JSON),
    ({"type": "null"}, JSON),
    ({}, JSON),
    (True, JSON),
    ({"minLength": 3}, JSON),
    ({"anyOf": [STRING, {"type": "null"}]}, TEXT),
    ({"anyOf": [date_of("date"), STRING]}, TEXT),
    ({"anyOf": [date_of("date"), date_of("date-time")]}, TEXT),
    ({"anyOf": [STRING, {"minLength": 3}]}, JSON),
    ({"anyOf": [WHOLE, {"type": "number"}]}, NUMBER),
    ({"anyOf": [WHOLE, {"type": "integer", "minimum": 0, "maximum": 2**63}]}, DECIMAL),
    ({"type": "string", "anyOf": [{"minLength": 3}, {"const": ""}]}, TEXT),
    ({"type": "string", "anyOf": [{"type": "string"}, {"type": "integer"}]}, TEXT),
    ({"allOf": [STRING, {"format": "date"}]}, TEXT),
    ({"allOf": [STRING, date_of("date")]}, DATE),
    ({"allOf": [{"type": "number"}, WHOLE]}, INTEGER),
    ({"allOf": [STRING, WHOLE]}, JSON),
    ({"type": "array", "items": STRING}, Array(TEXT)),
    ({"items": STRING}, Array(TEXT)),
    ({"type": "array", "items": {"type": "array", "items": WHOLE}}, Array(Array(INTEGER))),
    ({"type": "array"}, JSON),
    ({"type": "array", "items": {}}, JSON),
    ({"type": "array", "prefixItems": [WHOLE, {"type": "number"}], "maxItems": 2}, Array(NUMBER)),
    ({"type": "array", "prefixItems": [WHOLE, WHOLE], "items": False}, Array(INTEGER)),
    ({"type": "array", "prefixItems": [WHOLE], "items": WHOLE}, Array(INTEGER)),
    ({"type": "array", "prefixItems": [WHOLE]}, JSON),
    ({"type": "array", "prefixItems": [WHOLE, STRING], "maxItems": 2}, JSON),
    ({"anyOf": [{"type": "array", "items": WHOLE}, {"type": "array", "items": {"type": "number"}}]}, Array(NUMBER)),
    ({"allOf": [{"type": "array"}, {"type": "array", "items": WHOLE}]}, Array(INTEGER)),
    (NAMED, Record((("name", TEXT),))),
    ({"properties": {"name": STRING}}, Record((("name", TEXT),))),
    ({**NAMED, "additionalProperties": False}, Record((("name", TEXT),))),
    ({"type": "object", "properties": {"x": {}}}, Record((("x", JSON),))),
    ({"type": "object", "allOf": [NAMED, CAT]}, Record((("name", TEXT), ("kind", TEXT), ("lives", INTEGER)))),
    ({"anyOf": [NAMED, {"type": "null"}]}, Record((("name", TEXT),))),
    ({**NAMED, "additionalProperties": True}, JSON),
    ({**NAMED, "patternProperties": {"^x": {}}}, JSON),
    ({**NAMED, "allOf": [{"type": "object", "additionalProperties": WHOLE}]}, JSON),
    ({"type": "object", "additionalProperties": WHOLE}, JSON),
    ({"type": "object"}, JSON),
    ({"type": "object", "properties": {}}, JSON),
    ({"oneOf": [CAT, DOG]}, JSON),
    ({"type": "array", "items": {"oneOf": [CAT, DOG]}}, JSON),
    ({"$ref": "#"}, JSON),
)


@pytest.mark.parametrize(("schema", "kind"), KINDS, ids=lambda value: str(value)[:80])
def test_a_schema_has_the_narrowest_kind_that_holds_its_values(schema: Any, kind: Kind) -> None:
    assert kind_of(schema) == kind


def test_references_are_followed_until_they_lead_back() -> None:
    node = {"type": "object", "properties": {"n": WHOLE, "next": {"$ref": "#/$defs/node"}}}
    found = kind_of({"type": "array", "items": {"$ref": "#/$defs/node"}}, node=node)
    assert found == Array(Record((("n", INTEGER), ("next", JSON))))


def test_a_reference_names_keys_with_marks_and_places_in_lists() -> None:
    definitions = {"a/b c": WHOLE, "either": {"anyOf": [STRING, date_of("date")]}}
    assert kind_of({"$ref": "#/$defs/a~1b%20c"}, **definitions) == INTEGER
    assert kind_of({"$ref": "#/$defs/either/anyOf/1"}, **definitions) == DATE
    assert kind_of({"$ref": "#here"}, a={"$anchor": "here", **WHOLE}) == JSON, "what an anchor names is not looked for"


def test_the_same_definition_may_be_used_twice() -> None:
    found = kind_of(
        {"type": "object", "properties": {"x": {"$ref": "#/$defs/d"}, "y": {"$ref": "#/$defs/d"}}}, d=date_of("date")
    )
    assert found == Record((("x", DATE), ("y", DATE)))


def test_columns_of_alternatives_stand_side_by_side_and_hold_what_each_of_them_says() -> None:
    cat = {"type": "object", "properties": {"kind": {"const": "cat"}, "size": WHOLE, "id": STRING}}
    dog = {"type": "object", "properties": {"kind": {"const": "dog"}, "size": {"type": "number"}, "id": WHOLE}}
    found = columns_of(RowSchema({"oneOf": [cat, dog]}))
    assert found == {"kind": TEXT, "size": NUMBER, "id": JSON}


def test_what_only_some_alternatives_say_about_a_known_column_does_not_narrow_it() -> None:
    row = {
        "type": "object",
        "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
        "anyOf": [{"properties": {"a": WHOLE, "b": WHOLE}}, {"properties": {"a": WHOLE}}],
        "then": {"properties": {"b": WHOLE, "c": WHOLE}},
        "dependentSchemas": {"a": {"properties": {"d": STRING}}},
    }
    assert columns_of(RowSchema(row)) == {"a": INTEGER, "b": NUMBER, "c": INTEGER, "d": TEXT}


def test_a_schema_without_properties_has_no_columns() -> None:
    assert columns_of(RowSchema({"type": "array", "items": NAMED})) == {}


class Item(BaseModel):
    model_config = ConfigDict(extra="forbid")

    number: int = Field(alias="itemNumber")
    tags: list[str] | None = None


class Basket(BaseModel):
    items: list[Item]
    by_name: dict[str, int] = {}
    pair: tuple[int, float] = (1, 2.0)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def size(self) -> int:
        return len(self.items)


def test_a_model_has_the_columns_of_what_it_writes() -> None:
    assert columns_of(RowSchema(Basket)) == {
        "items": Array(Record((("itemNumber", INTEGER), ("tags", Array(TEXT))))),
        "by_name": JSON,
        "pair": Array(NUMBER),
        "size": INTEGER,
    }
