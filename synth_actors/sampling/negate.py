"""What may a value be, if it must not be valid against a schema?

`not {A, B}` is "not A, or not B". Where a keyword has a plain opposite, that is given; where it has none, anything
may do and the value is checked afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from synth_actors.sampling.document import Schema

TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")
_ANYTHING: list[Schema] = [True]

_OPPOSITES: dict[str, Callable[[Any], list[Schema]]] = {
    "type": lambda types: _other_types([types] if isinstance(types, str) else types),
    "minimum": lambda bound: [{"type": "number", "exclusiveMaximum": bound}],
    "maximum": lambda bound: [{"type": "number", "exclusiveMinimum": bound}],
    "exclusiveMinimum": lambda bound: [{"type": "number", "maximum": bound}],
    "exclusiveMaximum": lambda bound: [{"type": "number", "minimum": bound}],
    "minLength": lambda n: [{"type": "string", "maxLength": n - 1}] if n > 0 else [],
    "maxLength": lambda n: [{"type": "string", "minLength": n + 1}],
    "minItems": lambda n: [{"type": "array", "maxItems": n - 1}] if n > 0 else [],
    "maxItems": lambda n: [{"type": "array", "minItems": n + 1}],
    "minProperties": lambda n: [{"type": "object", "maxProperties": n - 1}] if n > 0 else [],
    "maxProperties": lambda n: [{"type": "object", "minProperties": n + 1}],
    "required": lambda names: [{"type": "object", "properties": {name: False}} for name in names],
    "properties": lambda properties: [
        {"type": "object", "required": [name], "properties": {name: {"not": schema}}}
        for name, schema in properties.items()
    ],
    "items": lambda schema: [{"type": "array", "minItems": 1, "items": {"not": schema}}],
    "not": lambda schema: [schema],
    "anyOf": lambda options: [{"allOf": [{"not": option} for option in options]}],
    "allOf": lambda parts: [{"not": part} for part in parts],
    "pattern": lambda _: [{"type": "string"}],
    "format": lambda _: [{"type": "string"}],
    "multipleOf": lambda _: [{"type": "number"}],
    "uniqueItems": lambda unique: [{"type": "array", "minItems": 2}] if unique else [],
}
_NOTES = frozenset(("title", "description", "default", "examples", "$comment", "deprecated", "readOnly", "writeOnly"))


def negated(schema: Schema) -> tuple[Schema, ...]:
    """Schemas of which a value that is not valid against `schema` fulfils one, beside what only a check can tell."""
    if isinstance(schema, bool):
        return (not schema,)
    options: list[Schema] = []
    for keyword, value in schema.items():
        if keyword not in _NOTES:
            options += _OPPOSITES[keyword](value) if keyword in _OPPOSITES else _ANYTHING
    return tuple(options) or (False,)


def _other_types(types: list[str]) -> list[Schema]:
    others = [name for name in TYPES if name not in types and not (name == "integer" and "number" in types)]
    if "integer" in types and "number" not in types:
        return [{"type": name} for name in others]
    return [{"type": name} for name in others if name != "integer"]
