"""Which values may be suggested for a row?

A model that is asked twice in the same words answers twice the same.  So every row is asked for with a few values of
its own, drawn from what the schema allows by hashing seed, row, try and column: the same on every machine.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import Any

import orjson

from synth_actors.datasets.references import DEFINITIONS, resolve
from synth_actors.errors import ConfigError
from synth_actors.schema import canonical, validator_of

MAX_COLUMNS = 4
"""Columns with a drawn value in one row: enough for millions of combinations, few enough to cost about 25 tokens."""
MAX_DEPTH = 3

STARTS = tuple(
    "Ab Ad Al Am An Ar As Au Ba Be Bi Bo Br Ca Ce Ch Cl Co Cr Da De Di Do Dr Ed El Em En Er Es Ev Fa Fe Fi Fl Fr "
    "Ga Ge Gi Gl Go Gr Ha He Hi Ho Hu Id Il In Ir Is Iv Ja Je Ji Jo Ju Ka Ke Ki Kl Ko Kr La Le Li Lo Lu Ma Me Mi "
    "Mo Mu Na Ne Ni No Nu Ob Ol Or Os Ot Pa Pe Ph Pi Pr Ra Re Ri Ro Ru Sa Sc Se Sh Si So St Su Ta Te Th Ti To Tr "
    "Ul Ur Va Ve Vi Wa We Wi Xa Ya Yo Za Zo".split()
)
INITIALS = tuple("ABCDEFGHIJKLMNOPRSTUVWZ")
THEMES = tuple(
    "winter travel music cooking money school health weather sport garden children night water paper food city "
    "village family holiday repair delivery market animals history letters roads colour noise light trees "
    "machines games films books clothes glass metal wood stone".split()
)
_NAMES = frozenset(
    {"name", "surname", "firstname", "lastname", "fullname", "username", "author", "person", "customer", "employee"}
)
_PLACES = frozenset({"city", "town", "country", "state", "region", "street", "address", "place", "location"})
_LABELS = frozenset(
    {"company", "brand", "product", "organization", "organisation", "employer", "vendor", "supplier", "item"}
)
_TEXTS = frozenset(
    {"description", "text", "bio", "summary", "comment", "review", "note", "notes", "message", "content", "body"}
)
_TEXTS_TOO = frozenset(
    {"title", "question", "answer", "story", "prompt", "subject", "headline", "sentence", "instruction"}
)

Draw = Callable[[int], str | None]
"""From a number, uniform in 64 bits, to the words of a suggestion; None when there is none for this row."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column whose value is suggested; of one `kind` only one column is, so that suggestions do not contradict."""

    path: str
    kind: str
    draw: Draw


def columns_of(json_schema: Mapping[str, Any], taken: Collection[str] = ()) -> tuple[Column, ...]:
    """The columns worth a suggestion, at most `MAX_COLUMNS`, always the same ones for a schema.

    The user says what stands in the columns `taken`, so neither they nor what is inside them gets one; and where one
    place is taken no other is suggested, which would contradict it.
    """
    every = list(_columns("", resolve(json_schema, json_schema), json_schema, MAX_DEPTH))
    kinds = {column.kind for column in every if _within(column.path, taken)} & {"place"}
    found = [column for column in every if column.kind not in kinds and not _within(column.path, taken)]
    first_of_kind = {column.kind: column for column in reversed(found)}
    wanted = [first_of_kind[kind] for kind in _ORDER if kind in first_of_kind]
    more_choices = [column for column in found if column.kind == "choice" and column not in wanted]
    return tuple(islice([*wanted, *more_choices], MAX_COLUMNS))


def suggestions(columns: Sequence[Column], *, seed: int, row: int, attempt: int) -> str:
    """What is suggested for one row: `plan="pro"; city starts with "P"`; empty when nothing is."""
    drawn = ((column.path, column.draw(hashed(seed, row, attempt, column.path))) for column in columns)
    return "; ".join(f"{path} {words}" for path, words in drawn if words is not None)


_ORDER = ("name", "choice", "date", "number", "label", "place", "text", "flag")


def _within(path: str, taken: Collection[str]) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in taken)


