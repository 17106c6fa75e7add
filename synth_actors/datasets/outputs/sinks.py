"""Which output does `-o` name, and how do rows get there?

A path that ends in .jsonl, .csv or .parquet is a file; one that ends in `/` is a folder of shards, in the format that
its name ends in (`rows.parquet/`), or else .jsonl; `-` is stdout.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from synth_actors.datasets.outputs.destinations import (
    Destination,
    FileInfo,
    PartialFile,
    StandardOutput,
    partial_of,
    real_path,
)
from synth_actors.datasets.outputs.encoders import Csv, Encoder, JsonLines
from synth_actors.datasets.outputs.row_text import RowRefusedError
from synth_actors.datasets.outputs.shards import PartialFolder, check_shards
from synth_actors.datasets.row_schema import RowSchema
from synth_actors.errors import ConfigError

__all__ = [
    "ROWS_PER_SHARD",
    "Csv",
    "Encoder",
    "FileInfo",
    "JsonLines",
    "RowRefusedError",
    "Sink",
    "check_target",
    "open_sink",
    "partial_of",
]

BUFFER_BYTES = 64 * 1024
ROWS_PER_SHARD = 100_000
CHOICES = ".jsonl, .csv, .parquet, or a folder with a trailing /, or - for stdout"


class Sink:
    """Encoded rows on their way to a destination.

    `files` says what was written, once it is sealed; none for stdout.
    """

    def __init__(self, encoder: Encoder, destination: Destination, *, rows_per_file: int | None = None) -> None:
        self.encoder = encoder
        self.rows = 0
        self.held_bytes = 0
        self.files: tuple[FileInfo, ...] = ()
        self._destination = destination
        self._rows_per_file = rows_per_file
        self._rows_in_file = 0

    @property
    def full(self) -> bool:
        """Whether so much is held back that it should be flushed."""
        return self.held_bytes >= BUFFER_BYTES

    def write(self, row: Any) -> None:
        """One row.

        Raises:
            RowRefusedError: the output cannot hold it.  The rows before it stand, and others may follow.
        """
        head = b"" if self._rows_in_file else self.encoder.head()
        try:
            data = head + self.encoder.row(row)
        except RowRefusedError as exc:
            raise RowRefusedError(exc.problem, remedy=exc.remedy, row=self.rows + 1) from None
        self._hand_over(data, rows=1)
        self.rows += 1
        self._rows_in_file += 1
        if self._rows_in_file == self._rows_per_file:
            self._end_file()
            self._destination.next_file()

    def _end_file(self) -> None:
        self._rows_in_file = 0
        self._hand_over(self.encoder.tail(), rows=0)

    def _hand_over(self, data: bytes, *, rows: int) -> None:
        self._destination.write(data, rows=rows)
        self.held_bytes += len(data)

    def flush(self) -> None:
        """Hand over what is held back.  Raises `OSError` when that cannot be; the whole rows before it stand."""
        self.held_bytes = 0
        self._destination.flush()

    def seal(self) -> tuple[FileInfo, ...]:
        """All rows are there: they are on the disk when this returns, and the files get their names by `publish`.

        Raises:
            OSError: they cannot be written; `keep` may try again.
        """
        if not self.rows:
            self._hand_over(self.encoder.head(), rows=0)
        if self._rows_in_file or not self.rows:
            self._end_file()
        self.files = self._destination.seal()
        return self.files

    def publish(self) -> None:
        """The file, or folder, appears under its name, in one step."""
        self._destination.publish()

    def finish(self) -> None:
        """All rows are there: the file appears."""
        self.seal()
        self.publish()

    def keep(self) -> Path | None:
        """Rows are missing: where the others stand, None when nowhere."""
        if self._rows_in_file:
            self._end_file()
        return self._destination.keep()


def open_sink(target: str, schema: RowSchema, *, overwrite: bool, rows_per_shard: int = ROWS_PER_SHARD) -> Sink:
    """A sink for `target`: a file .jsonl, .csv or .parquet, a folder of shards with a trailing `/`, or `-` for stdout.

    Raises:
        ConfigError: `target` cannot be written; nothing was left behind.
    """
    if rows_per_shard < 1:
        raise ConfigError(f"rows_per_shard: {rows_per_shard} is too few; give 1 or more")
    encoder = check_target(target, schema, overwrite=overwrite)
    if target == "-":
        return Sink(encoder, StandardOutput())
    if _is_folder(target):
        return Sink(encoder, PartialFolder(Path(target), _suffix_of(target)), rows_per_file=rows_per_shard)
    return Sink(encoder, PartialFile(Path(target)))


def check_target(target: str, schema: RowSchema, *, overwrite: bool) -> Encoder:
    """How rows are written to `target`, which is not touched.

    Raises:
        ConfigError: `target` has no known format or no folder, or it or its .partial exists and `overwrite` is False.
    """
    if target == "-":
        return JsonLines()
    if not target:
        raise ConfigError(f"-o '': is no name; give a file that ends in {CHOICES}")
    path = Path(target)
    suffix = _suffix_of(target)
    _check_place(target, path, suffix)
    if not overwrite:
        _check_absent(target, real_path(path))
    if _is_folder(target):
        check_shards(target, real_path(path))
    return _FORMATS[suffix](target, schema)


def _is_folder(target: str) -> bool:
    return target.endswith(("/", os.sep))


def _suffix_of(target: str) -> str:
    suffix = Path(target).suffix.lower()
    return ".jsonl" if _is_folder(target) and suffix not in _FORMATS else suffix


def _check_place(target: str, path: Path, suffix: str) -> None:
    if _is_folder(target):
        if path.name in ("", ".."):
            raise ConfigError(f"-o {target}: names no folder of its own; name one in it, as in {target}rows/")
        if path.exists() and not path.is_dir():
            raise ConfigError(f"-o {target}: is a file; leave out the trailing /, or choose another name")
    elif path.is_dir():
        raise ConfigError(
            f"-o {target}: is a folder; name a file in it, as rows.jsonl, or add a trailing / for a folder of shards"
        )
    elif suffix not in _FORMATS:
        raise ConfigError(f"-o {target}: {suffix!r} is no format; give {CHOICES}")
    if not path.parent.is_dir():
        raise ConfigError(f"-o {target}: there is no folder {path.parent}; make it, or choose another")


def _check_absent(target: str, path: Path) -> None:
    if _is_there(path):
        raise ConfigError(f"-o {target}: exists; choose another name, or add --overwrite to replace it in the end")
    if _holds_rows(partial := partial_of(path)):
        raise ConfigError(
            f"-o {target}: {partial} holds rows of an earlier run; move it, or add --overwrite to replace it"
        )


def _is_there(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists()


def _holds_rows(partial: Path) -> bool:
    """A run that was killed at its start leaves an empty one."""
    return _is_there(partial) and (partial.is_dir() or partial.stat().st_size > 0)


def _parquet(target: str, schema: RowSchema) -> Encoder:
    try:
        from synth_actors.datasets.outputs.parquet import Parquet
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] != "pyarrow":
            raise
        raise ConfigError(f'-o {target}: needs pyarrow; pip install "synth-actors[parquet]", or use .jsonl') from None
    return Parquet(schema)


_FORMATS: dict[str, Callable[[str, RowSchema], Encoder]] = {
    ".jsonl": lambda _target, _schema: JsonLines(),
    ".csv": lambda _target, schema: Csv(schema),
    ".parquet": _parquet,
}
