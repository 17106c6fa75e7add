"""What if a server speaks, or leaves, when it is not its turn?

Interim answers while the body waits, answers before the body was read, connections that end between two requests, and
more bytes than were asked for.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable

import httpx2
import pytest
import trio

from tests.wire.framings import TEXT, answer, chunked, with_length
from tests.wire.scripted import PATIENCE_S, Peer, Received, Script
from tests.wire.transports import Wire

LARGE = bytes(16 * 2**20)  # more than the buffers of both kernels take
REFUSAL = with_length(b"too large").replace(b"200 OK", b"413 Content Too Large")
REFUSAL_AND_CLOSE = REFUSAL.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 2**20):
        yield body[start : start + 2**20]


each_body = pytest.mark.parametrize("body", ["at hand", "in pieces"])


def content_of(body: str) -> bytes | AsyncIterator[bytes]:
    return LARGE if body == "at hand" else in_pieces(LARGE)


def refuses(then: Callable[[Peer, Received], None], refusal: bytes = REFUSAL) -> Script:
    """A script: the first request is refused before its body was read, then `then`; any other is answered."""

    def script(peer: Peer) -> None:
        if peer.number == 1 and (head := peer.head()) is not None:
            peer.send(refusal)
            then(peer, head)
        while peer.request() is not None:
            peer.send(with_length(TEXT))

    return script


def closes(peer: Peer, head: Received) -> None:
    peer.close()
    raise ConnectionAbortedError("closed by the server")


def drains(peer: Peer, head: Received) -> None:
    peer.body(head)


def bounds_writing(wire: Wire) -> httpx2.Timeout:
    """Short for httpx2's transport, which must fail by it; ours must not need it."""
    return httpx2.Timeout(PATIENCE_S, write=0.1 if wire.name == "httpx2" else PATIENCE_S)


async def test_100_continue_may_come_before_the_body_was_read(wire: Wire) -> None:
    def script(peer: Peer) -> None:
        while (head := peer.head()) is not None:
            peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            peer.send(with_length(b"%d" % len(peer.body(head))))

    with wire.serve(script) as server:
        async with wire.client() as client:
            for content in (b"small", LARGE):
                said = await client.post(server.url, content=content, headers={"Expect": "100-continue"})
                assert (said.status_code, said.content) == (200, b"%d" % len(content))
    assert [head.headers["expect"] for head in server.heads] == ["100-continue"] * 2
    assert server.connections == 1


async def test_417_instead_of_100_is_the_answer(wire: Wire) -> None:
    refusal = with_length(b"no").replace(b"200 OK", b"417 Expectation Failed")
    with wire.serve(refuses(closes, refusal)) as server:
        async with wire.client() as client:
            said = await client.post(server.url, content=b"small", headers={"Expect": "100-continue"})
    assert (said.status_code, said.content) == (417, b"no")


@each_body
@pytest.mark.parametrize("refusal", [REFUSAL, REFUSAL_AND_CLOSE], ids=["unsaid", "said"])
async def test_a_refusal_is_heard_when_the_server_closes_after_it(wire: Wire, refusal: bytes, body: str) -> None:
    with wire.serve(refuses(closes, refusal)) as server:
        async with wire.client() as client:
            if wire.name == "httpx2" and wire.tls:  # a write that fails leaves trio's SSLStream unreadable
                with pytest.raises(httpx2.ReadError):
                    await client.post(server.url, content=content_of(body))
            else:
                said = await client.post(server.url, content=content_of(body))
                assert (said.status_code, said.content) == (413, b"too large")
            assert (await client.post(server.url)).content == TEXT
    assert len(server.heads) == 2, "a request that was refused is not sent again"


@each_body
async def test_a_refusal_is_heard_when_the_server_reads_the_rest(wire: Wire, body: str) -> None:
    with wire.serve(refuses(drains)) as server:
        async with wire.client() as client:
            said = await client.post(server.url, content=content_of(body))
            assert (said.status_code, said.content) == (413, b"too large")
            assert (await client.post(server.url)).content == TEXT
    assert len(server.heads) == 2


@each_body
async def test_a_refusal_is_heard_when_the_server_reads_nothing_and_stays(wire: Wire, body: str) -> None:
    let_go = threading.Event()
    with wire.serve(refuses(lambda peer, head: _until(let_go))) as server:
        async with wire.client(bounds_writing(wire)) as client:
            if wire.name == "httpx2":  # it reads nothing before it has written everything
                with pytest.raises(httpx2.WriteTimeout):
                    await client.post(server.url, content=content_of(body))
            else:
                said = await client.post(server.url, content=content_of(body))
                assert (said.status_code, said.content) == (413, b"too large")
            let_go.set()
            assert (await client.post(server.url)).content == TEXT
    assert server.connections == 2, "a connection with half a request on it is not used again"


