"""What happens on one connection, from a request to the end of its answer?

One request at a time: it is written, the head of its answer read, then its body piece by piece, at the reader's pace.
A large body is written while it is already listened for an answer: a server that refuses it need not read it, and one
that has refused it may not.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass

import httpx2
import trio

from synth_actors.scopes import nursery_for_body
from synth_actors.wire.request import LAST_CHUNK, RequestHead, chunk_of
from synth_actors.wire.response import Head, ResponseParser
from synth_actors.wire.socket_stream import READ_BYTES, SocketStream

AT_ONCE_BYTES = 64 * 1024
"""A request of no more is written before anything is read: it finds room in the buffers of both kernels."""


class NotProcessedError(Exception):
    """The request failed, and no byte of it can have been read by the server; `failure` is httpx2's error.

    So it is if (1) the kernel took no byte of it, because the connection was broken; or (2) the server had ended the
    connection before the first byte arrived: its end (FIN) was read where an answer would begin, and the kernel's count
    of acknowledged bytes, which the end itself brings up to date, has not moved since before the request.  A server
    that read the request has acknowledged it at the latest with its end; one whose end came first has nobody left to
    read.  A reset proves nothing, since it acknowledges nothing.  (2) is known on Linux only.
    """

    def __init__(self, failure: httpx2.TransportError) -> None:
        super().__init__(str(failure))
        self.failure = failure


class _NotTakenError(Exception):
    """The connection takes no more of the request.  No `httpx2.WriteError`: who makes a body may raise one, too."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that one write and one read may take; None: for ever."""

    write_s: float | None
    read_s: float | None


@dataclass(slots=True)
class Message:
    """A request to be written; `content` is its whole body, or its pieces, which can be had once."""

    head: RequestHead
    method: str
    content: bytes | AsyncIterable[bytes]


_NOTHING_ASKED = ResponseParser()
"""Of a connection that was not used yet."""


