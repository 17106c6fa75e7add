"""Is one row judged by itself, and is the answer's schema the row's, only deeper?"""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel, ConfigDict, Field

from synth_actors.datasets.row_schema import Invalid, RowSchema, Valid, identity_of, row_json
from synth_actors.errors import ConfigError


class Node(BaseModel):
    model_config = ConfigDict(strict=True)
    day: datetime.date
    pair: tuple[int, int] = (0, 0)
    children: list[Node] = []


class Aliased(BaseModel):
    first: str = Field(alias="firstName")


def answers(schema: dict[str, Any], rows: list[Any]) -> bool:
    wrapper = RowSchema(schema).rows(len(rows)).json_schema()
    jsonschema.Draft202012Validator.check_schema(wrapper)
    return bool(jsonschema.Draft202012Validator(wrapper).is_valid({"rows": rows}))


@pytest.mark.parametrize(
    "schema",
    [
        {"$defs": {"Id": {"type": "integer"}}, "type": "object", "properties": {"a": {"$ref": "#/$defs/Id"}}},
        {"definitions": {"Id": {"type": "integer"}}, "properties": {"a": {"$ref": "#/definitions/Id"}}},
        {"properties": {"a": {"type": "integer"}, "b": {"$ref": "#/properties/a"}}},
        {"properties": {"a": {"type": "integer"}, "b": {"$ref": "#"}}},
        {
            "$id": "https://example.com/row",
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "properties": {"a": {"$ref": "https://example.com/row#/$defs/Id"}},
            "$defs": {"Id": {"type": "integer"}},
        },
    ],
)
def test_references_mean_the_same_inside_the_answer(schema: dict[str, Any]) -> None:
    assert answers(schema, [{"a": 1}, {"a": 2}])
    assert not answers(schema, [{"a": 1}, {"a": "x"}])
    nested = {"b": "x"} if "b" in schema["properties"] else {"a": None}
    assert not answers(schema, [nested if schema["properties"].get("b") != {"$ref": "#"} else {"b": {"a": "x"}}])


def test_a_property_that_is_called_ref_and_a_default_that_looks_like_one_are_left_alone() -> None:
    schema = {"properties": {"$ref": {"type": "string"}, "x": {"default": {"$ref": "#/x"}}}}
    items = RowSchema(schema).rows(1).json_schema()["properties"]["rows"]["items"]
    assert items == schema


@pytest.mark.parametrize("reference", ["other.json", "https://example.com/other#/a", "row.json#/$defs/x"])
def test_a_reference_to_another_document_is_refused_and_not_fetched(reference: str) -> None:
    with pytest.raises(ConfigError, match="leaves the schema"):
        RowSchema({"properties": {"a": {"$ref": reference}}})


def test_the_answer_has_exactly_as_many_rows_as_were_asked_for() -> None:
    wrapper = RowSchema({"type": "object"}).rows(3).json_schema()
    validator = jsonschema.Draft202012Validator(wrapper)
    assert [validator.is_valid({"rows": [{}] * count}) for count in (2, 3, 4)] == [False, True, False]


def test_a_model_judges_by_the_rules_of_json_also_when_it_is_strict() -> None:
    verdict = RowSchema(Node).check({"day": "2026-01-02", "pair": [1, 2], "children": [{"day": "2026-01-03"}]})
    assert isinstance(verdict, Valid)
    assert verdict.row.children[0].day == datetime.date(2026, 1, 3)


def test_what_is_wrong_is_said_with_its_place() -> None:
    assert RowSchema(Node).check({"day": "2026-01-02", "pair": [1]}) == Invalid("pair.1: Field required")
    schema = {"properties": {"n": {"type": "integer", "minimum": 3}}}
    assert RowSchema(schema).check({"n": 1}) == Invalid("n: 1 is less than the minimum of 3")


@pytest.mark.parametrize("text", ['{"rows": [1, 2]}', "[1, 2]", '```json\n{"rows": [1, 2]}\n```', "```\n[1, 2]```"])
def test_rows_are_found_also_in_a_fence_or_a_bare_array(text: str) -> None:
    assert RowSchema({}).rows(2).parse(text).values == [1, 2]


@pytest.mark.parametrize("text", ["", "no", '{"rows": []}', '{"rows": [NaN]}', '{"rows": [1'])
def test_an_answer_without_a_row_is_an_answer_too(text: str) -> None:
    assert RowSchema({}).rows(1).parse(text).values == []


def test_a_model_is_written_by_its_aliases_and_a_big_integer_as_it_is() -> None:
    assert row_json(Aliased(firstName="Ann")) == b'{"firstName":"Ann"}'
    (big,) = RowSchema({}).rows(1).parse('{"rows": [123456789012345678901234567890]}').values
    assert row_json(big) == b"123456789012345678901234567890"
    assert identity_of({"b": big, "a": 1}) == identity_of({"a": 1, "b": big})


def test_the_order_of_keys_makes_no_other_row() -> None:
    assert identity_of({"a": 1, "b": 2}) == identity_of({"b": 2, "a": 1}) != identity_of({"a": 1, "b": 3})


class Unwritable(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    when: memoryview


@pytest.mark.parametrize("schema", [Decimal, 5, Node(day=datetime.date(2026, 1, 1)), {"type": 5}, Unwritable])
def test_what_is_no_schema_is_refused(schema: Any) -> None:
    with pytest.raises(ConfigError, match="chema"):
        RowSchema(schema)
