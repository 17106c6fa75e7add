"""Which events are in this stream of bytes?

Server-sent events as the WHATWG HTML standard has them (section 9.2.6, "Interpreting an event stream"): lines end in
LF, CR or CRLF, a leading byte order mark is dropped, comments and unknown fields are ignored, several `data` lines are
joined by LF, an event without data is none, and an event that is not followed by an empty line is dropped.  Pure and
incremental: the cuts between two calls of `feed` mean nothing, be they inside a CRLF, a field or a UTF-8 character.
Only the decoding is left to the reader: `data` are the bytes as they were sent, which a JSON parser takes as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

_BOM = b"\xef\xbb\xbf"


class EventTooLongError(ValueError):
    """One event, or one line, holds more than `max_event_bytes`: the sender is broken or hostile."""


@dataclass(slots=True)  # not frozen: one is made for every few letters of an answer
class Event:
    """One event; `kind` is its `event` field ("message" when it had none), `id` the last id that was seen."""

    kind: str
    data: bytes
    id: str = ""


class EventParser:
    """Bytes in, events out.

    `retry_ms` is the last reconnection time that the sender named, None when it named none.

    Raises (from `feed`):
        EventTooLongError: more than `max_event_bytes` arrived without an event coming to its end.
    """

    def __init__(self, *, max_event_bytes: int = 16 * 2**20) -> None:
        self.retry_ms: int | None = None
        self._max_event_bytes = max_event_bytes
        self._kind = ""
        self._data: list[bytes] = []
        self._id = ""
        self._held = 0  # bytes of the finished data lines of the event that is being read
        self._line = bytearray()  # the beginning of a line whose end has not arrived
        self._at_start = True
        self._after_cr = False  # the last byte was a CR: an LF that follows belongs to it

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that `chunk` completes, in order."""
        if self._after_cr or self._at_start or b"\r" in chunk:
            return self._feed_any(chunk)
        events: list[Event] = []
        start = 0
        if self._line or self._data or self._kind:  # an event has begun: to its end by the long way
            start = chunk.find(b"\n\n") + 2
            if start < 2:
                return self._feed_any(chunk)
            events = self._feed_any(chunk[:start])
        end = chunk.rfind(b"\n\n", start)
        if end >= 0:
            for frame in chunk[start:end].split(b"\n\n"):
                self._take_frame(frame, events)
            start = end + 2
        if start < len(chunk):
            events += self._feed_any(chunk[start:])
        return events

    def _take_frame(self, frame: bytes, events: list[Event]) -> None:
        """The lines of one whole event; all but the common shapes go the long way."""
        kind = "message"
        data = frame
        if frame.startswith(b"event: "):
            named, _, data = frame.partition(b"\n")
            kind = named[7:].decode("utf-8", "replace") or kind
        if not data.startswith(b"data: ") or b"\n" in data or len(data) > self._max_event_bytes:
            events += self._feed_any(frame + b"\n\n")
        else:
            events.append(Event(kind, data[6:], self._id))

    def _feed_any(self, chunk: bytes) -> list[Event]:
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk.startswith(b"\n"):
                chunk = chunk[1:]
        if not chunk:
            return []
        self._after_cr = chunk.endswith(b"\r")
        lines = chunk.splitlines()  # of bytes: LF, CR and CRLF only
        whole = chunk.endswith((b"\n", b"\r"))
        if len(lines) == 1 and not whole:
            self._begin(chunk)
            return []
        if self._line:
            lines[0] = bytes(self._line) + lines[0]
            self._line.clear()
        if not whole:
            self._begin(lines.pop())
        return [event for line in lines if (event := self._take(line)) is not None]

    def _begin(self, part: bytes) -> None:
        # One buffer that is appended to: a line of n bytes in n chunks is not copied n times.
        self._check(len(self._line) + len(part))
        self._line += part

    def _check(self, more: int) -> None:
        if self._held + more > self._max_event_bytes:
            raise EventTooLongError(f"an event is longer than {self._max_event_bytes} bytes")

    def _take(self, line: bytes) -> Event | None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        field, colon, value = line.partition(b":")
        if colon and value.startswith(b" "):
            value = value[1:]
        match field:
            case b"data":
                self._check(len(line))
                self._held += len(line)
                self._data.append(value)
            case b"event":
                self._kind = value.decode("utf-8", "replace")
            case b"id":
                if b"\0" not in value:
                    self._id = value.decode("utf-8", "replace")
            case b"retry":
                if value.isdigit() and len(value) <= 18:
                    self.retry_ms = int(value)
        return None

    def _dispatch(self) -> Event | None:
        data, kind = self._data, self._kind
        self._kind, self._data, self._held = "", [], 0
        if not data:
            return None
        return Event(kind or "message", data[0] if len(data) == 1 else b"\n".join(data), self._id)
