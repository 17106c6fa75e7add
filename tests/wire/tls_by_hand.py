"""Which bytes does a TLS server send, before they are sent?

A server whose TLS happens in memory, so that a test decides where a segment ends: in the middle of a record, in the
middle of the handshake, or after several records at once.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress

from tests.wire.scripted import Peer


class ByHand:
    """TLS over a `Peer` that has none.  `send` gets all that goes out, `peer.send` where nothing else is wanted."""

    def __init__(self, peer: Peer, context: ssl.SSLContext, send: Callable[[bytes], None]) -> None:
        self._peer = peer
        self._send = send
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def shake_hands(self) -> None:
        """Raises: ConnectionError: the client has left."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._send(self._outgoing.read())
                self._take()
            else:
                self._send(self._outgoing.read())
                return

    def request(self) -> bytes:
        """A request, whole.  Raises: ConnectionError: the client has left."""
        came = b""
        while not _is_whole(came):
            try:
                came += self._tls.read()
            except ssl.SSLWantReadError:
                self._take()
        return came

    def sealed(self, data: bytes) -> bytes:
        """`data` as a record."""
        self._tls.write(data)
        return self._outgoing.read()

    def goodbye(self) -> bytes:
        """TLS's own end (`close_notify`) as a record."""
        with suppress(ssl.SSLWantReadError):  # for the client's
            self._tls.unwrap()
        return self._outgoing.read()

    def _take(self) -> None:
        if not (data := self._peer.receive()):
            raise ConnectionError("the client has left")
        self._incoming.write(data)


def _is_whole(came: bytes) -> bool:
    head, blank, body = came.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(blank) and len(body) >= int(lengths[0] if lengths else 0)