@each_body
async def test_a_refusal_may_come_in_parts_while_its_request_is_still_unread(wire: Wire, body: str) -> None:
    head_came = threading.Event()

    def rest(peer: Peer, head: Received) -> None:
        _until(head_came)
        peer.send(REFUSAL[-4:])
        closes(peer, head)

    with wire.serve(refuses(rest, REFUSAL[:-4])) as server:
        async with wire.client(bounds_writing(wire)) as client:
            if wire.name == "httpx2":  # as above
                with pytest.raises(httpx2.WriteTimeout):
                    await client.post(server.url, content=content_of(body))
                head_came.set()
            else:
                async with client.stream("POST", server.url, content=content_of(body)) as said:
                    head_came.set()
                    assert (said.status_code, await said.aread()) == (413, b"too large")
    assert len(server.heads) == 1


@each_body
async def test_an_answer_may_begin_before_the_request_has_ended(wire: Wire, body: str) -> None:
    def script(peer: Peer) -> None:
        while (head := peer.head()) is not None:
            peer.send(answer(b"Transfer-Encoding: chunked"))
            peer.send(chunked(b"%d" % len(peer.body(head))))

    with wire.serve(script) as server:
        async with wire.client() as client:
            for _ in range(2):
                assert (await client.post(server.url, content=content_of(body))).content == b"%d" % len(LARGE)
    assert server.connections == 1


async def test_a_port_that_nobody_listens_on_is_an_error(wire: Wire) -> None:
    with wire.serve(Peer.close) as server:
        url = server.url
    async with wire.client() as client:
        with pytest.raises(httpx2.ConnectError) as failed:
            await client.post(url)
    if wire.name == "lean":
        assert url.split("//")[1] in str(failed.value), "the error names the address"


LEAVES: dict[str, Callable[[Peer], None]] = {
    "FIN": Peer.end,
    "FIN, and it listens no longer": Peer.end_both,
    "RST": Peer.reset,
    "close_notify without FIN": Peer.say_goodbye,
}


@pytest.mark.parametrize("how", LEAVES)
async def test_a_connection_that_ended_while_it_was_idle_gets_no_other_request(wire: Wire, how: str) -> None:
    if how == "close_notify without FIN" and not wire.tls:
        how = "FIN"  # the end of what TLS is on top of
    has_left = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(with_length(TEXT))
        if peer.number == 1:
            _until(heard)
            LEAVES[how](peer)
            has_left.set()
            if how != "RST":
                peer.unread()

    heard = threading.Event()
    with wire.serve(script) as server:
        async with wire.client() as client:
            await client.post(server.url)
            heard.set()
            await trio.to_thread.run_sync(has_left.wait, PATIENCE_S)
            assert (await client.post(server.url)).content == TEXT
    assert [peer.requests for peer in server.peers] == [1, 1]
    assert server.peers[0].received_bytes == server.peers[1].received_bytes, "of the second request, nothing"


UNASKED = {
    "another answer": with_length(TEXT) + with_length(b"stale"),
    "the beginning of another answer": with_length(TEXT) + b"HTTP/1.1 200",
    "garbage": with_length(TEXT) + b"\x00\x01\x02",
    "blank lines": with_length(TEXT) + b"\r\n\r\n",
    "another answer after 204": answer(b"A: b", line=b"HTTP/1.1 204 No Content") + with_length(b"stale"),
    "a body after 204": answer(b"A: b", line=b"HTTP/1.1 204 No Content") + b"stale",
}


@pytest.mark.parametrize("unasked", UNASKED)
async def test_bytes_that_nobody_asked_for_are_nobodys_answer(wire: Wire, unasked: str) -> None:
    def script(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            peer.send(with_length(b"mine") if request.target == "/second" else UNASKED[unasked])

    with wire.serve(script) as server:
        async with wire.client() as client:
            await client.post(server.url)
            if wire.name == "httpx2":  # h11 reads on where the answer ended: whatever is there begins the next one
                await hears_the_unasked(client, server.url + "/second", unasked)
            else:
                assert (await client.post(server.url + "/second")).content == b"mine"
                assert server.connections == 2


async def hears_the_unasked(client: httpx2.AsyncClient, url: str, unasked: str) -> None:
    if unasked.startswith("another answer"):
        assert (await client.post(url)).content == b"stale"
    else:
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.post(url)


def _until(event: threading.Event) -> None:
    assert event.wait(PATIENCE_S)
