"""How does a request of httpx2's reach its server, and the answer its reader?

The transport that stands below `httpx2.AsyncClient`, and so below everything that uses one, in place of httpx2's own:
HTTP/1.1 on trio, with a C parser and a pool that answers in O(1).  What it saves says `python -m benchmarks --suite
wire`; it is held to the same tests as httpx2's (`tests/wire`).

It speaks no HTTP/2, to no proxy, and upgrades to nothing.  Of the extensions of a request it knows `timeout`,
`sni_hostname` and `target`; those of an answer are `http_version` and `reason_phrase`.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterable

import httpx2
import trio

from synth_actors.wire.connecting import Origin
from synth_actors.wire.connection import Message, NotProcessedError, Timeouts
from synth_actors.wire.connections import Connections, Lease
from synth_actors.wire.request import RequestHead, head_of
from synth_actors.wire.response import Head
from synth_actors.wire.reuse import Reuse

KEEPALIVE_S = 4.0
"""Idle connections are dropped before the 5 s after which uvicorn, Node and llama.cpp drop them: no race to lose."""

DEFAULT_LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=10_000, keepalive_expiry=KEEPALIVE_S)
"""As many connections as there are requests at once, which is for whoever makes the requests to bound."""


class LeanTransport(httpx2.AsyncBaseTransport):
    """HTTP/1.1 connections, kept and used again.

    `verify` and `trust_env` are httpx2's: True for the system's certificates (or `SSL_CERT_FILE`, `SSL_CERT_DIR`), a
    PEM file, a folder, an `ssl.SSLContext`, or False for none.  Of `limits`, `max_connections` makes requests wait
    (under the timeout `pool`), `max_keepalive_connections` bounds those that are idle, `keepalive_expiry` how long.
    `reuse` hears how long opening each connection took.

    A request is written again, once, on a fresh connection, only if it was written on a used one and no byte of it can
    have been processed (`NotProcessedError` says exactly when), and only if its body is at hand as a whole.

    Raises (from a request, and while its answer is read):
        httpx2.TransportError: what httpx2's own transport raises: ConnectError, ConnectTimeout, WriteError,
            WriteTimeout, ReadError, ReadTimeout, PoolTimeout, RemoteProtocolError, LocalProtocolError,
            UnsupportedProtocol.
        OSError: (from the constructor) there are no certificates at `verify`.
    """

    def __init__(
        self,
        verify: ssl.SSLContext | str | bool = True,
        *,
        trust_env: bool = True,
        limits: httpx2.Limits = DEFAULT_LIMITS,
        reuse: Reuse | None = None,
    ) -> None:
        given = None if verify is True else context_of(verify)

        def certificates() -> ssl.SSLContext:  # when they are needed: reading all of the system's takes 50 ms
            return given or context_of(True, trust_env=trust_env)

        self._connections = Connections(certificates, limits, reuse or Reuse())

    def __repr__(self) -> str:
        return f"<LeanTransport {self._connections!r}>"

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; the answer comes back with its body unread."""
        head, origin = head_of(request), Origin.of(request)
        timeout_s: dict[str, float | None] = request.extensions.get("timeout") or {}
        lease = await self._connections.lease(origin, timeout_s.get("pool"))
        try:
            answer = await self._ask(lease, request, head, timeout_s)
        except BaseException:
            lease.end()
            raise
        return httpx2.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Body(lease, timeout_s.get("read")),
            extensions={"http_version": answer.version, "reason_phrase": answer.reason},
        )

    async def _ask(
        self, lease: Lease, request: httpx2.Request, head: RequestHead, timeout_s: dict[str, float | None]
    ) -> Head:
        timeouts = Timeouts(timeout_s.get("write"), timeout_s.get("read"))
        content = _content_of(request)
        message = Message(head, request.method, content)
        try:
            if (used := await lease.take_idle()) is not None:
                in_chunks = used.in_chunks
                try:
                    return await used.ask(message, timeouts)
                except NotProcessedError:
                    self._connections.was_closed(in_chunks=in_chunks)
                    if not isinstance(content, bytes):
                        raise
                except (httpx2.NetworkError, httpx2.RemoteProtocolError):
                    if used.is_untouched:
                        self._connections.was_closed(in_chunks=in_chunks)
                    raise
            fresh = await lease.open(timeout_s.get("connect"))
            return await fresh.ask(message, timeouts)
        except NotProcessedError as exc:
            raise exc.failure from exc.failure.__cause__

    async def aclose(self) -> None:
        """Close all connections, those in use too."""
        self._connections.close()
        await trio.lowlevel.checkpoint()


class _Body(httpx2.AsyncByteStream):
    """The body of an answer: an iterator over what comes, which ends the lease of its connection.

    No generator: an asynchronous one costs more than what it would do here, and needs somebody to close it.
    """

    def __init__(self, lease: Lease, read_s: float | None) -> None:
        self._lease = lease
        self._read_s = read_s

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        if (connection := self._lease.connection) is None:
            raise StopAsyncIteration
        try:
            if piece := await connection.receive(self._read_s):
                return piece
        except BaseException:
            self._lease.end()
            raise
        self._lease.end()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Give the connection back if the answer was read to its end, else close it."""
        self._lease.end()


def context_of(verify: ssl.SSLContext | str | bool, *, trust_env: bool = True) -> ssl.SSLContext:
    """The context that `verify` means.

    Raises:
        OSError: there are no certificates at that path, or in `SSL_CERT_FILE`.
    """
    if not isinstance(verify, str):
        return httpx2.create_ssl_context(verify, trust_env=trust_env)
    folder = os.path.isdir(verify)
    return ssl.create_default_context(cafile=None if folder else verify, capath=verify if folder else None)


def _content_of(request: httpx2.Request) -> bytes | AsyncIterable[bytes]:
    """The body as a whole if it is at hand, else what it can be had from, once."""
    try:
        return request.content
    except httpx2.RequestNotRead:
        assert isinstance(request.stream, httpx2.AsyncByteStream)
        return request.stream
