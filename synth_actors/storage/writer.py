"""In which order and with which commits are statements written?

One thread owns the connection.  It takes all that is queued, writes it as one transaction and reports the batch; while
it does, the next batch gathers.  Nobody is told "committed" before COMMIT has returned.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from synth_actors.errors import text_of
from synth_actors.storage.errors import FullError, StatementError, StorageError, storage_error
from synth_actors.storage.files import Reserve

Value: TypeAlias = int | float | str | bytes | None
Parameters: TypeAlias = Sequence[Value | Callable[[], Value]]
"""A callable is asked in the writer's thread: that is where compressing and encoding belong."""
Statement: TypeAlias = tuple[str, Parameters]

MOST_STATEMENTS = 1000
"""What one transaction holds, unless one `write_all` alone has more."""
FAULTS = (
    *(sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH),
    *(sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_RANGE, sqlite3.SQLITE_MISUSE),
)
"""Result codes that are the fault of one statement: SQLite undoes that one, and the transaction goes on."""
LOOK_UP_S = 1.0
"""How often an idle writer looks whether its owner has ended without closing it."""


class Item:
    """Statements that are written together or not at all; `posted` means that nobody waits for them.

    `error` stays None until they failed; `committed` becomes true when they are in the store.
    """

    __slots__ = ("_bound", "committed", "error", "posted", "statements")

    def __init__(self, statements: Sequence[Statement], *, posted: bool) -> None:
        self.statements = statements
        self.posted = posted
        self.committed = False
        self.error: StorageError | None = None
        self._bound: list[tuple[str, list[Value]]] | None = None

    def bound(self) -> list[tuple[str, list[Value]]]:
        """The statements with plain values; the same ones when a batch is written a second time."""
        if self._bound is None:
            self._bound = [
                (sql, [value() if callable(value) else value for value in parameters])
                for sql, parameters in self.statements
            ]
        return self._bound


ItemT = TypeVar("ItemT", bound=Item)


class Batch(Generic[ItemT]):
    """What was taken together, and how that ended: every item is `committed` or has its `error`.

    `broken` is why nothing more is written, `full` whether the disk was full, `commits` how many it took.
    """

    __slots__ = ("broken", "commits", "full", "items")

    def __init__(self, items: list[ItemT]) -> None:
        self.items = items
        self.broken: StorageError | None = None
        self.full = False
        self.commits = 0


class Writer(Generic[ItemT]):
    """The thread; `report` is called in it once for each batch.

    It ends after `end()`, or when the thread that made it has ended: what was queued before is written in both cases.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        what: str,
        reserve: Reserve,
        report: Callable[[Batch[ItemT]], None],
    ) -> None:
        self._connection = connection
        self._path = path
        self._what = what
        self._reserve = reserve
        self._report = report
        self._queue: queue.SimpleQueue[ItemT | None] = queue.SimpleQueue()
        self._ending = False
        self._broken: StorageError | None = None
        self._full = False
        self._commits = 0
        self._owner = threading.current_thread()
        self._thread = threading.Thread(target=self._run, name=f"{what} {path.name}")

    def start(self) -> None:
        """Begin.  Raises `RuntimeError` when the system has no thread left."""
        self._thread.start()

    def put(self, item: ItemT) -> None:
        """Queue `item`."""
        self._queue.put(item)

    def end(self) -> None:
        """Write what is queued, move it from the log into the database, close the connection.  Blocks until then."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._ending:
                self._write(Batch(self._take()))
        finally:
            with suppress(sqlite3.Error):  # then PATH-wal stays, and the next opening takes it over
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            with suppress(sqlite3.Error):
                self._connection.close()

    def _take(self) -> list[ItemT]:
        """Everything that is queued, up to `MOST_STATEMENTS`; waits for the first."""
        items: list[ItemT] = []
        count = 0
        item = self._first()
        while item is not None:
            items.append(item)
            count += len(item.statements)
            if count >= MOST_STATEMENTS:
                return items
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return items
        self._ending = True
        return items

    def _first(self) -> ItemT | None:
        while True:
            try:
                return self._queue.get(timeout=LOOK_UP_S)
            except queue.Empty:
                # A trio loop that crashed closes nothing, and the interpreter waits for this thread before it ends.
                if not self._owner.is_alive():
                    return None

    def _write(self, batch: Batch[ItemT]) -> None:
        before = self._commits
        if self._broken is None:
            self._broken = self._try(batch.items)
        for item in batch.items:
            if self._broken is not None and not item.committed and item.error is None:
                item.error = self._broken.again()
        batch.broken, batch.full, batch.commits = self._broken, self._full, self._commits - before
        self._report(batch)

    def _try(self, items: Sequence[Item]) -> StorageError | None:
        """Write `items`; None, or why nothing more can be written."""
        try:
            try:
                return self._transaction(items)
            except FullError:
                return self._in_little_room(items)
        except StorageError as exc:
            return exc

    def _in_little_room(self, items: Sequence[Item]) -> StorageError | None:
        """As much of `items` as there is room for, in order: once together without the reserve, else one by one."""
        if not self._full:
            self._full = True
            self._reserve.release()
            with suppress(sqlite3.Error):  # what the log holds twice is room, too
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            with suppress(FullError):
                return self._transaction(items)
        for item in items:
            broken = self._transaction([item])
            if broken is not None:
                return broken
        return None

    def _transaction(self, items: Sequence[Item]) -> StorageError | None:
        """Write `items` with one COMMIT; the error of a posted one, which ends what comes after it.

        Raises:
            StorageError: none of them is committed (after a failed sync to disk they may be found there all the same).
        """
        failed: dict[Item, StorageError] = {}
        written: list[Item] = []
        broken: StorageError | None = None
        try:
            if any(item.statements for item in items):
                self._connection.execute("BEGIN IMMEDIATE")
            for item in items:
                error = self._apply(item)
                if error is None:
                    written.append(item)
                    continue
                failed[item] = error
                if item.posted:
                    broken = error
                    break
            if self._connection.in_transaction:
                self._connection.execute("COMMIT")
                self._commits += 1
        except BaseException as exc:  # whatever it is, those who wait are told: they would wait for ever
            self._roll_back()
            raise storage_error(exc, self._what, self._path) from exc
        for item in written:
            item.committed = True
        for item, error in failed.items():
            item.error = error
        return broken

    def _apply(self, item: Item) -> StorageError | None:
        """The statements of `item`, all or none; raises what ends the whole transaction."""
        try:
            bound = item.bound()
        except Exception as exc:  # noqa: BLE001  (whatever a value raises is told to the one whose value it is)
            return self._refused(exc)
        try:
            self._execute(bound)
        except Exception as exc:
            if not self._connection.in_transaction or getattr(exc, "sqlite_errorcode", 1) & 0xFF not in FAULTS:
                raise  # SQLite could not go on: no room, no memory, a page that cannot be read
            if len(bound) > 1:
                self._connection.execute("ROLLBACK TO item")
                self._connection.execute("RELEASE item")
            return self._refused(exc)
        return None

    def _execute(self, bound: list[tuple[str, list[Value]]]) -> None:
        if len(bound) > 1:
            self._connection.execute("SAVEPOINT item")
        for sql, values in bound:
            self._connection.execute(sql, values)
        if len(bound) > 1:
            self._connection.execute("RELEASE item")

    def _refused(self, exc: Exception) -> StatementError:
        reason = f"{type(exc).__name__}: {text_of(exc)}"
        error = StatementError(f"{self._what} {self._path}: refused ({reason}); nothing of this statement was kept")
        error.__cause__ = exc
        return error

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
