"""What does a server do that a test scripts byte by byte?

A raw HTTP/1.1 server on trio: it records requests and answers with exactly what a test gives it, also half of it, never
the rest, or nothing at all.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import trio


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came in; header names are in lower case."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer.  `cut` ends the connection after so many bytes of the body, `stall` keeps it open and silent there.

    `framing`: "length" and "chunked" tell the client when bytes are missing, "eof" does not.  `piece` is how many bytes
    are written at once.
    """

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    framing: Literal["length", "chunked", "eof"] = "length"
    cut: int | None = None
    stall: int | None = None
    piece: int | None = None


def json_reply(document: object, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    everything = {"content-type": "application/json", **(headers or {})}
    return Reply(body=json.dumps(document).encode(), status=status, headers=everything)


class Server:
    """What a test holds: the address, what came in, how many connections are open."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.received: list[Received] = []
        self.open_connections = 0
        self.answer: Callable[[Received], Reply | None] = lambda _: None  # None: never answer
        self.busy = trio.Event()  # a request came in
        self.closed = trio.Event()  # somebody left while we were stalling or silent

    @property
    def last(self) -> Received:
        return self.received[-1]

    async def handle(self, stream: trio.SocketStream) -> None:
        self.open_connections += 1
        try:
            while (request := await _read_request(stream)) is not None:
                self.received.append(request)
                self.busy.set()
                if not await self._reply(stream, self.answer(request)):
                    return
        except trio.BrokenResourceError:
            self.closed.set()
        finally:
            self.open_connections -= 1
            await stream.aclose()

    async def _reply(self, stream: trio.SocketStream, reply: Reply | None) -> bool:
        if reply is None:
            await self._until_it_leaves(stream)
            return False
        end = min(len(reply.body), *(at for at in (reply.cut, reply.stall) if at is not None), len(reply.body))
        await stream.send_all(_head(reply))
        step = reply.piece or max(1, len(reply.body))
        for start in range(0, end, step):
            await stream.send_all(_framed(reply, reply.body[start : min(start + step, end)]))
        if reply.stall is not None:
            await self._until_it_leaves(stream)
        if reply.framing == "chunked" and reply.cut is None:
            await stream.send_all(b"0\r\n\r\n")
        return reply.framing != "eof" and reply.cut is None and reply.stall is None

    async def _until_it_leaves(self, stream: trio.SocketStream) -> None:
        try:
            while await stream.receive_some():
                pass
        finally:
            self.closed.set()


def _head(reply: Reply) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} Scripted", *(f"{name}: {value}" for name, value in reply.headers.items())]
    if reply.framing == "length":
        lines.append(f"content-length: {len(reply.body)}")
    elif reply.framing == "chunked":
        lines.append("transfer-encoding: chunked")
    else:
        lines.append("connection: close")
    return "\r\n".join([*lines, "", ""]).encode()


def _framed(reply: Reply, piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece) if reply.framing == "chunked" else piece


async def _read_request(stream: trio.SocketStream) -> Received | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some()
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += await stream.receive_some()
    return Received(first.split()[1], headers, json.loads(body) if body else {})


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    """A server on a free port of this machine, until the block ends."""
    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server = Server(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}")
        nursery.start_soon(trio.serve_listeners, server.handle, listeners)
        yield server
        nursery.cancel_scope.cancel()
