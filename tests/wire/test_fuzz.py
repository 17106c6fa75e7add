"""Does any string of bytes bring a parser to anything but an answer or its one declared error, or to hold without end?

A mutation fuzzer of our own: valid answers and streams, damaged at random and cut at random, every choice drawn from
the seed of the soak.  Beyond "no other exception" it asks that the cuts mean nothing, that an independent parser which
also finds a whole answer finds the same one, and that a parser which has refused can be fed on.
"""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import h11
import httpx2
import pytest

from synth_actors.wire.response import (
    MOST_CHUNK_OVERHEAD_BYTES,
    MOST_HEAD_BYTES,
    MOST_HEADERS,
    MOST_REASON_BYTES,
    ResponseParser,
)
from synth_actors.wire.sse import EventParser, EventTooLongError
from tests.conftest import Soak
from tests.wire.answers import cut
from tests.wire.event_stream import Interpreter

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
ANSWERS = [
    OK + b"Content-Length: 5\r\n\r\nhello",
    OK + b"Content-Type: text/plain\r\nX-Empty:\r\ncontent-length: 2\r\nConnection: close\r\n\r\nhi",
    OK + b"\r\nuntil the end",
    CHUNKED + b"5\r\nhello\r\n0\r\n\r\n",
    CHUNKED + b'a;x="y"\r\n0123456789\r\n1\r\n!\r\n0;z\r\nTrailer: x\r\n\r\n',
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\nx",
    b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nold",
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
]
STREAMS = [
    b"event: message_start\ndata: {}\n\nevent: ping\ndata: {}\n\n",
    b"\xef\xbb\xbfid: 7\r\nretry: 10\r\ndata: a\r\ndata: b\r\n\r\n: comment\r\n\r\n",
    b"data: \xf0\x9f\xa6\xa6\rdata\r\rid\rdata:x\r\r",
    b'data: {"delta":"x"}\n\n' * 4 + b"data: [DONE]\n\n",
]
HTTP_WORDS = [
    *(b"\r\n", b"\r", b"\n", b"\r\n\r\n", b"\n\n", b"\0", b" ", b"\t", b":", b";", b",", b"\x7f", b"\xff", b"-", b"+"),
    *(b"0\r\n\r\n", b"0", b"5\r\n", b"ffffffffffffffff\r\n", b"10000000000000000\r\n", b"0x5\r\n", b'5;a="\r\n'),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"transfer-encoding:chunked\t\r\n"),
    *(
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"Content-Length: 18446744073709551615\r\n",
        b"Content-Length",
    ),
    *(b"Content-Length: 99999999999999999999999999\r\n", b"Content-Length: -1\r\n", b"Content-Length: 1, 1\r\n"),
    *(
        b"Connection: close\r\n",
        b"Connection: keep-alive\r\n",
        b"Connection: upgrade\r\nUpgrade: h2c\r\n",
        b"X: a\r\n b\r\n",
    ),
    *(
        b"HTTP/1.1 101 x\r\n",
        b"HTTP/1.1 100 x\r\n\r\n",
        b"HTTP/1.1 110 x\r\n",
        b"HTTP/2.0 200\r\n",
        b"HTTP/1.0 200 x\r\n",
    ),
    *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 099 x\r\n", b"RTSP/1.0 200 OK\r\n", b"x" * 5000, b"a: b\r\n" * 300),
]
SSE_WORDS = [
    *(
        b"\r\n",
        b"\r",
        b"\n",
        b"\r\n\r\n",
        b"\n\n",
        b"\r\r",
        b"\n\r",
        b"\0",
        b" ",
        b":",
        b": ",
        b"\xef\xbb\xbf",
        b"\xe2\x80",
    ),
    *(
        b"data",
        b"data:",
        b"data: ",
        b"event: ",
        b"event",
        b"id: ",
        b"id",
        b"id: \0",
        b"retry: ",
        b"retry: 99999999999999999999",
    ),
    *(b"data: a\n\n", b"event: a\ndata: b\n\n", b"\xf0\x9f", b"\xff", b"x" * 300),
]


