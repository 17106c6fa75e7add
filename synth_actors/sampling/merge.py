"""What does a schema demand once its references and `allOf` are folded into one set of keywords?

`anyOf`, `oneOf`, `if` and `dependentSchemas` stay as choices: one alternative of each is folded in when nodes are
built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import orjson

from synth_actors.sampling.document import Document, Schema, matcher
from synth_actors.sampling.errors import UnsatisfiableError, UnsupportedError
from synth_actors.sampling.negate import TYPES, negated

_REFUSED = {
    "$dynamicRef": "dynamic references are not supported; use $ref",
    "$recursiveRef": "recursive references are not supported; use $ref",
    "dependencies": "is of an older draft; use dependentRequired or dependentSchemas",
    "additionalItems": "is of an older draft; use items beside prefixItems",
}
_TAKEN = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems",
    "uniqueItems", "minProperties", "maxProperties", "properties", "patternProperties", "additionalProperties",
    "propertyNames", "items", "prefixItems", "dependentRequired", "unevaluatedProperties", "unevaluatedItems",
    "required",
)  # fmt: skip
_OBJECT = ("properties", "patternProperties", "additionalProperties")
_ARRAY = ("prefixItems", "items")
_HINTS = ("title", "description", "examples", "contentEncoding")


class Options(NamedTuple):
    """Schemas of which one must hold too, and the keyword that says so."""

    keyword: str
    schemas: tuple[Schema, ...]


@dataclass(frozen=True)
class Flat:
    """A schema without references and `allOf`.

    `choices` are lists of which one member each must hold as well; `doubts` are keywords that generation cannot
    guarantee, so that what comes out is checked against `sources`, the schemas that were folded together.
    """

    path: str
    keywords: dict[str, Any] = field(default_factory=dict)
    choices: tuple[Options, ...] = ()
    doubts: tuple[str, ...] = ()
    sources: tuple[Schema, ...] = ()
    hints: dict[str, Any] = field(default_factory=dict)

    def get(self, keyword: str, default: Any = None) -> Any:
        """The value of a keyword."""
        return self.keywords.get(keyword, default)


def flatten(document: Document, schema: Schema, path: str, seen: tuple[str, ...] = ()) -> Flat:
    """The folded form of a schema at `path`.

    Raises:
        UnsupportedError: a keyword is not supported.
        UnsatisfiableError: two keywords contradict each other.
    """
    if isinstance(schema, bool):
        if not schema:
            raise UnsatisfiableError("false", path, "no value is allowed here")
        return Flat(path)
    flat = replace(_own(schema, path, is_root=schema is document.root), sources=(schema,))
    if (reference := schema.get("$ref")) is not None:
        target, where = document.resolve(reference, path)
        if where in seen:
            raise UnsatisfiableError("$ref", path, f"{reference!r} leads back to itself")
        flat = merge(flat, flatten(document, target, where, (*seen, where)))
    for index, part in enumerate(schema.get("allOf", ())):
        flat = merge(flat, flatten(document, part, f"{path}/allOf/{index}", seen))
    return replace(flat, sources=(schema,))


def _own(schema: dict[str, Any], path: str, *, is_root: bool) -> Flat:
    for keyword, reason in _REFUSED.items():
        if keyword in schema:
            raise UnsupportedError(keyword, path, reason)
    if "$id" in schema and not is_root:
        raise UnsupportedError("$id", path, "a part of a schema with its own address is not supported")
    keywords = {keyword: schema[keyword] for keyword in _TAKEN if keyword in schema}
    if "type" in schema:
        keywords["type"] = [schema["type"]] if isinstance(schema["type"], str) else list(schema["type"])
    if "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema["const"]] if "const" in schema else [])
        keywords["enum"] = [v for v in values if "const" not in schema or identity(v) == identity(schema["const"])]
    for keyword in ("multipleOf", "pattern", "format"):
        if keyword in schema:
            keywords[keyword] = [schema[keyword]]
    if "contains" in schema:
        keywords["contains"] = [(schema["contains"], schema.get("minContains", 1), schema.get("maxContains"))]
    hints = {key: schema[key] for key in _HINTS if key in schema}
    return Flat(path, keywords, _choices(schema), _doubts(schema), hints=hints)


def _choices(schema: dict[str, Any]) -> tuple[Options, ...]:
    choices = [Options(keyword, tuple(schema[keyword])) for keyword in ("anyOf", "oneOf") if keyword in schema]
    if "not" in schema:
        choices.append(Options("not", negated(schema["not"])))
    if "if" in schema and ("then" in schema or "else" in schema):
        held: Schema = all_of(schema["if"], schema.get("then", True))
        choices.append(Options("if", (held, all_of({"not": schema["if"]}, schema.get("else", True)))))
    for name, dependent in schema.get("dependentSchemas", {}).items():
        present, absent = all_of({"required": [name]}, dependent), {"properties": {name: False}}
        choices.append(Options("dependentSchemas", (present, absent)))
    return tuple(choices)


def _doubts(schema: dict[str, Any]) -> tuple[str, ...]:
    doubtful = ("oneOf", "not", "contains", "dependentSchemas", "unevaluatedProperties", "unevaluatedItems")
    found = [keyword for keyword in doubtful if keyword in schema]
    if "if" in schema and ("then" in schema or "else" in schema):
        found.append("if")
    return tuple(found)


def merge(left: Flat, right: Flat) -> Flat:
    """Both schemas at once.

    Raises:
        UnsatisfiableError: they contradict each other.
    """
    keywords = {**left.keywords}
    for keyword, value in right.keywords.items():
        if keyword in _OBJECT or keyword in _ARRAY:
            continue
        keywords[keyword] = _MERGED[keyword](keywords[keyword], value) if keyword in keywords else value
    for keyword in ("type", "enum"):
        if keywords.get(keyword) == []:
            raise UnsatisfiableError(keyword, left.path, "what is demanded together leaves nothing")
    keywords.update(_object_keywords(left.keywords, right.keywords))
    keywords.update(_array_keywords(left.keywords, right.keywords))
    return Flat(
        left.path,
        keywords,
        left.choices + right.choices,
        tuple(dict.fromkeys(left.doubts + right.doubts)),
        left.sources + right.sources,
        {**right.hints, **left.hints},
    )


def _object_keywords(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    names = [
        *left.get("properties", ()),
        *(n for n in right.get("properties", ()) if n not in left.get("properties", ())),
    ]
    if names:
        merged["properties"] = {
            name: all_of(property_schema(left, name), property_schema(right, name)) for name in names
        }
    patterns: dict[str, Schema] = {}
    for own, other in ((left, right), (right, left)):
        for pattern, schema in own.get("patternProperties", {}).items():
            patterns[pattern] = all_of(patterns.get(pattern, True), schema)
            if "patternProperties" not in other:
                patterns[pattern] = all_of(patterns[pattern], other.get("additionalProperties", True))
    if patterns:
        merged["patternProperties"] = patterns
    if "additionalProperties" in left or "additionalProperties" in right:
        merged["additionalProperties"] = all_of(
            left.get("additionalProperties", True), right.get("additionalProperties", True)
        )
    return merged


def property_schema(keywords: dict[str, Any], name: str) -> Schema:
    """What the value of the property `name` must be."""
    found: list[Schema] = [keywords["properties"][name]] if name in keywords.get("properties", ()) else []
    found += [schema for pattern, schema in keywords.get("patternProperties", {}).items() if matcher(pattern)(name)]
    return all_of(*found) if found else keywords.get("additionalProperties", True)


def _array_keywords(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    longest = max(len(left.get("prefixItems", ())), len(right.get("prefixItems", ())))
    if longest:
        merged["prefixItems"] = [all_of(item_schema(left, n), item_schema(right, n)) for n in range(longest)]
    if "items" in left or "items" in right:
        merged["items"] = all_of(left.get("items", True), right.get("items", True))
    return merged


def item_schema(keywords: dict[str, Any], index: int) -> Schema:
    """What the item at `index` must be."""
    prefix = keywords.get("prefixItems", ())
    found: Schema = prefix[index] if index < len(prefix) else keywords.get("items", True)
    return found


def all_of(*schemas: Schema) -> Schema:
    """One schema that demands all of these."""
    parts: dict[bytes, Schema] = {}
    for schema in schemas:
        if schema is False:
            return False
        inner = schema["allOf"] if isinstance(schema, dict) and list(schema) == ["allOf"] else [schema]
        parts.update({orjson.dumps(part): part for part in inner if part is not True and part != {}})
    kept = list(parts.values())
    return True if not kept else kept[0] if len(kept) == 1 else {"allOf": kept}


def identity(value: Any) -> bytes:
    """Equal for values that JSON Schema holds equal: 1 and 1.0 are, 1 and true are not."""
    return orjson.dumps(_normal(value), option=orjson.OPT_SORT_KEYS)


def _normal(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, list):
        return [_normal(item) for item in value]
    if isinstance(value, dict):
        return {key: _normal(item) for key, item in value.items()}
    return value


def _common_types(left: list[str], right: list[str]) -> list[str]:
    def admits(types: list[str], name: str) -> bool:
        return name in types or (name == "integer" and "number" in types)

    common = [name for name in TYPES if admits(left, name) and admits(right, name)]
    return [name for name in common if not (name == "integer" and "number" in common)]


def _common_values(left: list[Any], right: list[Any]) -> list[Any]:
    allowed = {identity(value) for value in right}
    return [value for value in left if identity(value) in allowed]


def _united(left: list[Any], right: list[Any]) -> list[Any]:
    return left + [item for item in right if item not in left]


def _dependents(left: dict[str, list[str]], right: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: _united(left.get(name, []), right.get(name, [])) for name in {**left, **right}}


_MERGED: dict[str, Callable[[Any, Any], Any]] = {
    "type": _common_types,
    "enum": _common_values,
    "multipleOf": _united,
    "pattern": _united,
    "format": _united,
    "required": _united,
    "contains": _united,
    "dependentRequired": _dependents,
    "propertyNames": all_of,
    "unevaluatedProperties": all_of,
    "unevaluatedItems": all_of,
    "uniqueItems": lambda left, right: left or right,
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), min),
}
