"""Which schemas can be fulfilled?  A hypothesis strategy that makes all kinds of them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NAMES = (
    "id",
    "name",
    "email",
    "price",
    "created_at",
    "city",
    "tags",
    "alpha",
    "beta",
    "count",
    "note",
    "x-y",
    "Ünï",
    "a/b~c",
)
PATTERNS = (
    r"^[A-Z]{2,4}-\d{3}$",
    r"^\+?[1-9]\d{5,9}$",
    r"^(foo|ba[rz])+$",
    r"\d",
    r"^[^a-z\s]{3,}$",
    r"^(?=.*\d)[a-z\d]{4,9}$",
)
FORMATS = (
    "date",
    "date-time",
    "time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uri",
    "uri-reference",
    "uuid",
    "json-pointer",
    "regex",
    "iri",
    "idn-email",
    "uri-template",
    "relative-json-pointer",
    "made-up",
)
Schema = dict[str, Any]


@st.composite
def integers(draw: st.DrawFn) -> Schema:
    low = draw(st.integers(-(10**6), 10**6))
    high = low + draw(st.integers(0, 10**4))
    schema: Schema = {"type": "integer"}
    if draw(st.booleans()):
        schema["minimum"] = low
    if draw(st.booleans()):
        schema["maximum"] = high
    if draw(st.booleans()):
        schema.pop("minimum", None)
        schema["exclusiveMinimum"] = low - 1
    if draw(st.booleans()) and ("maximum" not in schema or high - low >= 40):
        schema["multipleOf"] = draw(st.sampled_from((1, 2, 5, 7, 20)))
    return schema


@st.composite
def numbers(draw: st.DrawFn) -> Schema:
    low = draw(st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 3)))
    width = draw(st.sampled_from((0.001, 0.5, 3, 1000.0)))
    schema: Schema = {"type": "number"}
    if draw(st.booleans()):
        schema[draw(st.sampled_from(("minimum", "exclusiveMinimum")))] = low
    if draw(st.booleans()):
        schema[draw(st.sampled_from(("maximum", "exclusiveMaximum")))] = low + width
    if draw(st.booleans()) and (("maximum" not in schema and "exclusiveMaximum" not in schema) or width == 1000.0):
        schema["multipleOf"] = draw(st.sampled_from((0.5, 0.25, 2, 10)))
    return schema


@st.composite
def strings(draw: st.DrawFn) -> Schema:
    schema: Schema = {"type": "string"}
    match draw(st.sampled_from(("plain", "length", "pattern", "format"))):
        case "length":
            low = draw(st.integers(0, 60))
            schema |= {"minLength": low, "maxLength": low + draw(st.integers(0, 40))}
        case "pattern":
            schema["pattern"] = draw(st.sampled_from(PATTERNS))
        case "format":
            schema["format"] = draw(st.sampled_from(FORMATS))
    return schema


scalars = st.one_of(
    integers(),
    numbers(),
    strings(),
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.just({"type": ["string", "null"]}),
    st.just({"type": ["integer", "boolean"]}),
    st.sampled_from(
        ({"const": 3}, {"const": {"a": [1]}}, {"enum": ["a", "b", None, 1.5]}, {"enum": [1, 2], "type": "integer"})
    ),
)


@st.composite
def arrays(draw: st.DrawFn, inner: st.SearchStrategy[Schema]) -> Schema:
    schema: Schema = {"type": "array", "items": draw(inner)}
    low = draw(st.integers(0, 3))
    if draw(st.booleans()):
        schema |= {"minItems": low, "maxItems": low + draw(st.integers(0, 4))}
    if draw(st.booleans()):
        schema["prefixItems"] = draw(st.lists(inner, min_size=1, max_size=2))
    if draw(st.integers(0, 3)) == 0:
        schema = {
            "type": "array",
            "items": draw(st.sampled_from(({"type": "integer"}, {"type": "string"}))),
            "uniqueItems": True,
        }
        schema["minItems"] = low
    if draw(st.integers(0, 3)) == 0:
        contains = {"type": "integer", "minimum": 5}
        schema = {
            "type": "array",
            "items": {"type": "integer"},
            "contains": contains,
            "minContains": draw(st.integers(0, 2)),
        }
        if draw(st.booleans()):
            schema["maxContains"] = 3
    return schema


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[Schema]) -> Schema:
    properties = draw(st.dictionaries(st.sampled_from(NAMES), inner, max_size=4))
    schema: Schema = {"type": "object", "properties": properties}
    names = sorted(properties)
    if bool(names) and draw(st.booleans()):
        schema["required"] = draw(st.lists(st.sampled_from(names), unique=True))
    extra = draw(st.sampled_from((None, False, True, "schema")))
    if extra is not None:
        schema["additionalProperties"] = draw(scalars) if extra == "schema" else extra
    if bool(names) and draw(st.booleans()):
        schema["dependentRequired"] = {draw(st.sampled_from(names)): [draw(st.sampled_from(names))]}
    if draw(st.integers(0, 3)) == 0:
        schema["patternProperties"] = {"^p_[a-z]{1,4}$": draw(inner)}
    if extra is not False and draw(st.integers(0, 3)) == 0:
        schema["minProperties"] = len(schema.get("required", ())) + draw(st.integers(0, 3))
    if draw(st.integers(0, 3)) == 0:
        schema["maxProperties"] = max(schema.get("minProperties", 0), len(names)) + draw(st.integers(0, 2))
    if draw(st.integers(0, 4)) == 0:
        schema["propertyNames"] = {"maxLength": 12}
    return schema


@st.composite
def combined(draw: st.DrawFn, inner: st.SearchStrategy[Schema]) -> Schema:
    match draw(st.sampled_from(("anyOf", "oneOf", "allOf", "not", "if", "base", "dependent"))):
        case "anyOf":
            return {"anyOf": draw(st.lists(inner, min_size=1, max_size=3))}
        case "oneOf":
            return {
                "oneOf": [
                    {"type": "string", "maxLength": 9},
                    {"type": "integer"},
                    {"type": "array", "items": draw(inner)},
                ]
            }
        case "allOf":
            return {
                "allOf": [
                    {"type": "object", "properties": {"alpha": draw(inner)}, "required": ["alpha"]},
                    {"properties": {"beta": draw(inner)}, "minProperties": 1},
                ]
            }
        case "not":
            return {
                "type": ["string", "integer", "null"],
                "not": draw(st.sampled_from(({"type": "null"}, {"const": "x"}, {"minimum": 3}))),
            }
        case "if":
            return {
                "type": "object",
                "properties": {"kind": {"enum": ["a", "b"]}, "value": {"type": ["integer", "string"]}},
                "required": ["kind"],
                "if": {"properties": {"kind": {"const": "a"}}},
                "then": {"properties": {"value": {"type": "integer"}}, "required": ["value"]},
                "else": {"properties": {"value": {"type": "string"}}},
            }
        case "dependent":
            return {
                "type": "object",
                "properties": {"alpha": draw(inner), "beta": {"type": "integer"}},
                "dependentSchemas": {"alpha": {"required": ["beta"], "properties": {"beta": {"minimum": 10}}}},
            }
    return {
        "type": "object",
        "properties": {"id": {"type": "integer"}},
        "required": ["id"],
        "anyOf": [{"properties": {"alpha": draw(inner)}, "required": ["alpha"]}, {"properties": {"beta": draw(inner)}}],
        "unevaluatedProperties": False,
    }


nested = st.recursive(scalars, lambda inner: arrays(inner) | objects(inner) | combined(inner), max_leaves=8)


@st.composite
def documents(draw: st.DrawFn) -> Schema:
    """A whole schema; some have definitions, one of them recursive."""
    schema = draw(nested)
    if draw(st.booleans()):
        return schema
    tree = {
        "type": "object",
        "properties": {
            "value": draw(scalars),
            "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
            "next": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]},
        },
        "required": ["value", "children", "next"],
    }
    schema = {
        "type": "object",
        "properties": {"part": {"$ref": "#/$defs/part"}, "tree": {"$ref": "#/$defs/tree"}},
        "required": ["part"],
    }
    return {**schema, "$defs": {"part": draw(nested), "tree": tree}}
