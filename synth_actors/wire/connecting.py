"""How does a connection come about?

TCP by trio: all addresses of a host, the next one 250 ms after the one before ("happy eyeballs", RFC 8305).  TLS by
trio over it, with the server's name (SNI) and HTTP/1.1 as the only protocol offered (ALPN).  One deadline bounds both:
what httpx2 calls `connect`.
"""

from __future__ import annotations

import math
import socket
import ssl
from typing import NamedTuple

import httpx2
import trio

from synth_actors.wire.connection import Connection
from synth_actors.wire.open_files import opening_file
from synth_actors.wire.socket_stream import SocketStream

_NAMES = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 60, "TCP_KEEPCNT": 5}
_KEEPALIVE = [
    ((socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1),
    *(((socket.IPPROTO_TCP, getattr(socket, name)), value) for name, value in _NAMES.items() if hasattr(socket, name)),
]
"""A server may work for minutes without a byte, and whoever translates addresses between forgets a connection that is
silent.  Seconds, and probes, as the Anthropic SDK has them for its own connections; what the system does not have stays
as it is."""


class Origin(NamedTuple):
    """Where connections go; those with equal ones are as good as each other.  `server_name` is what TLS asks for."""

    is_tls: bool
    host: str
    port: int
    server_name: str

    @classmethod
    def of(cls, request: httpx2.Request) -> Origin:
        """Where a request goes.

        Raises:
            httpx2.UnsupportedProtocol: its URL is neither http nor https, or names no host.
        """
        url = request.url
        if url.scheme not in ("http", "https"):
            raise httpx2.UnsupportedProtocol(f"the URL begins with {url.scheme!r}: give http:// or https://")
        if not (host := url.raw_host.decode("ascii")):
            raise httpx2.UnsupportedProtocol(f"the URL {str(url)!r} names no host")
        is_tls = url.scheme == "https"
        name = request.extensions.get("sni_hostname", host) if is_tls else ""
        return cls(is_tls, host, url.port or (443 if is_tls else 80), name)


async def connect(origin: Origin, context: ssl.SSLContext | None, timeout_s: float | None) -> Connection:
    """Open a connection; `context` is needed for TLS.

    Raises:
        httpx2.ConnectError: there is nobody, it is not who it should be, or this process may open no other file.
        httpx2.ConnectTimeout: it took longer than `timeout_s`.
    """
    try:
        with trio.fail_after(math.inf if timeout_s is None else timeout_s), opening_file():
            stream = await _open_tcp(origin)
            if not origin.is_tls:
                return Connection(stream, stream)
            assert context is not None
            return Connection(stream, await _start_tls(stream, origin, context))
    except trio.TooSlowError as exc:
        raise httpx2.ConnectTimeout(f"no connection to {origin.host}:{origin.port} within {timeout_s} s") from exc
    except (OSError, ValueError) as exc:  # ValueError: a name that is none, of a host or for TLS
        where = "" if f"{origin.port}" in str(exc) else f"{origin.host}:{origin.port}: "
        raise httpx2.ConnectError(f"{where}{exc}") from exc


async def _open_tcp(origin: Origin) -> SocketStream:
    stream = await trio.open_tcp_stream(origin.host, origin.port)
    # No checkpoint until the socket has its new owner.  trio's own is put off: it would take a turn for each send.
    connected = socket.socket(fileno=stream.socket.detach())
    for option, value in _KEEPALIVE:
        connected.setsockopt(*option, value)
    return SocketStream(connected)


async def _start_tls(stream: SocketStream, origin: Origin, context: ssl.SSLContext) -> trio.SSLStream[SocketStream]:
    try:
        encrypted = trio.SSLStream(stream, context, server_hostname=origin.server_name, https_compatible=True)
        await encrypted.do_handshake()
    except trio.BrokenResourceError as exc:
        stream.close()
        why = exc.__cause__ if exc.__cause__ is not None else exc
        raise httpx2.ConnectError(f"no TLS with {origin.host}:{origin.port}: {_said(why)}") from exc
    except BaseException:
        stream.close()
        raise
    return encrypted


def _said(why: BaseException) -> str:
    if isinstance(why, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {why.verify_message}"
    if isinstance(why, ssl.SSLEOFError | ssl.SSLSyscallError | ssl.SSLZeroReturnError):
        return "the server closed the connection during the handshake"
    return str(why)
