"""What is one row, and is this one valid?

A schema is a pydantic model class or a JSON Schema; both are asked for in the same way, `{"rows": [...]}`, and both
check one row at a time, so that a bad row costs no other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any, ClassVar

import orjson
import pydantic_core
from pydantic import BaseModel, PydanticUserError, ValidationError

from synth_actors.datasets.answers.salvage import Found, rows_in
from synth_actors.datasets.references import answer_schema
from synth_actors.errors import ConfigError
from synth_actors.schema import canonical, validator_of


@dataclass(slots=True)
class Valid:
    """A row as the reader gets it."""

    row: Any


@dataclass(slots=True)
class Invalid:
    """Why a value is no row."""

    problem: str


class RowSchema:
    """A schema made ready: `json_schema` describes one row, `name` is what messages call it."""

    def __init__(self, schema: type[BaseModel] | Mapping[str, Any]) -> None:
        self.model = schema if isinstance(schema, type) else None
        self.json_schema = _json_schema_of(schema)
        answer_schema(self.json_schema, 1)  # refuses references to other documents before a validator would follow them
        self._canonical = canonical(self.json_schema)
        self._problem = _nothing if self.model else validator_of(self._canonical)
        self._formats: dict[int, RowsFormat] = {}

    def rows(self, count: int) -> RowsFormat:
        """The output format of an answer with `count` rows."""
        if count not in self._formats:
            tag = "rows:" + blake2b(self._canonical, digest_size=16).hexdigest()
            self._formats[count] = RowsFormat(tag, answer_schema(self.json_schema, count))
        return self._formats[count]

    def check(self, value: Any) -> Valid | Invalid:
        """The verdict on one value of an answer."""
        if self.model is None:
            problem = self._problem(value)
            return Valid(value) if problem is None else Invalid(problem)
        try:  # JSON rules are not Python rules: a date is a string there, a tuple an array, also in strict models
            return Valid(self.model.__pydantic_validator__.validate_json(pydantic_core.to_json(value)))
        except ValidationError as exc:
            first = exc.errors(include_url=False, include_input=False, include_context=False)[0]
            path = ".".join(str(part) for part in first["loc"]) or "the whole"
            return Invalid(f"{path}: {first['msg']}")


@dataclass(frozen=True, slots=True)
class RowsFormat:
    """An answer with rows; a `synth_actors.types.OutputFormat`.  The rows themselves are not looked at here."""

    tag: str
    schema: dict[str, Any]
    lenient: ClassVar[bool] = True  # also of an answer that was cut, the rows that stand whole are worth their money

    def json_schema(self) -> dict[str, Any]:
        """The schema of the whole answer."""
        return self.schema

    def parse(self, text: str) -> Found:
        """The raw values of the rows, as far as there are any."""
        return rows_in(text)


def row_json(row: Any) -> bytes:
    """One row as compact JSON, a model by its aliases."""
    if isinstance(row, BaseModel):
        return row.__pydantic_serializer__.to_json(row, by_alias=True)
    return pydantic_core.to_json(row)


def plain_value(row: Any) -> Any:
    """One row as a JSON value."""
    return pydantic_core.from_json(row_json(row)) if isinstance(row, BaseModel) else row


def identity_of(row: Any) -> bytes:
    """Equal for rows that are exactly equal, whatever the order of their keys."""
    if isinstance(row, BaseModel):
        return row_json(row)
    try:
        return orjson.dumps(row, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # an integer beyond 64 bits
        return json.dumps(row, sort_keys=True).encode()


def _nothing(_: Any) -> None:
    """A model checks itself."""


def _json_schema_of(schema: Any) -> dict[str, Any]:
    if isinstance(schema, Mapping):
        return dict(schema)
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return _of_model(schema)
    raise ConfigError(f"schema: {schema!r} is not valid: give a pydantic model class or a JSON Schema as a dict")


@lru_cache(maxsize=64)
def _of_model(model: type[BaseModel]) -> dict[str, Any]:
    try:
        return model.model_json_schema()
    except PydanticUserError as exc:
        raise ConfigError(f"schema: {model.__name__} has no JSON Schema: {str(exc).splitlines()[0]}") from None