def mutant(random: Random, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """A valid text that was damaged in up to five places; one in fifty is nothing but random bytes."""
    if random.random() < 0.02:
        return random.randbytes(random.randrange(60))
    data = bytearray(random.choice(seeds))
    for _ in range(random.randrange(6)):
        at = random.randrange(len(data) + 1)
        end = min(len(data), at + random.choice([1, 1, 2, 8, 30]))
        match random.randrange(6):
            case 0:
                data[at:at] = random.choice(words)
            case 1:
                data[at:end] = random.choice(words)
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = data[at:end]
            case 4:
                data[at:end] = bytes(byte ^ 1 << random.randrange(8) for byte in data[at:end])
            case _:
                data[at:] = random.choice(seeds)[random.randrange(20) :]
    return bytes(data)


def cuts(random: Random, data: bytes) -> list[bytes]:
    """Whole, in single bytes, or cut in up to six places."""
    match random.randrange(4):
        case 0:
            return [data]
        case 1:
            return [data[at : at + 1] for at in range(len(data))]
        case _:
            return cut(data, [random.randrange(10_000) for _ in range(random.randrange(1, 7))])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a parser made of some bytes; the body only where nothing was refused: more or less of it came before."""

    is_refused: bool
    head: object
    body: bytes | None
    is_complete: bool
    may_reuse: bool


def outcome_of(feeds: list[bytes], method: str) -> Outcome:
    """Any exception but the declared one goes through."""
    parser = ResponseParser(method)
    body = b""
    try:
        for data in feeds:
            body += b"".join(parser.feed(data))
    except httpx2.RemoteProtocolError:
        feed_on(parser)
        return Outcome(True, parser.head, None, parser.is_complete, parser.may_reuse)
    result = Outcome(False, parser.head, body, parser.is_complete, parser.may_reuse)
    feed_on(parser)
    return result


def feed_on(parser: ResponseParser) -> None:
    """More bytes and an end, whatever came before."""
    for step in (lambda: parser.feed(b"\r\n"), parser.end, lambda: parser.feed(ANSWERS[0]), parser.end):
        with contextlib.suppress(httpx2.RemoteProtocolError):
            step()
    assert not parser.may_reuse
    assert repr(parser)


def body_by_h11(data: bytes, method: str) -> bytes | None:
    """The body that h11 finds; None where it finds no whole answer."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "x"), ("Content-Length", "0")]))
    connection.send(h11.EndOfMessage())
    body = b""
    try:
        connection.receive_data(data)
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                body += bytes(event.data)
            elif not isinstance(event, h11.Response | h11.InformationalResponse):
                return None
    except h11.RemoteProtocolError:
        return None
    return body


def test_damaged_answers_bring_nothing_but_the_declared_error_and_their_cuts_mean_nothing(soak: Soak) -> None:
    random = soak.random()
    refused = compared = 0
    for _ in range(soak.count):
        data, method = mutant(random, ANSWERS, HTTP_WORDS), random.choice(["POST", "POST", "POST", "HEAD"])
        whole = outcome_of([data], method)
        assert outcome_of(cuts(random, data), method) == whole, (method, data)
        refused += whole.is_refused
        if whole.is_complete and random.random() < 0.2 and (theirs := body_by_h11(data, method)) is not None:
            assert whole.body == theirs, (method, data)
            compared += 1
    assert soak.count * 0.2 < refused < soak.count * 0.8  # else the fuzzer damages too much, or too little
    assert compared > soak.count * 0.02


def test_damaged_event_streams_bring_the_events_of_the_standard_or_the_declared_error(soak: Soak) -> None:
    random = soak.random()
    refused = events = 0
    for _ in range(soak.count):
        data = mutant(random, STREAMS, SSE_WORDS)
        feeds = cuts(random, data)
        parser = EventParser()
        found = [event for chunk in feeds for event in parser.feed(chunk)]
        expected = Interpreter(data)
        assert [(event.kind, event.data.decode("utf-8", "replace"), event.id) for event in found] == expected.events
        assert parser.retry_ms == expected.retry_ms
        events += len(found)
        short = EventParser(max_event_bytes=40)
        for chunk in feeds:  # fed on after each refusal
            try:
                assert all(len(event.data) <= 40 for event in short.feed(chunk))
            except EventTooLongError:
                refused += 1
    assert events > soak.count
    assert refused > soak.count * 0.1


@dataclass(frozen=True, slots=True)
class Endless:
    """`piece` again and again behind `begin`; the parser takes at most `most_bytes` of it."""

    name: str
    begin: bytes
    piece: bytes
    most_bytes: int

    def feeds(self, read_bytes: int, total_bytes: int) -> Iterator[bytes]:
        """So much of it in reads of this size, the first of them the beginning alone."""
        yield self.begin
        read = self.piece * (read_bytes // len(self.piece) + 2)
        for at in range(0, total_bytes, read_bytes):
            start = at % len(self.piece)
            yield read[start : start + read_bytes]


INTERIM = b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n"
ONE_BYTE_IN = b"1;" + b"a" * 1000 + b"\r\nx\r\n"
REFUSED = [
    Endless("line ends", b"", b"\r\n", MOST_HEAD_BYTES),
    Endless("status line", OK[:-2], b"a", MOST_REASON_BYTES + len(OK)),
    Endless("status line of another protocol", b"HTTP/1.1 ", b"2", 3),
    Endless("name", OK, b"a", MOST_HEAD_BYTES),
    Endless("value", OK + b"a: ", b"a", MOST_HEAD_BYTES),
    Endless("blanks before a value", OK + b"a:", b" ", MOST_HEAD_BYTES),
    Endless("headers", OK, b"a: b\r\n", MOST_HEADERS * 6 + 6),
    Endless("long headers", OK, b"a: " + b"b" * 1000 + b"\r\n", MOST_HEAD_BYTES),
    Endless("interim answers", b"", INTERIM, MOST_HEAD_BYTES),
    Endless("digits of a length", OK + b"Content-Length: ", b"0", MOST_HEAD_BYTES),
    Endless("digits of a chunk's size", CHUNKED, b"0", MOST_CHUNK_OVERHEAD_BYTES),
    Endless("blanks behind a chunk's size", CHUNKED + b"5", b" ", MOST_CHUNK_OVERHEAD_BYTES),
    Endless("extension", CHUNKED + b"5;", b"a", MOST_CHUNK_OVERHEAD_BYTES),
    Endless("quoted extension", CHUNKED + b'5;a="', b"a", MOST_CHUNK_OVERHEAD_BYTES),
    Endless("extensions of small chunks", CHUNKED, ONE_BYTE_IN, MOST_CHUNK_OVERHEAD_BYTES + 2 * len(ONE_BYTE_IN)),
    Endless("trailer", CHUNKED + b"0\r\na: ", b"a", MOST_CHUNK_OVERHEAD_BYTES),
    Endless("trailers", CHUNKED + b"0\r\n", b"a: b\r\n", MOST_HEADERS * 6 + 6),
]


@pytest.mark.parametrize("read_bytes", [13, 65536])
@pytest.mark.parametrize("endless", REFUSED, ids=lambda endless: endless.name)
def test_what_is_endless_before_or_around_a_body_is_refused(endless: Endless, read_bytes: int) -> None:
    """Within the bytes that are stated, but for the read in which they are passed; nothing of it is held then."""
    taken = 0
    parser = ResponseParser()
    tracemalloc.start()
    try:
        for data in endless.feeds(read_bytes, 2 * MOST_HEAD_BYTES):
            parser.feed(data)
            taken += len(data)
            held_bytes = tracemalloc.get_traced_memory()[0]
            assert held_bytes < MOST_HEAD_BYTES + 10 * read_bytes + 300 * MOST_HEADERS
    except httpx2.RemoteProtocolError:
        assert taken <= len(endless.begin) + endless.most_bytes
    else:
        raise AssertionError(f"{taken} bytes of endless {endless.name} were taken")
    finally:
        tracemalloc.stop()


TAKEN = [
    Endless("body until the end", OK + b"\r\n", b"hello\r\n", 0),
    Endless("body of a great length", OK + b"Content-Length: 18446744073709551615\r\n\r\n", b"hello", 0),
    Endless("chunk", CHUNKED + b"ffffffffffffffff\r\n", b"hello", 0),
    Endless("small chunks", CHUNKED, b"1;ext\r\nx\r\n", 0),
    Endless("events", b"", b'event: a\ndata: {"delta":"x"}\n\n', 0),
    Endless("comments", b"", b": keep-alive\r\n\r\n", 0),
    Endless("kinds", b"", b"event: " + b"x" * 100 + b"\n", 0),
    Endless("ids", b"", b"id: " + b"x" * 100 + b"\n\n", 0),
]


@pytest.mark.parametrize(("read_bytes", "total_bytes"), [(10, 20_000), (8192, 400_000)])
@pytest.mark.parametrize("endless", TAKEN, ids=lambda endless: endless.name)
def test_what_may_go_on_for_ever_is_held_by_no_parser(endless: Endless, read_bytes: int, total_bytes: int) -> None:
    """What came is handed on, and nothing of it is left; least of all more and more."""
    parser = ResponseParser() if endless.begin else EventParser(max_event_bytes=1000)
    tracemalloc.start()
    try:
        for data in endless.feeds(read_bytes, total_bytes):
            parser.feed(data)
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held_bytes < 4 * read_bytes + 4000


def test_the_data_of_an_event_take_no_more_than_ten_times_the_memory_that_they_may_have_bytes() -> None:
    """The worst are lines of two letters, each a string of its own until the event is whole."""
    parser = EventParser(max_event_bytes=100_000)
    tracemalloc.start()
    try:
        with pytest.raises(EventTooLongError):
            parser.feed(b"data:ab\n" * 100_000)
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held_bytes < 10 * 100_000
