"""What does a server do that closes idle connections whenever it likes?

`python tests/wire/closing_server.py SEED [CERTIFICATE.pem]` prints its address, answers each POST by its path, and
closes each connection without a word a random moment after an answer.  The moment is drawn from SEED, between 0 and a
bound that follows the client's speed: about a third of all connections are closed before their next request, so that
closes cross requests.  `GET /report` tells which paths were answered how often, and which were swallowed.

A swallowed request had reached the kernel's buffer when the connection was closed, and nobody read it.  To its client
it looks like one that was read and never answered, so it must not be sent again.  Which ones those are the server
knows exactly: `shutdown(SHUT_RDWR)` ends the connection in one step (what comes later is answered by a reset, as after
`close`), and what came before can still be read.
"""

from __future__ import annotations

import json
import random
import select
import socket
import ssl
import sys
import time
from collections import Counter
from dataclasses import dataclass

FIRST_BOUND_S = 0.3
STEP = 1.02
OTHERS_S = 60.0  # a connection that has not spoken yet, or that asks for the report


@dataclass(slots=True, eq=False)
class Conversation:
    """One connection."""

    connection: socket.socket
    closes_at: float
    unread: bytes = b""
    shook_hands: bool = False
    has_answered: bool = False


class ClosingServer:
    """One loop over all connections; a request's id is its path."""

    def __init__(self, seed: int, context: ssl.SSLContext | None) -> None:
        self._random = random.Random(seed)
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._open: dict[socket.socket, Conversation] = {}
        self.answered: Counter[str] = Counter()
        self.swallowed: Counter[str] = Counter()
        self.closed_idle = self.used_again = 0
        self._bound_s = FIRST_BOUND_S

    @property
    def url(self) -> str:
        return f"http{'s' if self._context else ''}://127.0.0.1:{self._listener.getsockname()[1]}"

    def run(self) -> None:
        """Until the process ends."""
        while True:
            now = time.monotonic()
            for conversation in [one for one in self._open.values() if one.closes_at <= now]:
                self._close_idle(conversation)
            ends = min((one.closes_at for one in self._open.values()), default=now + OTHERS_S)
            readable, _, _ = select.select([self._listener, *self._open], [], [], max(0.0, ends - time.monotonic()))
            for one in readable:
                if one is self._listener:
                    self._accept()
                else:
                    self._serve(self._open[one])

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        if self._context is not None:
            connection = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self._open[connection] = Conversation(connection, time.monotonic() + OTHERS_S)

    def _serve(self, conversation: Conversation) -> None:
        connection = conversation.connection
        if isinstance(connection, ssl.SSLSocket) and not conversation.shook_hands:
            try:
                connection.do_handshake()
            except ssl.SSLWantReadError:
                return
            conversation.shook_hands = True
        has_left = self._read(conversation)
        for path in requests_in(conversation):
            if path == "/report":
                connection.sendall(answer(json.dumps(self._report()).encode()))
                continue
            self.answered[path] += 1
            if conversation.has_answered:
                self.used_again += 1
                self._bound_s /= STEP
            conversation.has_answered = True
            connection.sendall(answer(path.encode()))
            conversation.closes_at = time.monotonic() + self._random.uniform(0, self._bound_s)
        if has_left:
            self._forget(conversation)

    def _read(self, conversation: Conversation) -> bool:
        """Whether the client has left, once everything that came is in `unread`."""
        while True:
            try:
                data = conversation.connection.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError):
                return False
            except OSError:
                return True
            if not data:
                return True
            conversation.unread += data

    def _close_idle(self, conversation: Conversation) -> None:
        self.closed_idle += 1
        self._bound_s *= STEP**2
        try:
            socket.socket.shutdown(conversation.connection, socket.SHUT_RDWR)  # SSLSocket's own forgets how to read
        except OSError:  # the client was first
            pass
        else:
            self._read(conversation)
            self.swallowed.update(requests_in(conversation))
        self._forget(conversation)

    def _forget(self, conversation: Conversation) -> None:
        del self._open[conversation.connection]
        conversation.connection.close()

    def _report(self) -> dict[str, object]:
        return {
            "answered": self.answered,
            "swallowed": self.swallowed,
            "closed_idle": self.closed_idle,
            "used_again": self.used_again,
        }


def requests_in(conversation: Conversation) -> list[str]:
    """The paths of the requests that came in whole; they have no body."""
    *heads, conversation.unread = conversation.unread.split(b"\r\n\r\n")
    return [head.split(b" ", 2)[1].decode() for head in heads]


def answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def main(seed: str, pem: str | None = None) -> None:
    """Serve until the process is ended."""
    context = None
    if pem is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
    server = ClosingServer(int(seed), context)
    sys.stdout.write(f"{server.url}\n")
    sys.stdout.flush()
    server.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
