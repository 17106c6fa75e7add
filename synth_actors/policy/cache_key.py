"""Are these two requests the same one?

The key is a 16-byte BLAKE2b of the whole request: every field except those in `NOT_IN_KEY`, so that a field added to
`Request`, or to a subclass of it, changes the key by itself, and forgetting it is impossible rather than unlikely.

Why no text can move across a field border: what is hashed can be read back, from left to right, in one way only.

1. A JSON array of a fixed number of values in a fixed order.  A JSON text says by itself where it ends, at the bracket
   that closes its first one: brackets and commas inside strings stand between quotes, and quotes inside strings are
   escaped.  So it needs no length before it.
2. For a subclass of `Request` with fields of its own a JSON object of these; nothing else here begins with a brace.
3. For a request with a schema its tag, which begins with "model:", "schema:" or "format:", up to the end.

What orjson refuses is written by `json` behind a zero byte, with which neither JSON nor a tag begins.  Which of the two
writes depends on the values alone, so that equal requests are written alike.

Values, not spellings, are compared: a default given explicitly is the default, 1 and 1.0 are one number (pydantic makes
them one in the fields, `_plain` in `extra` and in JSON Schemas), `true` is no number, and None is neither "" nor an
empty tuple.  Text is never normalised, but in `normalised_key`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from math import isfinite
from operator import itemgetter
from typing import Any, Final

import orjson

from synth_actors.errors import ConfigError
from synth_actors.policy.prompt_format import normal_form
from synth_actors.schema import output_of
from synth_actors.types import Message, Request

NOT_IN_KEY: Final = frozenset({"timeout_s", "cache"})
"""The fields that say how to ask, not what for."""

_APART: Final = frozenset({"output_schema"})  # keyed by its tag, behind the document
_IN_DOCUMENT: Final = tuple(name for name in Request.model_fields if name not in NOT_IN_KEY | _APART)
KEYED: Final = frozenset(_IN_DOCUMENT) | _APART
"""The fields that change the key: all the others."""

_BY_HAND: Final = b"\0"  # no JSON begins so: what orjson wrote and what it refused have no document in common
_NORMALISED: Final = b"normalised"  # BLAKE2b's personalisation: another hash function, so no key of one is of the other

_REMEDY: Final = "give str, finite numbers, bool, None, and lists and dicts of them"

_values_of = itemgetter(*_IN_DOCUMENT)
_PROMPT, _MESSAGES, _SYSTEM, _TEMPERATURE, _EXTRA = map(
    _IN_DOCUMENT.index, ("prompt", "messages", "system", "temperature", "extra")
)

_slot: Any = Request.__dict__["_key"]  # the slot itself: pydantic's own attribute lookup takes longer to find it empty
_remembered = _slot.__get__
_remember = _slot.__set__
_second_slot: Any = Request.__dict__["_normalised_key"]


def key_of(request: Request) -> bytes:
    """`cache_key(request)`, computed once for a request whose parts cannot change.

    A dict in `extra` or `output_schema` belongs to its owner and may change, so those requests are read every time, and
    so are those of a subclass.

    Raises:
        ConfigError: as `cache_key`.
    """
    try:
        key: bytes = _remembered(request)
    except AttributeError:
        key = cache_key(request)
        if _is_constant(request):
            _remember(request, key)
        return key
    return cache_key(request) if request.extra else key


def normalised_key_of(request: Request) -> bytes:
    """`normalised_key(request)`, computed once where `key_of` does so.

    Raises:
        ConfigError: as `cache_key`.
    """
    try:
        key: bytes = _second_slot.__get__(request)
    except AttributeError:
        key = normalised_key(request)
        if _is_constant(request):
            _second_slot.__set__(request, key)
        return key
    return normalised_key(request) if request.extra else key


def cache_key(request: Request) -> bytes:
    """16 bytes that are equal for equal requests and differ where any field outside `NOT_IN_KEY` does.

    Raises:
        ConfigError: `extra`, `output_schema` or a field of a subclass holds something that JSON cannot; the message
            says where.
    """
    document = _document(request, _values_of(request.__dict__))
    return blake2b(document, digest_size=16).digest()


def normalised_key(request: Request) -> bytes:
    """16 bytes as `cache_key` gives them, where prompt, system and messages count by their `normal_form`.

    No request has the same normalised key and plain key: an answer that was made for one formatting is not given to
    who insists on another, although both keep their answers in one file.

    Raises:
        ConfigError: as `cache_key`.
    """
    document = _document(request, _without_formatting(_values_of(request.__dict__)))
    return blake2b(document, digest_size=16, person=_NORMALISED).digest()


def digest_of(document: Mapping[str, Any], where: str) -> str:
    """32 hexadecimal digits, equal for what JSON calls equal; `where` names the document in errors.

    Raises:
        ConfigError: the document holds something that JSON cannot; the message says where.
    """
    return blake2b(_written(_plain_object(document, where), where), digest_size=16).hexdigest()


def _document(request: Request, values: tuple[Any, ...]) -> bytes:
    """What is hashed; `values` are those of the array."""
    fields = request.__dict__
    temperature = fields["temperature"]
    if fields["extra"] or temperature == 0.0 or (temperature is not None and type(temperature) is not float):
        values = _with_plain_numbers(values)
    document = _written(values, "Request")
    if type(request) is not Request:
        document += _added_fields(request)
    if fields["output_schema"] is not None:
        document += _plain_tag(output_of(fields["output_schema"]).tag)
    return document


def _is_constant(request: Request) -> bool:
    schema = request.output_schema
    return not request.extra and (schema is None or isinstance(schema, type)) and type(request) is Request


def _fields_of(value: object) -> dict[str, Any]:
    if isinstance(value, Message):
        return value.__dict__
    raise TypeError(f"{type(value).__name__} is not JSON")


def _without_formatting(values: tuple[Any, ...]) -> tuple[Any, ...]:
    changed = list(values)
    for index in (_PROMPT, _SYSTEM):
        if changed[index] is not None:
            changed[index] = normal_form(changed[index])
    if (messages := changed[_MESSAGES]) is not None:
        changed[_MESSAGES] = [{**message.__dict__, "content": normal_form(message.content)} for message in messages]
    return tuple(changed)


def _with_plain_numbers(values: tuple[Any, ...]) -> tuple[Any, ...]:
    changed = list(values)
    if changed[_TEMPERATURE] is not None:
        changed[_TEMPERATURE] += 0.0  # -0.0 equals 0.0 but is written otherwise; `model_copy` may have put in an int
    changed[_EXTRA] = _plain_object(changed[_EXTRA], "Request.extra")
    return tuple(changed)


def _added_fields(request: Request) -> bytes:
    """The fields that a subclass adds; b"" when there are none."""
    kind = type(request)
    added = {name: request.__dict__[name] for name in kind.model_fields if name not in Request.model_fields}
    return _written(_plain_object(added, kind.__name__), kind.__name__) if added else b""


@lru_cache(maxsize=256)
def _plain_tag(tag: bytes) -> bytes:
    """A schema's tag with the numbers of its JSON, which stands at its end, written as everywhere else."""
    head, border, text = tag.rpartition(b"\0")  # JSON has no zero byte
    if not border:
        head, border, text = tag.partition(b":")
    return head + border + _written(_plain_object(orjson.loads(text), "output_schema"), "output_schema")


def _plain_object(document: Mapping[str, Any], where: str) -> dict[str, Any]:
    try:
        return {_name(name, where): _plain(value, f"{where}.{name}") for name, value in document.items()}
    except RecursionError:
        raise _too_deep(where) from None


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


def _written(document: Any, where: str) -> bytes:
    try:
        return orjson.dumps(document, _fields_of, orjson.OPT_SORT_KEYS)
    except TypeError:
        return _written_by_hand(document, where)


def _written_by_hand(document: Any, where: str) -> bytes:
    """The document where orjson refuses it: integers beyond 64 bits, lone surrogates, deep nesting.

    Not escaped to ASCII: two lone surrogates in a row would be spelled like the one character that such a pair encodes.
    """
    try:
        text = json.dumps(document, default=_fields_of, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except RecursionError:
        raise _too_deep("Request.extra" if where == "Request" else where) from None
    except ValueError as exc:  # the interpreter writes no integer of more than 4300 digits
        raise ConfigError(f"{where}: cannot be written as JSON: {exc}; give smaller numbers") from None
    return _BY_HAND + text.encode("utf-8", "surrogatepass")


def _too_deep(where: str) -> ConfigError:
    return ConfigError(f"{where}: nested too deep, or it contains itself; give flatter values")
