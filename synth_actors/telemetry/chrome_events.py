"""How do spans become a file that Perfetto, chrome://tracing and speedscope open?

The JSON object format of the Trace Event Format (Duffy et al., Google, 2016).  A `Group` is what the format calls a
process, and what viewers show as a part of the page that folds; its lanes are threads.  Spans of one lane must nest, so
a span has a lane to itself for as long as it lasts and is written as one complete event ("X") when it ends: nothing
can be unbalanced.  With more at once than `MOST_LANES`, the rest are pairs of nestable asynchronous events ("b", "e").
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping
from heapq import heappop, heappush
from pathlib import Path
from typing import BinaryIO

import orjson

MOST_LANES = 200
"""Of one group.  Viewers draw each in full."""
BLOCK_BYTES = 16 * 1024
"""Events are compressed so many bytes at a time: a few hundred microseconds of trio's thread."""
TIDS_PER_GROUP = 1000
"""Numbers of threads are different in all of the file, since some readers look at nothing else."""

Value = str | int | float | bool
Args = Mapping[str, Value]
Event = dict[str, object]


class EventLog:
    """Events of a trace, compressed as they come: 10 to 20 bytes each.  Times are whole microseconds since its start.

    Beyond `most_events` the newest are dropped, and counted.
    """

    def __init__(self, most_events: int) -> None:
        self.most_events = most_events
        self.events = 0
        self.dropped = 0
        self.is_closed = False  # nothing is added any more
        self.latest_us = 0
        self.groups: dict[str, Group] = {}
        self._open: dict[int, Span] = {}
        self._begun = 0
        self._pending = bytearray()
        self._compressor = zlib.compressobj(1)
        self._blocks: list[bytes] = []

    def group(self, name: str, order: int) -> Group:
        """The group of this name, made when it is asked for first; those of a low `order` come first."""
        found = self.groups.get(name)
        if found is None:
            found = self.groups[name] = Group(self, len(self.groups) + 1, name, order)
        return found

    def add(self, *events: Event) -> None:
        """All of `events`, or none when there is no room for them."""
        if self.is_closed:
            return
        if self.events + len(events) > self.most_events:
            self.dropped += len(events)
            return
        self.events += len(events)
        for event in events:
            self._pending += b",\n" + orjson.dumps(event)
        if len(self._pending) >= BLOCK_BYTES:
            self._blocks.append(self._compressor.compress(self._pending))
            self._pending.clear()

    def opened(self, span: Span) -> int:
        """Remember a span that has begun; its number."""
        self._begun += 1
        self._open[self._begun] = span
        return self._begun

    def closed(self, number: int) -> bool:
        """Whether a span was open; now it is not."""
        return self._open.pop(number, None) is not None

    def write(self, path: Path, about: Args) -> None:
        """The file of all so far, gzip-compressed when its name ends in `.gz`.

        What is still going on ends at the latest moment that is known, and has `unfinished` among its arguments.
        """
        unfinished = [event for span in self._open.values() for event in span.as_events(self.latest_us, True)]
        head = {"displayTimeUnit": "ms", "otherData": {**about, "droppedEvents": self.dropped}, "traceEvents": []}
        names = [event for group in self.groups.values() for event in group.named()]
        with gzip.open(path, "wb", 6) if path.suffix == ".gz" else path.open("wb") as file:
            file.write(orjson.dumps(head).removesuffix(b"]}") + b"\n")
            file.write(b",\n".join(map(orjson.dumps, names)))
            for block in self._uncompressed():
                file.write(block)
            _append(file, unfinished)
            if self.dropped:
                _append(file, [self._gap()])
            file.write(b"\n]}\n")

    def _uncompressed(self) -> Iterator[bytes]:
        rest = self._compressor.copy()
        decompressor = zlib.decompressobj()
        for block in (*self._blocks, rest.flush()):
            yield decompressor.decompress(block)
        yield bytes(self._pending)

    def _gap(self) -> Event:
        """So that who looks at the picture and not into the file sees it, too."""
        name = f"from here on {self.dropped} events were dropped: more than {self.most_events}"
        return {"ph": "i", "s": "g", "name": name, "pid": 1, "tid": TIDS_PER_GROUP, "ts": self.latest_us, "args": {}}

    def __repr__(self) -> str:
        return f"<EventLog events={self.events}/{self.most_events} dropped={self.dropped} open={len(self._open)}>"


def _append(file: BinaryIO | gzip.GzipFile, events: list[Event]) -> None:
    for event in events:
        file.write(b",\n" + orjson.dumps(event))


class Lane:
    """One row of a group: spans one after the other, the next not before `free_at_us`."""

    __slots__ = ("free_at_us", "index")

    def __init__(self, index: int) -> None:
        self.index = index
        self.free_at_us = 0


