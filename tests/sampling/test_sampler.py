"""Is every generated document valid, the same everywhere, and finite?"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from typing import Any

import jsonschema
import orjson
import pytest
from hypothesis import HealthCheck, given, settings

from synth_actors.sampling.errors import SchemaError, UnsatisfiableError, UnsupportedError
from synth_actors.sampling.sampler import Sampler, sampler_for
from tests.sampling.models import MODELS
from tests.sampling.random_schemas import documents

RECURSIVE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                "by_name": {"type": "object", "additionalProperties": {"$ref": "#/$defs/node"}},
            },
            "required": ["value", "children", "next", "by_name"],
        }
    },
    "$ref": "#/$defs/node",
}


def independent(schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents())
def test_every_document_is_valid_for_another_validator(schema: dict[str, Any]) -> None:
    sampler, validator = Sampler(schema), independent(schema)
    for seed in range(3):
        validator.validate(sampler.sample(seed))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents())
def test_a_document_made_in_steps_is_the_one_made_at_once_also_when_others_are_made_between(
    schema: dict[str, Any],
) -> None:
    sampler = Sampler(schema)
    running = {seed: sampler.steps(seed) for seed in range(3)}
    finished = {}
    while running:
        for seed, steps in list(running.items()):
            try:
                next(steps)
            except StopIteration as done:
                finished[seed] = done.value
                del running[seed]
    assert finished == {seed: sampler.sample(seed) for seed in range(3)}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_what_is_made_for_a_pydantic_model_passes_the_model(model: Any) -> None:
    sampler = sampler_for(model.model_json_schema())
    for seed in range(25):
        model.model_validate_json(orjson.dumps(sampler.sample(seed)))


def test_an_email_passes_pydantics_own_check() -> None:
    pytest.importorskip("email_validator")
    from pydantic import BaseModel, EmailStr, NameEmail

    class Contact(BaseModel):
        email: EmailStr
        other: EmailStr | None
        named: NameEmail

    sampler = sampler_for(Contact.model_json_schema())
    for seed in range(50):
        Contact.model_validate_json(orjson.dumps(sampler.sample(seed)))


def depth_of(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth_of, inner), default=0)


def test_a_recursion_ends_and_still_nests() -> None:
    sampler, validator = sampler_for(RECURSIVE), independent(RECURSIVE)
    depths = []
    for seed in range(60):
        value = sampler.sample(seed)
        validator.validate(value)
        depths.append(depth_of(value))
        assert len(orjson.dumps(value)) < 200_000
    assert 4 <= max(depths) <= 12
    assert len(set(depths)) > 1


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
        {"anyOf": [{"type": "object", "properties": {"x": {"$ref": "#"}}, "required": ["x"]}]},
        {"$ref": "#"},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"},
    ],
)
def test_a_recursion_that_cannot_end_is_an_error_that_says_so(schema: dict[str, Any]) -> None:
    with pytest.raises(UnsatisfiableError) as caught:
        Sampler(schema)
    assert caught.value.keyword == "$ref"


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"properties": {"a": {"$dynamicRef": "#x"}}}, "$dynamicRef", "/properties/a"),
    ({"dependencies": {"a": ["b"]}}, "dependencies", ""),
    ({"properties": {"a": {"items": {"additionalItems": False}}}}, "additionalItems", "/properties/a/items"),
    ({"properties": {"a": {"pattern": r"^(x)\1$"}}}, "pattern", "/properties/a"),
    ({"properties": {"a": {"$ref": "https://example.com/other.json"}}}, "$ref", "/properties/a"),
    ({"properties": {"a/b": {"$id": "https://example.com/part", "type": "string"}}}, "$id", "/properties/a~1b"),
    ({"properties": {"a": {"minimum": "low"}}}, "minimum", "/properties/a"),
    ({"properties": {"a": {"type": "text"}}}, "type", "/properties/a"),
]


@pytest.mark.parametrize(("schema", "keyword", "path"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_is_not_supported_is_an_error_that_names_keyword_and_path(
    schema: dict[str, Any], keyword: str, path: str
) -> None:
    with pytest.raises(UnsupportedError) as caught:
        Sampler(schema)
    assert (caught.value.keyword, caught.value.path) == (keyword, path)
    assert keyword in str(caught.value)
    assert f"#{path}:" in str(caught.value)


IMPOSSIBLE: list[tuple[dict[str, Any], str, str]] = [
    ({"type": "integer", "minimum": 5, "maximum": 4}, "maximum", ""),
    ({"type": "integer", "exclusiveMinimum": 4, "exclusiveMaximum": 5}, "exclusiveMinimum", ""),
    ({"type": "integer", "minimum": 1, "maximum": 4, "multipleOf": 5}, "multipleOf", ""),
    ({"type": "string", "minLength": 5, "maxLength": 2}, "maxLength", ""),
    ({"type": "string", "pattern": "^a{3}$", "minLength": 5}, "pattern", ""),
    ({"type": "string", "pattern": "^[A-Z]+$", "format": "uuid"}, "pattern", ""),
    ({"type": "string", "format": "date", "maxLength": 5}, "format", ""),
    ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "type", ""),
    ({"allOf": [{"enum": [1]}, {"enum": [2]}]}, "enum", ""),
    ({"type": "string", "enum": [1, 2]}, "enum", ""),
    ({"type": "object", "required": ["a"], "additionalProperties": False}, "required", ""),
    ({"type": "object", "required": ["a"], "properties": {"a": False}}, "false", "/properties/a"),
    ({"type": "object", "required": ["y"], "propertyNames": {"pattern": "^x"}}, "propertyNames", ""),
    ({"type": "object", "required": ["a", "b"], "maxProperties": 1}, "maxProperties", ""),
    (
        {"type": "object", "properties": {"a": {}}, "minProperties": 2, "additionalProperties": False},
        "minProperties",
        "",
    ),
    ({"type": "array", "minItems": 3, "maxItems": 2}, "minItems", ""),
    ({"type": "array", "items": {"enum": [1, 2]}, "uniqueItems": True, "minItems": 3}, "uniqueItems", ""),
    ({"type": "array", "contains": {}, "minContains": 3, "maxContains": 2}, "maxContains", ""),
    ({"type": "array", "items": {"type": "string"}, "contains": {"type": "integer"}}, "type", "/contains"),
    ({"oneOf": [{"type": "integer"}, {"type": "integer"}]}, "oneOf", ""),
    ({"type": "string", "not": {"type": "string"}}, "type", ""),
    ({"not": {}}, "false", "/not"),
    ({"$ref": "#/$defs/missing"}, "$ref", ""),
    (
        {
            "properties": {"x": {"properties": {"y": {"minimum": 2, "maximum": 1}}, "required": ["y"]}},
            "required": ["x"],
        },
        "maximum",
        "/properties/x/properties/y",
    ),
]


@pytest.mark.parametrize(("schema", "keyword", "path"), IMPOSSIBLE, ids=lambda value: str(value)[:60])
def test_what_nothing_can_fulfil_is_an_error_that_names_keyword_and_path(
    schema: dict[str, Any], keyword: str, path: str
) -> None:
    with pytest.raises(UnsatisfiableError) as caught:
        Sampler(schema).sample(1)
    assert (caught.value.keyword, caught.value.path) == (keyword, path)


def test_an_optional_property_that_cannot_be_is_left_out_but_never_one_that_is_not_supported() -> None:
    impossible = {"type": "object", "properties": {"a": {"minimum": 2, "maximum": 1}, "b": {"type": "integer"}}}
    assert all(set(Sampler(impossible).sample(seed)) <= {"b"} for seed in range(20))
    with pytest.raises(UnsupportedError):
        Sampler({"type": "object", "properties": {"a": {"pattern": r"(a)\1"}}})


def test_annotations_change_nothing_that_must_hold() -> None:
    notes = {
        "title": "T",
        "default": 7,
        "deprecated": True,
        "readOnly": True,
        "$comment": "c",
        "x-own": 1,
        "format": "own",
    }
    schema = {"type": "integer", "minimum": 100, "maximum": 200, "examples": [1], **notes}
    assert all(100 <= Sampler(schema).sample(seed) <= 200 for seed in range(20))


GOLDEN_SCHEMAS: dict[str, dict[str, Any]] = {
    "person": {
        "type": "object",
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "name": {"type": "string"},
            "email": {"type": "string", "format": "email"},
            "price": {"type": "number"},
            "created_at": {"type": "string", "format": "date-time"},
        },
        "required": ["id", "name", "email", "price", "created_at"],
    },
    "pattern": {
        "type": "array",
        "items": {"type": "string", "pattern": r"^[A-Z]{2}-\d{3}$"},
        "minItems": 2,
        "maxItems": 2,
    },
    "number": {"type": "number", "minimum": -1, "maximum": 1},
}
GOLDEN: dict[str, Any] = {
    "number": -0.77,
    "pattern": ["NW-265", "OS-752"],
    "person": {
        "id": "f38b2ffc-80a4-4f5a-91c9-bc701e7ea419",
        "name": "Benjamín Dominguez",
        "email": "benjamin_dominguez@mail.example.com",
        "price": 150.75,
        "created_at": "2023-01-22T07:54:06Z",
    },
}


@pytest.mark.parametrize("name", sorted(GOLDEN_SCHEMAS))
def test_a_document_never_changes(name: str) -> None:
    assert Sampler(GOLDEN_SCHEMAS[name]).sample(2026) == GOLDEN[name]


PROGRAM = """
import hashlib, json, sys
from synth_actors.sampling.sampler import sampler_for
digest = hashlib.sha256()
for schema in json.load(sys.stdin):
    for seed in range(2):
        digest.update(json.dumps(sampler_for(schema).sample(seed)).encode())
