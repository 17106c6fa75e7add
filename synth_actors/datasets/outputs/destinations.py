"""Where do the bytes of rows go, so that a file is either whole or not there?

Rows are written to FILE.partial beside FILE, which gets its name only when all of them are there.  What was paid is not
lost: an incomplete run leaves its whole rows in FILE.partial, and an earlier FILE.partial is emptied only when the
first new row is about to be written, by a run that was allowed to overwrite it.
"""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from synth_actors.errors import ConfigError

OPEN = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
"""On Windows a descriptor writes every newline as two bytes unless it is told not to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """A file as it was written: `name` without its folder, its size, the rows in it, and SHA-256 in hexadecimal."""

    name: str
    bytes: int
    rows: int
    sha256: str


class Destination(Protocol):
    """Where the bytes go.  Nothing but `flush` and what ends it touches the disk, so that only they raise `OSError`."""

    def write(self, data: bytes, *, rows: int) -> None:
        """Take `data`, which ends where a row does, and holds or completes so many."""
        ...

    def next_file(self) -> None:
        """This file is whole; what is written next begins another one."""
        ...

    def flush(self) -> None:
        """Hand over to the system what is held back."""
        ...

    def seal(self) -> tuple[FileInfo, ...]:
        """All rows are there: they are on the disk when this returns, not yet under their name."""
        ...

    def publish(self) -> None:
        """Give what was sealed its name."""
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

    def write(self, data: bytes, *, rows: int) -> None:  # noqa: ARG002  (nobody asks a stream what it held)
        """Hold `data` until `flush`."""
        self._held += data

    def next_file(self) -> None:
        """There is one stream."""

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

    def seal(self) -> tuple[FileInfo, ...]:
        """Write what is held; no file."""
        self.flush()
        return ()

    def publish(self) -> None:
        """It is written."""

    def keep(self) -> Path | None:
        """Write what is held; it has no path."""
        self.flush()
        return None


class RowFile:
    """A file that holds whole rows at any time; it is opened and emptied when the first of them is written."""

    def __init__(self, path: Path, descriptor: int | None = None) -> None:
        self.path = path
        self.size = 0  # bytes of whole rows in the file
        self._rows = 0
        self._digest = hashlib.sha256()
        self._held = bytearray()
        self._file = descriptor

    def write(self, data: bytes, rows: int) -> None:
        """Hold `data` until `flush`."""
        self._held += data
        self._rows += rows

    def flush(self) -> None:
        """Hand the whole rows to the system: they survive the end of this process, however it ends."""
        if not self._held:
            return
        file = self._opened()
        data = bytes(self._held)
        try:
            self._write_all(file, memoryview(data))
        except OSError:
            os.ftruncate(file, self.size)  # a full disk may have taken half a row
            os.lseek(file, self.size, os.SEEK_SET)
            raise
        self._digest.update(data)
        self.size += len(data)
        self._held.clear()

    def _opened(self) -> int:
        if self._file is None:
            self._file = os.open(self.path, OPEN, 0o666)
        if not self.size:
            os.ftruncate(self._file, 0)
        return self._file

    @staticmethod
    def _write_all(file: int, view: memoryview) -> None:
        while view:
            view = view[os.write(file, view) :]

    def sync(self) -> FileInfo:
        """Hand the whole rows to the disk; what was written."""
        self.flush()
        os.fsync(self._opened())
        return FileInfo(name=self.path.name, bytes=self.size, rows=self._rows, sha256=self._digest.hexdigest())

    def close(self) -> None:
        """Let go of the file; a second time is nothing."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class PartialFile:
    """FILE.partial on its way to FILE.

    Raises:
        ConfigError: FILE cannot be written there.
    """

    def __init__(self, path: Path) -> None:
        self.path = real_path(path)
        self.partial = partial_of(self.path)
        self._earlier = self.partial.exists()
        self._sealed = False
        try:
            file = os.open(self.partial, OPEN, 0o666)
        except OSError as exc:
            raise ConfigError(f"-o {path}: cannot be written ({exc.strerror}); choose a folder that can") from None
        if not locked(file):
            os.close(file)
            raise ConfigError(f"-o {path}: another run writes {self.partial} now; wait for it, or choose another name")
        self._file = RowFile(self.partial, file)

    def write(self, data: bytes, *, rows: int) -> None:
        """Hold `data` until `flush`."""
        self._file.write(data, rows)

    def next_file(self) -> None:
        """There is one file."""

    def flush(self) -> None:
        """Hand the whole rows to the system: they survive the end of this process, however it ends."""
        self._file.flush()

    def seal(self) -> tuple[FileInfo, ...]:
        """Hand the rows to the disk; FILE, as it will be."""
        info = self._file.sync()
        self._sealed = True
        return (FileInfo(name=self.path.name, bytes=info.bytes, rows=info.rows, sha256=info.sha256),)

    def publish(self) -> None:
        """Make it FILE, in one step."""
        if os.name != "posix":
            self._file.close()  # there an open file cannot be renamed; here it stays locked until it has its name
        try:
            os.replace(self.partial, self.path)
            sync_folder(self.path.parent)
        finally:
            self._file.close()

    def keep(self) -> Path | None:
        """Leave FILE.partial with the rows so far; without a row, leave everything as it was before."""
        try:
            self._file.flush()
            kept = self._sealed or self._file.size > 0
            if kept:
                self._file.sync()
        finally:
            self._file.close()
        if not kept and not self._earlier:
            self.partial.unlink()
        return self.partial if kept else None


def locked(file: int) -> bool:
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


def sync_folder(folder: Path) -> None:
    """Hand the names in `folder` to the disk, where the system can."""
    if os.name != "posix":
        return
    with suppress(OSError):  # some file systems do not
        file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def real_path(path: Path) -> Path:
    """The path of the file or folder itself: a link stays a link to it."""
    return path.resolve() if path.is_symlink() else path


def partial_of(path: Path) -> Path:
    """Where the rows of `path` stand until all are there."""
    return path.with_name(path.name + ".partial")
