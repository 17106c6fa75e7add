"""A million pairs of requests that are nearly the same: are their keys equal exactly when the requests are?

What is equal is decided by `same`, which compares two requests value by value as JSON does: it writes nothing, hashes
nothing and shares no line with the code that makes keys.  Some twists are known beforehand to change nothing, or
something, and that is checked as well.
"""

from __future__ import annotations

import random
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

from synth_actors import Request
from synth_actors.policy.cache_key import cache_key, key_of
from tests.conftest import Soak

PAIRS_OF_AN_OPERATION = 10
"""`--soak-count=full` makes a million pairs."""

Fields = dict[str, Any]
Twist = Callable[[random.Random, Fields], Fields]

PIECES = [
    *[
        "a",
        "b",
        "otters",
        " ",
        "",
        '"',
        '","',
        "\\",
        "\\n",
        "\n",
        "null",
        ",null,",
        "[",
        "]",
        "{",
        "}",
        ":",
        "\0",
        "\x7f",
    ],
    *["\u00e9", "e\u0301", "\U0001f600", "\ud83d\ude00", "\ud800", "1", "1.0", "true", "user", "prompt"],
    *["schema:", "model:", "format:"],
]
NUMBERS = [0, 1, -1, 2, 1024, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30, 0.5, 1e-7, 1e16, 1e300, 0.1]


class Person(BaseModel):
    name: str


class Animal(BaseModel):
    name: str


class Own:
    """An output format of a user, made anew each time."""

    def __init__(self, tag: str, schema: Mapping[str, Any]) -> None:
        self.tag = tag
        self.schema = schema

    def json_schema(self) -> dict[str, Any]:
        return dict(self.schema)

    def parse(self, text: str) -> str:
        return text


# ----------------------------------------------------------------------------------------- what is equal


def same(one: Any, other: Any) -> bool:
    """Whether JSON has one value for both."""
    if isinstance(one, bool) or isinstance(other, bool) or one is None or other is None:
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other  # exact, also between int and float
    if isinstance(one, str) and isinstance(other, str):
        return one == other
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, Own) and isinstance(other, Own):
        return one.tag == other.tag and same(one.schema, other.schema)
    if isinstance(one, BaseModel) and isinstance(other, BaseModel):  # messages
        return same(dict(one), dict(other))
    return one is other  # model classes; values of two kinds


def same_request(one: Request, other: Request) -> bool:
    return all(same(getattr(one, name), getattr(other, name)) for name in FIELDS if name not in ("timeout_s", "cache"))


FIELDS = tuple(Request.model_fields)


# ----------------------------------------------------------------------------------------- requests


def text(chance: random.Random) -> str:
    return "".join(chance.choices(PIECES, k=chance.randrange(4)))


def plain_text(chance: random.Random) -> str:
    """Text that a JSON Schema may hold."""
    return text(chance).encode("utf-8", "ignore").decode()


def tree(chance: random.Random, depth: int = 2) -> Any:
    kind = chance.randrange(8 if depth else 6)
    if kind < 2:
        return text(chance)
    if kind < 5:
        return chance.choice(NUMBERS)
    if kind == 5:
        return chance.choice([None, True, False])
    if kind == 6:
        return [tree(chance, depth - 1) for _ in range(chance.randrange(3))]
    return extra(chance, depth - 1)


def extra(chance: random.Random, depth: int = 2) -> Fields:
    return {text(chance): tree(chance, depth) for _ in range(chance.randrange(3))}


def schema(chance: random.Random) -> Any:
    values: list[Any] = [1, 1.0, True, 0, 0.0, -0.0, False, 2**53, 2.0**53, 1e15, 0.5, "1", None, [], {}]
    words = chance.choice(["", "a", plain_text(chance)])
    document = {chance.choice(["const", "default"]): chance.choice(values), "description": words}
    return chance.choice([None, None, Person, Animal, document, Own(chance.choice(["a", "b"]), document), {}])


def messages(chance: random.Random) -> list[Fields]:
    return [
        {"role": chance.choice(["user", "assistant"]), "content": text(chance)} for _ in range(chance.randrange(1, 4))
    ]


