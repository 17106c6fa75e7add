"""Which part of a JSON Schema does an API take, and how is a schema asked for where it takes none?

Every keyword is validated by the engine afterwards, so a subset may leave keywords out; it must never let through
nothing but answers that the full schema refuses.  Where there is no such subset the functions return None and the
schema goes into the prompt.

`openai_strict` makes OpenAI's "strict" subset: closed objects, every property required.  A property that is
optional becomes required *without* being made nullable: an explicit null would fail the full schema later, a
property that is always there never does.  The model can then not leave it out, which is what one wants of synthetic
data anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import orjson

Schema = dict[str, Any]

_STRICT_KEYWORDS = frozenset(
    {"type", "enum", "const", "anyOf", "$ref", "title", "description", "pattern", "format", "multipleOf", "minimum"}
    | {"maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems"}
)
_STRICT_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"},
)
_SAID_IN_WORDS = ("minLength", "maxLength", "uniqueItems", "minProperties", "maxProperties", "format")
_STRICT_MAX_DEPTH = 64
_INSTRUCTION = (
    "Answer with one JSON value that is valid against this JSON Schema, and with nothing else:"
    " no explanation, no Markdown.\nJSON Schema: "
)


class _NoSubsetError(Exception):
    """The schema says something without which no useful subset remains."""


def in_words(schema: Mapping[str, Any]) -> str:
    """What a prompt says where the API takes no schema."""
    return _INSTRUCTION + orjson.dumps(schema).decode()


def anthropic_subset(schema: Mapping[str, Any]) -> Schema | None:
    """The schema as Anthropic's structured output takes it, made by the SDK's own `transform_schema`."""
    return _cached(_anthropic, orjson.dumps(schema))


def openai_strict(schema: Mapping[str, Any]) -> Schema | None:
    """The schema in OpenAI's strict subset."""
    return _cached(_openai, orjson.dumps(schema))


@lru_cache(maxsize=256)
def _cached(make: Callable[[Schema], Schema], text: bytes) -> Schema | None:
    try:
        return make(orjson.loads(text))
    except _NoSubsetError:
        return None


def _anthropic(schema: Schema) -> Schema:
    from anthropic import transform_schema

    try:
        return transform_schema(_explicit(schema))
    except (ValueError, TypeError, AttributeError) as exc:  # how it says no to a shape that it does not know
        raise _NoSubsetError from exc


def _explicit(schema: Any) -> Schema:
    """The same schema without lists of types, which `transform_schema` does not take; refuses maps and tuples."""
    _refuse_open_shapes(schema)
    made = {"$defs" if key == "definitions" else key: _mapped(key, value, _explicit) for key, value in schema.items()}
    if isinstance(made.get("$ref"), str):
        made["$ref"] = made["$ref"].replace("#/definitions/", "#/$defs/")
    types = made.get("type")
    if isinstance(types, list):
        del made["type"]
        return {"anyOf": [_of_one_type(made, one) for one in types]}
    if "type" not in made and "properties" in made:
        made["type"] = "object"
    return made


_KEYWORDS_OF_TYPE: Mapping[str, tuple[str, ...]] = {
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "object": ("properties", "required", "additionalProperties", "minProperties", "maxProperties"),
    "array": ("items", "minItems", "maxItems", "uniqueItems"),
}
_BOUND_TO_A_TYPE = frozenset(keyword for keywords in _KEYWORDS_OF_TYPE.values() for keyword in keywords)


def _of_one_type(schema: Schema, one: str) -> Schema:
    own = _KEYWORDS_OF_TYPE.get(one, ())
    return {"type": one} | {key: value for key, value in schema.items() if key in own or key not in _BOUND_TO_A_TYPE}


def _mapped(key: str, value: Any, function: Callable[[Any], Any]) -> Any:
    """`value` with `function` applied to every schema in it, by what stands under the keyword `key`."""
    if key in ("properties", "$defs", "definitions") and isinstance(value, dict):
        return {name: function(sub) for name, sub in value.items()}
    if key in ("anyOf", "oneOf", "allOf") and isinstance(value, list):
        return [function(sub) for sub in value]
    if key == "items":
        return function(value)
    return value


