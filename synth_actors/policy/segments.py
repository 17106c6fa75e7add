"""Where do the values lie, and which memory can be given back?

Values are appended to segments, and what is given back is a whole segment: that memory really returns to the system,
whereas freed objects mostly leave holes in a heap that stays as large.  What goes from the middle of a segment leaves
dead bytes.  When too many are dead, the segment with the most of them is emptied: what lives in it is copied to another
one.  Log-structured memory: Rumble, Kejriwal, Ousterhout, "Log-structured Memory for DRAM-based Storage", FAST 2014.
What was copied out is written to a segment of its own kind, apart from new values, as there: it has lived for a while
and will live on, and so its segments stay full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from mmap import PAGESIZE
from typing import Final

from synth_actors.policy.cache_entry import Entry, Memory, Segment, in_pages

SEGMENT_BYTES: Final = 2**20
"""Large enough that mapping costs nothing beside the values, small enough to be emptied in a few turns."""

SEGMENTS_AT_LEAST: Final = 16
"""A small cache is divided into so many segments; with fewer, one of them would be too much to give back."""

COPIED_IN_A_TOUCH: Final = 2**13
RELEASED_IN_A_TOUCH: Final = 2**16
"""Bytes that are copied, or given back to the system, in the time in which an entry is touched: about 5 us."""

DEAD_SHARE: Final = 0.2
"""The share of the written bytes that may be dead.  More saves copying, less saves memory."""


Allocate = Callable[[int], Memory]
"""Gives that many bytes; raises MemoryError or OSError when there are none."""


def touches_to_copy(size_bytes: int) -> int:
    """As how many entries that are touched an entry counts whose value is copied."""
    return 1 + size_bytes // COPIED_IN_A_TOUCH


def touches_to_release(size_bytes: int) -> int:
    """As how many an entry counts that goes."""
    return 1 + size_bytes // RELEASED_IN_A_TOUCH


class Segments:
    """The values of a cache of at most `max_bytes`, in memory from `allocate`.

    `live_bytes` is the sum of the values, `written_bytes` that and what is dead between them, `resident_bytes` the
    pages that all of it occupies.
    """

    def __init__(self, max_bytes: int, allocate: Allocate) -> None:
        pages = min(SEGMENT_BYTES, max_bytes // SEGMENTS_AT_LEAST) // PAGESIZE
        self.segment_bytes = max(1, pages) * PAGESIZE
        self.live_bytes = self.written_bytes = self.resident_bytes = 0
        self._allocate = allocate
        self._all: dict[Segment, None] = {}  # in the order of their allocation
        self._fresh: Segment | None = None  # new values go here
        self._survivors: Segment | None = None  # and here what was copied out of others

    def add(self, entry: Entry, value: bytes) -> None:
        """Keep the value of an entry that has none.  Raises MemoryError when the system has none; nothing changes."""
        segment = self._fresh
        if segment is None or not segment.has_room(len(value)):
            segment = self._open(len(value))
            if segment.size_bytes == self.segment_bytes:
                self._fresh = segment
        self._write(segment, entry, value)

    def move(self, entry: Entry) -> None:
        """Copy the value out of its segment, which is given back if it was the last one there.  Raises as `add`."""
        value = self.read(entry)
        segment = self._survivors
        if segment is None or segment is entry.segment or not segment.has_room(len(value)):
            segment = self._open(len(value))
            if segment.size_bytes == self.segment_bytes:
                self._survivors = segment
        self.remove(entry)
        self._write(segment, entry, value)

    def read(self, entry: Entry) -> bytes:
        """The value of an entry: bytes of the caller's own.  Raises LookupError when the entry has gone."""
        segment = entry.segment
        if segment is None:
            raise LookupError(f"{entry!r} has gone from the cache: read its value in the turn that looked it up")
        start = entry.offset
        return bytes(segment.memory[start : start + entry.value_bytes])

    def remove(self, entry: Entry) -> None:
        """Forget the value of an entry; its segment is given back if it was the last one there."""
        segment = entry.segment
        assert segment is not None, f"{entry!r} was removed before"
        entry.segment = None
        last = segment.entries.pop()
        if last is not entry:
            segment.entries[entry.slot] = last
            last.slot = entry.slot
        size_bytes = entry.value_bytes
        segment.live_bytes -= size_bytes
        self.live_bytes -= size_bytes
        if not segment.entries:
            self._release(segment)

    def clear(self) -> None:
        """Give everything back."""
        for segment in tuple(self._all):
            for entry in segment.entries:
                entry.segment = None
            self.live_bytes -= segment.live_bytes
            segment.live_bytes = 0
            segment.entries.clear()
            self._release(segment)

    def seal(self, segment: Segment) -> None:
        """Write no more to `segment`: it is about to be emptied."""
        if segment is self._fresh:
            self._fresh = None
        if segment is self._survivors:
            self._survivors = None

    @property
    def dead_bytes(self) -> int:
        """What was written and nobody has any more."""
        return self.written_bytes - self.live_bytes

    @property
    def is_littered(self) -> bool:
        """Whether more is dead than may be: more than the share, and more than one segment."""
        dead = self.written_bytes - self.live_bytes
        return dead > self.segment_bytes and dead > DEAD_SHARE * self.written_bytes

    def most_dead(self) -> Segment:
        """The segment that gives back most when it is emptied."""
        return max(self._all, key=lambda segment: segment.written_bytes - segment.live_bytes)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __repr__(self) -> str:
        return (
            f"<Segments {len(self)} of {self.segment_bytes} bytes, live {self.live_bytes}/{self.written_bytes} bytes>"
        )

    def _open(self, value_bytes: int) -> Segment:
        """A segment with room for the value, of its own if the value is larger than segments are."""
        size_bytes = max(self.segment_bytes, in_pages(value_bytes))
        try:
            memory = self._allocate(size_bytes)
        except OSError as error:  # mmap says so
            raise MemoryError(f"no memory for {size_bytes} bytes of cached values") from error
        segment = Segment(memory, size_bytes)
        self._all[segment] = None
        return segment

    def _write(self, segment: Segment, entry: Entry, value: bytes) -> None:
        start, size_bytes = segment.written_bytes, len(value)
        resident = segment.resident_bytes
        segment.memory[start : start + size_bytes] = value
        entry.segment, entry.offset, entry.slot = segment, start, len(segment.entries)
        segment.entries.append(entry)
        segment.written_bytes = start + size_bytes
        segment.live_bytes += size_bytes
        self.written_bytes += size_bytes
        self.live_bytes += size_bytes
        self.resident_bytes += segment.resident_bytes - resident

    def _release(self, segment: Segment) -> None:
        del self._all[segment]
        self.seal(segment)
        self.written_bytes -= segment.written_bytes
        self.resident_bytes -= segment.resident_bytes
        memory, segment.memory = segment.memory, b""  # type: ignore[assignment]  # nobody reads or writes it any more
        if (close := getattr(memory, "close", None)) is not None:
            close()
