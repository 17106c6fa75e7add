"""Which values stand in a file of the user's?"""

from __future__ import annotations

import csv
import io
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from synth_actors.errors import ConfigError

MOST_BYTES = 64 * 2**20
MOST_VALUES = 1_000_000
"""A file is read once and kept in memory as a list, so it has a bound: 64 MiB and a million values."""


@dataclass(frozen=True, slots=True)
class ValueFile:
    """What a file holds: `texts` says whether the values are texts since the format knows nothing else."""

    values: list[Any]
    texts: bool
    sha256: str


def read_values(path: Path, field: str | None, *, whole: bool, where: str) -> ValueFile:
    """The values in `path`: the lines of a .txt file, the JSON values of a .jsonl file, a column of a .csv file.

    `field` names the column, or the key in the objects of a .jsonl file.  Without it a .csv file gives its first
    column, or, if `whole`, its rows as objects.  Blank lines hold no value.

    Raises:
        ConfigError: the file cannot be read, is too large or holds no values; the message begins with `where`.
    """
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise ConfigError(f"{where}: {path.name!r} is not valid: give a .txt, .jsonl or .csv file")
    if suffix == ".txt" and field is not None:
        raise ConfigError(f"{where}: field = {field!r} does not go with a .txt file: it has no fields; leave it out")
    content = _content(path, where)
    values: list[Any] = []
    try:
        for value in _READERS[suffix](content.removeprefix(BOM_UTF8).decode(), field, whole):
            values.append(value)
            if len(values) > MOST_VALUES:
                raise ValueError(f"it holds more than {MOST_VALUES:,} values; give fewer")
    except (ValueError, csv.Error) as exc:
        raise ConfigError(f"{where}: {path.name}: {_reason(exc)}") from None
    if not values:
        raise ConfigError(f"{where}: {path.name}: it holds no value; give at least one")
    return ValueFile(values, suffix != ".jsonl", sha256(content).hexdigest())


def _content(path: Path, where: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as exc:
        raise ConfigError(f"{where}: {path} cannot be read ({exc.strerror}); give a file that is there") from None
    if len(content) > MOST_BYTES:
        raise ConfigError(f"{where}: {path.name}: it has more than {MOST_BYTES // 2**20} MiB; give a smaller one")
    return content


def _reason(exc: Exception) -> str:
    return "it is no UTF-8 text; save it as UTF-8" if isinstance(exc, UnicodeDecodeError) else str(exc)


def _lines(text: str, _field: str | None, _whole: bool) -> Iterator[Any]:
    return (line for raw in text.split("\n") if (line := raw.strip()))


def _json_lines(text: str, field: str | None, _whole: bool) -> Iterator[Any]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as exc:
            raise ValueError(f"line {number} is no JSON: {exc}") from None
        if field is None:
            yield value
        elif isinstance(value, dict) and field in value:
            yield value[field]
        else:
            raise ValueError(f"line {number} has no field {field!r}; {_known(value)}")


def _known(value: Any) -> str:
    return f"it has {', '.join(value)}" if isinstance(value, dict) and value else "give objects that have it"


def _cells(text: str, field: str | None, whole: bool) -> Iterator[Any]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    head = next(rows, [])
    if field is not None and field not in head:
        raise ValueError(f"there is no column {field!r}; its columns are {', '.join(head)}")
    index = 0 if field is None else head.index(field)
    for row in rows:
        if not row:
            continue
        if len(row) != len(head):
            raise ValueError(f"line {rows.line_num} has {len(row)} cells, the first one {len(head)}; correct it")
        yield dict(zip(head, row, strict=True)) if whole and field is None else row[index]


_READERS: dict[str, Callable[[str, str | None, bool], Iterator[Any]]] = {
    ".txt": _lines,
    ".jsonl": _json_lines,
    ".csv": _cells,
}
