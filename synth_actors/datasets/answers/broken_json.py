"""What did the author of this almost-JSON value mean?

For one value that is known to be whole, from its first bracket to its last.  Notation is put right: trailing commas,
comments, single quotes, Python's literals, bare keys, quotes and line breaks inside a string.  What is still no JSON is
left to json_repair, and what that gives counts only if it says the same letters and digits in the same order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from math import isinf
from typing import Any

import json_repair
import pydantic_core

from synth_actors.datasets.answers.json_pieces import TOKEN

_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)|([\"\x00-\x1f])", re.DOTALL)
_ESCAPABLE = frozenset('"\\/bfnrt')
_NO_WORD = frozenset('"{}[],:')
_PYTHON = {"None": "null", "True": "true", "False": "false"}
_BARE_KEY = re.compile(r"[\w$]+")
_ENDING_ZEROS = re.compile(r"(?<=\d)\.0+(?!\d)|(?<=\.\d)0+(?!\d)")
MOST_UNCLOSED = 32
"""Quotes that no other one ends: with more of them nobody knows what is meant, and each is sought to the end."""

_SAYS_NOTHING = re.compile(r"[\W_]+")


def strict_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is no JSON, or holds a number that is not finite (1e999) or half a surrogate pair.
    """
    try:
        value = pydantic_core.from_json(text, allow_inf_nan=False)
    except TypeError:  # a text that cannot be encoded
        raise ValueError("half a surrogate pair") from None
    if b"Infinity" in pydantic_core.to_json(value, inf_nan_mode="constants") and _has_infinite(value):
        raise ValueError("a number is not finite")
    return value


def tolerant_json(text: str, *, repair: bool) -> dict[str, Any] | list[Any] | None:
    """The value of an almost-JSON object or array that is whole; None when it is not certain what it means.

    With `repair` more of it is certain; that is slow.
    """
    if (parts := _parts(text)) is None:
        return None
    plain = " ".join(parts)
    try:
        value = strict_json(plain)
    except ValueError:
        if not repair or any(_SAYS_NOTHING.fullmatch(part) for part in parts if part[0] not in _NO_WORD):
            return None  # what "..." stands for is not known
        value = _repaired(plain)
    return value if isinstance(value, (dict, list)) else None


def _repaired(plain: str) -> Any:
    value = json_repair.repair_json(plain, return_objects=True, skip_json_loads=True)
    try:
        return strict_json(json.dumps(value)) if _says_the_same(value, plain) else None
    except ValueError:
        return None


def _parts(text: str) -> list[str] | None:
    """The strings, words and marks of a text in the notation of JSON, as far as that goes; None: `MOST_UNCLOSED`."""
    parts: list[str] = []
    unclosed = 0
    for token in TOKEN.finditer(text):
        piece = token[0]
        match token.lastgroup:
            case "string":
                parts.append(_requoted(piece))
            case "word":
                parts.append(_PYTHON.get(piece, piece))
            case "mark":
                _put_mark(piece, parts)
            case "unclosed":
                unclosed += 1
                if unclosed > MOST_UNCLOSED:
                    return None
                parts.append(piece)
    return parts


def _put_mark(mark: str, parts: list[str]) -> None:
    if mark in "}]" and parts and parts[-1] == ",":
        parts.pop()
    if mark == ":" and len(parts) > 1 and parts[-2] in ("{", ",") and _BARE_KEY.fullmatch(parts[-1]):
        parts[-1] = f'"{parts[-1]}"'
    parts.append(mark)


def _requoted(string: str) -> str:
    return '"' + _ESCAPE.sub(_escaped, string[1:-1]) + '"'


def _escaped(found: re.Match[str]) -> str:
    escape, raw = found.groups()
    if raw is not None:
        return '\\"' if raw == '"' else f"\\u{ord(raw):04x}"
    if (escape[0] == "u" and len(escape) == 5) or escape in _ESCAPABLE:
        return found[0]
    if escape[0] == "x" and len(escape) == 3:
        return f"\\u00{escape[1:]}"
    return escape if escape == "'" else "\\\\" + escape


def _says_the_same(value: Any, text: str) -> bool:
    """Whether every string stands quoted in the text, and all that stands there is said, in that order."""
    leaves = list(_scalars(value))
    for leaf in leaves:
        if isinstance(leaf, str) and ('":' in leaf or not (f'"{leaf}"' in text or json.dumps(leaf) in text)):
            return False
    return _said(leaf if isinstance(leaf, str) else json.dumps(leaf) for leaf in leaves) == _said([text])


def _said(texts: Iterable[str]) -> str:
    """Letters and digits in order, without the zeros that end a fraction."""
    return _SAYS_NOTHING.sub("", " ".join(_ENDING_ZEROS.sub("", text) for text in texts)).casefold()


def _has_infinite(value: Any) -> bool:
    return any(isinstance(each, float) and isinf(each) for each in _scalars(value))


def _scalars(value: Any) -> Iterator[Any]:
    """Keys and values that are no containers, in order."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield key
            yield from _scalars(member)
    elif isinstance(value, list):
        for item in value:
            yield from _scalars(item)
    else:
        yield value
