"""How do many tasks write into one SQLite file without waiting for each other, or losing what they were told is safe?

    JOURNAL = Format(what="journal", application_id=7, version=1, script=("CREATE TABLE call (id INTEGER, body BLOB)",))

    async with open_store(path, JOURNAL) as store:
        await store.write("INSERT INTO call VALUES (?, ?)", (1, lambda: zlib.compress(text)))   # returns when committed
        rows = await store.read(lambda connection: connection.execute("SELECT id FROM call").fetchall())

Tasks queue statements; one thread writes what is queued as one transaction (`writer.py`) and comes back once a batch.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

import trio

from synth_actors.storage.errors import StorageError
from synth_actors.storage.files import Lock, Reserve, beside, is_in_use, real
from synth_actors.storage.opening import (
    Durability,
    Format,
    one_moment,
    open_reader,
    open_writer,
    read_store,
    translated,
)
from synth_actors.storage.writer import Batch, Item, Parameters, Statement, Writer

__all__ = ["Durability", "Format", "Store", "is_in_use", "open_store", "read_store"]

T = TypeVar("T")


class _Write(Item):
    """An item and the task that waits for it, None when that one has left."""

    __slots__ = ("task",)

    def __init__(self, statements: Sequence[Statement], *, posted: bool) -> None:
        super().__init__(statements, posted=posted)
        self.task: trio.lowlevel.Task | None = None


class _Files:
    """All that a store holds open; blocks."""

    def __init__(
        self, path: Path, form: Format, *, durability: Durability, exclusive: bool, reserve_bytes: int
    ) -> None:
        self.path = real(path)
        self.what = form.what
        self._open = ExitStack()
        with ExitStack() as opening:
            lock = Lock(self.path, what=form.what, exclusive=exclusive)
            opening.callback(lock.release, beside(self.path, "reserve"))
            self.writer = open_writer(self.path, form, durability)
            opening.callback(self.writer.close)
            self.reader = open_reader(self.path, form)
            opening.callback(self.reader.close)
            self.reserve = Reserve(self.path, reserve_bytes)
            self._open = opening.pop_all()

    def close(self) -> None:
        """The connections first: without the lock nobody may be writing any more."""
        self._open.close()


class Store:
    """An open store.  Statements are written in the order in which they were given, whoever gave them.

    They change rows; `BEGIN`, `COMMIT` and the like are the store's own business.

    broken  why nothing more is written, None as long as all is well
    full    whether the disk was full once, or too full for the reserve: what is under way may need what room is left,
            so begin nothing new
    queued  statements that were given and are not settled yet
    commits transactions so far
    """

    def __init__(self, files: _Files) -> None:
        self.path = files.path
        self.broken: StorageError | None = None
        self.full = not files.reserve.is_there  # with reserve_bytes=0 there is nothing to miss
        self.queued = 0
        self.commits = 0
        self._what = files.what
        self._files = files
        self._one_thread = trio.CapacityLimiter(1)  # reads wait for each other, and the end waits for the reads
        self._closed = False
        self._told = False
        self._trio = trio.lowlevel.current_trio_token()
        self._writer: Writer[_Write] = Writer(files.writer, files.path, files.what, files.reserve, self._report)
        self._writer.start()

    async def write(self, sql: str, parameters: Parameters = ()) -> None:
        """Write one statement; returns when it is committed.

        Cancelled, the task leaves at once and the statement is written all the same.

        Raises:
            StatementError: this statement was refused; the store goes on.
            StorageError: the store cannot write (any more): `FullError`, `DamagedError`, ...
        """
        await self._settled(_Write(((sql, parameters),), posted=False))

    async def write_all(self, statements: Sequence[Statement]) -> None:
        """Write all `statements` or none, as `write` does with one."""
        await self._settled(_Write(tuple(statements), posted=False))

    def post(self, sql: str, parameters: Parameters = ()) -> None:
        """Queue one statement and go on.  If it fails the store is `broken`, and what was given later fails, too.

        Raises:
            StorageError: the store is broken already.
        """
        self._put(_Write(((sql, parameters),), posted=True))

    async def flush(self) -> None:
        """Return when everything that was given before is committed.

        Raises:
            StorageError: the store is broken, so that some of it may not be.
        """
        await self._settled(_Write((), posted=False))

    async def read(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        """What `ask` finds, in a thread, as of one moment; sees all that was committed before.

        `ask` returns values, no cursors, and cannot change anything.  A cancelled task leaves when `ask` has returned.

        Raises:
            StorageError: the store cannot be read.
        """
        return await trio.to_thread.run_sync(self._read, ask, limiter=self._one_thread)

    def _read(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise trio.ClosedResourceError(f"{self._what} {self.path}: closed")
        with translated(self._what, self.path):
            return one_moment(self._files.reader, ask)

    def _put(self, item: _Write) -> None:
        if self._closed:
            raise trio.ClosedResourceError(f"{self._what} {self.path}: closed")
        if self.broken is not None:
            self._told = True
            raise self.broken.again()
        self.queued += len(item.statements)
        self._writer.put(item)

    async def _settled(self, item: _Write) -> None:
        self._put(item)

        def leave(_: object) -> trio.lowlevel.Abort:
            item.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        # The writer's answer comes through the trio loop, so never before this task sleeps.
        item.task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(leave)
        if item.error is not None:
            self._told = self._told or self.broken is not None
            raise item.error

    def _report(self, batch: Batch[_Write]) -> None:
        """In the writer's thread: one hop into the trio loop for the whole batch."""
        with suppress(trio.RunFinishedError):  # the loop crashed; what was given is written all the same
            self._trio.run_sync_soon(self._settle, batch)

    def _settle(self, batch: Batch[_Write]) -> None:
        self.broken, self.full = batch.broken, self.full or batch.full
        self.commits += batch.commits
        for item in batch.items:
            self.queued -= len(item.statements)
            if item.task is not None:
                trio.lowlevel.reschedule(item.task)
                item.task = None

    async def _close(self) -> None:
        """Everything given is settled, and the thread has ended, when this returns."""
        with trio.CancelScope(shield=True):
            self._closed = True
            await trio.to_thread.run_sync(self._end, limiter=self._one_thread)

    def _end(self) -> None:
        self._files.reader.close()  # before the log is moved into the database, so that nothing reads it
        self._writer.end()
        self._files.close()

    def __repr__(self) -> str:
        state = "broken" if self.broken else "full" if self.full else "closed" if self._closed else "open"
        return f"<Store {self.path.name} {state} queued={self.queued} commits={self.commits}>"


