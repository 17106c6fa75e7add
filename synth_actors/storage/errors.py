"""What is wrong with a file, and what helps?

SQLite's result codes (https://www.sqlite.org/rescode.html) become errors whose one line names the path and the remedy.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from typing import Self

from synth_actors.errors import SynthActorsError


class StorageError(SynthActorsError):
    """A store cannot be opened, read or written; `__cause__` is what SQLite or the system said, if they said it."""

    def again(self) -> Self:
        """An instance of its own for one more who is told: a shared one would collect every traceback."""
        copy = type(self)(*self.args)
        copy.__cause__ = self
        return copy


class DamagedError(StorageError):
    """The file is no database, or parts of it are missing or overwritten."""


class MismatchError(StorageError):
    """A sound database, but of another program or in another format."""


class OutdatedError(MismatchError):
    """A store of this program in the format of an earlier release."""


class NewerError(MismatchError):
    """A store of this program in the format of a later release, which may be using it."""


class EmptyError(MismatchError):
    """Nothing was ever written in the file: it has no bytes, or its owner was killed before it had made the store."""


class FullError(StorageError):
    """No room: the disk is full, a quota is used up, or a file may not grow any further."""


class ReadOnlyError(StorageError):
    """The path cannot be opened, or opened only for reading."""


class LockedError(StorageError):
    """Another process, or another part of this one, uses the store."""


class StatementError(StorageError):
    """One statement was refused (a constraint, wrong SQL, a value that failed); its neighbours were not touched."""


PROBE_BYTES = 2**20
SHORT_READ = sqlite3.SQLITE_IOERR_SHORT_READ
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
WHEN_DAMAGED = "keep the file for a repair (`sqlite3 FILE .recover`) and use another path"
KINDS: dict[int, tuple[type[StorageError], str]] = {
    sqlite3.SQLITE_FULL: (FullError, "make room on the disk; what was written before is safe"),
    sqlite3.SQLITE_CORRUPT: (DamagedError, WHEN_DAMAGED),
    sqlite3.SQLITE_NOTADB: (DamagedError, "it is no database; choose another path"),
    SHORT_READ: (DamagedError, "a part of the file is missing; use a copy of it or another path"),
    sqlite3.SQLITE_READONLY: (ReadOnlyError, "make it writable, or choose another path"),
    sqlite3.SQLITE_CANTOPEN: (ReadOnlyError, "look at its folder and at your rights, or choose another path"),
    sqlite3.SQLITE_PERM: (ReadOnlyError, "make it writable, or choose another path"),
    sqlite3.SQLITE_AUTH: (ReadOnlyError, "make it writable, or choose another path"),
    sqlite3.SQLITE_BUSY: (LockedError, "another process uses it; wait until that one has ended"),
    sqlite3.SQLITE_LOCKED: (LockedError, "another process uses it; wait until that one has ended"),
}
OTHERWISE = (StorageError, "look at the disk; what was written before is safe")


def storage_error(exc: BaseException, what: str, path: Path) -> StorageError:
    """The error that says what `exc` means for the store `path`, a `what`; `exc` is its cause.

    SQLite reports a used-up quota and the largest size of a file (RLIMIT_FSIZE) as "disk I/O error", so that one is
    looked into.
    """
    code = getattr(exc, "sqlite_errorcode", None) or 0
    kind, remedy = KINDS.get(code) or KINDS.get(code & 0xFF) or OTHERWISE
    if code & 0xFF == sqlite3.SQLITE_IOERR and kind is StorageError and _is_full(path):
        kind, remedy = KINDS[sqlite3.SQLITE_FULL]
    error = kind(f"{what} {path}: {str(exc) or type(exc).__name__}; {remedy}")
    error.__cause__ = exc
    return error


def os_error(exc: OSError, what: str, path: Path) -> StorageError:
    """The same for what the system itself said."""
    kind, remedy = KINDS[sqlite3.SQLITE_FULL if exc.errno in NO_ROOM else sqlite3.SQLITE_CANTOPEN]
    error = kind(f"{what} {path}: {exc.strerror or exc}; {remedy}")
    error.__cause__ = exc
    return error


def _is_full(path: Path) -> bool:
    """Whether a file beside `path` that is as long as the longest of the store cannot take `PROBE_BYTES` more."""
    probe = path.with_name(f"{path.name}-probe")
    longest = max(_size(path), _size(path.with_name(f"{path.name}-wal")))
    try:
        file = os.open(probe, os.O_WRONLY | os.O_CREAT, 0o600)
    except OSError as exc:
        return exc.errno in NO_ROOM
    try:
        return os.pwrite(file, bytes(PROBE_BYTES), longest) < PROBE_BYTES
    except OSError as exc:
        return exc.errno in NO_ROOM
    finally:
        os.close(file)
        probe.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
