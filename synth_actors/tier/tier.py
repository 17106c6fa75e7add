"""How does an actor ask and tell the durable tier without ever waiting for the disk?

async with open_tier(path, ttl_s=3600.0, max_file_bytes=2**30) as tier:
    [found] = await tier.fetch([key], ["anthropic|claude-haiku-5-5|"])
    tier.post(kept)
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from synth_actors.errors import ConfigError
from synth_actors.snapshot import DurableSnapshot, DurableState
from synth_actors.storage.files import real
from synth_actors.tier.disk import Disk
from synth_actors.tier.opening import check_place
from synth_actors.tier.posted import Posted
from synth_actors.tier.reader import TierReader
from synth_actors.tier.reading import Look
from synth_actors.tier.rows import FORMAT, Found, Kept, size_of
from synth_actors.tier.writer import MOST_QUEUED_BYTES, Bounds, TierWriter

logger = logging.getLogger("synth_actors")

CLOSING_S = 2.0
"""How long the end waits for what was posted; in seconds of the clock on the wall, whatever trio's clock does."""
PATIENCE_S = 5.0
"""How long a fetch waits for a disk that does not answer; likewise."""


class Tier:
    """An open tier.  `fetch` and `post` belong to one task, and neither raises for what the disk does."""

    def __init__(self, disk: Disk, reader: TierReader, writer: TierWriter, bounds: Bounds) -> None:
        self._disk = disk
        self._reader = reader
        self._writer = writer
        self._bounds = bounds
        self._one_thread = trio.CapacityLimiter(1)  # its own: a program may keep all of trio's threads busy
        self._posted = Posted()
        self._dropped = 0
        self._hits = self._misses = self._stale = self._unread = self._damaged_rows = 0
        self._asked_anew_at = float("-inf")
        self._said_queue = self._is_ending = False

    def __repr__(self) -> str:
        return f"<Tier {self._disk.path.name} {self._state} queued={self._posted.count - self._writer.settled}>"

    @property
    def _state(self) -> DurableState:
        return self._disk.state if self._reader.reason is None else "hung"

    async def fetch(self, keys: Sequence[bytes], identities: Sequence[str]) -> list[Found | None]:
        """For each of `keys` the answer of the first of `identities` that is fresh, None where there is none.

        One hop to a thread for all of them, and a bounded wait.  What is posted and not written yet is found, too.
        """
        self._look_at_disk()
        self._posted.settle(self._writer.settled)  # first: what has left here is in the file for who reads from now on
        posted = self._posted.among(keys, identities)
        look = Look(self._bounds.wall(), self._bounds.ttl_s, posted)
        if await self._is_read(look, keys, identities):
            self._count(look)
            return look.found
        without = Look(look.now, look.ttl_s, posted)  # a thread that hangs may still work on the other
        without.look(None, keys, identities)
        self._hits += without.hits
        self._unread += len(keys) - without.hits
        return without.found

    async def _is_read(self, look: Look, keys: Sequence[bytes], identities: Sequence[str]) -> bool:
        """Whether the file could be read."""
        if self._disk.state == "off" or not self._reader.look_again():
            await trio.lowlevel.checkpoint()
            return False

        def ask(connection: sqlite3.Connection) -> bool:
            look.look(connection, keys, identities)
            return True

        return bool(await self._reader.ask(ask))

    def _count(self, look: Look) -> None:
        self._hits += look.hits
        self._misses += look.misses
        self._stale += look.stale
        if look.wrong and not self._damaged_rows:
            logger.warning(
                "%s %s: a row is not what was written; it is not served but deleted, as others like it will be; look at"
                " the disk, and with `synth-actors cache verify` at the file",
                FORMAT.what,
                self._disk.path,
            )
        self._damaged_rows += len(look.wrong)
        if look.used or look.wrong:
            self._writer.note(look.used, look.wrong)

    def post(self, kept: Kept) -> None:
        """Have `kept` written, soon, in a thread; dropped and counted when that cannot be or too much is queued."""
        self._look_at_disk()
        size_bytes = size_of(kept)
        self._posted.settle(self._writer.settled)
        if self._disk.state != "open" or self._is_ending:
            self._dropped += 1
        elif self._queued_bytes + size_bytes > MOST_QUEUED_BYTES:
            self._dropped += 1
            self._say_queue()
        else:
            self._posted.add(kept, size_bytes)
            self._writer.put(kept, size_bytes)

    @property
    def _queued_bytes(self) -> int:
        return self._posted.size_bytes - self._writer.settled_bytes

    async def flush(self) -> None:
        """Return when everything that was posted before is in the file or dropped."""
        await trio.to_thread.run_sync(self._writer.wait, limiter=self._one_thread)

    def _say_queue(self) -> None:
        if not self._said_queue:
            self._said_queue = True
            logger.warning(
                "%s %s: the disk takes answers more slowly than they come, and some are not kept; choose a path on a"
                " faster disk",
                FORMAT.what,
                self._disk.path,
            )

    def _look_at_disk(self) -> None:
        """Tell it what time it is; once its pause is over, have it opened anew."""
        self._disk.now = now = trio.current_time()
        if self._disk.is_due and now - self._asked_anew_at >= 1.0:
            self._asked_anew_at = now
            self._writer.wake()

    def statistics(self) -> DurableSnapshot:
        """What it has done so far, and how it is."""
        writer, disk = self._writer, self._disk
        self._posted.settle(writer.settled)  # also when nobody asks or posts any more, nothing is held for long
        return DurableSnapshot(
            path=str(disk.path),
            state=self._state,
            reason=self._reader.reason or disk.reason,
            hits=self._hits,
            misses=self._misses,
            stale=self._stale,
            unread=self._unread,
            written=writer.written,
            dropped=self._dropped + writer.dropped,
            queued=self._posted.count - writer.settled,
            queued_bytes=self._queued_bytes,
            evicted=writer.evicted,
            damaged_rows=self._damaged_rows,
            used_bytes=writer.used_bytes,
            set_aside=disk.set_aside,
        )

    def _end(self) -> None:
        """Write what is queued; blocks for at most `CLOSING_S`."""
        self._reader.end()
        has_ended = self._writer.end(CLOSING_S)
        if not has_ended and (left := self._posted.count - self._writer.settled):
            logger.warning(
                "%s %s: %d answers were not written within %g s and may be lost; choose a path on a faster disk",
                FORMAT.what,
                self._disk.path,
                left,
                CLOSING_S,
            )