class Connection:
    """A connection to one server, plain or encrypted: `stream` is what is read and written, `wire` lies below it."""

    def __init__(self, wire: SocketStream, stream: SocketStream | trio.SSLStream[SocketStream]) -> None:
        self._wire = wire
        self._stream = stream
        self._parser = _NOTHING_ASKED
        self._pieces: list[bytes] = []  # of the body, that came with the head
        self._closes = False  # this side has said so
        self._is_written = True
        self._taken_before = 0
        self.idle_since_s = 0.0  # by trio's clock

    def __repr__(self) -> str:
        return f"<Connection {self._wire!r}, {self._parser!r}>"

    @property
    def is_at_end(self) -> bool:
        """Whether the answer has been read to its end."""
        return self._parser.is_complete

    @property
    def may_reuse(self) -> bool:
        """Whether another request may follow."""
        is_left_open = self._is_written and not self._closes and self._parser.may_reuse and not self._wire.is_closed
        return is_left_open and not self._holds_more()

    @property
    def in_chunks(self) -> bool:
        """Whether the last answer came in chunks."""
        return self._parser.is_chunked

    @property
    def is_untouched(self) -> bool:
        """Whether nothing of the last answer came."""
        return self._parser.is_untouched

    def is_stale(self) -> bool:
        """Whether the server has closed an idle connection: what can be read before a request is its end."""
        return self._wire.is_closed or self._wire.is_readable()

    async def watch(self, seconds: float) -> None:
        """Wait so long, or until an idle connection is stale."""
        with trio.move_on_after(seconds), suppress(trio.ClosedResourceError):
            await self._wire.wait_readable()

    def close(self) -> None:
        """Close it, whatever it is doing, without a turn."""
        self._wire.close()

    async def ask(self, message: Message, timeouts: Timeouts) -> Head:
        """Write a request and read the head of its answer.

        Raises:
            NotProcessedError: see there.
            httpx2.TransportError: anything else; the server may have acted on it.
        """
        self._parser = ResponseParser(message.method)
        self._pieces = []
        self._closes = message.head.closes
        self._is_written = False
        self._taken_before = self._wire.taken_bytes
        try:
            await self._write(message, timeouts)
            while (head := self._parser.head) is None:
                await self._read(timeouts.read_s)
        except (httpx2.NetworkError, httpx2.RemoteProtocolError) as exc:
            if self._is_unprocessed():
                raise NotProcessedError(exc) from exc
            raise
        return head

    async def receive(self, read_s: float | None) -> bytes:
        """What has come of the body, at least one byte; empty at its end.

        Raises:
            httpx2.TransportError: the body is not whole.
        """
        while not self._pieces:
            if self._parser.is_complete:
                return b""
            await self._read(read_s)
        pieces = self._pieces
        self._pieces = []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _read(self, read_s: float | None) -> None:
        data: bytes | bytearray | None = None
        try:
            if read_s is None:
                data = await self._stream.receive_some(READ_BYTES)
            else:
                with trio.CancelScope(deadline=trio.current_time() + read_s):  # half of what `fail_after` costs
                    data = await self._stream.receive_some(READ_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise httpx2.ReadError(_reason(exc)) from exc
        if data is None:
            raise httpx2.ReadTimeout(f"nothing came within {read_s} s")
        if not data:
            self._parser.end()
        self._pieces += self._parser.feed(bytes(data))

    async def _write(self, message: Message, timeouts: Timeouts) -> None:
        head, content = message.head, message.content
        try:
            if isinstance(content, bytes):
                if len(content) != head.length and not head.is_chunked:
                    raise _wrong_length(head.length, len(content))
                data = head.data + (chunk_of(content) + LAST_CHUNK if head.is_chunked else content)
                if len(data) <= AT_ONCE_BYTES:
                    await self._send(data, timeouts.write_s)
                else:
                    await self._write_and_listen(_one(data), timeouts.write_s)
            else:
                await self._write_and_listen(_framed(head, content), timeouts.write_s)
            self._is_written = True
        except _NotTakenError as exc:
            if self._wire.taken_bytes == self._taken_before:
                raise httpx2.WriteError(str(exc)) from exc.__cause__
            # A server may refuse a request before it has read it, and close: its answer may be there.

    async def _write_and_listen(self, data: AsyncGenerator[bytes, None], write_s: float | None) -> None:
        """Write, and stop writing when an answer comes that refuses the request."""
        failure: httpx2.TransportError | None = None
        is_stopped = False
        making = trio.CancelScope()

        async def listen() -> None:
            nonlocal failure, is_stopped
            try:
                while self._parser.head is None:
                    await self._read(None)
            except httpx2.TransportError as exc:
                failure = exc
            if failure is not None or (self._parser.head is not None and self._parser.head.status >= 300):
                is_stopped = True
                self._wire.stop_sending()  # not cancelled: TLS would read no more
                making.cancel()

        async with nursery_for_body() as nursery, aclosing(data):
            nursery.start_soon(listen)
            while not is_stopped:
                piece = None
                with trio.CancelScope() as making:
                    piece = await anext(data, None)
                if piece is None:
                    break
                await self._send(piece, write_s)
        if failure is not None:
            raise failure
        if is_stopped:
            raise _NotTakenError("the server refused the request before it had read it")

    async def _send(self, data: bytes, write_s: float | None) -> None:
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            sent = self._wire.send_now(data) if self._stream is self._wire else 0
            if sent < len(data):
                await self._send_rest(memoryview(data)[sent:], write_s)
        except trio.TooSlowError as exc:
            raise httpx2.WriteTimeout(f"the server did not read the request within {write_s} s") from exc
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise _NotTakenError(_reason(exc)) from exc
        if (failure := self._wire.send_failure) is not None:
            raise _NotTakenError(str(failure)) from failure

    async def _send_rest(self, data: memoryview, write_s: float | None) -> None:
        if write_s is None:
            await self._stream.send_all(data)
        else:
            with trio.fail_after(write_s):
                await self._stream.send_all(data)

    def _holds_more(self) -> bool:
        """Whether bytes came behind the answer that TLS has not been asked for: nobody's answer, or its end.

        trio (0.35) says only how much of them is decrypted, which is none as long as nobody reads.
        """
        return isinstance(self._stream, trio.SSLStream) and self._stream._incoming.pending > 0

    def _is_unprocessed(self) -> bool:
        """See `NotProcessedError`."""
        if self._wire.is_closed or not self._parser.is_untouched:
            return False
        if self._wire.taken_bytes == self._taken_before:
            return True
        acknowledged = self._wire.acknowledged_bytes
        return self._wire.is_ended() and acknowledged is not None and acknowledged <= self._taken_before


async def _one(data: bytes) -> AsyncGenerator[bytes, None]:
    yield data


async def _framed(head: RequestHead, content: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    yield head.data
    sent = 0
    async with _iterating(content) as pieces:
        async for piece in pieces:
            sent += len(piece)
            if not head.is_chunked and sent > head.length:
                raise _wrong_length(head.length, sent)
            if framed := chunk_of(piece) if head.is_chunked else piece:
                yield framed
    if head.is_chunked:
        yield LAST_CHUNK
    elif sent != head.length:
        raise _wrong_length(head.length, sent)


@asynccontextmanager
async def _iterating(content: AsyncIterable[bytes]) -> AsyncIterator[AsyncIterator[bytes]]:
    """The pieces of a body; if a generator makes them, it comes to its end with the block."""
    pieces = aiter(content)
    try:
        yield pieces
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


def _wrong_length(promised: int, given: int) -> httpx2.LocalProtocolError:
    return httpx2.LocalProtocolError(f"content-length promises {promised} bytes, the body has {given}")


def _reason(exc: BaseException) -> str:
    cause = exc.__cause__
    return str(cause if cause is not None else exc)
