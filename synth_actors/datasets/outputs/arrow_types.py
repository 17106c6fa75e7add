"""Which Arrow type holds a column, and how does a value of JSON become one of it?

A column never takes a value that it would change: what does not fit is refused by name.  Only the writing of a moment
is not kept: moments are in UTC, in microseconds, and a moment or a time of day without an offset is taken to be UTC.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, TypeAlias

import pyarrow as pa
import pydantic_core

from synth_actors.datasets.outputs.row_text import KEEPS, RowRefusedError, joined, shown
from synth_actors.datasets.outputs.table_columns import (
    DECIMAL_DIGITS,
    INT64,
    UINT64,
    Array,
    Kind,
    Record,
    Scalar,
    ScalarName,
)

JSON_MARK = {"media_type": "application/json"}
"""Metadata of a field whose texts are JSON."""

Convert: TypeAlias = Callable[[Any], Any]

_TYPES: dict[ScalarName, pa.DataType] = {
    "json": pa.string(),
    "text": pa.string(),
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "unsigned": pa.uint64(),
    "decimal": pa.decimal128(DECIMAL_DIGITS, 0),
    "number": pa.float64(),
    "date": pa.date32(),
    "date-time": pa.timestamp("us", tz="UTC"),
    "time": pa.time64("us"),
}


def arrow_schema(columns: Mapping[str, Kind]) -> pa.Schema:
    """The fields of `columns`, in their order, all nullable."""
    return pa.schema([_field(name, kind) for name, kind in columns.items()])


def _field(name: str, kind: Kind) -> pa.Field:
    return pa.field(name, _type(kind), metadata=JSON_MARK if kind == Scalar("json") else None)


def _type(kind: Kind) -> pa.DataType:
    match kind:
        case Scalar(name):
            return _TYPES[name]
        case Array(item):
            return pa.list_(_type(item))
        case Record(fields):
            return pa.struct([_field(name, each) for name, each in fields])


class Misfit(ValueError):  # noqa: N818  (not an error yet: what it reads is put behind the path of the value)
    """A value is none of its column; the text says why, `path` leads to it from where it was looked at."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.path = path


class Cells:
    """Makes the cells of a row from its JSON object."""

    def __init__(self, columns: Mapping[str, Kind]) -> None:
        self._dropped = 0
        self._of_row = self._record(columns)

    def of(self, row: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        """The cells by column, and whether a key was left out because it is no property of the schema.

        Raises:
            RowRefusedError: a value does not fit its column.
        """
        self._dropped = 0
        try:
            return self._of_row(row), self._dropped > 0
        except Misfit as exc:
            raise RowRefusedError(f"{shown(exc.path)}: {exc}", remedy=KEEPS) from None

    def _record(self, fields: Mapping[str, Kind]) -> Convert:
        converts = {name: self._nullable(kind) for name, kind in fields.items()}

        def convert(value: Any) -> dict[str, Any]:
            if not isinstance(value, dict):
                raise Misfit(f"{shown(value)} is no object")
            cells = {}
            for name, part in value.items():
                if (of_part := converts.get(name)) is None:
                    self._dropped += 1
                    continue
                try:
                    cells[name] = of_part(part)
                except Misfit as exc:
                    raise Misfit(str(exc), joined(name, exc.path) if exc.path else name) from None
            return cells

        return convert

    def _array(self, item: Kind) -> Convert:
        of_item = self._nullable(item)

        def convert(value: Any) -> list[Any]:
            if not isinstance(value, list):
                raise Misfit(f"{shown(value)} is no array")
            cells = []
            for index, part in enumerate(value):
                try:
                    cells.append(of_item(part))
                except Misfit as exc:
                    raise Misfit(str(exc), joined(str(index), exc.path) if exc.path else str(index)) from None
            return cells

        return convert

    def _nullable(self, kind: Kind) -> Convert:
        convert = self._of_kind(kind)
        return lambda value: None if value is None else convert(value)

    def _of_kind(self, kind: Kind) -> Convert:
        match kind:
            case Scalar(name):
                return _CONVERTS[name]
            case Array(item):
                return self._array(item)
            case Record(fields):
                return self._record(dict(fields))


def _json(value: Any) -> str:
    return pydantic_core.to_json(value).decode()


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise Misfit(f"{shown(value)} is no text")


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise Misfit(f"{shown(value)} is neither true nor false")


def _between(low: int, high: int, name: str) -> Callable[[Any], int]:
    def convert(value: Any) -> int:
        whole = int(value) if isinstance(value, float) and value.is_integer() else value  # 3.0 is an integer in JSON
        if not isinstance(whole, int) or isinstance(whole, bool):
            raise Misfit(f"{shown(value)} is no integer")
        if not low <= whole < high:
            raise Misfit(f"{value} does not fit {name} (a minimum and a maximum beyond make the column wider)")
        return whole

    return convert


_in_decimal = _between(-(10**DECIMAL_DIGITS) + 1, 10**DECIMAL_DIGITS, "a decimal of 38 digits")


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise Misfit(f"{shown(value)} is no number")
    try:
        exact = float(value)
    except OverflowError:
        exact = 0.0
    if exact != value:
        raise Misfit(f"{value} is not exactly a 64-bit float")
    return exact


_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_CLOCK = re.compile(r"(\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,6})0*)?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)


def _read(name: str, form: str, parse: Callable[[str], Any]) -> Convert:
    def convert(value: Any) -> Any:
        text = _text(value)
        try:
            return parse(text)
        except (ValueError, OverflowError):  # no such day, or in UTC none that Python has
            raise Misfit(f"{shown(text)} is no {name}, {form}") from None

    return convert


def _date(text: str) -> date:
    return date.fromisoformat(_matched(_DATE, text).group())


def _moment(text: str) -> datetime:
    if text[10:11] not in ("T", "t", " "):
        raise ValueError(text)
    return datetime.combine(_date(text[:10]), _clock(text[11:])).astimezone(UTC)


def _time(text: str) -> time:
    return datetime.combine(date(2000, 1, 1), _clock(text)).astimezone(UTC).time()


def _clock(text: str) -> time:
    """The time of day that `text` says, with its offset, UTC if it has none."""
    clock, fraction, offset = _matched(_CLOCK, text).groups()
    parts = f".{fraction.ljust(6, '0')}" if fraction else ""
    return time.fromisoformat(f"{clock}{parts}{(offset or 'Z').upper()}")


def _matched(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    if found := pattern.fullmatch(text):
        return found
    raise ValueError(text)


def _decimal(value: Any) -> Decimal:
    return Decimal(_in_decimal(value))


_CONVERTS: dict[ScalarName, Convert] = {
    "json": _json,
    "text": _text,
    "boolean": _boolean,
    "integer": _between(-INT64, INT64, "64 bits"),
    "unsigned": _between(0, UINT64, "64 bits without a sign"),
    "decimal": _decimal,
    "number": _number,
    "date": _read("date", "YYYY-MM-DD", _date),
    "date-time": _read("moment to the microsecond", "YYYY-MM-DDTHH:MM:SSZ", _moment),
    "time": _read("time of day to the microsecond", "HH:MM:SS", _time),
}
