"""What becomes of the file that is found at the path?

A sound one is opened; a damaged or outdated one is set aside and a fresh one begun, unless somebody else has it open;
what cannot be written is read; what belongs to another program is not touched.  All of it blocks.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from synth_actors.storage.errors import (
    DamagedError,
    LockedError,
    MismatchError,
    NewerError,
    OutdatedError,
    StorageError,
    os_error,
)
from synth_actors.storage.files import Lock, beside
from synth_actors.storage.opening import check_pages, open_for_reading, open_reader, open_writer, translated
from synth_actors.tier.rows import FORMAT

BUSY_TIMEOUT_MS = 250
"""How long one attempt to read or to begin writing waits for another process."""
OPENING_S = 5.0
OPENING_PAUSE_S = 0.01
"""For how long, and how often, a file is tried that another process begins in the same moment: SQLite refuses at once,
without waiting, when two make the same fresh file a log-keeping one."""

_MAGIC = b"SQLite format 3\0"
NAMES_OF_DATA = frozenset(
    f".{name}"
    for name in (
        "7z arrow avro bmp bz2 cfg css csv doc docx env feather gguf gif gz h5 hdf5 htm html ini ipynb jinja jpeg"
        " journal jpg js json jsonl key lock log manifest md mp3 mp4 ndjson npy npz onnx orc parquet partial pdf pem"
        " pickle pkl png pptx pt pth py pyc rst safetensors sh svg tar tgz tif tiff toml ts tsv txt wav webp whl xls"
        " xlsx xml xz yaml yml zip zst"
    ).split()
)
"""What people have beside a cache.  ".db", ".sqlite" and ".bin" may be one."""
_HEADER_BYTES = 100
_OURS = FORMAT.application_id.to_bytes(4, "big")
_APPLICATION_ID = slice(68, 72)  # https://www.sqlite.org/fileformat2.html#database_header


@dataclass(slots=True)
class Files:
    """What is open: `writer` and `lock` are None when nothing can be written, `trouble` is then the reason.

    `reader` is None when nothing can be read either.  `aside` is where the file that was there has gone, and `damage`
    why.
    """

    reader: sqlite3.Connection | None = None
    writer: sqlite3.Connection | None = None
    lock: Lock | None = None
    trouble: StorageError | None = None
    aside: Path | None = None
    damage: StorageError | None = None

    def close(self) -> None:
        """Close what is open.  The lock goes last: without it nobody may be writing any more."""
        self.close_reader()
        self.close_writer()

    def close_reader(self) -> None:
        """Only the one that reads."""
        reader, self.reader = self.reader, None
        if reader is not None:
            with suppress(sqlite3.Error):
                reader.close()

    def close_writer(self) -> None:
        """Only the one that writes, and the lock."""
        writer, self.writer = self.writer, None
        lock, self.lock = self.lock, None
        if writer is not None:
            with suppress(sqlite3.Error):  # what could not be written was told
                writer.close()
        if lock is not None:
            with suppress(OSError, StorageError):  # the disk became read-only: PATH-lock stays, and locks nobody out
                lock.release()


def open_files(path: Path, *, suspect: bool = False) -> Files:
    """The store at `path`, as far as it can be used; `suspect`: damage was met in it, so look at every index, too.

    Raises:
        MismatchError: it belongs to another program; it was not touched.
    """
    try:
        return open_for_writing(path, suspect=suspect)
    except (DamagedError, OutdatedError) as exc:
        return _begun_anew(path, exc, suspect=suspect)
    except StorageError as exc:
        if _is_foreign(exc):
            raise
        return _open_to_read(path, exc)


def open_for_writing(path: Path, *, suspect: bool = False) -> Files:
    """Both connections, or the `StorageError` that keeps them from being opened."""
    patient_until = time.monotonic() + OPENING_S
    while True:
        try:
            return _opened(path, suspect=suspect)
        except LockedError:
            if time.monotonic() >= patient_until:
                raise
            time.sleep(OPENING_PAUSE_S)


def _opened(path: Path, *, suspect: bool) -> Files:
    with _of_the_system(path), ExitStack() as opening:
        files = Files()
        opening.callback(files.close)
        files.lock = Lock(path, what=FORMAT.what, exclusive=False)
        files.writer = _prepared(open_writer(path, FORMAT, "process"), path)
        _settle_header(files.writer, path)
        if suspect:
            _check_all(files.writer, path)
        files.reader = _prepared(open_reader(path, FORMAT), path)
        opening.pop_all()
    return files


def _begun_anew(path: Path, why: StorageError, *, suspect: bool) -> Files:
    try:
        aside = set_aside(path, suspect=suspect)
        files = open_for_writing(path)
    except StorageError as exc:
        if _is_foreign(exc):
            raise
        # The damage is the news; that somebody else still has the file open, or may alone move it, is what to mend.
        return Files(trouble=type(exc)(f"{what_happened(why)}; and it cannot be set aside: {exc}"))
    files.aside, files.damage = aside, why if aside else None
    return files


def set_aside(path: Path, *, suspect: bool = False) -> Path | None:
    """Move a damaged or outdated store, with its log, to the first free PATH.damaged-N or PATH.outdated-N.

    None when it is sound: somebody else was faster.

    Raises:
        LockedError: somebody has it open.
        MismatchError: it belongs to another program.
        ReadOnlyError: it may not be moved.
    """
    with _of_the_system(path):
        lock = Lock(path, what=FORMAT.what, exclusive=True)
        try:
            kind = _kind(path, suspect=suspect)
            return None if kind is None else _moved(path, kind)
        finally:
            lock.release()


def _kind(path: Path, *, suspect: bool) -> str | None:
    try:
        writer = open_writer(path, FORMAT, "process")
        try:
            if suspect:
                _check_all(writer, path)
        finally:
            writer.close()
    except OutdatedError:
        return "outdated"
    except DamagedError:
        if not is_another_s(path):
            return "damaged"
        raise MismatchError(f"{FORMAT.what} {path}: is no {FORMAT.what}; choose another path, or remove it") from None
    return None


def _moved(path: Path, kind: str) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.{kind}-{number}")).exists():
        number += 1
    path.rename(aside)  # the database first: SQLite drops a log that stands beside no database
    for suffix in ("wal", "shm"):
        if beside(path, suffix).exists():
            beside(path, suffix).rename(beside(aside, suffix))
    return aside


def is_another_s(path: Path) -> bool:
    """Whether a file that is no sound database is, as far as its header tells, the database of another program.

    What has no readable header may have been a durable cache: it is set aside, which loses nothing whatever it was.
    Only where the name says what else it is, nobody meant it to be one.
    """
    header = _header(path)
    if len(header) >= _APPLICATION_ID.stop and header.startswith(_MAGIC):
        return header[_APPLICATION_ID] != _OURS
    return path.suffix.lower() in NAMES_OF_DATA


def is_ours(path: Path) -> bool:
    """Whether a file that is no sound database was a durable cache once, as far as its header tells.

    It was when the header has our number, or is all zeros, as a crashed file system leaves it, or breaks off.
    """
    header = _header(path)
    if len(header) < _APPLICATION_ID.stop:
        return _MAGIC.startswith(header[: len(_MAGIC)])
    return header[_APPLICATION_ID] == _OURS or not any(header)


def _header(path: Path) -> bytes:
    """Nobody may have the file open: closing it here would drop the locks of this process (files.py)."""
    try:
        with path.open("rb") as file:
            return file.read(_HEADER_BYTES)
    except OSError as exc:
        raise os_error(exc, FORMAT.what, path) from exc


def _open_to_read(path: Path, why: StorageError) -> Files:
    """What can still be read when `why` keeps it from being written."""
    if isinstance(why, NewerError):
        return Files(trouble=why)
    try:
        reader = open_for_reading(path, FORMAT)
    except (DamagedError, NewerError, OutdatedError) as exc:
        return Files(trouble=exc)
    except StorageError as exc:
        if _is_foreign(exc):
            raise
        return Files(trouble=why)
    try:
        check_pages(reader, path, FORMAT)
        return Files(reader=_prepared(reader, path), trouble=why)
    except StorageError as exc:
        reader.close()
        return Files(trouble=exc)


@contextmanager
def _of_the_system(path: Path) -> Iterator[None]:
    """What the system itself says as a `StorageError`."""
    try:
        yield
    except OSError as exc:
        raise os_error(exc, FORMAT.what, path) from exc


def _is_foreign(exc: StorageError) -> bool:
    return type(exc) is MismatchError  # not what is derived from it: newer, outdated, empty


def _prepared(connection: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    connection.text_factory = bytes  # a damaged text is told by its checksum, not by an error of the decoder
    try:
        with translated(FORMAT.what, path):
            connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    except BaseException:
        connection.close()
        raise
    return connection


def _settle_header(connection: sqlite3.Connection, path: Path) -> None:
    """Move the log of a file that was just begun into it, so that its header says from then on whose it is."""
    with translated(FORMAT.what, path):
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def _check_all(connection: sqlite3.Connection, path: Path) -> None:
    """Raises `DamagedError` unless every page and every index is right: several times as slow as `check_pages`."""
    with translated(FORMAT.what, path):
        (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    text = verdict.decode(errors="replace") if isinstance(verdict, bytes) else str(verdict)
    if text != "ok":
        raise DamagedError(f"{FORMAT.what} {path}: {' '.join(text.split())}; its answers are asked again")


def what_happened(exc: StorageError) -> str:
    """The message of `exc` without the remedy at its end."""
    return str(exc).rpartition("; ")[0] or str(exc)


def check_place(place: str | os.PathLike[str]) -> str | None:
    """What the user must mend before anything is opened; None when nothing."""
    text = os.fspath(place)
    if (wrong := _wrong_name(text)) is not None:
        return wrong
    path = Path(text)
    try:
        if path.is_dir():
            return "is a folder; name a file in it"
        if not path.parent.is_dir():
            return f"there is no folder {path.parent}; make it, or name another path"
        if path.exists() and not path.is_file():
            return "is no regular file; name another path"
    except OSError:  # no right to look: the opening says so
        pass
    return None


def _wrong_name(text: str) -> str | None:
    if "\0" in text:
        return "has a NUL byte in it; name a file, such as answers.cache"
    if text.endswith(("/", os.sep)):
        return "is the name of a folder; name a file in it"
    if text == "-":
        return "a cache is a file and cannot be stdin or stdout; name a file, such as answers.cache"
    return None