class Group:
    """An actor, or an endpoint: its lanes, its counters, its marks."""

    def __init__(self, log: EventLog, pid: int, name: str, order: int) -> None:
        self.log = log
        self.pid = pid
        self.name = plain(name)
        self.order = order
        self._lanes: list[Lane] = []
        self._free: list[int] = []  # a heap: the lowest row that nobody has

    def begin(self, name: str, start_us: int, args: Args) -> Span:
        """A span in a row that is free until it ends."""
        return Span(self, self.take(), True, name, start_us, args)

    def begin_in(self, lane: Lane | None, name: str, start_us: int, args: Args) -> Span:
        """A span in a row that is the caller's own."""
        return Span(self, lane, False, name, start_us, args)

    def take(self) -> Lane | None:
        """The first row that is free, a new one if need be; None when there are too many."""
        if self._free:
            return self._lanes[heappop(self._free)]
        if len(self._lanes) == MOST_LANES:
            return None
        self._lanes.append(Lane(len(self._lanes)))
        return self._lanes[-1]

    def give_back(self, lane: Lane) -> None:
        """The row is free again."""
        heappush(self._free, lane.index)

    def counter(self, name: str, at_us: int, values: Mapping[str, float]) -> None:
        """Curves that are drawn together, each by its name."""
        self.log.latest_us = max(self.log.latest_us, at_us)
        self.log.add({"ph": "C", "name": name, "pid": self.pid, "ts": at_us, "args": dict(values)})

    def mark(self, name: str, at_us: int, args: Args) -> None:
        """Something that happened at one moment."""
        event = {"ph": "i", "s": "p", "name": name, "pid": self.pid, "tid": self.tid(0), "ts": at_us, "args": args}
        self.log.add(event)

    def tid(self, lane: int) -> int:
        """The number of one of its threads."""
        return self.pid * TIDS_PER_GROUP + lane

    def named(self) -> Iterator[Event]:
        """What says its name, its place and those of its lanes."""
        yield self._about("process_name", 0, name=self.name)
        yield self._about("process_sort_index", 0, sort_index=self.order)
        for index in range(max(1, len(self._lanes))):
            yield self._about("thread_name", index, name=f"{self.name} {index + 1}" if index else self.name)
            yield self._about("thread_sort_index", index, sort_index=index)

    def _about(self, what: str, lane: int, **args: Value) -> Event:
        return {"ph": "M", "name": what, "pid": self.pid, "tid": self.tid(lane), "ts": 0, "args": args}

    def __repr__(self) -> str:
        return f"<Group {self.name} lanes={len(self._lanes)} free={len(self._free)}>"


class Span:
    """Something that goes on.  What ends twice, or after its trace was closed, has ended once."""

    __slots__ = ("_args", "_group", "_is_own", "_lane", "_name", "_number", "_start_us")

    def __init__(self, group: Group, lane: Lane | None, is_own: bool, name: str, start_us: int, args: Args) -> None:
        self._group = group
        self._lane = lane
        self._is_own = is_own  # the lane is given back
        self._name = name
        self._start_us = start_us if lane is None else max(start_us, lane.free_at_us)
        self._args = dict(args)
        group.log.latest_us = max(group.log.latest_us, start_us)
        self._number = group.log.opened(self)

    def part(self, name: str, end_us: int) -> None:
        """What went on from the span's beginning to `end_us`."""
        self._group.log.add(*self._events(name, max(end_us, self._start_us), {}))

    def mark(self, name: str, at_us: int, args: Args) -> None:
        """Something that happened meanwhile."""
        event: Event = {"name": name, "pid": self._group.pid, "ts": max(at_us, self._start_us), "args": args}
        if self._lane is None:
            event |= {"ph": "n", "tid": self._group.tid(0), "cat": self._group.name, "id": hex(self._number)}
        else:
            event |= {"ph": "i", "s": "t", "tid": self._group.tid(self._lane.index)}
        self._group.log.add(event)

    def end(self, at_us: int, args: Args) -> None:
        """It is over; `args` are added to those it began with."""
        group, lane = self._group, self._lane
        if not group.log.closed(self._number):
            return
        end_us = max(at_us, self._start_us)
        self._args.update(args)
        group.log.latest_us = max(group.log.latest_us, end_us)
        group.log.add(*self.as_events(end_us, False))
        if lane is not None:
            lane.free_at_us = end_us
            if self._is_own:
                group.give_back(lane)

    def as_events(self, end_us: int, unfinished: bool) -> list[Event]:
        """As it is in the file when it ends then."""
        args = {**self._args, "unfinished": True} if unfinished else self._args
        return self._events(self._name, max(end_us, self._start_us), args)

    def _events(self, name: str, end_us: int, args: Args) -> list[Event]:
        group, start_us = self._group, self._start_us
        event: Event = {"name": name, "cat": group.name, "pid": group.pid, "ts": start_us, "args": args}
        if self._lane is not None:
            tid = group.tid(self._lane.index)
            return [event | {"ph": "X", "tid": tid, "dur": end_us - start_us}]
        place = {"tid": group.tid(0), "id": hex(self._number)}
        return [event | place | {"ph": "b"}, event | place | {"ph": "e", "ts": end_us, "args": {}}]


def plain(text: str) -> str:
    """As JSON can hold it: a half of a surrogate pair becomes a question mark."""
    return text.encode("utf-8", "replace").decode()