@asynccontextmanager
@trio.lowlevel.enable_ki_protection  # of the opening and the end; the body is the caller's
async def open_store(
    path: Path,
    form: Format,
    *,
    durability: Durability = "process",
    exclusive: bool = True,
    reserve_bytes: int = 2**20,
) -> AsyncIterator[Store]:
    """The store at `path`, made when it is not there (its folder must be), checked when it is.

    What was committed survives the end of this process, however it comes, with `durability="process"`; also a power cut
    with `"power"`, which waits for the disk at each commit.  `exclusive` keeps everybody else from opening it for
    writing; without it, processes write in turn.  `reserve_bytes` of disk are kept for what must still be written when
    the disk is full (`Store.full`).

    At the end all that was given is written, also after an exception or cancellation; and if something posted could not
    be, and nobody was told so far, that is raised unless the body raised.

    Raises:
        DamagedError: the file is no database, or not a whole one.
        MismatchError: it is another program's, or in another format.
        LockedError: somebody else has it open.
        ReadOnlyError, FullError: it cannot be written.
    """
    if reserve_bytes < 0:
        raise ValueError(f"reserve_bytes={reserve_bytes}: give 0 or more")

    def opened() -> _Files:
        return _Files(path, form, durability=durability, exclusive=exclusive, reserve_bytes=reserve_bytes)

    files = await trio.to_thread.run_sync(opened)
    try:
        store = Store(files)
    except BaseException:
        files.close()
        raise
    try:
        yield store
    finally:
        await store._close()
    if store.broken is not None and not store._told:
        raise store.broken.again()