ANY_VALUE: dict[str, Callable[[random.Random], Any]] = {
    "prompt": text,
    "messages": messages,
    "system": lambda chance: chance.choice([None, "", text(chance)]),
    "output_schema": schema,
    "max_tokens": lambda chance: chance.choice([1, 2, 1024, 1024.0, 2**40]),
    "temperature": lambda chance: chance.choice([None, 0, 0.0, -0.0, 1, 1.0, 0.1, 0.1 + 2**-56, 2]),
    "stop": lambda chance: [text(chance) for _ in range(chance.randrange(3))],
    "seed": lambda chance: chance.choice([None, 0, 1, 1.0, -1, 2**64, 10**30]),
    "sample_index": lambda chance: chance.choice([0, 0.0, 1, 2]),
    "namespace": text,
    "endpoints": lambda chance: chance.choice([None, [text(chance)], [text(chance), text(chance)]]),
    "timeout_s": lambda chance: chance.choice([None, 1, 1.0, 2.5]),
    "cache": lambda chance: chance.choice(["use", "refresh", "bypass"]),
    "extra": extra,
}


def some_fields(chance: random.Random) -> Fields:
    names = [name for name in FIELDS if name not in ("prompt", "messages") and chance.random() < 0.3]
    first = "messages" if chance.random() < 0.3 else "prompt"
    return {name: ANY_VALUE[name](chance) for name in (first, *names)}


# ----------------------------------------------------------------------------------------- what is done to them


def one_field_changed(chance: random.Random, fields: Fields) -> Fields:
    name = chance.choice([name for name in FIELDS if name not in ("prompt", "messages")] + [_first(fields)])
    return fields | {name: ANY_VALUE[name](chance)}


def _first(fields: Fields) -> str:
    return "messages" if "messages" in fields else "prompt"


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every text in lists and dicts, as (where it stands, under which name or number)."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found: list[tuple[Any, Any]] = []
    for name, item in items:
        if isinstance(item, str) and name not in ("role", "cache"):
            found.append((value, name))
        found.extend(_places(item))
    return found


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(item) for name, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def text_moved(chance: random.Random, fields: Fields) -> Fields:
    """The end of one text becomes the beginning of another: of two fields, two elements, two messages."""
    changed: Fields = _copy(fields)
    missing = [name for name in ("system", "namespace") if name not in changed]
    changed.update({name: "" for name in missing if chance.random() < 0.5})
    places = [place for place in _places(changed) if place[0] is not changed.get("output_schema")]
    if len(places) < 2:
        return changed
    (source, here), (target, there) = chance.sample(places, 2)
    whole = source[here] + target[there]
    cut = chance.randrange(len(whole) + 1)
    source[here], target[there] = whole[:cut], whole[cut:]
    return changed


def default_given(chance: random.Random, fields: Fields) -> Fields:
    """Every field that was left out is given as its default, or some of them."""
    left_out = [name for name in FIELDS if name not in fields and name not in ("prompt", "messages")]
    chosen = left_out if chance.random() < 0.5 else chance.sample(left_out, min(2, len(left_out)))
    added = {name: Request.model_fields[name].get_default(call_default_factory=True) for name in chosen}
    items = list({**fields, **added}.items())
    chance.shuffle(items)  # keywords in any order
    return dict(items)


