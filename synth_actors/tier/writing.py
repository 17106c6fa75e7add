"""How do answers get into the file, and old ones out of it, so that it keeps below its bound?

Each function works inside the transaction that its caller has begun.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

from synth_actors.policy.durable import MOST_ROWS_AT_ONCE, excess_bytes, rows_to_go
from synth_actors.tier.rows import COLUMNS, INSERT, ROW_OVERHEAD_BYTES, Stored, is_right

MOST_ROUNDS = 2
"""How often one transaction looks whether what it deleted was enough: pages that are half empty are not free."""

_AHEAD = f"SELECT id, length(text) + {ROW_OVERHEAD_BYTES} FROM entry WHERE stored_at > ? LIMIT {MOST_ROWS_AT_ONCE}"
_EXPIRED = (
    f"SELECT id, length(text) + {ROW_OVERHEAD_BYTES} FROM entry WHERE stored_at <= ?"
    f" ORDER BY stored_at LIMIT {MOST_ROWS_AT_ONCE}"
)
_COLDEST = f"SELECT id, length(text) + {ROW_OVERHEAD_BYTES} FROM entry ORDER BY used_at, id LIMIT {MOST_ROWS_AT_ONCE}"
_DELETE = "DELETE FROM entry WHERE id = ?"
_NOTE_USE = "UPDATE entry SET used_at = ? WHERE id = ?"
_USED_AHEAD = (
    "UPDATE entry SET used_at = ? WHERE id IN"
    f" (SELECT id FROM entry WHERE used_at > ? ORDER BY used_at LIMIT {MOST_ROWS_AT_ONCE})"
)
_SELECT_ID = f"SELECT {COLUMNS} FROM entry WHERE id = ?"


def used_bytes(connection: sqlite3.Connection) -> int:
    """What rows and indices occupy in the file; its free pages, which are used first, do not count."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    return int((pages - free) * page_bytes)


@dataclass(frozen=True, slots=True)
class Room:
    """What the file may occupy (bytes), at which wall time, and with which time to live (seconds; None: any age)."""

    max_bytes: int
    now: float
    ttl_s: float | None


def make_room(connection: sqlite3.Connection, incoming_bytes: int, room: Room) -> int:
    """Delete rows until `incoming_bytes` fit into `room`; how many it were.

    First those of the future, then those too old to be served, the oldest first, then the least recently used.  A
    bounded portion: after a bound was lowered it takes several transactions.
    """
    evicted = 0
    for _ in range(MOST_ROUNDS):
        excess = excess_bytes(
            used_bytes=used_bytes(connection), incoming_bytes=incoming_bytes, max_bytes=room.max_bytes
        )
        if not excess:
            break
        connection.execute(_USED_AHEAD, (room.now, room.now))
        going = rows_to_go(_candidates(connection, room), excess_bytes=excess)
        connection.executemany(_DELETE, [(row,) for row in going])
        evicted += len(going)
    return evicted


def _candidates(connection: sqlite3.Connection, room: Room) -> Iterator[tuple[int, int]]:
    """Rows in the order in which they go, each once."""
    unserved = connection.execute(_AHEAD, (room.now,)).fetchall()
    if room.ttl_s is not None:
        unserved += connection.execute(_EXPIRED, (room.now - room.ttl_s,)).fetchall()
    yield from unserved
    seen = {row for row, _ in unserved}
    with closing(connection.execute(_COLDEST)) as coldest:  # read as far as it is needed
        yield from (each for each in coldest if each[0] not in seen)


def size_of(row: Stored) -> int:
    """About what `row` occupies, in bytes."""
    return len(row[-1]) + ROW_OVERHEAD_BYTES


def insert(connection: sqlite3.Connection, rows: Iterable[Stored]) -> None:
    """Write `rows`, each in the place of an older answer of the same endpoint to the same key."""
    connection.executemany(INSERT, rows)


def note_use(connection: sqlite3.Connection, rows: Iterable[int], *, now: float) -> None:
    """Hits on the rows with these ids."""
    connection.executemany(_NOTE_USE, [(now, row) for row in rows])


def delete_wrong(connection: sqlite3.Connection, rows: Iterable[tuple[int, bytes]]) -> None:
    """Delete the rows with these ids that are still not what was written for these keys."""
    for row, key in rows:
        for found in connection.execute(_SELECT_ID, (row,)).fetchall():
            if not is_right(key, found):
                connection.execute(_DELETE, (row,))
