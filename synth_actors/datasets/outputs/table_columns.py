"""Which columns does a table of rows have, and what does each of them hold?

The properties of the schema are the columns, those of its alternatives included, side by side.  A column holds one
kind of value, nullable as all are, if the schema says so for every value; else it holds JSON text, from which nothing
is lost: for alternatives of different kinds, objects with keys that are not named, arrays of whatever, an empty schema
and what refers back to a schema that it is part of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal, TypeAlias
from urllib.parse import unquote

from synth_actors.datasets.row_schema import RowSchema

INT64 = 2**63
UINT64 = 2**64
DECIMAL_DIGITS = 38
"""Of the widest decimal that every reader knows."""

ScalarName = Literal[
    "null", "json", "text", "boolean", "integer", "unsigned", "decimal", "number", "date", "date-time", "time"
]


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value: `integer` has 64 bits, `decimal` 38 digits, `number` is a double, `json` is a text with JSON in it."""

    name: ScalarName


@dataclass(frozen=True, slots=True)
class Record:
    """An object with exactly these keys, any of which may be absent."""

    fields: tuple[tuple[str, Kind], ...]


@dataclass(frozen=True, slots=True)
class Array:
    """Any number of values of one kind."""

    item: Kind


Kind: TypeAlias = Scalar | Record | Array
Opinion: TypeAlias = Kind | None
"""What a schema says about a value's kind; None when it says nothing."""

NULL, JSON, TEXT, BOOLEAN = Scalar("null"), Scalar("json"), Scalar("text"), Scalar("boolean")
INTEGER, UNSIGNED, DECIMAL, NUMBER = Scalar("integer"), Scalar("unsigned"), Scalar("decimal"), Scalar("number")
DATE, DATE_TIME, TIME = Scalar("date"), Scalar("date-time"), Scalar("time")
_INTEGERS = (INTEGER, UNSIGNED, DECIMAL)  # each holds all that those before it hold and that is within its bounds
_TEMPORAL = (DATE, DATE_TIME, TIME)
_FORMATS = {kind.name: kind for kind in _TEMPORAL}
_OPEN = ("patternProperties", "then", "else", "dependentSchemas", "unevaluatedProperties")
"""Keywords by which an object may hold keys that `properties` does not name."""


def columns_of(schema: RowSchema) -> dict[str, Kind]:
    """The columns by name, in the order in which the schema names them; none when it names no properties."""
    root = schema.json_schema if schema.model is None else schema.model.model_json_schema(mode="serialization")
    return {name: _settled(kind) for name, kind in _properties(root, _Place(root, frozenset("#"))).items()}


@dataclass(frozen=True, slots=True)
class _Place:
    """A document, and which of its references were followed to get here."""

    root: Mapping[str, Any]
    followed: frozenset[str]

    def follow(self, reference: str) -> tuple[Any, _Place]:
        """What it names; True, which allows anything, when that holds this place, or is named by an anchor."""
        pointer = reference.removeprefix(self.root.get("$id", ""))
        if pointer in self.followed or not (pointer == "#" or pointer.startswith("#/")):
            return True, self
        found: Any = self.root
        for part in pointer.split("/")[1:]:
            name = unquote(part).replace("~1", "/").replace("~0", "~")
            found = found[int(name)] if isinstance(found, list) else found[name]
        return found, _Place(self.root, self.followed | {pointer})


Named: TypeAlias = dict[str, Opinion]


def _properties(schema: Any, place: _Place) -> Named:
    """The properties of an object, also of its alternatives."""
    if not isinstance(schema, Mapping):
        return {}
    found = {name: _opinion(part, place) for name, part in _mapping(schema, "properties").items()}
    for part, where in _demands(schema, place):
        found = _merged(found, _properties(part, where), _both)
    for parts in (_list(schema, "anyOf"), _list(schema, "oneOf")):
        found = _beside(found, [_properties(part, place) for part in parts])
    conditional = [schema.get("then"), schema.get("else"), *_mapping(schema, "dependentSchemas").values()]
    return _beside(found, [{}, *(_properties(part, place) for part in conditional)])


def _beside(found: Named, alternatives: list[Named]) -> Named:
    """`found` and one of the alternatives hold; what only some of them say about a known name may not hold."""
    empty: Named = {}
    either = reduce(lambda one, other: _merged(one, other, _either), alternatives, empty)
    certain = {name for name in either if name not in found or all(name in each for each in alternatives)}
    return _merged(found, {name: kind for name, kind in either.items() if name in certain}, _both)


def _merged(one: Named, other: Named, join: Callable[[Opinion, Opinion], Opinion]) -> Named:
    return {**one, **{name: join(one[name], kind) if name in one else kind for name, kind in other.items()}}


def _demands(schema: Mapping[str, Any], place: _Place) -> Iterable[tuple[Any, _Place]]:
    """The other schemas that must hold as well."""
    if isinstance(reference := schema.get("$ref"), str):
        yield place.follow(reference)
    for part in _list(schema, "allOf"):
        yield part, place


def _opinion(schema: Any, place: _Place) -> Opinion:
    if not isinstance(schema, Mapping):
        return None
    found = _own(schema, place)
    for part, where in _demands(schema, place):
        found = _both(found, _opinion(part, where))
    for keyword in ("anyOf", "oneOf"):
        if parts := _list(schema, keyword):
            found = _both(found, reduce(_either, [_opinion(part, place) for part in parts]))
    return found


_MARKS = {"object": "properties", "array": "items"}
"""Keywords that are written only when this type is meant."""


