"""Does each deadline end what it is named for, and the connection with it?

Connect, TLS handshake, write, first byte, between bytes: a server that says or reads nothing more at that point, and a
timeout of 50 ms for that step alone, the others being far longer.  The error is httpx2's class for the step, and the
server sees that the client has left.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import httpx2
import pytest
import trio

from tests.wire.certificates import Certificates
from tests.wire.framings import TEXT, answer, with_length
from tests.wire.scripted import Peer, Script, Scripted
from tests.wire.transports import NAMES, PATIENCE_S, Name, Wire

SHORT_S = 0.05
LARGE = bytes(16 * 2**20)


def only(step: str) -> httpx2.Timeout:
    """A short timeout for one step."""
    return httpx2.Timeout(**{"timeout": PATIENCE_S, step: SHORT_S})


def silent(peer: Peer) -> None:
    """Nothing is said until the client has left; the script fails by its own patience if it does not."""
    peer.unread()


def first_gets(sent: bytes) -> Script:
    """A script: the first connection gets `sent` for its request and then nothing; any other a whole answer."""

    def script(peer: Peer) -> None:
        while peer.request() is not None:
            peer.send(sent if peer.number == 1 else with_length(TEXT))
            if peer.number == 1:
                silent(peer)

    return script


async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 2**18):
        yield body[start : start + 2**18]


@contextmanager
def full_backlog() -> Iterator[str]:
    """The address of somebody who never accepts: a SYN to it is dropped."""
    with closing(socket.socket()) as listener, ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            one = waiting.enter_context(closing(socket.socket()))
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield f"127.0.0.1:{listener.getsockname()[1]}"


async def test_connecting_is_bounded_by_connect(wire: Wire) -> None:
    with full_backlog() as address, trio.fail_after(PATIENCE_S):
        async with wire.client(only("connect")) as client:
            with pytest.raises(httpx2.ConnectTimeout):
                await client.post(f"http{'s' if wire.tls else ''}://{address}")


@pytest.mark.parametrize("name", NAMES)
async def test_the_handshake_is_bounded_by_connect(name: Name, certificates: Certificates) -> None:
    with Scripted(silent, None) as server, trio.fail_after(PATIENCE_S):
        async with Wire(name=name, tls=True, certificates=certificates).client(only("connect")) as client:
            with pytest.raises(httpx2.ConnectTimeout):
                await client.post(f"https://127.0.0.1:{server.port}")
    assert server.peers[0].received_bytes > 0, "the hello"


@pytest.mark.parametrize("kind", ["at hand", "in pieces"])
async def test_writing_is_bounded_by_write(wire: Wire, kind: str) -> None:
    has_failed = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        assert has_failed.wait(PATIENCE_S)
        silent(peer)

    with wire.serve(script) as server, trio.fail_after(PATIENCE_S):
        async with wire.client(only("write")) as client:
            with pytest.raises(httpx2.WriteTimeout):
                await client.post(server.url, content=LARGE if kind == "at hand" else in_pieces(LARGE))
            has_failed.set()
    assert server.peers[0].received_bytes < len(LARGE)


BODIES: dict[str, Callable[[], bytes | AsyncIterator[bytes]]] = {
    "small": lambda: b"small",
    "large": lambda: LARGE[: 2**20],
    "in pieces": lambda: in_pieces(LARGE[: 2**20]),
}


@pytest.mark.parametrize("kind", BODIES)
async def test_the_first_byte_is_bounded_by_read(wire: Wire, kind: str) -> None:
    with wire.serve(first_gets(b"")) as server, trio.fail_after(PATIENCE_S):
        async with wire.client(only("read")) as client:
            with pytest.raises(httpx2.ReadTimeout):
                await client.post(server.url, content=BODIES[kind]())
            assert (await client.post(server.url, timeout=PATIENCE_S)).content == TEXT
    assert [peer.requests for peer in server.peers] == [1, 1], "what timed out is not sent again"


PARTS = {
    "status-line": b"HTTP/1.1 20",
    "head": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
    "interim": b"HTTP/1.1 100 Continue\r\n\r\n",
    "body-by-length": with_length(TEXT)[:-1],
    "body-in-chunks": answer(b"Transfer-Encoding: chunked", body=b"5\r\nhel"),
    "before-the-last-chunk": answer(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n"),
    "in-the-trailers": answer(b"Transfer-Encoding: chunked", body=b"0\r\nA: b\r\n"),
    "body-until-EOF": answer(b"A: b", body=TEXT),
}


async def test_whatever_comes_next_is_bounded_by_read(wire: Wire) -> None:
    def script(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            peer.send(PARTS[request.target[1:]] if request.target != "/" else with_length(TEXT))

    failed: list[str] = []
    with wire.serve(script) as server, trio.fail_after(PATIENCE_S):
        async with wire.client(only("read")) as client:

            async def ask(part: str) -> None:
                with pytest.raises(httpx2.ReadTimeout):
                    await client.post(f"{server.url}/{part}")
                failed.append(part)

            async with trio.open_nursery() as nursery:
                for part in PARTS:
                    nursery.start_soon(ask, part)
            assert (await client.post(server.url, timeout=PATIENCE_S)).content == TEXT
    assert sorted(failed) == sorted(PARTS)
    assert [peer.requests for peer in server.peers] == [1] * (len(PARTS) + 1)


async def test_waiting_for_a_place_is_bounded_by_pool(wire: Wire) -> None:
    with wire.serve(first_gets(with_length(TEXT)[:-1])) as server, trio.fail_after(PATIENCE_S):
        async with wire.client(only("pool"), most_connections=1) as client:
            async with client.stream("POST", server.url):
                with pytest.raises(httpx2.PoolTimeout):
                    await client.post(server.url)
            assert (await client.post(server.url, timeout=PATIENCE_S)).content == TEXT
    assert [peer.requests for peer in server.peers] == [1, 1]