print(digest.hexdigest())
"""


def test_another_process_with_another_hash_seed_makes_the_same_documents() -> None:
    schemas = [RECURSIVE, *GOLDEN_SCHEMAS.values(), *(model.model_json_schema() for model in MODELS)]
    digest = hashlib.sha256()
    for schema in schemas:
        for seed in range(2):
            digest.update(json.dumps(sampler_for(schema).sample(seed)).encode())
    for hash_seed in ("1", "4711"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "TZ": "Asia/Tokyo", "LC_ALL": "C"}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            input=json.dumps(schemas),
            capture_output=True,
            text=True,
            env=environment,
            check=True,
        )
        assert done.stdout.strip() == digest.hexdigest()


def test_schemas_that_are_equal_share_one_sampler_and_errors_are_value_errors() -> None:
    schema = {"type": "integer"}
    assert sampler_for(schema) is sampler_for(dict(schema))
    assert issubclass(SchemaError, ValueError)


def test_a_long_array_pauses_so_that_others_may_run() -> None:
    rows = {"type": "array", "items": GOLDEN_SCHEMAS["person"], "minItems": 2000, "maxItems": 2000}
    wrapped = {"type": "object", "properties": {"rows": rows}, "required": ["rows"]}
    pauses = sum(1 for _ in sampler_for(wrapped).steps(1))
    assert 20 <= pauses <= 200


@pytest.mark.parametrize(
    ("form", "pattern"),
    [("date", "^2024-"), ("date", "-15$"), ("date-time", "Z$"), ("email", "^j"), ("uuid", "^a")],
)
def test_a_format_and_a_pattern_hold_together(form: str, pattern: str) -> None:
    schema = {"type": "string", "format": form, "pattern": pattern}
    sampler, validator = Sampler(schema), independent(schema)
    for seed in range(50):
        validator.validate(sampler.sample(seed))
