"""Can a shortened answer be taken for a whole one, wherever it was cut?

For each framing the server sends the first k bytes of an answer, k = 0, 1, 2, ..., and then resets the connection
(RST) or ends it (FIN).  What comes out is the whole answer or an error of httpx2's, and the request is sent once: the
server has read it.  A body until EOF that is ended by FIN is the one that HTTP cannot tell from a whole one.
"""

from __future__ import annotations

import ssl
from typing import Literal

import httpx2
import pytest
import trio

from tests.conftest import FULL_SOAK, Soak
from tests.wire.certificates import Certificates
from tests.wire.framings import TEXT, answer, chunked, with_length
from tests.wire.scripted import Peer, Script, Scripted
from tests.wire.tls_by_hand import ByHand
from tests.wire.transports import NAMES, Name, Wire

FRAMES = {
    "length": with_length(TEXT, b"A: b"),
    "chunked": answer(b"Transfer-Encoding: chunked", body=chunked(TEXT[:10], TEXT[10:], trailers=b"X-Sum: 26\r\n")),
    "close": with_length(TEXT, b"Connection: close"),
    "until EOF": answer(b"A: b", body=TEXT),
    "interim": b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" + with_length(TEXT),
    "204": answer(b"A: b", line=b"HTTP/1.1 204 No Content"),
}
End = Literal["FIN", "RST"]
AT_ONCE = 16
"""Requests in flight: each waits for its server's thread."""

each_transport = pytest.mark.parametrize("name", NAMES)
each_end = pytest.mark.parametrize("end", ["FIN", "RST"])


