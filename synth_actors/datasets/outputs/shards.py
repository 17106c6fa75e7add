"""How do rows become a folder of files that is either whole or not there?

The files are `part-00000.jsonl`, `part-00001.jsonl`, …, each with the same number of rows but the last, and nothing
else stands beside them, so that every reader takes the folder as one table.  They are written in FOLDER.partial beside
FOLDER.  A folder that is overwritten is set aside as FOLDER.replaced, and deleted when the new one has its name.
Nothing is deleted but files that are called as ours are.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from synth_actors.datasets.outputs.destinations import FileInfo, RowFile, locked, partial_of, real_path, sync_folder
from synth_actors.errors import ConfigError

_SHARD = re.compile(r"part-\d{5,}\.(jsonl|csv|parquet)")


class PartialFolder:
    """FOLDER.partial on its way to FOLDER, with files that end in `suffix`.

    Raises:
        ConfigError: FOLDER cannot be written there.
    """

    def __init__(self, path: Path, suffix: str) -> None:
        self.path = real_path(path)
        _finish_replacing(self.path)
        self.partial = partial_of(self.path)
        self._suffix = suffix
        self._earlier = self.partial.exists()
        self._files: list[RowFile] = []  # that are not on the disk yet; only the last one may still grow
        self._infos: list[FileInfo] = []
        self._grows = False
        self._wrote = False
        self._lock = _locked_folder(path, self.partial)

    def write(self, data: bytes, *, rows: int) -> None:
        """Hold `data` until `flush`."""
        if not self._grows:
            number = len(self._infos) + len(self._files)
            self._files.append(RowFile(self.partial / f"part-{number:05}{self._suffix}"))
            self._grows = True
        self._files[-1].write(data, rows)

    def next_file(self) -> None:
        """What is written next begins another file."""
        self._grows = False

    def flush(self) -> None:
        """Hand the whole rows to the system: they survive the end of this process, however it ends."""
        if not self._files:
            return
        if not self._wrote:
            _delete_shards(self.partial)
            self._wrote = True
        while len(self._files) > self._grows:
            self._infos.append(self._files[0].sync())
            self._files.pop(0).close()
        if self._files:
            self._files[0].flush()

    def seal(self) -> tuple[FileInfo, ...]:
        """Hand the files to the disk; what they are."""
        self._grows = False
        self.flush()
        sync_folder(self.partial)
        return tuple(self._infos)

    def publish(self) -> None:
        """Make it FOLDER; one that stands there is set aside first, and deleted when this is done."""
        aside = replaced_of(self.path)
        try:
            if self.path.exists():
                self.path.rename(aside)
            try:
                self.partial.rename(self.path)
            except OSError:
                if aside.exists():
                    aside.rename(self.path)
                raise
            sync_folder(self.path.parent)
        finally:
            self._unlock()
        with suppress(OSError):  # what somebody put there in the meantime stays, under that name
            if aside.exists():
                _delete_shards(aside)
                aside.rmdir()

    def keep(self) -> Path | None:
        """Leave FOLDER.partial with the rows so far; without a row, leave everything as it was before."""
        try:
            self.seal()
        finally:
            for file in self._files:
                file.close()
            self._unlock()
        if self._wrote:
            return self.partial
        if not self._earlier:
            self.partial.rmdir()
        return None

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _locked_folder(path: Path, partial: Path) -> int | None:
    try:
        partial.mkdir(exist_ok=True)
        if not os.access(partial, os.W_OK | os.X_OK):
            raise ConfigError(f"-o {path}/: {partial} cannot be written; choose a folder that can")
        file = os.open(partial, os.O_RDONLY) if os.name == "posix" else None
    except OSError as exc:
        raise ConfigError(f"-o {path}/: cannot be written ({exc.strerror}); choose a folder that can") from None
    if file is None or locked(file):
        return file
    os.close(file)
    raise ConfigError(f"-o {path}/: another run writes {partial} now; wait for it, or choose another name")


def _delete_shards(folder: Path) -> None:
    for path in folder.iterdir():
        if _SHARD.fullmatch(path.name):
            path.unlink()


def _finish_replacing(path: Path) -> None:
    """A run that was killed while it replaced FOLDER has left FOLDER.replaced: give it its name back, or delete it."""
    aside = replaced_of(path)
    if not aside.exists():
        return
    if not path.exists():
        aside.rename(path)
        return
    _delete_shards(aside)
    aside.rmdir()


def replaced_of(path: Path) -> Path:
    """Where a folder stands that is about to be deleted."""
    return path.with_name(path.name + ".replaced")


def check_shards(target: str, path: Path) -> None:
    """Whether the folder at `path`, its partial one and the one set aside may be replaced.

    Raises:
        ConfigError: one of them holds what is no shard.
    """
    for folder in (path, partial_of(path), replaced_of(path)):
        for each in sorted(folder.iterdir()) if folder.is_dir() else ():
            if not _SHARD.fullmatch(each.name) or not each.is_file():
                raise ConfigError(
                    f"-o {target}: {each} is no shard, so it is not replaced; move it, or choose a folder"
                )
