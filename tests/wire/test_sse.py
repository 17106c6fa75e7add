"""Does the incremental parser see the same events as a reading of the whole text by the letter of the standard?"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from synth_actors.wire.sse import Event, EventParser, EventTooLongError
from tests.wire.answers import CUTS, cut
from tests.wire.event_stream import Interpreter
from tests.wire.feeding import bytewise


def parse(chunks: list[bytes]) -> tuple[list[Event], int | None]:
    parser = EventParser()
    return [event for chunk in chunks for event in parser.feed(chunk)], parser.retry_ms


FIELDS = [
    "event: a\ndata: b\n\n",
    "data: {}\n\ndata: {}\n\n",
    "data: a\ndata: b\n\n",
    "id: 7\ndata: x\n\n",
    "id: \0\ndata: x\n\n",
    "data",
    "data:",
    "data: ",
    "event",
    "event: ",
    "id",
    "id: ",
    "retry: ",
    "Data: ",
    ":",
    ": ",
]
ENDS = ["\n", "\r", "\r\n", "\n\n", "\r\r", "\r\n\r\n", "\n\r"]
LETTERS = ["x", "é", "🦦", "12", "٣", "\0", "\ufeff", "\u2028", "\x0b", "\x0c", "\x1c", "\x85", " ", "  "]
# What is no UTF-8: a character without its end or its beginning, too long, a surrogate, beyond the last character.
BROKEN = [b"\xe2\x82", b"\xf0\x9f\xa6", b"\x82", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5", b"\xff", b"\xef\xbb"]
PIECES = st.sampled_from([*(text.encode() for text in FIELDS + ENDS + LETTERS), *BROKEN]) | st.binary(max_size=3)
BODIES = st.tuples(st.sampled_from([b"", b"\xef\xbb\xbf"]), st.lists(PIECES, max_size=40).map(b"".join)).map(b"".join)


def assert_as_the_standard_has_it(chunks: list[bytes]) -> None:
    expected = Interpreter(b"".join(chunks))
    events, retry_ms = parse(chunks)
    assert [(event.kind, event.data.decode("utf-8", "replace"), event.id) for event in events] == expected.events
    assert retry_ms == expected.retry_ms


@given(BODIES, CUTS)
@example(b"\xef\xbb\xbfdata: x\r\n\r\n", [1, 2, 12])
@example(b"data: \xf0\x9f\xa6\xa6\r\n\r\n", [7, 8, 9, 11, 13])
def test_any_cutting_of_any_bytes_gives_the_events_of_the_standard(body: bytes, places: list[int]) -> None:
    assert_as_the_standard_has_it(cut(body, places))


@given(BODIES)
def test_one_byte_at_a_time_gives_the_same_bytes_as_the_whole(body: bytes) -> None:
    assert parse(bytewise(body)) == parse([body])


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"data: a\n\n", [Event("message", b"a")]),
        (b"data:a\ndata: b\n\n", [Event("message", b"a\nb")]),
        (b"data\n\n", [Event("message", b"")]),
        (b"event: ping\n\n", []),
        (b": keep-alive\n\ndata: x\r\n\r\n", [Event("message", b"x")]),
        (b"id: 7\ndata: x\n\ndata: y\n\n", [Event("message", b"x", "7"), Event("message", b"y", "7")]),
        (b"\xef\xbb\xbfdata: x\r\r", [Event("message", b"x")]),
        (b"data: never finished\n", []),
        (b"data: nor this\n\r", [Event("message", b"nor this")]),  # the CR may yet be a CRLF: a line all the same
        (b"id: 1\ndata: x\n\nid\ndata: y\n\n", [Event("message", b"x", "1"), Event("message", b"y")]),
        (b"id: 1\nid: 2\0\ndata: x\n\n", [Event("message", b"x", "1")]),
        (b"event: a\n\ndata: x\n\n", [Event("message", b"x")]),
        (b"event: \ndata: x\n\nevent: \n\n", [Event("message", b"x")]),
        (b"\n\xef\xbb\xbfdata: x\n\n", []),  # a mark is one at the very beginning only
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: x\n\n", []),
        (b"data: a\ndata\ndata:\ndata: b\n\n", [Event("message", b"a\n\n\nb")]),
        (b"data: x\x0by\x1cz\n\n", [Event("message", b"x\x0by\x1cz")]),
        (b"event: \xff\ndata: \xff\n\n", [Event("\ufffd", b"\xff")]),
        (b"data : x\nDATA: y\ndata: z\n\n", [Event("message", b"z")]),
        (b"event: a\ndata:  two spaces\n\n", [Event("a", b" two spaces")]),
    ],
)
def test_the_examples_of_the_standard(body: bytes, events: list[Event]) -> None:
    assert parse([body])[0] == events
    assert parse(bytewise(body))[0] == events
    assert_as_the_standard_has_it([body])
    assert_as_the_standard_has_it([b"\n", body])  # what is not the beginning takes a shorter way


@pytest.mark.parametrize("chunk", [b"data: " + b"x" * 100, b"data: xxxxxxxx\n", b"y" * 7])
def test_an_event_that_never_ends_is_refused_before_it_fills_the_memory(chunk: bytes) -> None:
    parser = EventParser(max_event_bytes=1000)

    def endless() -> None:
        for _ in range(1000):
            parser.feed(chunk)

    with pytest.raises(EventTooLongError, match="1000 bytes"):
        endless()


@pytest.mark.parametrize("before", [b"", b"\n", b"data: x\n\n"])
@pytest.mark.parametrize("event", [b"data: ", b"event: a\ndata: "])
def test_an_event_that_comes_whole_may_be_no_longer_either(before: bytes, event: bytes) -> None:
    parser = EventParser(max_event_bytes=1000)
    parser.feed(before)
    assert len(parser.feed(event + b"x" * 994 + b"\n\n")) == 1
    with pytest.raises(EventTooLongError):
        parser.feed(event + b"x" * 995 + b"\n\n")


def test_many_events_together_may_be_longer_than_one_may_be() -> None:
    parser = EventParser(max_event_bytes=100)
    assert len(parser.feed(b"data: 0123456789\n\n" * 1000)) == 1000


@pytest.mark.parametrize(
    ("sent", "retry_ms"),
    [
        (b"12", 12),
        (b"", None),
        (b"-1", None),
        (b"1.5", None),
        (b"1 ", None),
        ("٣".encode(), None),
        (b"\xb2", None),
        (b"9" * 19, None),
    ],
)
def test_a_time_to_reconnect_is_digits_alone(sent: bytes, retry_ms: int | None) -> None:
    for chunks in ([b"retry: " + sent + b"\n"], bytewise(b"retry: " + sent + b"\n")):
        assert parse(chunks)[1] == retry_ms


ENDLESS: list[tuple[str, Callable[[int], bytes]]] = [
    ("a line", lambda at: b"data: " if at == 0 else b"x"),
    ("a comment", lambda at: b": " if at == 0 else b"x"),
    ("a kind", lambda at: b"event: " if at == 0 else b"x"),
    ("lines of data", lambda at: b"data: x\n"),
    ("empty lines of data", lambda at: b"data\r\n"),
    ("a mark and no line", lambda at: b"\xef\xbb\xbf" if at == 0 else b"\xef"),
]


@pytest.mark.parametrize(("kind", "piece"), ENDLESS, ids=[kind for kind, _ in ENDLESS])
def test_what_never_ends_is_refused_at_the_byte_that_is_one_too_many(kind: str, piece: Callable[[int], bytes]) -> None:
    """The ends of lines do not count, since they are not kept."""
    parser = EventParser(max_event_bytes=1000)
    taken = accepted(parser, (piece(at) for at in range(3000)))
    assert 1000 - len(piece(1)) < len(taken.translate(None, b"\r\n")) <= 1000


def accepted(parser: EventParser, chunks: Iterable[bytes]) -> bytes:
    """What the parser takes before it refuses, which it must."""
    taken = b""
    try:
        for chunk in chunks:
            parser.feed(chunk)
            taken += chunk
    except EventTooLongError:
        return taken
    raise AssertionError(f"{len(taken)} bytes without an event were taken")


def test_a_parser_that_has_refused_can_be_fed_on() -> None:
    parser = EventParser(max_event_bytes=10)
    for _ in range(3):
        with pytest.raises(EventTooLongError):
            parser.feed(b"data: 12345678901\n")
    parser.feed(b"\n\n")
    assert parser.feed(b"data: x\n\n") == [Event("message", b"x")]


class Counted(bytearray):
    """The buffer of a line that is not whole, which counts the bytes that are moved into and out of it."""

    moved_bytes = 0

    def __iadd__(self, more: object) -> Counted:
        assert isinstance(more, bytes)
        self.moved_bytes += len(more)
        self.extend(more)
        return self

    def __bytes__(self) -> bytes:
        self.moved_bytes += len(self)
        return bytes(memoryview(self))


def test_a_line_that_comes_byte_by_byte_is_moved_twice_however_long_it_is() -> None:
    """Once into the buffer, once out of it; a string that grows by concatenation would move n * n / 2 bytes."""
    parser = EventParser()
    parser._line = counted = Counted()
    line = b"data: " + b"x" * 20_000
    for byte in bytewise(line):
        assert parser.feed(byte) == []
    assert parser.feed(b"\n\n") == [Event("message", b"x" * 20_000)]
    assert counted.moved_bytes == 2 * len(line)
