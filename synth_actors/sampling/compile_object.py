"""Which properties can an object have, and which of them must it have?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from synth_actors.sampling.document import Schema, escaped, matcher
from synth_actors.sampling.errors import UnsatisfiableError
from synth_actors.sampling.merge import Flat, all_of, property_schema
from synth_actors.sampling.names import NAME_FIELDS, OTHER_PEOPLE, Hint, kind_of, singular, subject_of, words_of
from synth_actors.sampling.objects import Key, Repair, Shape, free_key
from synth_actors.sampling.strings import string_maker

if TYPE_CHECKING:
    from synth_actors.sampling.compile import Compiler
    from synth_actors.sampling.nodes import Node


def shape_of(compiler: Compiler, flat: Flat, hint: Hint, *, own_record: bool) -> Shape:
    """The shape of the objects of a folded schema.

    Raises:
        UnsatisfiableError: a required property cannot be, or there can be too few or too many.
    """
    keywords = _closed(flat.keywords)
    declared_schemas = keywords.get("properties", {})
    name = hint.name or str(flat.hints.get("title", ""))
    subject = subject_of(name, tuple(declared_schemas)) or _inherited(hint, declared_schemas)
    required = _required(keywords)
    names = [*declared_schemas, *(n for n in required if n not in declared_schemas)]
    maker = _Properties(compiler, flat, keywords, subject)
    low, high = keywords.get("minProperties", 0), keywords.get("maxProperties")
    names_somebody = any("_".join(words_of(field)) in NAME_FIELDS for field in declared_schemas)
    maker.named = hint.named or names_somebody
    declared = maker.declared(names, required)
    own_record = own_record or (hint.named and names_somebody) or not OTHER_PEOPLE.isdisjoint(words_of(hint.name))
    shape = Shape(
        flat.path,
        declared,
        required,
        _dependents(keywords),
        low=low,
        high=high,
        own_record=own_record,
        repairs=_repairs(compiler, keywords, declared, subject),
        allows=maker.allows,
    )
    if not declared_schemas or low > len(declared):
        shape.extra = maker.extra()
    _count_fits(shape)
    return shape


def _closed(keywords: dict[str, Any]) -> dict[str, Any]:
    """Everything is folded in by now, so what is unevaluated is what is additional."""
    if "unevaluatedProperties" in keywords and "additionalProperties" not in keywords:
        return {**keywords, "additionalProperties": keywords["unevaluatedProperties"]}
    return keywords


def _inherited(hint: Hint, fields: dict[str, Any]) -> str:
    return hint.subject if "name" not in fields else ""


def _required(keywords: dict[str, Any]) -> tuple[str, ...]:
    """What must be there, with all that this demands."""
    required = list(dict.fromkeys(keywords.get("required", ())))
    for name in required:  # grows while it is walked
        required += [needed for needed in keywords.get("dependentRequired", {}).get(name, ()) if needed not in required]
    return tuple(required)


def _dependents(keywords: dict[str, Any]) -> dict[str, list[str]]:
    return {name: needed for name, needed in keywords.get("dependentRequired", {}).items() if needed}


def _count_fits(shape: Shape) -> None:
    if shape.high is not None and len(shape.required) > shape.high:
        raise UnsatisfiableError(
            "maxProperties", shape.path, f"{len(shape.required)} are required, {shape.high} are allowed"
        )
    if shape.high is not None and shape.low > shape.high:
        raise UnsatisfiableError(
            "minProperties", shape.path, f"minProperties {shape.low} is above maxProperties {shape.high}"
        )
    if shape.low > len(shape.declared) and not shape.extra:
        raise UnsatisfiableError(
            "minProperties", shape.path, f"{shape.low} are demanded, {len(shape.declared)} are possible"
        )


class _Properties:
    """Compiles the properties of one object."""

    def __init__(self, compiler: Compiler, flat: Flat, keywords: dict[str, Any], subject: str) -> None:
        self.compiler = compiler
        self.flat = flat
        self.keywords = keywords
        self.subject = subject
        self.named = False
        names = keywords.get("propertyNames", True)
        self.names = all_of(names, {"type": "string"}) if names is not True else True
        self.allows = None if names is True else compiler.document.validator([names])

    def declared(self, names: list[str], required: tuple[str, ...]) -> dict[str, Node]:
        """The nodes of the named properties; one that cannot be is left out unless it is required."""
        nodes: dict[str, Node] = {}
        for name in names:
            path = f"{self.flat.path}/properties/{escaped(name)}"
            try:
                if self.allows is not None and not self.allows(name):
                    raise UnsatisfiableError("propertyNames", self.flat.path, f"the property {name!r} is not allowed")
                nodes[name] = self.compiler.node(self._schema(name), path, Hint(name, self.subject, named=self.named))
            except UnsatisfiableError as exc:
                if name not in required:
                    continue
                if exc.keyword == "false" and name not in self.keywords.get("properties", ()):
                    raise UnsatisfiableError(
                        "required", self.flat.path, f"{name!r} is required and not allowed"
                    ) from exc
                raise
        return nodes

    def _schema(self, name: str) -> Schema:
        return property_schema(self.keywords, name)

    def extra(self) -> tuple[tuple[Key, Node], ...]:
        """Makers of properties that have no name in the schema."""
        found: list[tuple[Key, Node]] = []
        for pattern, schema in self.keywords.get("patternProperties", {}).items():
            found += self._one(schema, {"pattern": [pattern]}, f"/patternProperties/{escaped(pattern)}")
        return tuple(found) or tuple(
            self._one(self.keywords.get("additionalProperties", True), {}, "/additionalProperties")
        )

    def _one(self, schema: Schema, names: dict[str, Any], path: str) -> list[tuple[Key, Node]]:
        hint = Hint(singular(self.flat.hints.get("title", "").lower()), self.subject)
        try:
            node = self.compiler.node(schema, self.flat.path + path, hint, own_record=True)
            return [(self._key(names, path), node)]
        except UnsatisfiableError:
            return []

    def _key(self, names: dict[str, Any], path: str) -> Key:
        """A maker of names that `propertyNames` allows and that no pattern claims but this one."""
        if self.names is not True:
            made = self.compiler.node(self.names, f"{self.flat.path}/propertyNames", Hint("key_label"))
            if not names:
                return self._unclaimed(made.sample)
        if names:
            return string_maker(replace(self.flat, path=self.flat.path + path, keywords=names, hints={}), Hint())
        return self._unclaimed(free_key)

    def _unclaimed(self, make: Key) -> Key:
        claims = [matcher(pattern) for pattern in self.keywords.get("patternProperties", ())]
        if not claims:
            return make

        def unclaimed(ctx: Any) -> str:
            for _ in range(100):
                if not any(claim(name := make(ctx)) for claim in claims):
                    return name
            raise UnsatisfiableError(
                "patternProperties", self.flat.path, "every name that was tried belongs to a pattern"
            )

        return unclaimed


def _repairs(
    compiler: Compiler, keywords: dict[str, Any], declared: dict[str, Node], subject: str
) -> tuple[Repair, ...]:
    """total = quantity * price, where an object has exactly these."""
    by_kind: dict[str, list[str]] = {}
    for name in declared:
        by_kind.setdefault(kind_of(Hint(name, subject)) or "", []).append(name)
    totals = [
        n
        for n in by_kind.get("money", ())
        if words_of(n)[-1] in ("total", "amount", "subtotal", "sum") or words_of(n)[0] == "total"
    ]
    if not (len(totals) == len(by_kind.get("quantity", ())) == len(by_kind.get("price", ())) == 1):
        return ()
    total, quantity, price = totals[0], by_kind["quantity"][0], by_kind["price"][0]
    valid = compiler.document.validator([property_schema(keywords, total)])

    def repair(value: dict[str, Any]) -> None:
        how_many, each = value.get(quantity), value.get(price)
        if total in value and isinstance(how_many, (int, float)) and isinstance(each, (int, float)):
            product = round(how_many * each, 2)
            if valid(product):
                value[total] = product

    return (repair,)
