"""Are these two requests the same one?

The key is a 16-byte BLAKE2b of the whole request: every field except those in `NOT_IN_KEY`, so that a field added to
`Request` changes the key by itself, and forgetting it is impossible rather than unlikely.

Why no text can move across a field border: the hashed document is one JSON array with a fixed number of elements in a
fixed order.  Strings in it are quoted and escaped, so the document reads back to exactly one list of values; no JSON
array is a proper prefix of another, so the schema's tag that follows it cannot be mistaken for a part of it.

Values, not spellings, are compared: a default given explicitly is the default, 1 and 1.0 are one number (pydantic makes
them one in the fields, `_plain` in `extra`), `true` is no number, and None is neither "" nor an empty tuple.  Text is
never normalised.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from math import isfinite
from operator import itemgetter
from typing import Any, Final

import orjson

from synth_actors.errors import ConfigError
from synth_actors.schema import output_of
from synth_actors.types import Message, Request

NOT_IN_KEY: Final = frozenset({"timeout_s", "cache"})
"""The fields that say how to ask, not what for."""

_APART: Final = frozenset({"output_schema"})  # keyed by its tag, behind the document
_IN_DOCUMENT: Final = tuple(name for name in Request.model_fields if name not in NOT_IN_KEY | _APART)
KEYED: Final = frozenset(_IN_DOCUMENT) | _APART
"""The fields that change the key: all the others."""

_BY_HAND: Final = b"\0"  # no JSON begins so: what orjson wrote and what it refused have no document in common

_REMEDY: Final = "give str, finite numbers, bool, None, and lists and dicts of them"

_values_of = itemgetter(*_IN_DOCUMENT)
_TEMPERATURE: Final = _IN_DOCUMENT.index("temperature")
_EXTRA: Final = _IN_DOCUMENT.index("extra")

_slot: Any = Request.__dict__["_key"]  # the slot itself: pydantic's own attribute lookup takes longer to find it empty
_remembered = _slot.__get__
_remember = _slot.__set__


def key_of(request: Request) -> bytes:
    """`cache_key(request)`, computed once for a request whose parts cannot change.

    A dict in `extra` or `output_schema` belongs to its owner and may change, so those requests are read every time.

    Raises:
        ConfigError: as `cache_key`.
    """
    try:
        key: bytes = _remembered(request)
    except AttributeError:
        return _key_worth_remembering(request)
    return cache_key(request) if request.extra else key


def cache_key(request: Request) -> bytes:
    """16 bytes that are equal for equal requests and differ where any field outside `NOT_IN_KEY` does.

    Raises:
        ConfigError: `extra` or `output_schema` holds something that JSON cannot; the message says where.
    """
    fields = request.__dict__
    values: tuple[Any, ...] = _values_of(fields)
    if fields["extra"] or fields["temperature"] == 0.0:
        values = _normalised(values)
    try:
        document = orjson.dumps(values, _fields_of, orjson.OPT_SORT_KEYS)
    except TypeError:
        document = _written_by_hand(values)
    if fields["output_schema"] is not None:
        document += output_of(fields["output_schema"]).tag
    return blake2b(document, digest_size=16).digest()


def _key_worth_remembering(request: Request) -> bytes:
    key = cache_key(request)
    schema = request.output_schema
    if not request.extra and (schema is None or isinstance(schema, type)):
        _remember(request, key)
    return key


def _fields_of(value: object) -> dict[str, Any]:
    if isinstance(value, Message):
        return value.__dict__
    raise TypeError(f"{type(value).__name__} is not JSON")


def _normalised(values: tuple[Any, ...]) -> tuple[Any, ...]:
    changed = list(values)
    if changed[_TEMPERATURE] is not None:
        changed[_TEMPERATURE] += 0.0  # -0.0 equals 0.0 but is written otherwise
    extra: Mapping[str, Any] = changed[_EXTRA]
    try:
        changed[_EXTRA] = {str(name): _plain(value, f"Request.extra.{name}") for name, value in extra.items()}
    except RecursionError:
        raise ConfigError("Request.extra: nested too deep, or it contains itself; give flatter values") from None
    return tuple(changed)


def _plain(value: Any, where: str) -> Any:
    """`value` in the types of JSON alone, equal for values that JSON calls equal."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and isfinite(value):
        return int(value) if value.is_integer() else float(value)
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {_name(name, where): _plain(item, f"{where}.{name}") for name, item in value.items()}
    raise ConfigError(f"{where}: {_shown(value)} cannot be written as JSON; {_REMEDY}")


def _name(name: object, where: str) -> str:
    if isinstance(name, str):
        return str.__str__(name)
    raise ConfigError(f"{where}: the key {_shown(name)} cannot be written as JSON; keys are str")


def _shown(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


def _written_by_hand(values: tuple[Any, ...]) -> bytes:
    """The document where orjson refuses it: integers beyond 64 bits, lone surrogates, deep nesting.

    Not escaped to ASCII: two lone surrogates in a row would be spelled like the one character that such a pair encodes.
    """
    try:
        text = json.dumps(values, default=_fields_of, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except RecursionError:
        raise ConfigError("Request.extra: nested too deep, or it contains itself; give flatter values") from None
    except ValueError as exc:  # the interpreter writes no integer of more than 4300 digits
        raise ConfigError(f"Request: cannot be written as JSON: {exc}; give smaller numbers") from None
    return _BY_HAND + text.encode("utf-8", "surrogatepass")
