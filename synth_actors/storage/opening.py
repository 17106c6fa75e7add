"""Is this file the store that it is taken for, and whole?

Everything here blocks: it belongs into a thread.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from synth_actors.storage.errors import (
    WHEN_DAMAGED,
    DamagedError,
    EmptyError,
    LockedError,
    MismatchError,
    NewerError,
    OutdatedError,
    ReadOnlyError,
    StorageError,
    os_error,
    storage_error,
)
from synth_actors.storage.files import Lock, beside, real, size_bytes

T = TypeVar("T")
Durability = Literal["process", "power"]

BUSY_TIMEOUT_S = 10.0
"""How long SQLite waits for another process that writes; only where several share a store."""
CACHE_KIB = 1024
"""Pages that a connection keeps in memory."""
WAL_LIMIT_BYTES = 8 * 2**20
"""What a large transaction may leave behind of PATH-wal."""
SYNCHRONOUS = {"process": "NORMAL", "power": "FULL"}
LARGEST_ID = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """What a kind of store looks like.

    `what` is its name in messages ("journal"); `application_id` (1 to 2**31 - 1) stands in the file's header, as does
    `version` (likewise), which grows whenever `script` changes: the statements, one each, that make an empty store.
    """

    what: str
    application_id: int
    version: int
    script: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raises `ValueError` for numbers that the header of a database cannot hold, or that mean "none" there."""
        for name, number in (("application_id", self.application_id), ("version", self.version)):
            if not 1 <= number <= LARGEST_ID:
                raise ValueError(f"{name}={number}: give a number from 1 to {LARGEST_ID}")


def open_writer(path: Path, form: Format, durability: Durability) -> sqlite3.Connection:
    """The connection that writes; makes the store where there is none, and takes over what a killed owner left.

    Raises:
        DamagedError, MismatchError, ReadOnlyError, FullError, LockedError: a foreign or damaged file is not touched.
    """
    if path.is_dir():
        raise ReadOnlyError(f"{form.what} {path}: is a folder; name a file")
    if path.exists() and not os.access(path, os.R_OK):
        raise ReadOnlyError(f"{form.what} {path}: may not be read; make it readable, or choose another path")
    if path.exists() and not os.access(path, os.W_OK):  # SQLite would open it, and leave a -wal beside it
        raise ReadOnlyError(f"{form.what} {path}: may not be written; make it writable, or choose another path")
    with _opening(form.what, path):
        connection = _connect(f"{path.as_uri()}?mode=rwc")
        try:
            _make_ready(connection, path, form, durability)
        except BaseException:
            connection.close()
            raise
        return connection


def _make_ready(connection: sqlite3.Connection, path: Path, form: Format, durability: Durability) -> None:
    new = _is_empty(connection)
    if not new:
        _check(connection, path, form)
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise ReadOnlyError(f"{form.what} {path}: no write-ahead log there ({mode}); choose a path on a local disk")
    connection.execute(f"PRAGMA synchronous={SYNCHRONOUS[durability]}")
    connection.execute(f"PRAGMA journal_size_limit={WAL_LIMIT_BYTES}")
    connection.execute("BEGIN IMMEDIATE")
    if _is_empty(connection):  # still: another process may have been faster
        for statement in form.script:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={form.application_id}")
    elif new:
        _check_header(connection, path, form)
    # Written every time: a file that can only be read is noticed now, not with the first paid answer.
    connection.execute(f"PRAGMA user_version={form.version}")
    connection.execute("COMMIT")


def open_reader(path: Path, form: Format) -> sqlite3.Connection:
    """A connection that only reads, beside the one that writes."""
    with _opening(form.what, path):
        return _connect(f"{path.as_uri()}?mode=ro", query_only=True)


def open_for_reading(path: Path, form: Format) -> sqlite3.Connection:
    """A connection that only reads, without one that writes; nothing is left beside the file.  Its header is checked.

    Raises:
        ReadOnlyError: there is no such file, or it may not be read.
        DamagedError, MismatchError: it is not a store of this format.
        EmptyError: nothing was ever written in it.
    """
    path = real(path)
    try:
        found, folder, regular = path.exists(), path.is_dir(), path.is_file()
    except OSError as exc:
        raise os_error(exc, form.what, path) from exc
    if folder:
        raise ReadOnlyError(f"{form.what} {path}: is a folder; name a file")
    if not found:
        raise ReadOnlyError(f"{form.what} {path}: there is no such file; look at the spelling")
    if not regular:
        raise ReadOnlyError(f"{form.what} {path}: is no regular file; name another path")
    if not os.access(path, os.R_OK):
        raise ReadOnlyError(f"{form.what} {path}: may not be read; make it readable, or choose another path")
    way = _way_to_read(path)
    try:
        return _opened_to_read(path, form, way)
    except (DamagedError, MismatchError, LockedError):
        raise
    except StorageError as exc:
        if way == "immutable=1" or size_bytes(beside(path, "wal")):
            raise
        return _opened_without_log(path, form, exc)