@asynccontextmanager
@trio.lowlevel.enable_ki_protection  # of the opening and the end; the body is the caller's
async def open_tier(
    path: str | os.PathLike[str],
    *,
    ttl_s: float | None,
    max_file_bytes: int,
    wall: Callable[[], float] = lambda: time.time(),
    patience_s: float = PATIENCE_S,
) -> AsyncIterator[Tier]:
    """The durable tier in the file `path`, made when it is not there; several processes may share it.

    An answer is served for `ttl_s` seconds after it was stored, by the clock `wall` (Unix seconds); None: at any age,
    but never before it was stored.  Above `max_file_bytes` the least recently used answers go.  A damaged or outdated
    file is set aside; whatever else is wrong with the disk is logged once and stands in `statistics()`.

    A fetch waits for at most `patience_s` real seconds; then nothing is asked of the file until the disk has answered.
    At the end what was posted is written, for at most two seconds.

    Raises:
        ConfigError: the path is no place for a file, or holds one of another program, which was not touched.
    """
    if (wrong := check_place(path)) is not None:
        raise ConfigError(f"{FORMAT.what} path={os.fspath(path)!r}: {wrong}")
    bounds = Bounds(ttl_s, max_file_bytes, wall)
    disk = Disk(real(Path(path)))
    disk.now = trio.current_time()
    reader, writer = TierReader(disk, patience_s), TierWriter(disk, bounds)
    try:
        await trio.to_thread.run_sync(disk.open, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
    except ConfigError as exc:
        disk.abandon()
        raise exc.with_traceback(None) from None  # what it went through in its thread helps nobody
    except BaseException:
        disk.abandon()
        raise
    try:
        reader.start()
        writer.start()
    except BaseException:
        reader.end()
        disk.close()
        raise
    tier = Tier(disk, reader, writer, bounds)
    try:
        yield tier
    finally:
        tier._is_ending = True
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(tier._end, limiter=trio.CapacityLimiter(1))
