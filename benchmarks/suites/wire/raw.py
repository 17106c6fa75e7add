"""What is about the least that a call over HTTP can cost on trio?

Raw streams with keep-alive, newest first, and no client library: it says what the server carries, and what is left to
gain.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

import trio

from benchmarks.suites.wire.serving import Target

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length:"
_MOST_AT_ONCE = 65_536

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]
MakeBody = Callable[[str], bytes]
"""The body of a request for a prompt."""


class RawSockets:
    """As many connections as are needed at once."""

    def __init__(self, target: Target, path: str, body: MakeBody) -> None:
        parts = urlsplit(target.url)
        self._host, self._port, self._context = parts.hostname or "", parts.port or 80, target.context
        self._body = body
        self._head = (
            f"POST {path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\ncontent-length: "
        ).encode()
        self._idle: list[Stream] = []

    async def call(self, prompt: str) -> None:
        """Ask, and read the whole answer.

        Raises:
            RuntimeError: it is not 200, or ends early.
        """
        body = self._body(prompt)
        stream = self._idle.pop() if self._idle else await self._connected()
        await stream.send_all(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
        await _read_answer(stream)
        self._idle.append(stream)

    async def aclose(self) -> None:
        """Close the connections."""
        for stream in self._idle:
            await trio.aclose_forcefully(stream)

    async def _connected(self) -> Stream:
        stream = await trio.open_tcp_stream(self._host, self._port)
        if self._context is None:
            return stream
        return await _greeted(stream, self._context, self._host)


async def _greeted(stream: trio.SocketStream, context: ssl.SSLContext, host: str) -> Stream:
    over_tls = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
    await over_tls.do_handshake()
    return over_tls


async def _read_answer(stream: Stream) -> None:
    data = await _some(stream)
    while _END_OF_HEAD not in data:
        data += await _some(stream)
    head, _, body = data.partition(_END_OF_HEAD)
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"the server answered {head[:40]!r}")
    start = head.index(_LENGTH) + len(_LENGTH)
    missing = int(head[start:].partition(b"\r")[0]) - len(body)
    while missing > 0:
        missing -= len(await _some(stream))


async def _some(stream: Stream) -> bytes:
    if not (data := bytes(await stream.receive_some(_MOST_AT_ONCE))):
        raise RuntimeError("the server closed the connection in the middle of an answer")
    return data
