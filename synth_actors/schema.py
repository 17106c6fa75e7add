"""What must the output look like, and does it?

One `Output` per kind of schema a request may carry.  Classes are looked at once and remembered; a JSON Schema given as
a dict is remembered by its text, so that a dict changed by its owner is another schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import BaseModel, PydanticUserError, ValidationError

from synth_actors.errors import ConfigError, text_of

if TYPE_CHECKING:
    from synth_actors.types import OutputFormat


class Output:
    """A schema made ready: `tag` names it in keys, `json_schema` is sent, `parse` validates."""

    __slots__ = ("json_schema", "lenient", "parse", "tag")

    def __init__(
        self, tag: bytes, json_schema: dict[str, Any], parse: Callable[[str], Any], *, lenient: bool = False
    ) -> None:
        self.tag = tag
        self.json_schema = json_schema
        self.parse = parse
        self.lenient = lenient  # `parse` makes something of every whole answer, cut and refused ones too


def output_of(schema: type[BaseModel] | Mapping[str, Any] | OutputFormat) -> Output:
    """The `Output` of whatever `Request.output_schema` holds.

    Raises:
        ConfigError: the dict is no valid JSON Schema; the message says where.
    """
    if isinstance(schema, type):
        return _of_model(schema)
    if isinstance(schema, Mapping):
        return _of_text(_as_given(schema))
    try:
        own = schema.json_schema()
        tag = schema.tag.encode()
    except Exception as exc:  # the user's code, asked before anything is sent
        raise ConfigError(f"output_schema: {type(schema).__name__}: {type(exc).__name__}: {text_of(exc)}") from exc
    lenient = bool(getattr(schema, "lenient", False))
    return Output(b"format:" + tag + b"\0" + canonical(own), own, schema.parse, lenient=lenient)


def canonical(document: Mapping[str, Any]) -> bytes:
    """JSON with sorted keys: equal for equal documents.

    Raises:
        ConfigError: the document holds something that JSON cannot.
    """
    return _dumped(document, orjson.OPT_SORT_KEYS)


def _as_given(document: Mapping[str, Any]) -> bytes:
    """JSON in the order of its owner: the order of the properties is the order in which a model writes them."""
    return _dumped(document, 0)


def _dumped(document: Mapping[str, Any], option: int) -> bytes:
    try:
        return orjson.dumps(dict(document), option=option)
    except (TypeError, ValueError) as exc:
        raise ConfigError(f"output_schema: cannot be written as JSON: {exc}") from exc


@lru_cache(maxsize=256)
def _of_model(model: type[BaseModel]) -> Output:
    try:
        json_schema = model.model_json_schema()
    except PydanticUserError as exc:  # a field that JSON cannot hold, a type that is not defined yet
        reason = str(exc).splitlines()[0]
        raise ConfigError(f"output_schema: {model.__name__} has no JSON Schema: {reason}; change that field") from None

    def parse(text: str) -> BaseModel:
        try:
            return model.model_validate_json(text)
        except ValidationError as exc:
            first = exc.errors(include_url=False, include_input=False, include_context=False)[0]
            path = ".".join(str(part) for part in first["loc"]) or "the whole"
            raise ValueError(f"{path}: {first['msg']}") from None

    tag = f"model:{model.__module__}.{model.__qualname__}".encode()
    return Output(tag + b"\0" + canonical(json_schema), json_schema, parse)


@lru_cache(maxsize=256)
def _of_text(text: bytes) -> Output:
    document: dict[str, Any] = orjson.loads(text)
    errors = validator_of(text)

    def parse(answer: str) -> Any:
        try:
            value = orjson.loads(answer)
        except orjson.JSONDecodeError as exc:
            raise ValueError(f"no JSON: {exc}") from None
        if (problem := errors(value)) is not None:
            raise ValueError(problem)
        return value

    return Output(b"schema:" + canonical(document), document, parse)


@lru_cache(maxsize=256)
def validator_of(text: bytes) -> Callable[[Any], str | None]:
    """A function that says what is wrong with a value, None when nothing is; `text` is a JSON Schema.

    Raises:
        ConfigError: `text` is no valid JSON Schema.
    """
    import jsonschema_rs  # late: only who validates against a dict pays for it

    document = orjson.loads(text)
    try:
        validator = jsonschema_rs.Draft202012Validator(document, validate_formats=True)
    except (jsonschema_rs.ValidationError, ValueError) as exc:
        path = "".join(f"/{part}" for part in getattr(exc, "instance_path", ()))
        where = f" at #{path}" if path else ""
        reason = f"{str(exc).splitlines()[0]}{_other_draft(document)}"
        raise ConfigError(f"output_schema: not a valid JSON Schema{where}: {reason}") from None

    def problem(value: Any) -> str | None:
        if validator.is_valid(value):
            return None
        first = next(validator.iter_errors(value))
        path = ".".join(str(part) for part in first.instance_path) or "the whole"
        return f"{path}: {first.message}"

    return problem


def _other_draft(document: Any) -> str:
    """What to add to an error when the schema was written for another draft than it is read by."""
    named = document.get("$schema") if isinstance(document, dict) else None
    if not isinstance(named, str) or "2020-12" in named:
        return ""
    return f"; it is read by draft 2020-12, $schema names {named!r}"
