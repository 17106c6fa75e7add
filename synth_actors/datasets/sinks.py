"""How do rows become a file that is either whole or not there?

Rows are written to FILE.partial beside FILE, which gets its name only when all of them are there.  What was paid is not
lost: an incomplete run leaves its whole rows in FILE.partial, and an earlier FILE.partial is emptied only when the
first new row is about to be written, by a run that was allowed to overwrite it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import orjson
import pydantic_core
from pydantic import BaseModel

from synth_actors.datasets.references import resolve
from synth_actors.datasets.row_schema import RowSchema, row_json
from synth_actors.errors import ConfigError

SUFFIXES = (".jsonl", ".csv")
BUFFER_BYTES = 64 * 1024


class Encoder(Protocol):
    """How one row is written; `left_out` counts rows of which something could not be."""

    left_out: int

    def head(self) -> bytes:
        """What stands before the first row."""
        ...

    def row(self, row: Any) -> bytes:
        """One row with its line end."""
        ...


class JsonLines:
    """One JSON value a line."""

    left_out = 0

    def head(self) -> bytes:
        """Nothing."""
        return b""

    def row(self, row: Any) -> bytes:
        """The row as compact JSON."""
        return row_json(row) + b"\n"


class Csv:
    """RFC 4180 with a header and bare newlines.

    Text stands as it is, numbers and true and false as in JSON, a nested value as JSON in one cell, null as an empty
    cell and the empty text as `""`.  A key that is no property of the schema has no column; it is left out and counted.

    Raises:
        ConfigError: the schema names no properties.
    """

    def __init__(self, schema: RowSchema) -> None:
        self.columns = _columns(schema)
        self.left_out = 0
        if not self.columns:
            raise ConfigError("-o: .csv needs a schema with properties, which become the columns; use .jsonl")

    def head(self) -> bytes:
        """The names of the columns."""
        return self._line(self.columns)

    def row(self, row: Any) -> bytes:
        """The row's values in the order of the columns."""
        value = orjson.loads(row_json(row)) if isinstance(row, BaseModel) else row
        if not isinstance(value, dict):
            value = {}
            self.left_out += 1
        elif not value.keys() <= set(self.columns):
            self.left_out += 1
        return self._line([value.get(column) for column in self.columns])

    def _line(self, values: Any) -> bytes:
        return (",".join(map(_cell, values)) + "\n").encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else pydantic_core.to_json(value).decode()
    quoted = not text or any(mark in text for mark in ',"\r\n')
    return '"' + text.replace('"', '""') + '"' if quoted else text


def _columns(schema: RowSchema) -> list[str]:
    """The properties of the schema, those of alternatives included, in the order in which they are named."""
    root = schema.json_schema if schema.model is None else schema.model.model_json_schema(mode="serialization")
    return list(dict.fromkeys(_properties(root, root, depth=4)))


def _properties(part: Any, root: Mapping[str, Any], depth: int) -> list[str]:
    schema = resolve(part, root)
    own = schema.get("properties")
    found = list(own) if isinstance(own, Mapping) else []
    for keyword in ("allOf", "anyOf", "oneOf"):
        for each in schema.get(keyword, ()) if depth else ():
            found += _properties(each, root, depth - 1)
    return found


class Destination(Protocol):
    """Where the bytes go."""

    def write(self, data: bytes) -> None:
        """Take `data`, which ends with a whole row."""
        ...

    def flush(self) -> None:
        """Hand over to the system what is held back."""
        ...

    def finish(self) -> None:
        """All rows are there."""
        ...

    def keep(self) -> Path | None:
        """Rows are missing; the path under which the others stand, None when there is none."""
        ...


class StandardOutput:
    """The rows on stdout.

    `flush` may block as long as nobody reads, so it may run in a thread; one that was given up leaves the output alone.
    """

    def __init__(self) -> None:
        self._file = sys.stdout.fileno()
        self._held = bytearray()
        self._writing = False

    def write(self, data: bytes) -> None:
        """Hold `data` until `flush`."""
        self._held += data

    def flush(self) -> None:
        """Write what is held.  Raises `BrokenPipeError` when nobody will read it."""
        if self._writing:
            return
        data = memoryview(bytes(self._held))
        self._held.clear()
        self._writing = True
        while data:
            data = data[os.write(self._file, data) :]
        self._writing = False

    def finish(self) -> None:
        """Write what is held."""
        self.flush()

    def keep(self) -> Path | None:
        """Write what is held; it has no path."""
        self.flush()
        return None


