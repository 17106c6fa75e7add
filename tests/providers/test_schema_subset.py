"""Is every document of a subset one of the full schema's shape, and is a schema without a useful subset refused?"""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel

from synth_actors.providers.schema_subset import anthropic_subset, in_words, openai_strict


class Pet(BaseModel):
    name: str
    toys: list[str] = []


class Owner(BaseModel):
    age: int
    email: str | None = None
    pet: Pet
    nickname: str = "none"


class Tree(BaseModel):
    value: int
    left: Tree | None = None
    children: list[Tree] = []


def objects(schema: Any) -> list[dict[str, Any]]:
    if isinstance(schema, list):
        return [found for item in schema for found in objects(item)]
    if not isinstance(schema, dict):
        return []
    own = [schema] if schema.get("type") == "object" else []
    return own + [found for value in schema.values() for found in objects(value)]


@pytest.mark.parametrize("model", [Owner, Tree, Pet])
def test_in_the_strict_subset_every_object_is_closed_and_requires_all(model: type[BaseModel]) -> None:
    strict = openai_strict(model.model_json_schema())
    assert strict is not None
    found = objects(strict)
    assert found
    for schema in found:
        assert schema["additionalProperties"] is False
        assert schema["required"] == list(schema["properties"])
    assert "default" not in str(strict)


def test_what_the_strict_subset_lets_through_the_full_schema_does_too() -> None:
    strict = openai_strict(Owner.model_json_schema())
    assert strict is not None
    document = {"age": 3, "email": None, "pet": {"name": "Rex", "toys": []}, "nickname": "R"}
    jsonschema.validate(document, strict)
    jsonschema.validate(document, Owner.model_json_schema())
    for without in ("email", "nickname"):
        smaller = {key: value for key, value in document.items() if key != without}
        assert not jsonschema.Draft202012Validator(strict).is_valid(smaller)
    # An optional property is asked for, never as a null that the full schema would refuse.
    assert not jsonschema.Draft202012Validator(strict).is_valid({**document, "nickname": None})


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "integer"}},
        {"type": "object"},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "object", "properties": {"a": {}}},
        {"type": "object", "properties": {"a": {"type": "array", "prefixItems": [{"type": "string"}]}}},
        {"type": "object", "properties": {"a": {"allOf": [{"type": "string"}]}}},
        {"type": "object", "properties": {"a": {"$ref": "#"}}},
        {"type": "object", "properties": {"a": {"$ref": "https://example.com/x"}}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["b"]},
        {
            "$defs": {"n": {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}}},
            "type": "object",
            "properties": {"n": {"$ref": "#/$defs/n"}},
        },
    ],
)
def test_what_has_no_strict_subset_is_told_so(schema: dict[str, Any]) -> None:
    assert openai_strict(schema) is None


def test_constraints_that_strict_does_not_know_are_told_in_the_description() -> None:
    name = {"type": "string", "minLength": 2, "format": "iri", "description": "A name"}
    strict = openai_strict({"type": "object", "properties": {"name": name}})
    assert strict is not None
    assert strict["properties"]["name"] == {"type": "string", "description": "A name\n\n{minLength: 2, format: iri}"}


def test_anthropics_subset_is_made_by_its_sdk_also_for_lists_of_types() -> None:
    made = anthropic_subset({"properties": {"a": {"type": ["string", "null"], "maxLength": 3}}, "required": ["a"]})
    assert made is not None
    assert made["additionalProperties"] is False
    assert made["required"] == ["a"]
    variants = made["properties"]["a"]["anyOf"]
    assert [variant["type"] for variant in variants] == ["string", "null"]
    assert "maxLength: 3" in variants[0]["description"]


def test_anthropics_subset_follows_definitions_under_their_old_name() -> None:
    item = {"type": "object", "properties": {"b": {"type": "integer"}}}
    made = anthropic_subset(
        {"type": "object", "properties": {"a": {"$ref": "#/definitions/x"}}, "definitions": {"x": item}}
    )
    assert made is not None
    assert made["properties"]["a"] == {"$ref": "#/$defs/x"}
    assert made["$defs"]["x"]["properties"] == {"b": {"type": "integer"}}


@pytest.mark.parametrize(
    "schema",
    [{"type": "object", "additionalProperties": {"type": "string"}}, {"type": "object", "properties": {"a": True}}, {}],
)
def test_what_anthropics_sdk_cannot_say_goes_into_the_prompt(schema: dict[str, Any]) -> None:
    assert anthropic_subset(schema) is None
    assert in_words(schema).endswith("}")


def test_the_caller_s_schema_is_never_changed() -> None:
    schema = Owner.model_json_schema()
    before = str(schema)
    openai_strict(schema)
    anthropic_subset(schema)
    assert str(schema) == before
