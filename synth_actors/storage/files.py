"""Which files stand beside a database, and what for?

`PATH-lock` says who has the store.  It is a file of its own because a lock on the database would undo SQLite's: POSIX
drops all locks of a process on a file as soon as the process closes *any* descriptor of it
(https://www.sqlite.org/howtocorrupt.html, 2.2).  `PATH-reserve` keeps room on the disk for what must still be written
when the disk is full.  Both are gone after a clean close; SQLite's own `PATH-wal` and `PATH-shm` too.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from synth_actors.storage.errors import LockedError, ReadOnlyError, os_error

PATIENCE_S = 0.25
"""How long an opening waits for a lock: `is_in_use` holds it for some microseconds."""
PAUSE_S = 0.01
WHOLE_SHM_BYTES = 32_768
"""The least that SQLite makes PATH-shm (https://www.sqlite.org/walformat.html#the_wal_index_file_format)."""


def beside(path: Path, suffix: str) -> Path:
    """`PATH-suffix`."""
    return path.with_name(f"{path.name}-{suffix}")


class Lock:
    """A place in the store `path`, a `what`: alone, or with others that share it.  Ends with the process at the latest.

    Raises:
        LockedError: another one has it.
        ReadOnlyError, FullError: `PATH-lock` cannot be made.
    """

    def __init__(self, path: Path, *, what: str, exclusive: bool) -> None:
        self.path = beside(path, "lock")
        self._store = path
        patient_until = time.monotonic() + PATIENCE_S
        while not self._taken(what, path, exclusive=exclusive):
            if time.monotonic() > patient_until:
                raise LockedError(
                    f"{what} {path}: in use by another run; wait until that one has ended, or choose another path"
                )
            time.sleep(PAUSE_S)

    def _taken(self, what: str, path: Path, *, exclusive: bool) -> bool:
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as exc:
            error = os_error(exc, what, path)
            if isinstance(error, ReadOnlyError) and os.access(path, os.F_OK):
                error = ReadOnlyError(f"{error}: its folder must be writable, other files are made beside it")
            raise error from exc
        # Its last owner may have removed the file since it was opened here: then it keeps nobody out.
        if _flock(self._file, self.path, exclusive=exclusive) and _same(self._file, self.path):
            return True
        os.close(self._file)
        return False

    def release(self, *leftovers: Path) -> None:
        """Give it back, as the last thing; the last one removes `leftovers`, which only owners need.

        And SQLite's own files that were never made whole, because there was no room for them.
        """
        try:
            if _flock(self._file, self.path, exclusive=True):
                for path in (*leftovers, *_half_made(self._store), self.path):
                    path.unlink(missing_ok=True)
        finally:  # also on a disk that became read-only
            os.close(self._file)


def _half_made(path: Path) -> tuple[Path, ...]:
    """PATH-shm that is too short to be one, with the log of no bytes that was begun before it."""
    log, shared = beside(path, "wal"), beside(path, "shm")
    if size_bytes(shared) >= WHOLE_SHM_BYTES or size_bytes(log):
        return ()
    return shared, log


def size_bytes(path: Path) -> int:
    """How long the file is; 0 when it is not there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _flock(file: int, path: Path, *, exclusive: bool) -> bool:
    if os.name != "posix":
        return True  # Windows: nobody is kept out but by SQLite's own locks, which let several writers write in turn
    import fcntl

    try:
        fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as exc:  # SQLite could not keep processes apart there either
        raise ReadOnlyError(f"{path}: no locks there ({exc.strerror}); choose a path on a local disk") from exc
    return True


def _same(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def is_in_use(path: Path) -> bool:
    """Whether somebody has the store at `path` for itself alone at this moment, this process included.

    A store that several share (`exclusive=False`) is not in use in this sense.

    Raises:
        ReadOnlyError: `PATH-lock` may not be read.
    """
    lock = beside(real(path), "lock")
    try:
        file = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise os_error(exc, "store", path) from exc
    try:
        return not _flock(file, lock, exclusive=False)
    finally:
        os.close(file)


def real(path: Path) -> Path:
    """The path without symbolic links: where SQLite puts its own files."""
    return Path(os.path.realpath(path))


class Reserve:
    """`size_bytes` of really occupied disk at `PATH-reserve`, given up once when the disk is full; 0 = none.

    A disk that is too full for it is no error: there is then nothing to give up, and `is_there` is False.
    """

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.path = beside(path, "reserve")
        self.is_there = True
        try:
            self._make(size_bytes)
        except OSError:
            self.release()

    def _make(self, size_bytes: int) -> None:
        if size_bytes == 0:
            self.path.unlink(missing_ok=True)
            return
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            _occupy(file, size_bytes)

    def release(self) -> None:
        """Give the room to whoever writes next."""
        self.is_there = False
        with suppress(OSError):  # then it stays, and the disk stays as full as it is
            self.path.unlink(missing_ok=True)


def _occupy(file: IO[bytes], size_bytes: int) -> None:
    file.truncate(min(size_bytes, os.fstat(file.fileno()).st_size))
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size_bytes)
    else:
        file.write(bytes(size_bytes))  # macOS: a hole would occupy nothing
        file.flush()
