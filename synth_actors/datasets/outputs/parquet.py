"""How do rows become a Parquet file, in a memory that does not grow with it?

Rows are held until a row group is full, which depends on nothing but the rows, so that the same rows make the same
bytes however often they are flushed.  Without its end a file cannot be read: a run that is killed leaves no rows in it.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from synth_actors.datasets.outputs.arrow_types import Cells, arrow_schema
from synth_actors.datasets.outputs.encoders import columns_needed, value_of_row
from synth_actors.datasets.outputs.row_text import RowRefusedError
from synth_actors.datasets.outputs.table_columns import columns_of
from synth_actors.datasets.row_schema import RowSchema

ROWS_PER_GROUP = 10_000
BYTES_PER_GROUP = 16 * 1024 * 1024
"""Of JSON, after which a row group is written though it has fewer rows."""


class Parquet:
    """Parquet with one typed, nullable column for each property of the schema, compressed with zstd.

    | schema | column |
    |---|---|
    | string; uuid, email and other formats | string |
    | date; date-time; time | date32; timestamp in µs, UTC; time64 in µs |
    | integer | int64; by its bounds uint64 or decimal128(38, 0) |
    | number; boolean | double; bool |
    | object with named properties; array | struct; list |
    | enum, const | what its values are |
    | anything else | string that holds JSON, marked by `media_type` in the metadata of the field |

    A moment or a time without an offset is taken to be UTC; a value that its column cannot hold without a change is
    refused.  A key that is no property of the schema, also of a nested object, is left out and counted.

    Raises:
        ConfigError: the schema names no properties.
    """

    def __init__(self, schema: RowSchema) -> None:
        columns_needed(schema, ".parquet")
        columns = columns_of(schema)
        self.left_out = 0
        self._schema = arrow_schema(columns)
        self._cells = Cells(columns)
        self._file = _Bytes()
        self._writer: Any = None
        self._rows: list[dict[str, Any]] = []
        self._held_bytes = 0

    def head(self) -> bytes:
        """The magic number; a file that was begun without a row is forgotten."""
        self._file = _Bytes()
        self._writer = pq.ParquetWriter(self._file, self._schema, version="2.6", compression="zstd")
        return self._file.take()

    def row(self, row: Any) -> bytes:
        """A row group, when this row fills it, else nothing."""
        value, size = value_of_row(row)
        cells, something = self._cells.of(value)
        self.left_out += something
        self._rows.append(cells)
        self._held_bytes += size
        if len(self._rows) >= ROWS_PER_GROUP or self._held_bytes >= BYTES_PER_GROUP:
            self._write_group()
        return self._file.take()

    def tail(self) -> bytes:
        """The last row group and the footer."""
        if self._rows:
            self._write_group()
        self._writer.close()
        return self._file.take()

    def problem(self, row: Any) -> str | None:
        """Why the row does not fit the columns."""
        try:
            self._cells.of(value_of_row(row)[0])
        except RowRefusedError as exc:
            return exc.problem
        return None

    def _write_group(self) -> None:
        self._writer.write_batch(pa.RecordBatch.from_pylist(self._rows, schema=self._schema), ROWS_PER_GROUP)
        self._rows = []
        self._held_bytes = 0


class _Bytes:
    """A file for pyarrow that is emptied as it is written."""

    closed = False

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def flush(self) -> None:
        """Everything is here."""

    def close(self) -> None:
        self.closed = True

    def take(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data
