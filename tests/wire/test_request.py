"""Can anything that httpx2 is given become another request, or another header, on the wire?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeVar

import h11
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_actors.wire.request import LAST_CHUNK, chunk_of, head_of

URL = "https://example.org/v1/messages?a=b"
SECRET = b"sk-ant-secret"
BREAKERS = [b"\r", b"\n", b"\r\n", b"\0", b"\r\nX-Other: 1", b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", b"\x0b", b"\x7f"]

Fields = list[tuple[bytes, bytes]]
T = TypeVar("T")


def with_fields(*fields: tuple[bytes, bytes]) -> httpx2.Request:
    return httpx2.Request("POST", URL, headers=list(fields))


def with_target(target: object) -> httpx2.Request:
    return httpx2.Request("POST", URL, extensions={"target": target})


def refusal(request: httpx2.Request) -> str:
    """What the error says of a request that must not be sent."""
    with pytest.raises(httpx2.LocalProtocolError) as caught:
        head_of(request)
    return str(caught.value)


def test_a_head_is_what_httpx2_was_given_line_by_line() -> None:
    head = head_of(httpx2.Request("POST", URL, headers=[(b"X-Key", b"a\tb \xe9")], json={"a": 1}))
    assert head.data == (
        b"POST /v1/messages?a=b HTTP/1.1\r\nHost: example.org\r\nX-Key: a\tb \xe9\r\n"
        b"Content-Length: 7\r\nContent-Type: application/json\r\n\r\n"
    )
    assert (head.length, head.is_chunked, head.closes) == (7, False, False)


@pytest.mark.parametrize(
    ("value", "closes"), [(b"close", True), (b"Close", True), (b"x, close", True), (b"keep-alive", False)]
)
def test_whether_a_request_closes_its_connection_is_known(value: bytes, closes: bool) -> None:
    assert head_of(with_fields((b"Connection", value))).closes is closes


def test_a_body_without_a_length_is_announced_in_chunks() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b""

    head = head_of(httpx2.Request("POST", URL, content=pieces()))
    assert (head.length, head.is_chunked) == (0, True)
    assert b"\r\nTransfer-Encoding: chunked\r\n" in head.data


def test_a_request_without_a_body_promises_none() -> None:
    head = head_of(httpx2.Request("GET", URL))
    assert (head.length, head.is_chunked) == (0, False)


def test_a_target_of_ones_own_is_sent_as_it_is() -> None:
    assert head_of(with_target(b"*")).data.startswith(b"POST * HTTP/1.1\r\nHost: example.org\r\n")


@pytest.mark.parametrize("breaker", BREAKERS)
def test_nothing_that_ends_a_line_goes_out_in_a_method_a_target_a_name_or_a_value(breaker: bytes) -> None:
    assert "is no method" in refusal(httpx2.Request("GET" + breaker.decode(), URL))
    assert "is no target" in refusal(with_target(b"/a" + breaker))
    assert "is no name of a header" in refusal(with_fields((b"X-Key" + breaker, b"1")))
    assert "'X-Key' holds a control character" in refusal(with_fields((b"X-Key", b"1" + breaker)))
    assert "'Host' holds a control character" in refusal(with_fields((b"Host", b"example.org" + breaker)))


@pytest.mark.parametrize("breaker", BREAKERS)
def test_an_address_with_a_control_character_is_refused_by_httpx2_before_it_comes_here(breaker: bytes) -> None:
    for url in ("https://exa{}mple.org/", "https://example.org/a{}b", "https://example.org:80{}/"):
        with pytest.raises(httpx2.InvalidURL):
            httpx2.Request("GET", url.format(breaker.decode()))


@pytest.mark.parametrize(
    "request_", [with_target(b"/a b"), with_target(b" "), with_target("/text"), with_target(b"/a\x7f")], ids=repr
)
def test_a_target_that_would_not_end_where_it_ends_is_refused(request_: httpx2.Request) -> None:
    assert "is no target" in refusal(request_)


@pytest.mark.parametrize("method", ["", " ", "G T", "GÉT", "GET/", "G:T"])
def test_a_method_that_is_no_token_is_refused(method: str) -> None:
    assert "is no method" in refusal(httpx2.Request(method, URL))


def test_connect_is_refused_since_what_follows_is_no_http() -> None:
    assert "proxies" in refusal(httpx2.Request("connect", URL))


@pytest.mark.parametrize("name", [b"", b" X", b"X ", b"X:", b"X\xe9", b"(X)", b"X\tY"])
def test_a_name_that_is_no_token_is_refused(name: bytes) -> None:
    assert "is no name of a header" in refusal(with_fields((name, b"1")))


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ([(b"Content-Length", b"2"), (b"Transfer-Encoding", b"chunked")], "not both"),
        ([(b"Transfer-Encoding", b"chunked"), (b"content-length", b"2")], "not both"),
        ([(b"Content-Length", b"0"), (b"Transfer-Encoding", b"chunked")], "not both"),
        ([(b"Content-Length", b"2"), (b"Content-Length", b"3")], "given as 2 and as 3"),
        ([(b"Content-Length", b"two")], "b'two' is no number"),
        ([(b"Content-Length", b"")], "b'' is no number"),
        ([(b"Content-Length", b"-2")], "b'-2' is no number"),
        ([(b"Content-Length", b"+2")], "b'+2' is no number"),
        ([(b"Content-Length", b"2, 2")], "b'2, 2' is no number"),
        ([(b"Content-Length", b"1" * 19)], "is no number"),
        ([(b"Content-Length", "٢".encode())], "is no number"),
        ([(b"Transfer-Encoding", b"gzip, chunked")], "only chunked"),
        ([(b"Transfer-Encoding", b"chunked "), (b"X", b"")], "only chunked"),
        ([(b"Transfer-Encoding", b"chunked"), (b"transfer-encoding", b"chunked")], "twice"),
    ],
)
def test_headers_that_contradict_each_other_on_the_body_are_refused(fields: Fields, what: str) -> None:
    assert what in refusal(with_fields(*fields))


def test_no_error_repeats_the_value_of_a_header_or_what_stands_in_a_query() -> None:
    for request in (
        with_fields((b"X-Api-Key", SECRET + b"\n")),
        with_fields((b"X-Api-Key", SECRET), (b"Content-Length", b"x")),
        with_fields((b"X-Api-Key", SECRET), (b"X Y", b"1")),
        with_target(b"/a?key=" + SECRET + b"\n"),
    ):
        assert SECRET.decode() not in refusal(request)
    assert SECRET.decode() not in repr(head_of(with_fields((b"X-Api-Key", SECRET))))


def mostly(good: st.SearchStrategy[T], other: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """What may be sent nine times in ten, so that many requests are."""
    return st.integers(min_value=0, max_value=9).flatmap(lambda draw: other if draw == 9 else good)


WORDS = st.lists(st.sampled_from(b"aZ09-_.~!"), min_size=1, max_size=4).map(bytes)
NAMES = mostly(WORDS, st.sampled_from([b"Content-Length", b"Transfer-Encoding", b"Connection"]) | st.binary(max_size=3))
VALUES = mostly(WORDS, st.sampled_from([b"chunked", b"2", b"close", b"\tx ", b"\xe9"]) | st.binary(max_size=3))
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=3)
METHODS = mostly(st.sampled_from(["GET", "HEAD", "QUERY"]), st.text(max_size=2))
TARGETS = mostly(st.sampled_from([b"", b"*", b"/a?b"]), st.binary(max_size=3))


@given(METHODS, TARGETS, FIELDS)
def test_what_goes_out_has_one_line_a_header_and_an_independent_server_reads_what_was_given(
    method: str, target: bytes, fields: Fields
) -> None:
    request = httpx2.Request(method, URL, headers=fields, extensions={"target": target})
    try:
        data = head_of(request).data
    except httpx2.LocalProtocolError:
        return
    assert data.endswith(b"\r\n\r\n")
    first, *lines = data[:-4].split(b"\r\n")
    expected = b"%b %b HTTP/1.1" % (request.method.encode(), target or b"/v1/messages?a=b")
    assert (first, lines) == (expected, [name + b": " + value for name, value in request.headers.raw])
    assert not set(b"\r\n\0") & set(b"".join([first, *lines]))
    if len(first.split(b" ")[1]) != len(first.split(b" ")[1].decode("ascii", "ignore")):
        return  # bytes of another alphabet in a target go out as they are; h11 refuses them
    server = h11.Connection(h11.SERVER)
    server.receive_data(data)
    got = server.next_event()
    assert isinstance(got, h11.Request)
    assert (got.method, got.target) == (request.method.encode(), first.split(b" ")[1])
    assert len(got.headers) == len(lines)


@given(st.lists(st.binary(max_size=5), max_size=8))
def test_an_independent_server_reads_the_pieces_of_a_body_out_of_its_chunks(pieces: list[bytes]) -> None:
    server = h11.Connection(h11.SERVER)
    server.receive_data(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert isinstance(server.next_event(), h11.Request)
    server.receive_data(b"".join(map(chunk_of, pieces)) + LAST_CHUNK)
    body = b""
    while isinstance(event := server.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    assert body == b"".join(pieces)
