"""What stands in a cache file, is it right, and how is it emptied?  For people: an engine may use the file meanwhile.

Everything here blocks.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar, assert_never

from synth_actors.policy.durable import Ahead, Expired, Fresh, freshness
from synth_actors.storage.errors import DamagedError, MismatchError, StorageError
from synth_actors.storage.files import Lock, beside, real
from synth_actors.storage.opening import open_for_reading, open_writer, read_store, translated
from synth_actors.tier.opening import is_ours, what_happened
from synth_actors.tier.rows import COLUMNS, FORMAT, is_right

T = TypeVar("T")

DELETED_AT_ONCE = 2000
"""Rows that go in one transaction, so that an engine which uses the file need not wait long."""

_DELETE = "DELETE FROM entry WHERE id = ? RETURNING tokens, cost_usd"


@dataclass(frozen=True, slots=True)
class Share:
    """The answers of one endpoint and model.

    `cost_usd` sums those whose cost is known; `unpriced` counts the others.
    """

    endpoint: str
    model: str
    rows: int
    text_bytes: int
    tokens: int
    cost_usd: float
    unpriced: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What stands in a file: `shares` by falling number of rows, the rest over all rows.

    `older` counts the rows that are as old as each of the ages asked for, or older, `ahead` those of the future.
    `oldest_at` and `newest_at` are Unix seconds, None without rows.  `free_bytes` are within `file_bytes`, `log_bytes`
    stand beside the file.
    """

    shares: tuple[Share, ...]
    oldest_at: float | None
    newest_at: float | None
    older: tuple[int, ...]
    ahead: int
    file_bytes: int
    free_bytes: int
    log_bytes: int

    @property
    def rows(self) -> int:
        """All answers."""
        return sum(share.rows for share in self.shares)


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


@dataclass(frozen=True, slots=True)
class Cleared:
    """What went, what is left, and how long the file with its log was and is.

    `not_given_back` says why free room could not be given back to the disk; None when it was.
    """

    rows: int
    tokens: int
    cost_usd: float
    left: int
    before_bytes: int
    after_bytes: int
    not_given_back: str | None


def survey(path: Path, *, now: float, ages_s: Sequence[float]) -> Survey:
    """What stands in the file at `path`, at the wall time `now` (Unix seconds); it is not changed.

    Raises:
        MismatchError, ReadOnlyError: there is no cache at `path`, or it may not be read.
        DamagedError: the file is damaged where it was read.
    """
    path = real(path)
    sizes = _size(path), _size(beside(path, "wal"))

    def ask(connection: sqlite3.Connection) -> Survey:
        connection.text_factory = bytes
        stamps = [stamp for (stamp,) in connection.execute("SELECT stored_at FROM entry")]
        oldest_at, newest_at = connection.execute("SELECT min(stored_at), max(stored_at) FROM entry").fetchone()
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        return Survey(
            shares=tuple(_shares(connection)),
            oldest_at=oldest_at,
            newest_at=newest_at,
            older=tuple(sum(isinstance(_freshness(each, now, age_s), Expired) for each in stamps) for age_s in ages_s),
            ahead=sum(isinstance(_freshness(each, now, None), Ahead) for each in stamps),
            file_bytes=sizes[0],
            free_bytes=_free_pages(connection) * page_bytes,
            log_bytes=sizes[1],
        )

    return _read(path, ask)


def _shares(connection: sqlite3.Connection) -> Iterator[Share]:
    rows = connection.execute(
        "SELECT endpoint, model, count(*), sum(length(text)), sum(tokens), sum(cost_usd), sum(cost_usd IS NULL)"
        " FROM entry GROUP BY endpoint, model ORDER BY count(*) DESC, endpoint, model"
    )
    for endpoint, model, count, text_bytes, tokens, cost_usd, unpriced in rows:
        yield Share(_text(endpoint), _text(model), count, text_bytes, tokens, cost_usd or 0.0, unpriced)


def verify(path: Path) -> tuple[int, list[str]]:
    """How many rows the file has, and what is wrong in it, a line each; nothing is changed.

    Every page, every index and the checksum of every row are looked at.

    Raises:
        MismatchError, ReadOnlyError: there is no cache at `path`, or it may not be read.
    """
    path = real(path)

    def ask(connection: sqlite3.Connection) -> tuple[int, list[str]]:
        connection.text_factory = bytes
        wrong = [_text(verdict) for (verdict,) in connection.execute("PRAGMA integrity_check(5)")]
        wrong = [" ".join(line.split()) for line in wrong if line != "ok"]
        count = bad = 0
        for key, *row in connection.execute(f"SELECT key, {COLUMNS} FROM entry"):
            count += 1
            bad += not is_right(key, tuple(row))
        if bad:
            wrong.append(f"{bad:,} of {count:,} rows are not what was written")
        return count, wrong

    try:
        return _read(path, ask)
    except DamagedError as exc:
        return 0, [what_happened(exc.__cause__) if isinstance(exc.__cause__, StorageError) else str(exc)]