class PartialFile:
    """FILE.partial on its way to FILE.

    Raises:
        ConfigError: FILE cannot be written there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve() if path.is_symlink() else path
        self.partial = partial_of(self.path)
        self._earlier = self.partial.exists()
        self._wrote = False
        self._held = bytearray()
        self._size = 0  # bytes of whole rows in the file
        try:
            self._file = os.open(self.partial, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as exc:
            raise ConfigError(f"-o {path}: cannot be written ({exc.strerror}); choose a folder that can") from None
        if not _locked(self._file):
            os.close(self._file)
            raise ConfigError(f"-o {path}: another run writes {self.partial} now; wait for it, or choose another name")

    def write(self, data: bytes) -> None:
        """Hold `data` until `flush`."""
        self._held += data

    def flush(self) -> None:
        """Hand the whole rows to the system: they survive the end of this process, however it ends."""
        if not self._held:
            return
        if not self._wrote:
            os.ftruncate(self._file, 0)
            self._wrote = True
        try:
            self._write_all(memoryview(bytes(self._held)))
        except OSError:
            os.ftruncate(self._file, self._size)  # a full disk may have taken half a row
            os.lseek(self._file, self._size, os.SEEK_SET)
            raise
        self._size += len(self._held)
        self._held.clear()

    def _write_all(self, view: memoryview) -> None:
        while view:
            view = view[os.write(self._file, view) :]

    def finish(self) -> None:
        """Make it FILE, in one step, after the disk has it."""
        self._close()
        os.replace(self.partial, self.path)

    def keep(self) -> Path | None:
        """Leave FILE.partial with the rows so far; without a row, leave everything as it was before."""
        self._close()
        if self._wrote:
            return self.partial
        if not self._earlier:
            self.partial.unlink()
        return None

    def _close(self) -> None:
        try:
            self.flush()
            os.fsync(self._file)
        finally:
            os.close(self._file)


def _locked(file: int) -> bool:
    """Take the file for this process, until it is closed; False when another one has it."""
    if os.name != "posix":
        return True  # there another process could not rename or replace a file that is open
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def partial_of(path: Path) -> Path:
    """Where the rows of `path` stand until all are there."""
    return path.with_name(path.name + ".partial")


def _check_place(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"-o {path}: {path.suffix!r} is no format; end it in .jsonl or .csv, or give - for stdout")
    if path.is_dir():
        raise ConfigError(f"-o {path}: is a folder; name a file in it")
    if not path.parent.is_dir():
        raise ConfigError(f"-o {path}: there is no folder {path.parent}; make it, or choose another")


def _check_absent(path: Path) -> None:
    if path.exists():
        raise ConfigError(f"-o {path}: exists; choose another name, or add --overwrite to replace it in the end")
    if (partial := partial_of(path)).exists():
        raise ConfigError(
            f"-o {path}: {partial} holds rows of an earlier run; move it, or add --overwrite to replace it"
        )


class Sink:
    """Encoded rows on their way to a destination."""

    def __init__(self, encoder: Encoder, destination: Destination) -> None:
        self.encoder = encoder
        self.rows = 0
        self.held_bytes = 0
        self._destination = destination

    @property
    def full(self) -> bool:
        """Whether so much is held back that it should be flushed."""
        return self.held_bytes >= BUFFER_BYTES

    def write(self, row: Any) -> None:
        """One row."""
        data = self.encoder.row(row)
        self._destination.write(data if self.rows else self.encoder.head() + data)
        self.rows += 1
        self.held_bytes += len(data)

    def flush(self) -> None:
        """Hand over what is held back."""
        self.held_bytes = 0
        self._destination.flush()

    def finish(self) -> None:
        """All rows are there: the file appears."""
        self._destination.finish()

    def keep(self) -> Path | None:
        """Rows are missing: where the others stand, None when nowhere."""
        return self._destination.keep()


def open_sink(target: str, schema: RowSchema, *, overwrite: bool) -> Sink:
    """A sink for `target`: a path that ends in .jsonl or .csv, or `-` for JSON lines on stdout.

    Raises:
        ConfigError: `target` cannot be written; nothing was left behind.
    """
    encoder = check_target(target, schema, overwrite=overwrite)
    if target == "-":
        return Sink(encoder, StandardOutput())
    return Sink(encoder, PartialFile(Path(target)))


def check_target(target: str, schema: RowSchema, *, overwrite: bool) -> Encoder:
    """How rows are written to `target`, which is not touched.

    Raises:
        ConfigError: `target` has no known format or no folder, or it or its .partial exists and `overwrite` is False.
    """
    if target == "-":
        return JsonLines()
    if not target:
        raise ConfigError("-o '': is no name; give a file that ends in .jsonl or .csv, or - for stdout")
    path = Path(target)
    _check_place(path)
    if not overwrite:
        _check_absent(path)
    return Csv(schema) if path.suffix.lower() == ".csv" else JsonLines()
