"""How fast can this machine send the same calls to the same server at all?

Raw trio sockets with keep-alive, no client library: what it does is about the least that a call over HTTP can be.  It
is run beside the engine as the calibration loop: a machine that is busy slows both.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from time import perf_counter
from urllib.parse import urlsplit

import trio

_END_OF_HEAD = b"\r\n\r\n"
_MOST_AT_ONCE = 65_536


def body_of(prompt: str, *, model: str, max_tokens: int) -> bytes:
    """A chat completion's request, as the engine sends it but for spaces."""
    document = {"model": model, "max_tokens": max_tokens, "messages": [{"role": "user", "content": prompt}]}
    return json.dumps(document).encode()


async def bare_calls(base_url: str, connections: int, bodies: Iterable[bytes]) -> float:
    """POST each of `bodies` to `base_url`/chat/completions over so many connections; the seconds that all took.

    Raises:
        RuntimeError: an answer is not 200: then there is nothing to compare with.
    """
    parts, rest = urlsplit(base_url), iter(bodies)
    head = f"POST {parts.path}/chat/completions HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"

    async def connection() -> None:
        stream: trio.SocketStream | None = None
        for body in rest:
            if stream is None:
                stream = await trio.open_tcp_stream(parts.hostname or "", parts.port or 80)
            await stream.send_all(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            await _read_answer(stream)
        if stream is not None:
            await stream.aclose()

    began_s = perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(connections):
            nursery.start_soon(connection)
    return perf_counter() - began_s


async def _read_answer(stream: trio.SocketStream) -> None:
    data = b""
    while _END_OF_HEAD not in data:
        data += await _some(stream)
    head, _, body = data.partition(_END_OF_HEAD)
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"the server answered {head[:40]!r}")
    missing = _length(head) - len(body)
    while missing > 0:
        missing -= len(await _some(stream))


async def _some(stream: trio.SocketStream) -> bytes:
    data = bytes(await stream.receive_some(_MOST_AT_ONCE))
    if not data:
        raise RuntimeError("the server closed the connection in the middle of an answer")
    return data


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise RuntimeError("the answer has no content-length")