def _refuse_open_shapes(schema: Any) -> None:
    """Closing a map leaves only `{}`, a tuple without its items is any list, `true` is anything: no useful subset."""
    if not isinstance(schema, dict) or not schema:
        raise _NoSubsetError
    if "prefixItems" in schema or "patternProperties" in schema:
        raise _NoSubsetError
    types = schema.get("type")
    is_object = types == "object" or (isinstance(types, list) and "object" in types)
    if is_object and not schema.get("properties") and schema.get("additionalProperties") is not False:
        raise _NoSubsetError
    is_array = types == "array" or (isinstance(types, list) and "array" in types)
    if is_array and "items" not in schema:
        raise _NoSubsetError


def _openai(schema: Schema) -> Schema:
    if schema.get("type") != "object" and "$ref" not in schema:
        raise _NoSubsetError  # the root must be an object
    definitions = {**schema.get("definitions", {}), **schema.get("$defs", {})}
    made = _strict(schema, _Definitions(definitions), depth=0)
    if definitions:
        made["$defs"] = {name: _strict(sub, _Definitions(definitions), depth=1) for name, sub in definitions.items()}
    return made


class _Definitions:
    """What `$ref` may point to."""

    def __init__(self, schemas: Mapping[str, Schema]) -> None:
        self._schemas = schemas

    def name_of(self, ref: str) -> str:
        for prefix in ("#/$defs/", "#/definitions/"):
            if ref.startswith(prefix) and ref.removeprefix(prefix) in self._schemas:
                return ref.removeprefix(prefix)
        raise _NoSubsetError

    def recursive(self, ref: str) -> bool:
        """Whether what `ref` points to contains itself: made required, it would never end."""
        start = self.name_of(ref)
        seen: set[str] = set()
        todo = list(self._inside(self._schemas[start]))
        while todo:
            name = todo.pop()
            if name == start:
                return True
            if name not in seen:
                seen.add(name)
                todo += self._inside(self._schemas[name])
        return False

    def _inside(self, schema: Any) -> list[str]:
        return [self.name_of(ref) for ref in _refs(schema)]


def _refs(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [ref for sub in schema for ref in _refs(sub)]
    if not isinstance(schema, dict):
        return []
    own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
    return own + [ref for value in schema.values() for ref in _refs(value)]


def _strict(schema: Any, definitions: _Definitions, *, depth: int) -> Schema:
    _refuse_open_shapes(schema)
    if "allOf" in schema or depth > _STRICT_MAX_DEPTH:
        raise _NoSubsetError
    if "$ref" in schema:
        return {"$ref": "#/$defs/" + definitions.name_of(schema["$ref"])}
    made = {key: value for key, value in schema.items() if key in _STRICT_KEYWORDS}
    if made.get("format") not in _STRICT_FORMATS:
        made.pop("format", None)
    variants = schema.get("anyOf", schema.get("oneOf"))
    if isinstance(variants, list):
        made["anyOf"] = [_strict(variant, definitions, depth=depth + 1) for variant in variants]
    elif not made.keys() & {"type", "enum", "const"}:
        raise _NoSubsetError
    if "items" in schema:
        made["items"] = _strict(schema["items"], definitions, depth=depth + 1)
    if "properties" in schema:
        made |= _closed(schema, definitions, depth)
    return _with_words(made, schema)


def _closed(schema: Schema, definitions: _Definitions, depth: int) -> Schema:
    required = schema.get("required", ())
    properties: Mapping[str, Any] = schema["properties"]
    if any(name not in properties for name in required):
        raise _NoSubsetError
    for name, sub in properties.items():
        if name not in required and any(definitions.recursive(ref) for ref in _refs(sub)) and not _may_end(sub):
            raise _NoSubsetError
    return {
        "properties": {name: _strict(sub, definitions, depth=depth + 1) for name, sub in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }


def _may_end(schema: Schema) -> bool:
    """Whether a recursive property may be null or an empty list, so that requiring it does not nest for ever."""
    if schema.get("type") == "array":
        return not schema.get("minItems")
    variants: list[Any] = schema.get("anyOf", [])
    return any(isinstance(one, dict) and one.get("type") == "null" for one in variants)


def _with_words(made: Schema, schema: Schema) -> Schema:
    """What was left out is told in the description: the model may still follow it."""
    lost = [f"{key}: {schema[key]}" for key in _SAID_IN_WORDS if key in schema and key not in made]
    if lost:
        said = (made["description"] + "\n\n") if made.get("description") else ""
        made["description"] = said + "{" + ", ".join(lost) + "}"
    return made