def _own(schema: Mapping[str, Any], place: _Place) -> Opinion:
    """What the keywords of this schema itself say."""
    found: Opinion = None
    if values := [schema["const"]] if "const" in schema else _list(schema, "enum"):
        found = reduce(_either, map(_kind_of_value, values))
    names = schema.get("type") or [name for name, mark in _MARKS.items() if mark in schema][:1]
    if types := [names] if isinstance(names, str) else names:
        found = _both(found, reduce(_either, [_of_type(name, schema, place) for name in types]))
    return found


def _kind_of_value(value: Any) -> Opinion:
    for kind, types in ((NULL, type(None)), (TEXT, str), (BOOLEAN, bool), (NUMBER, float)):
        if isinstance(value, types):
            return kind
    return _of_bounds(value, value) if isinstance(value, int) else JSON


def _of_type(name: Any, schema: Mapping[str, Any], place: _Place) -> Opinion:
    match name:
        case "null" | "boolean" | "number":
            return Scalar(name)
        case "string":
            return _FORMATS.get(schema.get("format", ""), TEXT)
        case "integer":
            return _of_bounds(_least(schema), _most(schema))
        case "array":
            return _of_array(schema, place)
        case "object":
            return _of_object(schema, place)
    return JSON


def _least(schema: Mapping[str, Any]) -> int | None:
    bounds = [*_whole(schema, "minimum"), *(bound + 1 for bound in _whole(schema, "exclusiveMinimum"))]
    return max(bounds, default=None)


def _most(schema: Mapping[str, Any]) -> int | None:
    bounds = [*_whole(schema, "maximum"), *(bound - 1 for bound in _whole(schema, "exclusiveMaximum"))]
    return min(bounds, default=None)


def _whole(schema: Mapping[str, Any], keyword: str) -> list[int]:
    bound = schema.get(keyword)
    if isinstance(bound, bool) or not isinstance(bound, int | float):  # an old draft has true and false here
        return []
    return [int(bound)]


def _of_bounds(least: int | None, most: int | None) -> Kind:
    """The narrowest of the integer kinds that holds all between them; a missing bound asks for no more than 64 bits."""
    low = 0 if least is None else least
    high = 0 if most is None else most
    if low >= -INT64 and high < INT64:
        return INTEGER
    if least is not None and low >= 0 and high < UINT64:
        return UNSIGNED
    return DECIMAL if max(-low, high) < 10**DECIMAL_DIGITS else JSON


def _of_array(schema: Mapping[str, Any], place: _Place) -> Kind:
    items = schema.get("items")
    first = _list(schema, "prefixItems")
    most = schema.get("maxItems")
    whole = first and (items is False or (isinstance(most, int) and most <= len(first)))
    parts = first if whole else [*first, items if isinstance(items, Mapping) else True]
    return Array(_settled(reduce(_either, [_opinion(part, place) for part in parts])))


def _of_object(schema: Mapping[str, Any], place: _Place) -> Kind:
    if schema.get("additionalProperties", False) is not False or any(schema.get(keyword) for keyword in _OPEN):
        return JSON
    properties = _mapping(schema, "properties").items()
    return Record(tuple((name, _settled(_opinion(part, place))) for name, part in properties))


def _settled(opinion: Opinion) -> Kind:
    """What can be written: a column for nothing, or for the empty object, holds JSON."""
    if opinion is None or opinion in (NULL, Record(()), Array(JSON)):
        return JSON
    return opinion


def _either(one: Opinion, other: Opinion) -> Opinion:
    """The kind that holds every value of both."""
    if one is None or other is None:
        return None
    if one == other or other == NULL:
        return one
    if one == NULL:
        return other
    if isinstance(one, Array) and isinstance(other, Array):
        return Array(_settled(_either(one.item, other.item)))
    pair = (one, other)
    if all(kind in (*_INTEGERS, NUMBER) for kind in pair):
        return NUMBER if NUMBER in pair else DECIMAL
    return TEXT if all(kind in (*_TEMPORAL, TEXT) for kind in pair) else JSON


def _both(one: Opinion, other: Opinion) -> Opinion:
    """A kind that holds every value that is of both.

    Only an object that may hold more keys than a record is not held by that record: what is open stays open.
    """
    if one is None or other is None or one == other:
        return one if other is None else other
    if JSON in (one, other):
        special = other if one == JSON else one
        return JSON if isinstance(special, Record) else special
    if isinstance(one, Record) and isinstance(other, Record):
        fields = _merged(dict(one.fields), dict(other.fields), _both)
        return Record(tuple((name, _settled(kind)) for name, kind in fields.items()))
    if isinstance(one, Array) and isinstance(other, Array):
        return Array(_settled(_both(one.item, other.item)))
    return _both_scalars(one, other)


def _both_scalars(one: Kind, other: Kind) -> Kind:
    for general, special in ((TEXT, _TEMPORAL), (NUMBER, _INTEGERS)):
        if general in (one, other) and (one in special or other in special):
            return other if one == general else one
    for kind in reversed(_INTEGERS):
        if kind in (one, other) and one in _INTEGERS and other in _INTEGERS:
            return kind
    return JSON


def _mapping(schema: Mapping[str, Any], keyword: str) -> Mapping[str, Any]:
    return value if isinstance(value := schema.get(keyword), Mapping) else {}


def _list(schema: Mapping[str, Any], keyword: str) -> list[Any]:
    return value if isinstance(value := schema.get(keyword), list) else []
