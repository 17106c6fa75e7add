"""How does httpx2's own transport come to connections that last until a request is written on them?

httpx2's pool (2.16) looks at an idle connection when it gives it to a request, and the request is written a few turns
of the event loop later.  With a thousand calls at once such a turn takes a second, and one call closes all the expired
connections of the pool before its own is used.  A server that closes idle connections meanwhile makes the calls fail
with "Server disconnected", though none of them was sent.  Here the connection is looked at again in the moment
before the request is written, and the pool gives the request another one.
"""

from __future__ import annotations

import ssl
from collections.abc import Coroutine, Iterable
from typing import Any

import httpcore2
import trio

from synth_actors.wire.open_files import FilesExhaustedError, opening_file
from synth_actors.wire.reuse import Reuse

SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


class Connector(httpcore2.TrioBackend):
    """Opens TCP connections for httpx2's pool."""

    def __init__(self, reuse: Reuse) -> None:
        super().__init__()
        self._reuse = reuse

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - what httpx2 calls it
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Open a connection.

        Raises:
            httpcore2.ConnectError: there is nobody, or this process may hardly open another file.
        """
        try:
            with opening_file():
                began = trio.current_time()
                stream = await super().connect_tcp(host, port, timeout, local_address, socket_options)
                return Connection(stream, self._reuse, trio.current_time() - began)
        except FilesExhaustedError as exc:
            raise httpcore2.ConnectError(str(exc)) from exc


class Connection(httpcore2.AsyncNetworkStream):
    """A TCP connection on which one HTTP/1.1 request is written after another."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream, reuse: Reuse, opened_s: float) -> None:
        self._stream = stream
        self._reuse = reuse
        self._opened_s: float | None = opened_s  # what opening it took; None once that was said
        self._answered = False  # what is written next is a new request, on a used connection

    def read(self, max_bytes: int, timeout: float | None = None) -> Coroutine[Any, Any, bytes]:
        """Read; not `async`, which spares a frame for each chunk of a stream."""
        self._answered = True
        return self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Write.

        Raises:
            httpcore2.ConnectionNotAvailable: the server has closed the connection, and nothing of the request was
                written; the pool takes another one.
        """
        if self._answered:
            was_closed = bool(self._stream.get_extra_info("is_readable"))  # before a request that can only be the end
            self._reuse.tried(was_closed=was_closed)
            if was_closed:
                raise httpcore2.ConnectionNotAvailable
            self._answered = False
        if self._opened_s is not None:  # not before: with TLS there is a handshake to come
            self._reuse.opened(self._opened_s)
            self._opened_s = None
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close it."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore2.AsyncNetworkStream:
        """The same connection, encrypted."""
        began = trio.current_time()
        try:
            stream = await self._stream.start_tls(ssl_context, server_hostname, timeout)
            return Connection(stream, self._reuse, (self._opened_s or 0.0) + trio.current_time() - began)
        except trio.Cancelled:  # httpx2 forgets the connection: nobody else would close it
            with trio.CancelScope(shield=True):
                await self.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        """What httpx2 asks for by name."""
        if info == "is_readable":  # which the pool asks of every idle connection for every request; `write` asks itself
            return self._reuse.is_vain()  # then it is as good as closed
        return self._stream.get_extra_info(info)
