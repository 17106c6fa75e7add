"""Does the parser of answers refuse what leaves a doubt, and say rightly where an answer ends?"""

from __future__ import annotations

import contextlib
import gc
import weakref

import httpx2
import pytest

from synth_actors.wire.response import ResponseParser
from tests.wire.feeding import CHUNKED, EMPTY, HI, OK, bytewise, fed, is_reused, refusal

# What an answer is.


def test_head_and_body_that_come_in_one_read_are_both_there() -> None:
    parser, body = fed([OK + b"Content-Length: 5\r\nX-Key:  a b \r\nEmpty:\r\n\r\nhello"])
    assert parser.head is not None
    assert (parser.head.status, parser.head.reason, parser.head.version) == (200, b"OK", b"HTTP/1.1")
    assert parser.head.headers == [(b"Content-Length", b"5"), (b"X-Key", b"a b"), (b"Empty", b"")]
    assert (body, parser.is_complete, parser.may_reuse) == (b"hello", True, True)


@pytest.mark.parametrize(
    "line", [b"HTTP/1.1 200\r\n", b"HTTP/1.1 200 \r\n", b"HTTP/1.1 200 \xc3\xa9\t(fine)\r\n", b"HTTP/1.1 200 OK\n"]
)
def test_the_text_behind_the_status_may_be_missing_or_any_printable_letters(line: bytes) -> None:
    assert is_reused(line + b"Content-Length: 0\r\n\r\n")


