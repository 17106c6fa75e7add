"""Which node makes the values of a schema?

Each part of a schema is compiled once per name it is used under. A part that is met again while it is being compiled
is a recursion and becomes an `Again`. An alternative that nothing can fulfil is left out; if none is left, the first
reason is raised. A keyword that is not supported is always an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import orjson

from synth_actors.sampling import kinds
from synth_actors.sampling.arrays import Array
from synth_actors.sampling.compile_object import shape_of
from synth_actors.sampling.document import Document, Schema
from synth_actors.sampling.errors import UnsatisfiableError, UnsupportedError
from synth_actors.sampling.merge import Flat, all_of, flatten, identity, item_schema, merge
from synth_actors.sampling.names import Hint, kind_of, singular, words_of
from synth_actors.sampling.nodes import Again, Checked, Choice, Leaf, Node, Null
from synth_actors.sampling.numbers import number_maker, read_as_text
from synth_actors.sampling.objects import Object
from synth_actors.sampling.strings import string_maker

MOST_NODES = 20_000
_DECIMAL = "^(?!^[-+.]*$)[+-]?0*"
NodeT = TypeVar("NodeT", bound=Node)
_TYPE_OF = {
    "object": ("properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties",
               "maxProperties", "dependentRequired", "unevaluatedProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains", "unevaluatedItems"),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}  # fmt: skip


class Compiler:
    """Compiles the parts of one document; `nodes` are all that were made."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.nodes: list[Node] = []
        self.recursive = False
        self._known: dict[tuple[bytes, Hint, bool], Again] = {}

    def node(self, schema: Schema, path: str, hint: Hint, *, own_record: bool = False) -> Node:
        """The node of a schema.

        Raises:
            SchemaError: nothing can be made for it.
        """
        key = (orjson.dumps(schema), hint._replace(said=""), own_record)
        if (known := self._known.get(key)) is not None:
            self.recursive = self.recursive or known.target is None
            return known if known.target is None else known.target
        before = len(self._known)
        again = self._known[key] = self._kept(Again())
        try:
            again.target = self.of_flat(flatten(self.document, schema, path), hint, own_record=own_record)
        except UnsatisfiableError:
            for late in list(self._known)[before:]:  # parts compiled meanwhile may point to what has just failed
                del self._known[late]
            raise
        return again.target

    def of_flat(self, flat: Flat, hint: Hint, *, own_record: bool = False) -> Node:
        """The node of a folded schema: its values, checked where generation alone cannot guarantee a keyword."""
        if (said := flat.hints.get("description") or flat.hints.get("title")) and isinstance(said, str):
            hint = hint._replace(said=said)
        if "enum" in flat.keywords:
            return self._kept(Leaf(self._enum_maker(flat, hint)))
        made = self._unchecked(replace(flat, doubts=()), hint, own_record=own_record)
        if not flat.doubts:
            return made
        return self._kept(Checked(made, self.document.validator(flat.sources), flat.doubts[0], flat.path))

    def _unchecked(self, flat: Flat, hint: Hint, *, own_record: bool) -> Node:
        if flat.choices:
            return self._choice(flat, hint, own_record=own_record)
        types = flat.get("type") or [_inferred(flat)]
        return self._one_of([partial(self._of_type, name, flat, hint, own_record=own_record) for name in types])

    def _choice(self, flat: Flat, hint: Hint, *, own_record: bool) -> Node:
        (keyword, first), rest = flat.choices[0], replace(flat, choices=flat.choices[1:])
        if (number := self._decimal(first, rest, hint)) is not None:
            return number

        def folded(index: int, option: Schema) -> Node:
            path = f"{flat.path}/{keyword}/{index}" if keyword in ("anyOf", "oneOf") else f"{flat.path}/{keyword}"
            if isinstance(option, dict) and set(option) <= {"$ref"} and not rest.keywords and not rest.choices:
                return self.node(option, path, hint, own_record=own_record)
            merged = merge(replace(rest, sources=()), flatten(self.document, option, path))
            return self.of_flat(merged, hint, own_record=own_record)

        return self._one_of([partial(folded, index, option) for index, option in enumerate(first)])

    def _one_of(self, makers: Iterable[Callable[[], Node]]) -> Node:
        options: list[Node] = []
        reasons: list[UnsatisfiableError] = []
        for make in makers:
            try:
                options.append(make())
            except UnsatisfiableError as exc:
                reasons.append(exc)
        if not options:
            raise reasons[0]
        return options[0] if len(options) == 1 else self._kept(Choice(options))

    def _decimal(self, options: tuple[Schema, ...], rest: Flat, hint: Hint) -> Node | None:
        """The number of pydantic's `Decimal`, whose other form, a text of digits, would not know the bounds."""
        kinds_of = [_decimal_part(option) for option in options]
        if rest.keywords or rest.choices or None in kinds_of or not {"number", "string"} <= set(kinds_of):
            return None
        number = flatten(self.document, options[kinds_of.index("number")], rest.path)
        readable = self.document.validator([options[kinds_of.index("string")]])
        node: Node = self._kept(Leaf(read_as_text(number_maker(number, hint, integer=False), readable)))
        return self._kept(Choice([node, self._kept(Null())])) if "null" in kinds_of else node

    def _of_type(self, name: str, flat: Flat, hint: Hint, *, own_record: bool) -> Node:
        match name:
            case "null":
                return self._kept(Null())
            case "boolean":
                words = words_of(hint.name)
                return self._kept(Leaf(lambda ctx: kinds.truth(ctx.stream, words)))
            case "integer" | "number":
                return self._kept(Leaf(number_maker(flat, hint, integer=name == "integer")))
            case "string":
                return self._kept(Leaf(string_maker(flat, hint)))
            case "array":
                return self._array(flat, hint)
            case "object":
                return self._kept(Object(shape_of(self, flat, hint, own_record=own_record)))
        raise UnsatisfiableError("type", flat.path, f"{name!r} is no type of JSON")

    def _array(self, flat: Flat, hint: Hint) -> Node:
        keywords = flat.keywords
        item_hint = Hint("_".join(map(singular, words_of(hint.name))), hint.subject, named=hint.named)
        prefix: list[Node] = []
        for index in range(min(len(flat.get("prefixItems", ())), flat.get("maxItems", 2**63))):
            try:
                prefix.append(
                    self.node(
                        item_schema(keywords, index), f"{flat.path}/prefixItems/{index}", item_hint, own_record=True
                    )
                )
            except UnsatisfiableError:
                if index < flat.get("minItems", 0):
                    raise
                return self._array(replace(flat, keywords={**keywords, "maxItems": index}), hint)
        array = Array(prefix, self._rest(flat, item_hint), flat.get("minItems", 0), flat.get("maxItems"), flat.path)
        array.unique = bool(flat.get("uniqueItems"))
        for sought, low, high in flat.get("contains", ()):
            self._seek(array, flat, item_hint, (sought, low, high))
        return self._kept(array)

    def _rest(self, flat: Flat, hint: Hint) -> Node | None:
        """The node of the items after the prefix; None when there can be none."""
        schema = flat.get("items", True)
        if flat.get("prefixItems") and "items" not in flat.keywords:
            if "unevaluatedItems" not in flat.keywords and flat.get("minItems", 0) <= len(flat.get("prefixItems")):
                return None  # more would be allowed, but a tuple is meant
            schema = flat.get("unevaluatedItems", True)
        for _, _, high in flat.get("contains", ()):
            if high is not None:
                schema = all_of(
                    schema, *({"not": sought} for sought, _, most in flat.get("contains") if most is not None)
                )
                break
        return self._unless_needed(schema, flat, hint)

    def _unless_needed(self, schema: Schema, flat: Flat, hint: Hint) -> Node | None:
        try:
            return self.node(schema, f"{flat.path}/items", hint, own_record=True)
        except UnsatisfiableError:
            if flat.get("minItems", 0) > len(flat.get("prefixItems", ())) and not flat.get("contains"):
                raise
            return None

    def _seek(self, array: Array, flat: Flat, hint: Hint, sought: tuple[Schema, int, int | None]) -> None:
        schema, low, high = sought
        if high is not None and low > high:
            raise UnsatisfiableError("maxContains", flat.path, f"minContains {low} is above maxContains {high}")
        if low == 0 or (array.high is not None and array.high <= len(array.prefix)):
            return
        both = all_of(flat.get("items", True), schema)
        node = self.node(both, f"{flat.path}/contains", hint, own_record=True)
        array.sought.append((node, low))
        array.rest = array.rest or node
        if array.high is None or array.high < len(array.prefix) + low:
            array.high = flat.get("maxItems")

    def _enum_maker(self, flat: Flat, hint: Hint) -> Callable[[Any], Any]:
        valid = self.document.validator(flat.sources) if flat.sources else (lambda _: True)
        values = [value for value in flat.keywords["enum"] if valid(value)]
        if not values:
            raise UnsatisfiableError("enum", flat.path, "no member fulfils the other keywords")
        if len(values) == 1:
            return lambda _: values[0]
        real = kinds.TEXT.get(kind_of(hint) or "")
        by_text = {value.lower(): value for value in values if isinstance(value, str)}
        if real is None or not {identity(v) for v in values} or len(by_text) != len(values):
            return lambda ctx: ctx.stream.pick(values)
        agreeing = real

        def make(ctx: Any) -> Any:
            found = by_text.get(agreeing(ctx).lower())
            return ctx.stream.pick(values) if found is None else found

        return make

    def _kept(self, node: NodeT) -> NodeT:
        if len(self.nodes) >= MOST_NODES:
            raise UnsupportedError("anyOf", "", f"the schema unfolds into more than {MOST_NODES} parts")
        self.nodes.append(node)
        return node


def _decimal_part(option: Schema) -> str | None:
    """Which part of pydantic's `Decimal` this is."""
    if not isinstance(option, dict):
        return None
    pattern = option.get("pattern")
    if option.get("type") == "string":
        return (
            "string" if set(option) <= {"type", "pattern"} and str(pattern or _DECIMAL).startswith(_DECIMAL) else None
        )
    return "number" if option.get("type") == "number" else "null" if option == {"type": "null"} else None


def _inferred(flat: Flat) -> str:
    """The type that a schema without `type` is about."""
    for name, keywords in _TYPE_OF.items():
        if not flat.keywords.keys().isdisjoint(keywords):
            return name
    return "string"
