"""What does the other end of a connection see, when everything that it has open is counted?

A server on trio, in the event loop and the process of the test, spoken by h11.  Each socket that it accepts is counted
without a turn in between, so that at any moment the other sockets of the process are the client's.  The first word of a
path says what becomes of a request: see `Answer`.
"""

from __future__ import annotations

import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import h11
import trio
import trio.testing

PATIENCE_S = 20.0
"""Far above what anything here takes: a test that waits for this long has failed."""

_RECEIVE_BUFFER_BYTES = 4 * 1024
_SEGMENT_BYTES = 536  # the fewer bytes in a segment, the fewer does Linux buffer at the sender: 50 KB instead of 4 MB
_READ_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a request is answered: in these pieces, each sent when everybody waits for it, so that each is read alone.

    `late`: its body is read only once everybody waits; `unread`: it is not read at all, and the connection is closed.
    """

    pieces: tuple[bytes, ...]
    late: bool = False
    unread: bool = False


def whole(text: bytes, kind: bytes = b"text/plain", more: bytes = b"") -> bytes:
    """An answer with a length."""
    return b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n%b\r\n%b" % (kind, len(text), more, text)


def chunked(pieces: list[bytes], kind: bytes = b"text/plain", more: bytes = b"") -> tuple[bytes, ...]:
    """An answer in chunks, and where it is cut: behind its head, and behind each chunk."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n%b\r\n" % (kind, more)
    return (head, *(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces), b"0\r\n\r\n")


WHOLE = Answer(pieces=(whole(b"whole"),))
ANSWERS = {
    "whole": WHOLE,
    "late": Answer(pieces=(whole(b"whole"),), late=True),
    "pieces": Answer(pieces=chunked([b"one", b"two", b"three"])),
    "refused": Answer(
        pieces=(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",), unread=True
    ),
}


@dataclass(slots=True, eq=False)
class Conversation:
    """One connection that is open; `is_amid` while a request has begun and its answer has not ended."""

    connection: trio.socket.SocketType
    is_amid: bool = True


@dataclass(slots=True)
class CountedServer:
    """`open` are its connections; `whole` says how often each path was read to the end of its request."""

    context: ssl.SSLContext | None
    answers: dict[str, Answer] = field(default_factory=lambda: dict(ANSWERS))
    open: set[Conversation] = field(default_factory=set)
    whole: Counter[str] = field(default_factory=Counter)
    _changed: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)
    _listener: socket.socket = field(default_factory=socket.socket)

    def __post_init__(self) -> None:
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT_BYTES)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        self._listener.setblocking(False)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http{'s' if self.context else ''}://127.0.0.1:{self.port}"

    async def until_idle(self, count: int) -> None:
        """Wait until so many connections are open, and none amid a request: what the client closed is closed here."""
        with trio.fail_after(PATIENCE_S):
            while len(self.open) != count or any(one.is_amid for one in self.open):
                await self._changed.park()

    def end_all(self) -> None:
        """Now, without a turn: FIN on every connection, and a reset for what comes later."""
        for conversation in self.open:
            conversation.connection.shutdown(socket.SHUT_RDWR)

    async def run(self) -> None:
        """Until it is cancelled."""
        with self._listener:
            async with trio.open_nursery() as nursery:
                while True:
                    await trio.lowlevel.wait_readable(self._listener)
                    accepted, _ = self._listener.accept()
                    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    conversation = Conversation(trio.socket.from_stdlib_socket(accepted))
                    self.open.add(conversation)
                    nursery.start_soon(self._converse, conversation)

    async def _converse(self, conversation: Conversation) -> None:
        stream: trio.abc.Stream = trio.SocketStream(conversation.connection)
        if self.context is not None:
            stream = trio.SSLStream(stream, self.context, server_side=True, https_compatible=True)
        http = h11.Connection(h11.SERVER)
        try:
            while await self._exchange(http, stream, conversation):
                http.start_next_cycle()
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            pass  # the client left in the middle
        finally:
            conversation.connection.close()
            self.open.discard(conversation)
            self._changed.unpark_all()

    async def _exchange(self, http: h11.Connection, stream: trio.abc.Stream, conversation: Conversation) -> bool:
        """One request and its answer; whether another may follow."""
        request = await _event(http, stream, conversation)
        if isinstance(request, h11.ConnectionClosed):
            return False
        assert isinstance(request, h11.Request), request
        target = request.target.decode()
        answer = self.answers[target.split("/")[1]]
        if answer.late:
            await trio.testing.wait_all_tasks_blocked()
        if not answer.unread:
            while not isinstance(await _event(http, stream, conversation), h11.EndOfMessage):
                pass
            self.whole[target] += 1
        for number, piece in enumerate(answer.pieces):
            if number or answer.unread:
                await trio.testing.wait_all_tasks_blocked()
            await stream.send_all(piece)
        if answer.unread:
            return False
        http.send(h11.Response(status_code=200, headers=[("content-length", "0")]))  # for its state only
        http.send(h11.EndOfMessage())
        conversation.is_amid = False
        self._changed.unpark_all()
        return True


async def _event(http: h11.Connection, stream: trio.abc.Stream, conversation: Conversation) -> object:
    while (event := http.next_event()) is h11.NEED_DATA:
        data = await stream.receive_some(_READ_BYTES)
        conversation.is_amid = True
        http.receive_data(bytes(data))
    return event


@asynccontextmanager
async def serving(context: ssl.SSLContext | None, **more: Answer) -> AsyncIterator[CountedServer]:
    """A server while the block lasts; `more` are answers beside the usual ones."""
    server = CountedServer(context)
    server.answers.update(more)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        yield server
        nursery.cancel_scope.cancel()