def hashed(*parts: int | str) -> int:
    """A number, uniform in 64 bits and the same on every machine."""
    return int.from_bytes(blake2b(orjson.dumps(parts), digest_size=8).digest(), "big")


def _columns(path: str, schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> list[Column]:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or depth == 0:
        return []
    found: list[Column] = []
    dependent = {name for keyword in ("then", "else") for name in _names(schema.get(keyword))}
    for name, part in properties.items():
        if name in dependent:  # what fits depends on the other values of the row
            continue
        column_path = f"{path}.{name}" if path else str(name)
        column = resolve(part, root)
        try:
            drawn = _drawn(str(name), column, root)
        except ConfigError:  # it refers to its surroundings, so its values cannot be checked alone: no suggestion
            continue
        found += [Column(column_path, *drawn)] if drawn else _columns(column_path, column, root, depth - 1)
    return found


def _names(schema: Any) -> Iterable[str]:
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    return properties if isinstance(properties, Mapping) else ()


def _drawn(name: str, schema: Mapping[str, Any], root: Mapping[str, Any]) -> tuple[str, Draw] | None:
    if "const" in schema:
        return None
    if isinstance(schema.get("enum"), list):
        return _choice(schema, root)
    kind = schema.get("type")
    if kind == "boolean":
        return "flag", lambda number: ("= true", "= false")[number % 2]
    if kind in ("integer", "number"):
        return _number(schema, root)
    if kind == "string" and "pattern" not in schema and schema.get("maxLength", 99) >= 3:
        return _string(name, schema.get("format"))
    return None


def _checked(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Callable[[Any], str | None]:
    definitions = {name: root[name] for name in DEFINITIONS if name in root}
    return validator_of(canonical({**definitions, **schema}))


def _choice(schema: Mapping[str, Any], root: Mapping[str, Any]) -> tuple[str, Draw] | None:
    problem = _checked(schema, root)
    choices = [value for value in schema["enum"] if value is not None and problem(value) is None]
    if len(choices) < 2:
        return None
    words = ["= " + orjson.dumps(value).decode() for value in choices]
    return "choice", lambda number: words[number % len(words)]


def _number(schema: Mapping[str, Any], root: Mapping[str, Any]) -> tuple[str, Draw] | None:
    low, high = (_bound(schema, *keys) for keys in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")))
    if low is None or high is None or high <= low:
        return None
    problem = _checked(schema, root)
    step = schema.get("multipleOf") or (1 if schema["type"] == "integer" or high - low > 100 else None)

    def draw(number: int) -> str | None:
        value = low + (high - low) * (number % 1_000_003) / 1_000_003
        rounded = value if step is None else round(value / step) * step
        shown = round(rounded) if schema["type"] == "integer" else float(f"{rounded:.4g}")
        return None if problem(shown) is not None else f"near {shown}"

    return "number", draw


def _bound(schema: Mapping[str, Any], *keywords: str) -> float | None:
    found = [schema[keyword] for keyword in keywords if isinstance(schema.get(keyword), (int, float))]
    return found[0] if found and abs(found[0]) < 1e15 else None


def _string(name: str, form: str | None) -> tuple[str, Draw] | None:
    words = set(name.lower().replace("-", "_").split("_")) | {name.lower().replace("_", "")}
    if form in ("date", "date-time"):
        return "date", _born if words & {"birth", "birthday", "birthdate", "dob", "dateofbirth"} else _recent
    if form is not None:
        return None
    if words & _PLACES:
        return "place", lambda number: f'starts with "{INITIALS[number % len(INITIALS)]}"'
    if words & _TEXTS or words & _TEXTS_TOO:
        return "text", lambda number: f"is about {THEMES[number % len(THEMES)]}"
    if words & _LABELS or words & _NAMES:
        return ("label" if words & _LABELS else "name"), lambda number: f'starts with "{STARTS[number % len(STARTS)]}"'
    return None


def _recent(number: int) -> str:
    """A day of the twelve years up to the end of 2026: no clock is asked, so that a seed keeps its rows."""
    day = datetime.date(2015, 1, 1) + datetime.timedelta(days=number % 4383)
    return f"near {day.isoformat()}"


def _born(number: int) -> str:
    return f"near {(datetime.date(1940, 1, 1) + datetime.timedelta(days=number % 24_000)).isoformat()}"