def clear(path: Path, which: Which) -> Cleared:
    """Delete these rows and give their room back to the disk; an engine may use the file meanwhile.

    Raises:
        MismatchError, ReadOnlyError: there is no cache at `path`, or it may not be written.
        DamagedError, FullError, LockedError: some rows may have gone.
    """
    path = real(path)
    with _ours(path):
        open_for_reading(path, FORMAT).close()  # so that nothing is made where nothing is
    before_bytes = _size(path) + _size(beside(path, "wal"))
    lock = Lock(path, what=FORMAT.what, exclusive=False)
    try:
        with (
            _ours(path),
            closing(open_writer(path, FORMAT, "process")) as connection,
            translated(FORMAT.what, path),
        ):
            connection.text_factory = bytes
            rows, tokens, cost_usd = _delete(connection, which)
            (left,) = connection.execute("SELECT count(*) FROM entry").fetchone()
            problem = _give_back(connection, path) if rows or _free_pages(connection) else None
    finally:
        lock.release()
    after_bytes = _size(path) + _size(beside(path, "wal"))
    return Cleared(rows, tokens, cost_usd, left, before_bytes, after_bytes, problem)


def _delete(connection: sqlite3.Connection, which: Which) -> tuple[int, int, float]:
    """Rows, tokens and dollars that went."""
    going = _ids(connection, which)
    rows, tokens, cost_usd = 0, 0, 0.0
    for first in range(0, len(going), DELETED_AT_ONCE):
        connection.execute("BEGIN IMMEDIATE")
        for row in going[first : first + DELETED_AT_ONCE]:
            for its_tokens, its_cost_usd in connection.execute(_DELETE, (row,)).fetchall():
                rows += 1
                tokens += its_tokens if isinstance(its_tokens, int) else 0
                cost_usd += its_cost_usd if isinstance(its_cost_usd, float) else 0.0
        connection.execute("COMMIT")
    return rows, tokens, cost_usd


def _ids(connection: sqlite3.Connection, which: Which) -> list[int]:
    match which:
        case Everything():
            return [row for (row,) in connection.execute("SELECT id FROM entry")]
        case Older(oldest_at):
            return [row for (row,) in connection.execute("SELECT id FROM entry WHERE stored_at <= ?", (oldest_at,))]
        case Stale(now, ttl_s):
            stamps = connection.execute("SELECT id, stored_at FROM entry")
            return [row for row, stamp in stamps if not isinstance(_freshness(stamp, now, ttl_s), Fresh)]
        case Wrong():
            rows = connection.execute(f"SELECT key, {COLUMNS} FROM entry")
            return [row[0] for key, *row in rows if not is_right(key, tuple(row))]
        case never:
            assert_never(never)


def _freshness(stamp: object, now: float, ttl_s: float | None) -> Fresh | Expired | Ahead:
    """The verdict on what stands in a row, which in a damaged file need not be a number."""
    return freshness(stamp if isinstance(stamp, float) else math.nan, now=now, ttl_s=ttl_s)


def _give_back(connection: sqlite3.Connection, path: Path) -> str | None:
    """Make the file as short as its rows allow; None, or why that is not possible now."""
    try:
        with translated(FORMAT.what, path):
            connection.execute("VACUUM")
            ((busy, _, _),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except StorageError as exc:
        return str(exc)
    return "an engine uses the file; it becomes shorter when that one has ended" if busy else None


def _free_pages(connection: sqlite3.Connection) -> int:
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    return int(free)


def _read(path: Path, ask: Callable[[sqlite3.Connection], T]) -> T:
    with _ours(path):
        return read_store(path, FORMAT, ask)


@contextmanager
def _ours(path: Path) -> Iterator[None]:
    """Damage is told with what helps; but a damaged file that never was a cache is no damaged cache."""
    try:
        yield
    except DamagedError as exc:
        if not is_ours(path):
            raise MismatchError(f"{FORMAT.what} {path}: is no {FORMAT.what}; look at the spelling") from exc
        remedy = "the next engine that meets it sets the file aside and begins a fresh one; or remove the file"
        raise DamagedError(f"{what_happened(exc)}: the file is damaged; {remedy}") from exc


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