def _other_number(chance: random.Random, value: Any, share: float) -> Any:
    """The same value with some numbers as the other type, where that can be said exactly or not."""
    if isinstance(value, dict):
        return {name: _other_number(chance, item, share) for name, item in value.items()}
    if isinstance(value, list):
        return [_other_number(chance, item, share) for item in value]
    if isinstance(value, bool) or chance.random() > share:
        return value
    if isinstance(value, int) and abs(value) < 2**1000:
        return float(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def int_against_float(chance: random.Random, fields: Fields) -> Fields:
    return fields | {
        name: _other_number(chance, fields[name], 0.7)
        for name in ("temperature", "max_tokens", "sample_index", "extra", "output_schema")
        if name in fields
    }


TWINS: list[list[Any]] = [[1, True, "1", 1.0, [1]], [0, False, None, "", [], {}, "0", -0.0], ["true", True], ["a", []]]


def _twin(chance: random.Random, value: Any) -> Any:
    """The value with some of its leaves as what they are taken for in other languages."""
    if isinstance(value, dict) and value:
        return {name: _twin(chance, item) for name, item in value.items()}
    if isinstance(value, list) and value:
        return [_twin(chance, item) for item in value]
    return chance.choice([other for twins in TWINS if value in twins for other in twins] or [value])


def number_against_bool_or_text(chance: random.Random, fields: Fields) -> Fields:
    return fields | {"extra": {name: _twin(chance, value) for name, value in fields.get("extra", {}).items()}}


def none_against_absent(chance: random.Random, fields: Fields) -> Fields:
    name = chance.choice(["system", "temperature", "seed", "endpoints", "output_schema", "timeout_s", "extra"])
    if name == "extra":
        return fields | {"extra": {**fields.get("extra", {}), chance.choice(["", "a", "temperature"]): None}}
    without = {key: value for key, value in fields.items() if key != name}
    return without if chance.random() < 0.5 else without | {name: None}


def empty_against_none(chance: random.Random, fields: Fields) -> Fields:
    name, empty = chance.choice([("system", ""), ("stop", []), ("namespace", ""), ("output_schema", {}), ("extra", {})])
    return fields | {name: empty}


def another_order(chance: random.Random, fields: Fields) -> Fields:
    """Dicts are shuffled, and sometimes a list is turned round."""
    changed: Fields = _shuffled(chance, fields)
    name = chance.choice(["stop", "endpoints", "messages", "extra"])
    if chance.random() < 0.5 and isinstance(changed.get(name), list):
        changed[name] = changed[name][::-1]
    return changed


def _shuffled(chance: random.Random, value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shuffled(chance, value[name]) for name in chance.sample(list(value), len(value))}
    return [_shuffled(chance, item) for item in value] if isinstance(value, list) else value


def prompt_against_message(chance: random.Random, fields: Fields) -> Fields:
    rest = {name: value for name, value in fields.items() if name not in ("prompt", "messages")}
    if "prompt" in fields:
        return rest | {"messages": [{"role": "user", "content": fields["prompt"]}]}
    changed = _copy(fields["messages"])
    message = chance.choice(changed)
    message["role"] = chance.choice(["user", "assistant"])
    return rest | {"messages": changed}


def another_spelling_of_text(chance: random.Random, fields: Fields) -> Fields:
    """What looks the same on a screen or in an escape sequence is another text."""
    spell = chance.choice(
        [
            lambda text: unicodedata.normalize("NFD", text),
            lambda text: unicodedata.normalize("NFC", text),
            lambda text: text.encode("unicode_escape").decode(),
            lambda text: text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass"),
            lambda text: text.replace("\ud83d\ude00", "\U0001f600"),
            str.strip,
            str.upper,
        ]
    )
    return {
        name: value if name in ("cache", "output_schema") else _spelled(spell, value) for name, value in fields.items()
    }


def _spelled(spell: Callable[[str], str], value: Any) -> Any:
    if isinstance(value, dict):
        return {name: item if name == "role" else _spelled(spell, item) for name, item in value.items()}
    if isinstance(value, list):
        return [_spelled(spell, item) for item in value]
    try:
        return spell(value) if isinstance(value, str) else value
    except UnicodeDecodeError:  # half of a pair stands alone
        return value


def how_it_is_asked(chance: random.Random, fields: Fields) -> Fields:
    return fields | {"timeout_s": ANY_VALUE["timeout_s"](chance), "cache": ANY_VALUE["cache"](chance)}


def field_in_extra(chance: random.Random, fields: Fields) -> Fields:
    """A value stands in `extra` under the name of its field."""
    name = chance.choice(["temperature", "seed", "max_tokens", "stop", "system", "namespace", "sample_index"])
    if name not in fields:
        return fields
    rest = {key: value for key, value in fields.items() if key != name}
    return rest | {"extra": {**fields.get("extra", {}), name: fields[name]}}


TWISTS: tuple[Twist, ...] = (
    one_field_changed,
    text_moved,
    default_given,
    int_against_float,
    number_against_bool_or_text,
    none_against_absent,
    empty_against_none,
    another_order,
    prompt_against_message,
    another_spelling_of_text,
    how_it_is_asked,
    field_in_extra,
)
CHANGE_NOTHING = frozenset({default_given, how_it_is_asked})
CHANGE_SOMETIMES = frozenset(TWISTS) - CHANGE_NOTHING


def test_nearly_equal_requests_have_equal_keys_exactly_when_they_are_equal(soak: Soak) -> None:
    chance = soak.random()
    seen: Counter[tuple[str, bool]] = Counter()
    for number in range(soak.count * PAIRS_OF_AN_OPERATION):
        fields = some_fields(chance)
        twist = TWISTS[number % len(TWISTS)]
        one, other = Request(**fields), Request(**twist(chance, fields))
        equal = same_request(one, other)
        assert (key_of(one) == cache_key(other)) == equal, f"{twist.__name__}: equal={equal}: {one!r} {other!r}"
        seen[twist.__name__, equal] += 1
    for twist in TWISTS:
        equals, differing = seen[twist.__name__, True], seen[twist.__name__, False]
        print(f"{twist.__name__:30} {equals:8,} equal {differing:8,} different")  # noqa: T201
        assert equals, f"{twist.__name__} never gave the same request"
        assert (differing > 0) == (twist in CHANGE_SOMETIMES), f"{twist.__name__}: {differing} requests differed"
