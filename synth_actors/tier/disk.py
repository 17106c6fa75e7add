"""What becomes of a tier when its disk fails, and when is it tried again?

Two threads use the file: one that reads, and one that writes and opens it anew.  `_turn` stands between them: the
reader has it for the time of one look, the writer while it replaces connections.  A reader waits for a replacement,
which is short; it does not wait for the opening of a file that is looked through page by page, it answers "not there".
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from threading import Lock as Mutex
from typing import Literal, TypeVar

from synth_actors.errors import ConfigError
from synth_actors.policy.durable import Pause, has_worked, pause_after
from synth_actors.snapshot import DurableState
from synth_actors.storage.errors import DamagedError, LockedError, MismatchError, OutdatedError, StorageError
from synth_actors.storage.opening import one_moment, translated
from synth_actors.tier.opening import Files, open_files, open_for_writing, what_happened
from synth_actors.tier.rows import FORMAT

T = TypeVar("T")

TURN_S = 1.0
"""How long one of the two waits for the other: the reader for a replacement, the end for a look that may hang."""

logger = logging.getLogger("synth_actors")

Doing = Literal["reading", "writing"]
WHAT_GOES_ON: dict[DurableState, str] = {
    "open": "requests are answered",
    "read_only": "its answers are served and no new ones kept: those will be paid again",
    "off": "requests are answered without it: what it holds is paid again and nothing is kept",
}


class Disk:
    """The file at `path` and the troubles with it; `open` comes first.

    `now` is the monotonic time that the trio side saw last: it is what pauses are measured by.  `state` and `reason` as
    in `DurableSnapshot`; `set_aside` is where files have gone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = 0.0
        self.state: DurableState = "off"
        self.reason: str | None = None
        self.set_aside: tuple[str, ...] = ()
        self._files = Files()
        self._turn = Mutex()
        self._pause: Pause | None = None
        self._opened_at: float | None = None
        self._suspect = False
        self._is_opening = self._is_closed = False
        self._told: set[type[StorageError]] = set()
        self._failing: Doing | None = None
        self._inode: tuple[int, int] | None = None

    def __repr__(self) -> str:
        return f"<Disk {self.path.name} {self.state}>"

    @property
    def is_due(self) -> bool:
        """Whether it has failed and its pause is over."""
        return self.state != "open" and self._pause is not None and self.now >= self._pause.over_at

    def open(self) -> None:
        """Open the file for the first time; closed again at once if `abandon` was called meanwhile.

        Raises:
            ConfigError: it belongs to another program.
        """
        with self._turn:
            try:
                self._adopt(open_files(self.path))
            except MismatchError as exc:
                raise ConfigError(str(exc)) from None
        if self._is_closed:
            self.close()

    def abandon(self) -> None:
        """Nobody waits any more for the opening, which may hang.  Does not wait for it either."""
        self._is_closed = True
        if self._turn.acquire(blocking=False):  # it was over; else it finds what was just set
            self._files.close()
            self._turn.release()

    def open_anew(self) -> None:
        """Try again; in the thread that writes."""
        if self._files.reader is not None and not self._suspect and self._opened_for_writing():
            return
        with self._turn:
            self._is_opening = True
            try:
                self._files.close()
                self._adopt(open_files(self.path, suspect=self._suspect))
            except MismatchError as exc:
                self._fail(exc, "off")
            finally:
                self._is_opening = False

    def _opened_for_writing(self) -> bool:
        """Whether that was all there was to do: reading goes on while it is tried."""
        try:
            files = open_for_writing(self.path)
        except (DamagedError, OutdatedError):
            return False
        except StorageError as exc:
            with self._turn:
                self._fail(exc, "read_only" if self._files.reader is not None else "off")
            return True
        with self._turn:
            self._files.close()
            self._adopt(files)
        return True

    def _adopt(self, files: Files) -> None:
        self._files = files
        if files.aside is not None and files.damage is not None:
            self.set_aside += (str(files.aside),)
            logger.warning(
                "%s; it was set aside as %s and a fresh one begun; look into it or remove it",
                what_happened(files.damage),
                files.aside,
            )
            self._failing = None  # the warning says that it is over
            self._told.clear()
        if files.trouble is not None:
            self._fail(files.trouble, "read_only" if files.reader is not None else "off")
            return
        self.state, self.reason, self._suspect = "open", None, False
        self._inode, self._opened_at = self._inode_there(), self.now

    def _fail(self, exc: StorageError, state: DurableState, failing: Doing = "writing") -> None:
        """Say so once for each kind of trouble, until what failed has worked, or it was open for a while."""
        if has_worked(self._opened_at, now=self.now):
            self._told.clear()
        self._pause = pause_after(self._pause, opened_at=self._opened_at, now=self.now)
        self._opened_at = None
        self.state, self.reason = state, str(exc)
        again = f"it is tried again in {self._pause.pause_s:g} s"
        self._say_once(exc, f"{WHAT_GOES_ON[state]}; {again}", failing)

    def _say_once(self, exc: StorageError, meanwhile: str, failing: Doing) -> None:
        self._failing = failing if self._failing is None else self._failing
        if type(exc) not in self._told:
            self._told.add(type(exc))
            logger.warning("%s; %s", exc, meanwhile)

    def _works(self) -> None:
        """What failed has worked: who was warned learns of it at the same level, and the next trouble is a new one.

        That the file could be opened is no proof: the next answer may be too much for the disk.
        """
        self._failing = None
        self._told.clear()
        logger.warning("%s %s: works again", FORMAT.what, self.path)

    # ------------------------------------------------------------------------------------------------------- reading

    def read(self, ask: Callable[[sqlite3.Connection], T]) -> T | None:
        """What `ask` finds, as of one moment; None when the file cannot be read now."""
        if self._is_opening or not self._turn.acquire(timeout=TURN_S):
            return None
        try:
            if self._files.reader is None or self._is_closed:
                return None
            with translated(FORMAT.what, self.path):
                found = one_moment(self._files.reader, ask)
            if self._failing == "reading":
                self._works()
            return found
        except LockedError as exc:  # another process repairs its log: over soon
            self._say_once(exc, "requests are answered without it meanwhile", "reading")
        except StorageError as exc:
            self._suspect = self._suspect or isinstance(exc, DamagedError)
            self._files.close_reader()
            self._fail(exc, "off", "reading")
        finally:
            if self._is_closed:  # while this look took longer than the end has waited for
                self._files.close_reader()
            self._turn.release()
        return None

    # ------------------------------------------------------------------------------------------------------- writing

    def write(self, change: Callable[[sqlite3.Connection], T], *, tries: int) -> T:
        """Let `change` work in a transaction of its own, all or nothing; in the thread that writes.

        Raises:
            LockedError: somebody else wrote for as long as `tries` attempts took; the tier goes on.
            StorageError: nothing more is written before it is opened anew.
        """
        writer = self._files.writer
        if writer is None:
            raise StorageError(self.reason or f"{FORMAT.what} {self.path}: closed")
        try:
            with translated(FORMAT.what, self.path):
                result = _transaction(writer, change, tries)
        except LockedError as exc:
            self._say_once(exc, "answers wait until they can be written", "writing")
            raise
        except StorageError as exc:
            self._stop_writing(exc)
            raise
        if self._failing is not None:
            with self._turn:
                if self._failing is not None and self.state == "open":  # not if reading has failed meanwhile
                    self._works()
        return result

    def _stop_writing(self, exc: StorageError) -> None:
        with self._turn:
            self._suspect = self._suspect or isinstance(exc, DamagedError)
            self._files.close_writer()
            self._fail(exc, "read_only" if self._files.reader is not None else "off")

    def has_gone(self) -> bool:
        """Whether the path leads to another file, or to none, while this one is open: what is written would be lost."""
        return self._files.writer is not None and self._inode_there() != self._inode

    def follow(self) -> None:
        """Open what is at the path now; in the thread that writes."""
        logger.warning(
            "%s %s: was removed or replaced while in use; what is there now is used; stop the engine first, or use"
            " `synth-actors cache clear`",
            FORMAT.what,
            self.path,
        )
        with self._turn:
            self._files.close()
        self.open_anew()

    def _inode_there(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def close(self) -> None:
        """Nothing is open after it, unless the reader hangs: what it uses is closed when it comes back."""
        self._is_closed = True  # first: a reader that does not see it gives up its turn in time
        if self._turn.acquire(timeout=TURN_S):
            self._files.close()
            self._turn.release()
        else:
            self._files.close_writer()
        self.state = "off"
        self.reason = self.reason or f"{FORMAT.what} {self.path}: closed"


def _transaction(writer: sqlite3.Connection, change: Callable[[sqlite3.Connection], T], tries: int) -> T:
    _begin(writer, tries)
    try:
        result = change(writer)
        writer.execute("COMMIT")
    except BaseException:
        if writer.in_transaction:
            writer.execute("ROLLBACK")
        raise
    return result


def _begin(writer: sqlite3.Connection, tries: int) -> None:
    for left in reversed(range(tries)):
        try:
            writer.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or not left:
                raise
        else:
            return
