"""How does a row become bytes?

JSON Lines hold everything that JSON holds.  CSV has no types: texts stand as they are, and what a cell is read as is
the reader's guess.  Both hold any text but one with a lone surrogate, which UTF-8 does not have.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import pydantic_core
from pydantic import BaseModel

from synth_actors.datasets.outputs.row_text import KEEPS, RowRefusedError, text_of_row
from synth_actors.datasets.outputs.table_columns import columns_of
from synth_actors.datasets.row_schema import RowSchema
from synth_actors.errors import ConfigError


class Encoder(Protocol):
    """How rows become a file; `left_out` counts rows of which something has no place in it."""

    left_out: int

    def head(self) -> bytes:
        """A file begins: what stands before the first row."""
        ...

    def row(self, row: Any) -> bytes:
        """One row is added: what is whole by now, which may be nothing.

        Raises:
            RowRefusedError: the file cannot hold it; nothing was added.
        """
        ...

    def tail(self) -> bytes:
        """The file ends: what was held back, and what stands after the last row."""
        ...

    def problem(self, row: Any) -> str | None:
        """Why `row` would refuse this one, None when it would not.  Nothing is added."""
        ...


def columns_needed(schema: RowSchema, suffix: str) -> tuple[str, ...]:
    """The names of the columns.

    Raises:
        ConfigError: the schema names no properties.
    """
    if columns := columns_of(schema):
        return tuple(columns)
    raise ConfigError(f"-o: {suffix} needs a schema with properties, which become the columns; use .jsonl")


def value_of_row(row: Any) -> tuple[dict[str, Any], int]:
    """A row for columns as a JSON object, and the bytes of its JSON.

    Raises:
        RowRefusedError: it is no object, or holds what JSON cannot carry.
    """
    text = text_of_row(row)
    value = pydantic_core.from_json(text) if isinstance(row, BaseModel) else row
    if not isinstance(value, dict):
        raise RowRefusedError("the whole: is no object, so that it has no columns", remedy=KEEPS)
    return value, len(text)


class JsonLines:
    """One JSON value a line."""

    left_out = 0

    def head(self) -> bytes:
        """Nothing."""
        return b""

    def row(self, row: Any) -> bytes:
        """The row as compact JSON."""
        return text_of_row(row) + b"\n"

    def tail(self) -> bytes:
        """Nothing."""
        return b""

    def problem(self, row: Any) -> str | None:
        """Why the row is no JSON."""
        try:
            text_of_row(row)
        except RowRefusedError as exc:
            return exc.problem
        return None


class Csv:
    """RFC 4180 with a header and bare newlines.

    Text stands as it is, numbers and true and false as in JSON, a nested value as JSON in one cell, null as an empty
    cell and the empty text as `""`.  Python and polars tell these two apart; pandas and DuckDB read both as missing.
    A lone null of a table with one column is `""` too, since most readers skip an empty line.  What pandas reads as
    missing by default (`NA`, `null`, `None`) is not marked.  A key that is no property of the schema has no column; it
    is left out and counted.

    Raises:
        ConfigError: the schema names no properties.
    """

    def __init__(self, schema: RowSchema) -> None:
        self.columns = columns_needed(schema, ".csv")
        self.left_out = 0
        self._known = frozenset(self.columns)

    def head(self) -> bytes:
        """The names of the columns."""
        return _line(self.columns)

    def row(self, row: Any) -> bytes:
        """The row's values in the order of the columns."""
        value, _ = value_of_row(row)
        self.left_out += not value.keys() <= self._known
        return _line([value.get(column) for column in self.columns])

    def tail(self) -> bytes:
        """Nothing."""
        return b""

    def problem(self, row: Any) -> str | None:
        """Why the row is no line."""
        try:
            value_of_row(row)
        except RowRefusedError as exc:
            return exc.problem
        return None


# A quote mark, a separator or a space that another dialect gives a meaning is quoted too, for readers that guess one.
_QUOTED = frozenset(",\"\r\n';|\t#")


def _line(values: Iterable[Any]) -> bytes:
    return (",".join(map(_cell, values)) or '""').encode() + b"\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else pydantic_core.to_json(value).decode()
    plain = text and _QUOTED.isdisjoint(text) and text == text.strip(" \ufeff")  # nor a line of spaces, nor a BOM
    return text if plain else '"' + text.replace('"', '""') + '"'
