"""How many tokens will a row take?

A rough upper figure by the schema alone, for `max_tokens` and for the estimate before a run: about four characters of
JSON make a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

import orjson

from synth_actors.datasets.references import resolve

CHARACTERS_PER_TOKEN = 4
LEAST_MAX_TOKENS = 512
MOST_MAX_TOKENS = 32_000
HEADROOM = 2.0
"""An answer that is cut is paid and loses its last rows, so the default is twice what is expected."""

_FORMATS = {
    "date": 6,
    "date-time": 14,
    "time": 8,
    "uuid": 26,
    "email": 10,
    "uri": 16,
    "ipv4": 8,
    "ipv6": 24,
    "hostname": 8,
}
_LONG_TEXTS = (
    "description",
    "text",
    "bio",
    "summary",
    "comment",
    "review",
    "message",
    "content",
    "body",
    "story",
    "answer",
)


def tokens_of_row(json_schema: Mapping[str, Any]) -> int:
    """What one row is expected to take."""
    return max(1, ceil(_value("", json_schema, json_schema, frozenset())))


def tokens_of_text(text: str) -> int:
    """What a text is expected to take."""
    return ceil(len(text) / CHARACTERS_PER_TOKEN)


def default_max_tokens(row_tokens: int, rows: int) -> int:
    """`max_tokens` of a request for `rows` rows: twice what they are expected to take, 512 to 32,000."""
    expected = 16 + rows * (row_tokens + 1)
    return min(MOST_MAX_TOKENS, max(LEAST_MAX_TOKENS, ceil(HEADROOM * expected)))


def _value(name: str, part: Any, root: Mapping[str, Any], inside: frozenset[int]) -> float:
    """`inside` holds the identities of the parts around this one: what contains itself is taken to stop at once."""
    schema = resolve(part, root)
    if isinstance(choices := schema.get("enum"), list) and choices:
        return max(len(orjson.dumps(choice)) for choice in choices) / CHARACTERS_PER_TOKEN + 1
    inner = schema.get("anyOf") or schema.get("oneOf") or schema.get("properties") or schema.get("items")
    if id(inner) in inside:
        return 2
    inside = inside if inner is None else inside | {id(inner)}
    if isinstance(inner, list):
        return max((_value(name, option, root, inside) for option in inner), default=4)
    if isinstance(properties := schema.get("properties"), Mapping):
        return 2 + sum(_pair(key, each, root, inside) for key, each in properties.items())
    if schema.get("type") == "array":
        return 2 + _length(schema) * (_value(name, schema.get("items", {}), root, inside) + 1)
    return _scalar(name, schema)


def _pair(key: str, part: Any, root: Mapping[str, Any], inside: frozenset[int]) -> float:
    return len(key) / CHARACTERS_PER_TOKEN + 3 + _value(key, part, root, inside)


def _length(schema: Mapping[str, Any]) -> float:
    least: int = schema.get("minItems", 0)
    most: int = schema.get("maxItems", max(2 * least, 5))
    return (least + most) / 2


def _scalar(name: str, schema: Mapping[str, Any]) -> float:
    kind = schema.get("type")
    if kind in ("integer", "number"):
        return 4
    if kind in ("boolean", "null"):
        return 1
    return 20 if kind == "object" else _string(name, schema)


def _string(name: str, schema: Mapping[str, Any]) -> float:
    if (form := schema.get("format")) in _FORMATS:
        return _FORMATS[form]
    usual = 60.0 if any(word in name.lower() for word in _LONG_TEXTS) else 10.0
    least: int | None = schema.get("minLength")
    most: int | None = schema.get("maxLength")
    if least is not None:
        usual = max(usual, 1.5 * least / CHARACTERS_PER_TOKEN)
    return usual if most is None else min(usual, most / CHARACTERS_PER_TOKEN + 2)