def cuts(sent: bytes, end: End) -> Script:
    """A script: `/k` gets the first k bytes of `sent` and then `end`; `/` is answered and its connection kept."""

    def script(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            if request.target == "/":
                peer.send(with_length(TEXT))
                continue
            peer.send(sent[: int(request.target[1:])])
            if end == "FIN":
                peer.end()
                peer.unread()
            else:
                peer.reset()
            return

    return script


async def outcome(client: httpx2.AsyncClient, url: str) -> tuple[int, bytes] | httpx2.TransportError:
    try:
        answered = await client.post(url, content=b"a paid request")
    except httpx2.TransportError as exc:
        return exc
    return answered.status_code, answered.content


async def outcomes(client: httpx2.AsyncClient, url: str, count: int) -> list[tuple[int, bytes] | httpx2.TransportError]:
    """What came of `/0`, `/1`, ... `/count`, each on a connection of its own."""
    came: dict[int, tuple[int, bytes] | httpx2.TransportError] = {}
    places = trio.CapacityLimiter(AT_ONCE)

    async def ask(cut: int) -> None:
        async with places:
            came[cut] = await outcome(client, f"{url}/{cut}")

    async with trio.open_nursery() as nursery:
        for cut in range(count):
            nursery.start_soon(ask, cut)
    await ask(count)  # after the others: none of them may be written on its connection before the end of that arrives
    return [came[cut] for cut in range(count + 1)]


@each_end
@each_transport
@pytest.mark.parametrize("frame", FRAMES)
async def test_an_answer_that_is_cut_at_any_byte_is_whole_or_an_error(
    name: Name, certificates: Certificates, frame: str, end: End
) -> None:
    await cut_everywhere(Wire(name=name, tls=False, certificates=certificates), frame, end)


@each_end
@each_transport
@pytest.mark.parametrize("frame", ["chunked", "until EOF"])  # TLS ends in the same way for all of them
async def test_so_it_is_over_tls(name: Name, certificates: Certificates, frame: str, end: End) -> None:
    await cut_everywhere(Wire(name=name, tls=True, certificates=certificates), frame, end)


async def cut_everywhere(wire: Wire, frame: str, end: End) -> None:
    sent = FRAMES[frame]
    status, body = (204, b"") if frame == "204" else (200, TEXT)
    with wire.serve(cuts(sent, end)) as server:
        async with wire.client() as client:
            came = await outcomes(client, server.url, len(sent))
    head_bytes = sent.index(b"\r\n\r\n") + 4
    for cut, got in enumerate(came):
        if frame == "until EOF" and end == "FIN" and cut >= head_bytes:
            assert got == (200, sent[head_bytes:cut]), "what came is all there is to know"
        elif cut < len(sent):
            assert isinstance(got, httpx2.TransportError), f"{cut} of {len(sent)} bytes were taken for {got!r}"
        elif frame != "until EOF":
            assert got == (status, body)
    targets = sorted(int(request.target[1:]) for request in server.requests)
    assert targets == list(range(len(came))), "each was sent once"
    assert all(
        type(got) in (httpx2.ReadError, httpx2.RemoteProtocolError) for got in came if isinstance(got, Exception)
    )


@each_end
async def test_a_request_on_a_used_connection_that_the_server_has_read_is_not_sent_again(wire: Wire, end: End) -> None:
    with wire.serve(cuts(FRAMES["length"], end)) as server:
        async with wire.client() as client:
            for cut in range(4):
                assert await outcome(client, server.url) == (200, TEXT)
                assert isinstance(await outcome(client, f"{server.url}/{cut}"), httpx2.TransportError)
    targets = [request.target for request in server.requests]
    assert targets == ["/", "/0", "/", "/1", "/", "/2", "/", "/3"]
    assert server.connections == 4, "each cut one was on the connection of the one before it"


ENDS_OF_TLS = {httpx2.ConnectError, httpx2.WriteError, httpx2.ReadError, httpx2.RemoteProtocolError}


class _CutError(Exception):
    """As many bytes were sent as were to be sent."""


def cuts_tls(context: ssl.SSLContext, most_bytes: dict[int, int], end: End) -> Script:
    """A script: connection n sends `most_bytes[n]` bytes of TLS, handshake and all, and then `end`."""

    def script(peer: Peer) -> None:
        left_bytes = most_bytes[peer.number]

        def send(data: bytes) -> None:
            nonlocal left_bytes
            peer.send(data[:left_bytes])
            left_bytes -= min(left_bytes, len(data))
            if not left_bytes:
                raise _CutError

        tls = ByHand(peer, context, send)
        try:
            tls.shake_hands()
            tls.request()
            send(tls.sealed(FRAMES["length"]))
        except _CutError:
            if end == "RST":
                peer.reset()
            else:
                peer.end()
                peer.unread()

    return script


@each_end
@each_transport
async def test_a_handshake_or_record_that_is_cut_at_any_byte_is_an_error(
    name: Name, certificates: Certificates, end: End, soak: Soak
) -> None:
    wire = Wire(name=name, tls=True, certificates=certificates)
    whole_bytes = await tls_bytes(wire)
    step = max(1, FULL_SOAK // soak.count)  # a twentieth of them in `make test`
    cut_at = range(1 + soak.seed % step, whole_bytes - 100, step)  # each handshake is some bytes shorter or longer
    most_bytes = dict(enumerate(cut_at, start=1))
    with Scripted(cuts_tls(certificates.server(), most_bytes, end), None) as server:
        async with wire.client() as client:
            came = [await outcome(client, f"https://127.0.0.1:{server.port}") for _ in cut_at]
    assert {type(one) for one in came} <= ENDS_OF_TLS
    assert server.connections == len(came), "nobody tried again"


async def tls_bytes(wire: Wire) -> int:
    """What a server sends for a handshake and the answer."""
    count = 0

    def script(peer: Peer) -> None:
        nonlocal count
        sent: list[bytes] = []

        def send(data: bytes) -> None:
            peer.send(data)
            sent.append(data)

        tls = ByHand(peer, wire.certificates.server(), send)
        tls.shake_hands()
        tls.request()
        send(tls.sealed(FRAMES["length"]))
        count = sum(map(len, sent))

    with Scripted(script, None) as server:
        async with wire.client() as client:
            assert await outcome(client, f"https://127.0.0.1:{server.port}") == (200, TEXT)
    return count
