"""Does a body that is larger than memory pass through without filling it?

1 GiB in each direction (in `make test` a twentieth), measured by a process of its own; and a reader or a server that
stops taking stops the other side.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import trio

from tests.conftest import FULL_SOAK, Soak
from tests.wire.certificates import Certificates
from tests.wire.framings import answer
from tests.wire.scripted import Peer, Scripted
from tests.wire.transports import PATIENCE_S, Wire

PIECE = bytes(2**20)
MOST_GROWN_BYTES = 20 * 10**6
OFFERED_BYTES = 256 * 2**20
MOST_TAKEN_BYTES = 64 * 2**20
"""The buffers of two kernels are smaller, whatever they were tuned to."""


def streams(peer: Peer) -> None:
    """`/download/N` gets N bytes in chunks, `/upload` is read away and its bytes counted."""
    while (head := peer.head()) is not None:
        if head.target == "/upload":
            count = b"%d" % peer.count_body()
            peer.send(answer(b"Content-Length: %d" % len(count), body=count))
            continue
        peer.send(answer(b"Transfer-Encoding: chunked"))
        left_bytes = int(head.target.split("/")[-1])
        while left_bytes:
            piece = PIECE[:left_bytes]
            peer.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            left_bytes -= len(piece)
        peer.send(b"0\r\n\r\n")


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_gibibyte_streamed_in_either_direction_takes_less_than_20_mb(
    certificates: Certificates, tmp_path: Path, soak: Soak, tls: bool
) -> None:
    size_bytes = 2**30 * soak.count // FULL_SOAK // 65536 * 65536
    authorities = tmp_path / "authorities.pem"
    certificates.authority.cert_pem.write_to_path(authorities)
    with Scripted(streams, certificates.server() if tls else None) as server:
        program = Path(__file__).with_name("large_body_client.py")
        command = [sys.executable, str(program), server.url, str(authorities), str(size_bytes)]
        done = subprocess.run(command, capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    came = json.loads(done.stdout)
    assert (came["download"], came["upload"]) == (size_bytes, size_bytes)
    assert came["grown_bytes"] < MOST_GROWN_BYTES


async def test_a_reader_that_stops_stops_the_server_and_misses_nothing(wire: Wire) -> None:
    sent_bytes = 0
    has_stopped = threading.Event()

    def script(peer: Peer) -> None:
        nonlocal sent_bytes
        peer.request()
        peer.send(answer(b"A: b"))  # and a body until EOF
        while sent_bytes < OFFERED_BYTES and peer.has_room(within_s=0.2):
            sent_bytes += peer.send_some(PIECE)
        has_stopped.set()
        peer.send(PIECE)  # the same again, as TLS asks for after a record that found no room
        peer.end()
        peer.unread()

    with wire.serve(script) as server:
        async with wire.client() as client, client.stream("GET", server.url) as body:
            await trio.to_thread.run_sync(has_stopped.wait, PATIENCE_S)
            assert 0 < sent_bytes < MOST_TAKEN_BYTES
            came_bytes = 0
            async for piece in body.aiter_raw():
                came_bytes += len(piece)
    assert came_bytes == sent_bytes + len(PIECE)


async def test_a_server_that_stops_reading_stops_the_body(wire: Wire) -> None:
    made_bytes = 0
    has_failed = threading.Event()

    async def endless() -> AsyncIterator[bytes]:
        nonlocal made_bytes
        while made_bytes < OFFERED_BYTES:
            made_bytes += len(PIECE)
            yield PIECE

    def script(peer: Peer) -> None:
        peer.head()
        assert has_failed.wait(PATIENCE_S)

    with wire.serve(script) as server:
        async with wire.client(httpx2.Timeout(PATIENCE_S, write=0.2)) as client:
            with pytest.raises(httpx2.WriteTimeout):
                await client.post(server.url, content=endless())
            has_failed.set()
    assert 0 < made_bytes < MOST_TAKEN_BYTES
