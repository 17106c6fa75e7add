"""In which order is what was posted written, by whom, and what is dropped?

One thread takes all that is queued, up to a bounded portion, and writes it as one transaction; while it does, the next
portion gathers.  It also notes uses, deletes wrong rows and opens a failed file anew, whenever it is woken.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from synth_actors.storage.errors import LockedError, StorageError
from synth_actors.tier import writing
from synth_actors.tier.disk import Disk
from synth_actors.tier.rows import FORMAT, Kept, Stored, encode

logger = logging.getLogger("synth_actors")

MOST_QUEUED_BYTES = 32 * 2**20
MOST_ROWS = 256
MOST_BYTES = 2**20
"""What one transaction writes, unless one answer alone is larger."""
MOST_CHORES = 10_000
"""Uses, and wrong rows, that wait to be written down; more are forgotten: they come again with the next hit."""
CHORES_TO_WAKE = 500
TRIES = 40
"""Attempts, of a quarter of a second each, to begin writing before the others that write are called a trouble."""
TRIES_AT_THE_END = 4
LOCKED_PAUSE_S = 1.0
LOOK_UP_S = 0.25
LARGEST_SHARE = 0.25
"""An answer that would take more of `max_file_bytes` is not kept: it would drive out everything else."""

T = TypeVar("T")


@dataclass(slots=True)
class _Portion:
    """Rows for one transaction; `posted` answers, of `size_bytes` in the queue, with those that cannot be written.

    All of it is settled at once, so that answers are settled in the order in which they were posted.
    """

    rows: list[Stored] = field(default_factory=list)
    posted: int = 0
    size_bytes: int = 0
    waiting: list[threading.Event] = field(default_factory=list)
    """Of those who want to know when all that was queued before is settled."""

    @property
    def is_full(self) -> bool:
        return self.posted >= MOST_ROWS or self.size_bytes >= MOST_BYTES


@dataclass(frozen=True, slots=True)
class Bounds:
    """How old rows get (seconds; None: any age) and how large the file (bytes); `wall` tells Unix seconds."""

    ttl_s: float | None
    max_file_bytes: int
    wall: Callable[[], float]


class TierWriter:
    """The thread that writes.

    Its counters are its own, so that no two threads add to one; `settled` and `settled_bytes` are what has left the
    queue, written or not.
    """

    def __init__(self, disk: Disk, bounds: Bounds) -> None:
        self.written = self.dropped = self.evicted = 0
        self.settled = self.settled_bytes = self.used_bytes = 0
        self._disk = disk
        self._bounds = bounds
        self._queue: queue.SimpleQueue[tuple[Kept, int] | threading.Event] = queue.SimpleQueue()
        self._uses: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._wrong: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
        self._left: _Portion | None = None
        self._ending = False
        self._said: set[str] = set()
        # A daemon: a disk that hangs must not keep the program from ending, and a killed transaction did not happen.
        self._thread = threading.Thread(target=self._run, name=f"{FORMAT.what} {disk.path.name}", daemon=True)

    def start(self) -> None:
        """Begin.  Raises `RuntimeError` when the system has no thread left."""
        self._thread.start()

    def put(self, kept: Kept, size_bytes: int) -> None:
        """Queue an answer."""
        self._queue.put((kept, size_bytes))

    def wake(self) -> threading.Event:
        """Look whether something is to be done; the event is set when all that was queued before is settled."""
        settled = threading.Event()
        self._queue.put(settled)
        return settled

    def wait(self) -> None:
        """Block until all that was queued before is settled, or the thread has ended."""
        settled = self.wake()
        while self._thread.is_alive() and not settled.wait(LOOK_UP_S):
            pass

    def note(self, uses: list[int], wrong: list[tuple[int, bytes]]) -> None:
        """What a look in the file has shown; from the thread that reads."""
        if self._uses.qsize() + len(uses) <= MOST_CHORES:
            for use in uses:
                self._uses.put(use)
        if self._wrong.qsize() + len(wrong) <= MOST_CHORES:
            for row in wrong:
                self._wrong.put(row)
        if wrong or (uses and self._uses.qsize() >= CHORES_TO_WAKE):
            self.wake()

    def end(self, patience_s: float) -> bool:
        """Write what is queued and close the file; False when that takes longer than `patience_s`.  Blocks."""
        self._ending = True
        self.wake()
        self._thread.join(patience_s)
        return not self._thread.is_alive()

    # ----------------------------------------------------------------------------------------------------- the thread

    def _run(self) -> None:
        try:
            while True:
                portion = self._take()
                if self._disk.is_due and not self._ending:
                    self._disk.open_anew()
                elif self._disk.has_gone():
                    self._disk.follow()
                self._keep(portion)
                if self._ending and self._left is None and self._queue.empty():  # now, not before the writing
                    return
        finally:
            self._disk.close()

    def _take(self) -> _Portion:
        """What to write next; waits for the first."""
        is_left, portion, self._left = self._left is not None, self._left or _Portion(), None
        try:
            item = self._queue.get(timeout=LOCKED_PAUSE_S if is_left else None)
            while True:
                if isinstance(item, threading.Event):
                    portion.waiting.append(item)
                else:
                    self._add(portion, *item)
                if portion.is_full:
                    return portion
                item = self._queue.get_nowait()
        except queue.Empty:
            return portion

    def _add(self, portion: _Portion, kept: Kept, size_bytes: int) -> None:
        portion.posted += 1
        portion.size_bytes += size_bytes
        if (row := self._row(kept, self._bounds.wall())) is not None:
            portion.rows.append(row)

    def _keep(self, portion: _Portion) -> None:
        if not self._is_settled(portion):
            self._left = portion
            return
        self.settled += portion.posted
        self.settled_bytes += portion.size_bytes
        for settled in portion.waiting:
            settled.set()

    def _is_settled(self, portion: _Portion) -> bool:
        """Whether `portion` is written or dropped; false when it waits for somebody else who writes, or went astray."""
        change = _Change(portion.rows, _drain(self._uses), _drain(self._wrong), self._bounds)
        if not change:
            return True
        if self._disk.state != "open":  # it failed after these were posted, and that was told
            self.dropped += len(portion.rows)
            return True
        try:
            self._disk.write(change.make, tries=TRIES_AT_THE_END if self._ending else TRIES)
        except LockedError:
            if not self._ending:
                return False
            self.dropped += len(portion.rows)
        except StorageError:
            self.dropped += len(portion.rows)
        else:
            if self._disk.has_gone():  # while it was written, and what was written with it
                return False
            self._count(change)
        return True

    def _count(self, change: _Change) -> None:
        self.written += len(change.rows)
        self.evicted += change.evicted
        self.used_bytes = change.used_bytes

    def _row(self, kept: Kept, now: float) -> Stored | None:
        try:
            row = encode(kept, used_at=now)
        except (ValueError, TypeError, AttributeError, OverflowError, struct.error) as exc:
            self._refuse("shape", f"an answer of {kept.endpoint!r} cannot be written ({exc})")
            return None
        most_bytes = int(LARGEST_SHARE * self._bounds.max_file_bytes)
        if (size_bytes := writing.size_of(row)) > most_bytes:
            self._refuse("size", f"an answer of {size_bytes:,} bytes is more than {most_bytes:,}; raise max_file_bytes")
            return None
        return row

    def _refuse(self, kind: str, text: str) -> None:
        self.dropped += 1
        if kind not in self._said:
            self._said.add(kind)
            logger.warning("%s %s: %s", FORMAT.what, self._disk.path, text)


@dataclass(slots=True)
class _Change:
    """One transaction; false when there is nothing to do.  Its figures hold when it is committed."""

    rows: list[Stored]
    uses: list[int]
    wrong: list[tuple[int, bytes]]
    bounds: Bounds
    evicted: int = 0
    used_bytes: int = 0

    def __bool__(self) -> bool:
        return bool(self.rows or self.uses or self.wrong)

    def make(self, connection: sqlite3.Connection) -> None:
        """Inside the transaction."""
        bounds, now = self.bounds, self.bounds.wall()
        writing.delete_wrong(connection, self.wrong)
        writing.note_use(connection, self.uses, now=now)
        room = writing.Room(bounds.max_file_bytes, now, bounds.ttl_s)
        self.evicted = writing.make_room(connection, sum(map(writing.size_of, self.rows)), room)
        writing.insert(connection, self.rows)
        self.evicted += writing.make_room(connection, 0, room)  # whole pages count
        self.used_bytes = writing.used_bytes(connection)


def _drain(waiting: queue.SimpleQueue[T]) -> list[T]:
    return [waiting.get() for _ in range(min(waiting.qsize(), CHORES_TO_WAKE))]
