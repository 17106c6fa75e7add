"""May another connection be opened, and is an old one still there when a request is written on it?

httpx2's pool (2.16) looks at an idle connection when it gives it to a request, and the request is written a few turns
of the event loop later.  With a thousand calls at once such a turn takes a second, and one call closes all the expired
connections of the pool before its own is used.  A server that closes idle connections meanwhile makes the calls fail
with "Server disconnected", though none of them was sent.  Here the connection is looked at again in the moment
before the request is written, and the pool gives the request another one.

Some servers close a connection after each answer and do not say so (llama.cpp after each stream).  What is written
before the end is seen is lost, and looks as if it had been read.  Where most are found closed, none is used twice.

A process that has opened all the files that it may cannot even read how much memory it uses.  So a connection that
would take one of the last is refused, with a message that names the limit.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, ClassVar

import httpcore2
import trio

RESERVED_FILES = 32
"""How many files are left to everything else in the process."""

SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


FEWEST_CLOSED = 4
MOST_CLOSED_SHARE = 0.5


def _not_told(_opened_s: float) -> None:
    """Nobody wants to know."""


class Reuse:
    """Whether the connections to a server are worth using again.  `opened` is told how long opening each one took."""

    def __init__(self, opened: Callable[[float], None] = _not_told) -> None:
        self.opened = opened
        self._tries = self._closed = 0

    def tried(self, *, was_closed: bool) -> None:
        """A connection was to be used again, and the server had closed it or not."""
        self._tries += 1
        self._closed += was_closed

    @property
    def is_vain(self) -> bool:
        """Whether the server closes them after each answer."""
        return self._closed >= FEWEST_CLOSED and self._closed > MOST_CLOSED_SHARE * self._tries


class Connector(httpcore2.TrioBackend):
    """Opens TCP connections for httpx2's pool."""

    def __init__(self, reuse: Reuse) -> None:
        super().__init__()
        self._reuse = reuse

    _opening: ClassVar[int] = (
        0  # by all of them: they share the files of the process; their sockets may not be there yet
    )

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
        Connector._opening += 1
        try:
            check_open_files(Connector._opening)
            began = trio.current_time()
            stream = await super().connect_tcp(host, port, timeout, local_address, socket_options)
            return Connection(stream, self._reuse, trio.current_time() - began)
        finally:
            Connector._opening -= 1


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
            return self._reuse.is_vain  # then it is as good as closed
        return self._stream.get_extra_info(info)


def check_open_files(more: int) -> None:
    """Refuse `more` files if the process may hardly open them.

    Raises:
        httpcore2.ConnectError: it may not; the message names the limit.
    """
    if (limit := open_files_limit()) is not None and _lowest_free() + more > limit - RESERVED_FILES:
        raise httpcore2.ConnectError(
            f"this process may open {limit} files at once, and {RESERVED_FILES} are kept for other things than "
            "connections: raise the limit (ulimit -n) or lower max_concurrency"
        )


def open_files_limit() -> int | None:
    """How many files the process may have open; None where the system has no such limit or does not say."""
    with suppress(ImportError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return None if limit == resource.RLIM_INFINITY else limit
    return None


def _lowest_free() -> float:
    """The number that the next file gets: all below it are open."""
    try:
        with socket.socket() as probe:
            return probe.fileno()
    except OSError as exc:
        if exc.errno == errno.EMFILE:
            return float("inf")
        raise httpcore2.ConnectError(str(exc)) from exc