def _opened_to_read(path: Path, form: Format, way: str) -> sqlite3.Connection:
    with _opening(form.what, path):
        connection = _connect(f"{path.as_uri()}?{way}", query_only=True)
    try:
        with _opening(form.what, path):
            if _is_empty(connection):
                raise EmptyError(f"{form.what} {path}: nothing was ever written in it; choose another path")
            _check_header(connection, path, form)
    except BaseException:
        connection.close()
        raise
    return connection


def _opened_without_log(path: Path, form: Format, why: StorageError) -> sqlite3.Connection:
    """On a disk that has no room for -wal and -shm: the file alone, which is all there is while the log is empty.

    It goes stale when there is room again and somebody writes: whoever keeps it tries `open_writer` from time to time.
    """
    with suppress(StorageError, OSError):  # somebody else is there: what was begun in vain is theirs to remove
        Lock(path, what=form.what, exclusive=True).release()
    try:
        return _opened_to_read(path, form, "immutable=1")
    except StorageError:
        raise why from None


def open_alone(path: Path, form: Format) -> sqlite3.Connection:
    """A connection that writes without taking any room on the disk; nobody else may have the store open.

    Its log stands in memory: when the process is killed while it writes, the file may be left damaged.

    Raises:
        StorageError: as `open_writer`; also when what stands in the log beside the file needs room in it.
    """
    with _opening(form.what, path):
        connection = _connect(f"{path.as_uri()}?mode=rw", locking="EXCLUSIVE")
        try:
            connection.execute("PRAGMA temp_store=MEMORY")
            _check(connection, path, form)
            connection.execute("PRAGMA journal_mode=MEMORY")
        except BaseException:
            connection.close()
            raise
        return connection


def read_store(path: Path, form: Format, ask: Callable[[sqlite3.Connection], T]) -> T:
    """What `ask` finds in the store, as of one moment; another process may write meanwhile.  Blocks.

    `ask` returns values, no cursors.  Nothing is changed in the file, nor anything left beside it.

    Raises:
        StorageError: as `open_for_reading`; also when `ask` met damage.
    """
    with closing(open_for_reading(path, form)) as connection, translated(form.what, real(path)):
        return one_moment(connection, ask)


def check_pages(connection: sqlite3.Connection, path: Path, form: Format) -> None:
    """Raises `DamagedError` unless every page of the database is where it belongs; about half a second a GiB."""
    with translated(form.what, path):
        _check_pages(connection, path, form)


def fold_log(path: Path) -> None:
    """Move what stands in the log beside the store at `path` into its file, so that one rename takes all of it.

    Nobody may have it open.  A damaged one is left as it is.
    """
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _way_to_read(path: Path) -> str:
    """How to leave nothing behind: a reader of its own leaves the -wal and -shm that it had to make."""
    if beside(path, "wal").exists():
        return "mode=ro"
    return "mode=rw" if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK) else "immutable=1"


def one_moment(connection: sqlite3.Connection, ask: Callable[[sqlite3.Connection], T]) -> T:
    """`ask(connection)` inside one read transaction, so that its questions see the same state."""
    connection.execute("BEGIN")
    try:
        return ask(connection)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


@contextmanager
def translated(what: str, path: Path) -> Iterator[None]:
    """SQLite's errors as `StorageError`."""
    try:
        yield
    except sqlite3.Error as exc:
        raise storage_error(exc, what, path) from exc


@contextmanager
def _opening(what: str, path: Path) -> Iterator[None]:
    """`translated`, where nobody else decodes anything: what cannot be decoded is SQLite quoting a damaged page."""
    try:
        with translated(what, path):
            yield
    except UnicodeDecodeError as exc:
        raise DamagedError(f"{what} {path}: its tables have no readable names; {WHEN_DAMAGED}") from exc


def _connect(
    uri: str, *, query_only: bool = False, locking: Literal["NORMAL", "EXCLUSIVE"] = "NORMAL"
) -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=32
    )
    try:
        connection.execute(f"PRAGMA locking_mode={locking}")  # first: EXCLUSIVE keeps the index of a log in memory
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        connection.execute(f"PRAGMA query_only={query_only:d}")
    except BaseException:
        connection.close()
        raise
    return connection


def _is_empty(connection: sqlite3.Connection) -> bool:
    """Whether nothing was ever written: a file of no bytes, or one whose owner was killed before it had made it."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return not tables and _header(connection) == (0, 0)


def _header(connection: sqlite3.Connection) -> tuple[int, int]:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return application_id, version


def _check(connection: sqlite3.Connection, path: Path, form: Format) -> None:
    _check_header(connection, path, form)
    _check_pages(connection, path, form)


def _check_pages(connection: sqlite3.Connection, path: Path, form: Format) -> None:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        first = " ".join(str(verdict).split())
        raise DamagedError(f"{form.what} {path}: {first}; {WHEN_DAMAGED}")


def _check_header(connection: sqlite3.Connection, path: Path, form: Format) -> None:
    application_id, version = _header(connection)
    if application_id != form.application_id:
        raise MismatchError(f"{form.what} {path}: a database, but not a {form.what}; choose another path")
    found = f"{form.what} {path}: written in format {version}; this release reads format {form.version}"
    if version > form.version:
        raise NewerError(f"{found}; update synth_actors")
    if version < form.version:
        raise OutdatedError(f"{found}; use the release that wrote it, or another path")