def test_line_ends_before_an_answer_are_passed_over() -> None:
    assert is_reused(b"\r\n\r\n" + EMPTY)


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("framing", [b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_204_and_304_end_with_their_head_whatever_it_says_of_a_body(status: int, framing: bytes) -> None:
    assert is_reused(b"HTTP/1.1 %d x\r\n%b\r\n" % (status, framing))


@pytest.mark.parametrize("framing", [b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_an_answer_to_head_ends_with_its_head_and_its_connection_is_not_used_again(framing: bytes) -> None:
    for feeds in ([OK + framing + b"\r\n"], bytewise(OK + framing + b"\r\n")):
        parser, body = fed(feeds, "HEAD")
        assert (body, parser.is_complete, parser.may_reuse) == (b"", True, False)


@pytest.mark.parametrize("after", [b"hello", b"5\r\nhello\r\n0\r\n\r\n", HI, b"\0", b"\r\n"])
def test_what_follows_an_answer_to_head_is_not_its_body(after: bytes) -> None:
    for framing in (b"", b"Content-Length: 0\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"):
        parser, body = fed([OK + framing + b"\r\n" + after], "HEAD")
        assert (body, parser.is_complete, parser.may_reuse) == (b"", True, False)


# What may follow on the same connection.


@pytest.mark.parametrize(
    ("version", "headers", "may"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection:\tClose\t\r\n", False),
        (b"1.1", b"Connection: x-hop,\tclose , y\r\n", False),
        (b"1.1", b"Connection: keep-alive\r\nConnection: close\r\n", False),
        (b"1.1", b"Connection: close\r\nConnection: keep-alive\r\n", False),
        (b"1.1", b"Connection: upgrade\r\nUpgrade: h2c\r\n", True),  # an offer
        (b"1.0", b"", False),
        (b"1.0", b"Connection: keep-alive\r\n", True),
        (b"1.0", b"Connection: close, keep-alive\r\n", False),
        (b"1.0", b"Connection: keep-alive\r\nConnection: close\r\n", False),
    ],
)
def test_a_connection_is_used_again_if_both_version_and_headers_allow_it(
    version: bytes, headers: bytes, may: bool
) -> None:
    assert is_reused(b"HTTP/%b 200 OK\r\n%bContent-Length: 2\r\n\r\nhi" % (version, headers)) is may


def test_chunks_in_http_1_0_are_read_but_nothing_follows_them() -> None:
    """RFC 9112, section 6.1: the framing is to be treated as faulty, the connection to be closed."""
    answer = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    assert fed([answer])[1] == b"hi"
    assert not is_reused(answer)


ANSWERS = [
    EMPTY,
    HI,
    OK + b"Content-Length: 2\r\n\r\n\r\n",
    CHUNKED + b"2\r\nhi\r\n0\r\n\r\n",
    b"HTTP/1.1 204 x\r\n\r\n",
]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("after", [HI, b"H", b"\0", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\r\n" + HI, b"x\r\n"])
def test_bytes_behind_an_answer_are_nobodys_and_end_the_use_of_the_connection(answer: bytes, after: bytes) -> None:
    assert is_reused(answer)
    body = fed([answer])[1]
    for cut in range(len(answer) + 1):
        parser, got = fed([answer[:cut], answer[cut:] + after])
        assert (got, parser.is_complete, parser.may_reuse) == (body, True, False)
    for cut in range(len(after)):
        parser, got = fed([answer + after[:cut], after[cut:]])
        assert (got, parser.is_complete, parser.may_reuse) == (body, True, False)


# Interim answers.


@pytest.mark.parametrize("interim", [b"100 Continue", b"102 x", b"103 Early Hints", b"110 x", b"199"])
def test_interim_answers_are_passed_over_with_their_headers(interim: bytes) -> None:
    before = b"HTTP/1.1 " + interim + b"\r\nLink: </a.css>\r\n\r\n"
    parser, body = fed([before * 3 + HI])
    assert parser.head is not None
    assert (parser.head.reason, parser.head.headers, body) == (b"OK", [(b"Content-Length", b"2")], b"hi")
    assert is_reused(before * 3 + HI)


@pytest.mark.parametrize("status", [100, 102, 103, 104, 110, 199])
@pytest.mark.parametrize("framing", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
def test_an_interim_answer_that_announces_a_body_is_refused(status: int, framing: bytes) -> None:
    answer = b"HTTP/1.1 %d x\r\n%b\r\n\r\n" % (status, framing)
    for feeds in ([answer], [answer + b"hello" + HI], bytewise(answer)):
        assert "interim" in refusal(feeds)


def test_an_interim_answer_without_content_may_say_so() -> None:
    interim = b"HTTP/1.1 110 x\r\nContent-Length: 0\r\n\r\n"
    assert is_reused(interim + HI)
    parser, body = fed([interim + OK + b"\r\nhi"])
    parser.end()  # the length was the interim answer's
    assert (body, parser.is_complete) == (b"hi", True)


@pytest.mark.parametrize("interim", [b"HTTP/1.1 100 x\r\nConnection: close\r\n\r\n", b"HTTP/1.0 100 x\r\n\r\n"])
def test_the_answer_behind_an_interim_one_that_closes_is_read_but_nothing_follows_it(interim: bytes) -> None:
    assert fed([interim + HI])[1] == b"hi"
    assert not is_reused(interim + HI)


# What is refused.


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (b"HTTP/2.0 200 OK\r\n\r\n", "HTTP/2.0, which was not asked for"),
        (b"HTTP/0.9 200 OK\r\n\r\n", "HTTP/0.9, which was not asked for"),
        (b"HTTP/1.2 200 OK\r\n\r\n", "Invalid HTTP version"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "no HTTP/1.1"),
        (b"<html></html>", "no HTTP/1.1"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "Invalid status code"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "Invalid response status"),
        (b"HTTP/1.1 000 x\r\n\r\n" + HI, "status 0"),
        (b"HTTP/1.1 099 x\r\nContent-Length: 2\r\n\r\nhi", "status 99"),
        (b"HTTP/1.1 101 x\r\n\r\n", "switches to another protocol"),
        (b"HTTP/1.1 101 x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", "switches to another protocol"),
        (b"HTTP/1.1 200 O\0K\r\n\r\n", "control character"),
        (b"HTTP/1.1 200 O\x7fK\r\n\r\n", "control character"),
        (b"HTTP/1.1 200 O\rK\r\n\r\n", "Expected LF after CR"),
        (OK + b"X: a\0b\r\n\r\n", "Invalid header value char"),
        (OK + b"X: a\rb\r\n\r\n", "Missing expected LF"),
        (OK + b"X: a\r\n b\r\n\r\n", "Unexpected whitespace after header value"),
        (OK + b"X:\r\n b\r\n\r\n", "Invalid header value char"),
        (OK + b" X: a\r\n\r\n", "Unexpected space after start line"),
        (OK + b"X : a\r\n\r\n", "Invalid header token"),
        (OK + b": a\r\n\r\n", "Invalid header token"),
        (OK + b"a\r\n\r\n", "Invalid header token"),
        (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n", "Duplicate Content-Length"),
        (OK + b"Content-Length: 2, 2\r\n\r\n", "Invalid character in Content-Length"),
        (OK + b"Content-Length: +2\r\n\r\n", "Invalid character in Content-Length"),
        (OK + b"Content-Length: -2\r\n\r\n", "Invalid character in Content-Length"),
        (OK + b"Content-Length: 0x2\r\n\r\n", "Invalid character in Content-Length"),
        (OK + b"Content-Length:\r\n\r\n", "Empty Content-Length"),
        (OK + b"Content-Length: 18446744073709551616\r\n\r\n", "Content-Length overflow"),
        (OK + b"Content-Length: " + b"0" * 5000 + b"2\r\n\r\n", "content-length has 5001 digits"),
        (OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", "can't be present with Content-Length"),
        (OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n", "can't be present with Transfer-Encoding"),
        (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "'gzip, chunked' is not understood"),
        (OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n", "'chunked, gzip' is not understood"),
        (OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n", "is not understood"),
        (OK + b"Transfer-Encoding: identity\r\n\r\n", "'identity' is not understood"),
        (OK + b"Transfer-Encoding: xchunked\r\n\r\n", "'xchunked' is not understood"),
        (OK + b"Transfer-Encoding: chunked\t\r\n\r\n", "is not understood"),  # llhttp sees no chunks there
        (OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "is not understood"),
        (OK + b"Transfer-Encoding:\r\n\r\n", "Empty Transfer-Encoding"),
        (CHUNKED + b"\r\n", "Invalid character in chunk size"),
        (CHUNKED + b"-1\r\n", "Invalid character in chunk size"),
        (CHUNKED + b"0x1\r\n", "Invalid character in chunk size"),
        (CHUNKED + b"g\r\n", "Invalid character in chunk size"),
        (CHUNKED + b"10000000000000000\r\n", "Chunk size overflow"),
        (CHUNKED + b"2\nhi\n", "Expected LF after chunk size"),
        (CHUNKED + b"2;a\0=b\r\n", "chunk extension"),
        (CHUNKED + b"2\r\nhi!\r\n", "Expected LF after chunk data"),
        (CHUNKED + b"0\r\nX: a\0b\r\n\r\n", "Invalid header value char"),
        (CHUNKED + b"0\r\nContent-Length: 2\r\n\r\n", "can't be present with Transfer-Encoding"),
    ],
)
def test_what_leaves_a_doubt_is_refused_however_it_is_cut(answer: bytes, what: str) -> None:
    for feeds in ([answer], bytewise(answer)):
        assert what in refusal(feeds)


def test_blanks_may_follow_the_size_of_a_chunk_and_extensions_are_passed_over() -> None:
    answer = CHUNKED + b'2 \r\nhi\r\n1;a=b;c="d;\\"e"\r\n!\r\n0;last\r\nX: dropped\r\n\r\n'
    assert fed([answer])[1] == fed(bytewise(answer))[1] == b"hi!"
    assert is_reused(answer)


def test_a_connection_that_closes_by_a_trailer_is_closed() -> None:
    assert not is_reused(CHUNKED + b"0\r\nConnection: close\r\n\r\n")


def test_after_a_refusal_more_bytes_and_the_end_do_no_harm() -> None:
    parser = ResponseParser()
    with pytest.raises(httpx2.RemoteProtocolError):
        parser.feed(b"nonsense")
    assert parser.feed(HI) == []
    assert (parser.head, parser.is_complete, parser.may_reuse, parser.is_untouched) == (None, False, False, False)
    with pytest.raises(httpx2.RemoteProtocolError):
        parser.end()


def test_an_interrupt_inside_the_parser_is_no_fault_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """httptools catches whatever its callbacks raise; Ctrl-C comes in any line of Python."""

    def interrupted(self: ResponseParser, name: bytes, value: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ResponseParser, "on_header", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ResponseParser().feed(HI)


def test_an_interrupt_behind_an_answer_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: ResponseParser) -> None:
        if self.is_complete:
            raise KeyboardInterrupt

    monkeypatch.setattr(ResponseParser, "on_message_begin", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ResponseParser().feed(HI + HI)


# Where the connection ends.


def test_the_end_without_an_answer_is_told_from_an_end_inside_its_head() -> None:
    parser = ResponseParser()
    assert parser.is_untouched
    with pytest.raises(httpx2.RemoteProtocolError, match="without sending a response"):
        parser.end()
    for begun in (b"H", b"\r\n", HI[:-3], b"HTTP/1.1 100 x\r\n\r\n"):
        parser, _ = fed([begun])
        assert not parser.is_untouched
        with pytest.raises(httpx2.RemoteProtocolError, match="in the middle of a response's head"):
            parser.end()


@pytest.mark.parametrize(
    ("begun", "what"),
    [
        (HI[:-2], "0 bytes received, 2 expected"),
        (HI[:-1], "1 bytes received, 2 expected"),
        (CHUNKED, "0 bytes received, chunked"),
        (CHUNKED + b"2\r\nh", "1 bytes received, chunked"),
        (CHUNKED + b"2\r\nhi\r\n", "2 bytes received, chunked"),
        (CHUNKED + b"2\r\nhi\r\n0\r\n", "2 bytes received, chunked"),
        (CHUNKED + b"2\r\nhi\r\n0\r\nX: y\r\n", "2 bytes received, chunked"),
    ],
)
def test_the_end_inside_a_body_is_an_error(begun: bytes, what: str) -> None:
    for feeds in ([begun], bytewise(begun)):
        parser, _ = fed(feeds)
        with pytest.raises(httpx2.RemoteProtocolError, match=what):
            parser.end()
        assert not parser.is_complete


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_body_without_a_length_ends_with_the_connection(version: bytes) -> None:
    parser, body = fed([b"HTTP/%b 200 OK\r\nConnection: keep-alive\r\n\r\nhi\r\n\r\n" % version, HI])
    assert not parser.is_complete
    parser.end()
    assert (body, parser.is_complete, parser.may_reuse) == (b"hi\r\n\r\n" + HI, True, False)


def test_the_end_after_a_whole_answer_ends_the_use_of_its_connection() -> None:
    parser, _ = fed([HI])
    assert parser.may_reuse
    assert parser.feed(b"") == []
    assert parser.may_reuse
    parser.end()
    assert parser.is_complete
    assert not parser.may_reuse


# What is left behind.


@pytest.mark.parametrize("feeds", [[HI], [HI + HI], [CHUNKED, b"0\r\n\r\n"], [b"nonsense"], [OK + b"X: a\0"]])
def test_a_parser_at_its_end_leaves_nothing_to_the_collector_of_cycles(feeds: list[bytes]) -> None:
    gc.collect()
    gc.disable()
    try:
        parser = ResponseParser()
        gone = weakref.ref(parser)
        for data in feeds:
            with contextlib.suppress(httpx2.RemoteProtocolError):
                parser.feed(data)
        del parser
        assert gone() is None
    finally:
        gc.enable()
