"""How are answers deleted from a cache file, and their room given back?  For people: an engine may use it meanwhile.

What deletes needs a log.  Where the disk has no room for one it is kept in memory, which nobody else may then read the
file beside.  Everything here blocks.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, assert_never

from synth_actors.policy.durable import Fresh
from synth_actors.storage.errors import FullError, LockedError, StorageError
from synth_actors.storage.files import Lock, beside, real, size_bytes
from synth_actors.storage.opening import open_alone, open_for_reading, open_writer, read_store, translated
from synth_actors.tier.rows import COLUMNS, FORMAT, is_right
from synth_actors.tier.survey import age_verdict, free_pages, only_ours

DELETED_AT_ONCE = 2000
"""Rows that go in one transaction, so that an engine which uses the file need not wait long."""

_SELECT = "SELECT id, tokens, cost_usd, stored_at FROM entry"
_DELETE = "DELETE FROM entry WHERE id = ? RETURNING tokens, cost_usd"

_Row: TypeAlias = tuple[int, object, object]
"""id, tokens, cost: in a damaged row anything may stand for the latter two."""


@dataclass(frozen=True, slots=True)
class Older:
    """Rows stored at `oldest_at` (Unix seconds) or before."""

    oldest_at: float


@dataclass(frozen=True, slots=True)
class Stale:
    """Rows that are not served at `now` with the time to live `ttl_s`: too old, or of the future."""

    now: float
    ttl_s: float


@dataclass(frozen=True, slots=True)
class Wrong:
    """Rows that are not what was written."""


@dataclass(frozen=True, slots=True)
class Everything:
    """All rows."""


Which: TypeAlias = Older | Stale | Wrong | Everything


@dataclass(slots=True)
class Worth:
    """What some answers stand for: `cost_usd` sums those whose cost is known, `unpriced` counts the others."""

    rows: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0

    def add(self, tokens: object, cost_usd: object) -> None:
        """One more answer, as it stands in its row."""
        self.rows += 1
        self.tokens += tokens if isinstance(tokens, int) else 0
        if isinstance(cost_usd, float):
            self.cost_usd += cost_usd
        else:
            self.unpriced += 1


@dataclass(slots=True)
class Cleared:
    """What went, how many answers are left, and how long the file with its log was and is.

    `not_given_back` says why free room could not be given back to the disk; None when it was.
    """

    gone: Worth = field(default_factory=Worth)
    left: int = 0
    before_bytes: int = 0
    after_bytes: int = 0
    not_given_back: StorageError | None = None


def would_go(path: Path, which: Which) -> tuple[Worth, int]:
    """What `clear` would delete now, and how many answers would be left; nothing is changed.

    Raises:
        MismatchError, ReadOnlyError: there is no cache at `path`, or it may not be read.
        DamagedError: the file is damaged where it was read.
    """

    def ask(connection: sqlite3.Connection) -> tuple[Worth, int]:
        worth = Worth()
        for _, tokens, cost_usd in _rows(connection, which):
            worth.add(tokens, cost_usd)
        return worth, _count(connection) - worth.rows

    path = real(path)
    with only_ours(path):
        return read_store(path, FORMAT, ask)


def clear(path: Path, which: Which) -> Cleared:
    """Delete these rows and give their room back to the disk; an engine may use the file meanwhile.

    On a disk without any room nobody else may use it.

    Raises:
        MismatchError, ReadOnlyError: there is no cache at `path`, or it may not be written.
        DamagedError, FullError, LockedError: some rows may have gone.
    """
    path = real(path)
    with only_ours(path):
        open_for_reading(path, FORMAT).close()  # so that nothing is made where nothing is
    cleared = Cleared(before_bytes=_size_with_log(path))
    try:
        _clear(path, which, cleared, alone=False)
    except FullError as exc:
        _clear_without_room(path, which, cleared, exc)
    if isinstance(cleared.not_given_back, FullError):  # what deletes had room, what makes the file shorter had none
        with suppress(FullError, LockedError):
            _clear(path, which, cleared, alone=True)
    cleared.after_bytes = _size_with_log(path)
    return cleared


def _clear_without_room(path: Path, which: Which, cleared: Cleared, why: FullError) -> None:
    try:
        _clear(path, which, cleared, alone=True)
    except LockedError as exc:
        remedy = "make room on the disk, or stop the engines that use it: then it needs none"
        raise FullError(f"{FORMAT.what} {path}: {why.__cause__}; {remedy}") from exc
    except FullError as exc:
        remedy = "make room on the disk, or remove the file with all its answers"
        raise FullError(f"{FORMAT.what} {path}: {exc.__cause__}; {remedy}") from exc


def _clear(path: Path, which: Which, cleared: Cleared, *, alone: bool) -> None:
    lock = Lock(path, what=FORMAT.what, exclusive=alone)
    try:
        with (
            only_ours(path),
            closing(open_alone(path, FORMAT) if alone else open_writer(path, FORMAT, "process")) as connection,
            translated(FORMAT.what, path),
        ):
            _delete(connection, which, cleared.gone)
            cleared.left = _count(connection)
            if cleared.gone.rows or free_pages(connection):
                cleared.not_given_back = _give_back(connection, path)
    finally:
        lock.release()


def _delete(connection: sqlite3.Connection, which: Which, gone: Worth) -> None:
    """Count what went as soon as it is certain that it has gone."""
    going = [row for row, _, _ in _rows(connection, which)]
    for first in range(0, len(going), DELETED_AT_ONCE):
        connection.execute("BEGIN IMMEDIATE")
        deleted = [
            each
            for row in going[first : first + DELETED_AT_ONCE]
            for each in connection.execute(_DELETE, (row,)).fetchall()
        ]
        connection.execute("COMMIT")
        for tokens, cost_usd in deleted:
            gone.add(tokens, cost_usd)


def _rows(connection: sqlite3.Connection, which: Which) -> list[_Row]:
    connection.text_factory = bytes
    match which:
        case Everything():
            return [row[:3] for row in connection.execute(_SELECT)]
        case Older(oldest_at):
            return [row[:3] for row in connection.execute(f"{_SELECT} WHERE stored_at <= ?", (oldest_at,))]
        case Stale(now, ttl_s):
            rows = connection.execute(_SELECT).fetchall()
            return [row[:3] for row in rows if not isinstance(age_verdict(row[3], now, ttl_s), Fresh)]
        case Wrong():
            whole = connection.execute(f"SELECT key, {COLUMNS} FROM entry")
            return [(row[0], row[4], row[5]) for key, *row in whole if not is_right(key, tuple(row))]
        case never:
            assert_never(never)


def _give_back(connection: sqlite3.Connection, path: Path) -> StorageError | None:
    """Make the file as short as its rows allow; None, or why that is not possible now."""
    try:
        with translated(FORMAT.what, path):
            connection.execute("VACUUM")
            ((busy, _, _),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except StorageError as exc:
        return exc
    return LockedError("an engine uses the file; it becomes shorter when that one has ended") if busy else None


def _count(connection: sqlite3.Connection) -> int:
    (count,) = connection.execute("SELECT count(*) FROM entry").fetchone()
    return int(count)


def _size_with_log(path: Path) -> int:
    return size_bytes(path) + size_bytes(beside(path, "wal"))
