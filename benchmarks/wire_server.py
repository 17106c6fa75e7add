"""What does a server answer that must not be the limit of those who measure with it?

`python -m benchmarks.wire_server --latency 0.2 --chunks 100 --gap 0.02 --certificate FILE` speaks just enough HTTP/1.1
for the Messages API and the Chat Completions API, plain or over TLS: one thread, one selector, sockets that never
block, and answers that were made before the first call.  Of a request it looks for the end of the head, the path, the
content-length, and whether the body has `"stream":true` in it; requests may come in any pieces, and several at once are
answered one after another.  An answer comes after `--latency` seconds, whole in one write, or streamed with `--chunks`
pieces of text, an SSE event and a write each, `--gap` seconds apart (0: as soon as the others had their turn).

It prints its address.  For each line on its stdin it prints its `Figures` as JSON, and it ends with its stdin, so it
needs a pipe there: a server that nobody reads from any more is not left behind.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import ssl
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from heapq import heappop, heappush
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from time import monotonic, process_time

from tests.integration.limited_server import LAST_CHUNK, STREAM_HEAD, answer, chunk, events, whole_answer

BACKLOG = 8192
MOST_AT_ONCE = 65_536
MOST_HEAD_BYTES = 65_536
_END_OF_HEAD = b"\r\n\r\n"
_STREAM = (b'"stream":true', b'"stream": true')
_PATHS = {b"/v1/messages": False, b"/v1/chat/completions": True}


@dataclass(slots=True)
class Figures:
    """What the server did since it started.

    `left` are calls whose client did not wait for the answer, `stalls` how often a client was too slow to take it.
    """

    requests: int = 0
    answered: int = 0
    refused: int = 0
    left: int = 0
    stalls: int = 0
    connections: int = 0
    open: int = 0
    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How it behaves; `certificate` is a PEM file with the key and the chain, None without TLS."""

    latency_s: float = 0.0
    chunks: int = 1
    gap_s: float = 0.0
    certificate: str | None = None


class RefusedError(Exception):
    """The request is none that is answered here; what is said instead, after which the connection is closed."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.answer = answer(status, {"error": {"type": "invalid_request_error", "message": reason}})


@dataclass(frozen=True, slots=True)
class Head:
    """What matters of the head of a request: which API, and how long the body is."""

    is_chat: bool
    length: int


@lru_cache(maxsize=1024)
def read_head(head: bytes) -> Head:
    """The head without its empty line.

    Raises:
        RefusedError: another path or method, or a body whose length is not said.
    """
    line, *fields = head.split(b"\r\n")
    method, _, target = line.partition(b" ")
    path = target.partition(b" ")[0]
    if method != b"POST" or path not in _PATHS:
        raise RefusedError(404, f"{line[:100].decode('latin-1')}: only POST to /v1/messages and /v1/chat/completions")
    for field in fields:
        name, _, value = field.partition(b":")
        if name.lower() == b"content-length" and value.strip().isdigit():
            return Head(_PATHS[path], int(value))
    raise RefusedError(411, "needs a content-length")


def next_request(buffer: bytes) -> tuple[Head, bytes, bytes] | None:
    """The first request of the buffer, its body, and what follows it; None when it is not whole yet.

    Raises:
        RefusedError: as `read_head`, and for a head beyond `MOST_HEAD_BYTES`.
    """
    start = buffer.find(_END_OF_HEAD)
    if start < 0:
        if len(buffer) > MOST_HEAD_BYTES:
            raise RefusedError(431, f"the head is longer than {MOST_HEAD_BYTES} bytes")
        return None
    head = read_head(buffer[:start])
    start += len(_END_OF_HEAD)
    end = start + head.length
    return None if len(buffer) < end else (head, buffer[start:end], buffer[end:])


@dataclass(slots=True, eq=False)
class Connection:
    """One connection, which answers one call after another."""

    socket: socket.socket
    shakes: bool  # the TLS handshake is not over
    buffer: bytes = b""
    unsent: bytes = b""  # what the kernel would not take
    pieces: Sequence[bytes] = ()  # of the answer under way, one write each
    written: int = 0  # so many of them
    is_busy: bool = False
    is_open: bool = True
    closes: bool = False  # when all is sent


class Server:
    """The listening socket, the connections, and what is due when."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.figures = Figures()
        self.is_over = False
        self._tls = _tls_of(rules.certificate) if rules.certificate else None
        self._whole = {chat: [answer(200, whole_answer(chat, rules.chunks))] for chat in (False, True)}
        self._streamed = {chat: _stream(chat, rules.chunks) for chat in (False, True)}
        self._selector = DefaultSelector()
        self._due: list[tuple[float, int, Connection]] = []
        self._order = 0  # of what is due at the same moment
        self._ready: deque[Connection] = deque()  # whose next piece may be written at once
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._listener.setblocking(False)
        self._selector.register(self._listener, EVENT_READ, self._accept)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._listener.getsockname()[1]}"

    def run(self, control: int) -> None:
        """Serve until the file `control` ends; each line of it asks for the figures."""
        self._selector.register(control, EVENT_READ, partial(self._obey, control))
        while not self.is_over:
            for key, mask in self._selector.select(self._wait_s()):
                key.data(mask)
            self._go_on_with_due()
            for _ in range(len(self._ready)):  # a turn for each, then the sockets
                self._write_piece(self._ready.popleft())

    # Connections.

    def _accept(self, _mask: int) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except BlockingIOError:
                return
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                accepted = self._tls.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)
            connection = Connection(accepted, shakes=self._tls is not None)
            self.figures.connections += 1
            self.figures.open += 1
            self._selector.register(accepted, EVENT_READ, partial(self._serve, connection))

    def _serve(self, connection: Connection, mask: int) -> None:
        try:
            if connection.shakes:
                assert isinstance(connection.socket, ssl.SSLSocket)
                connection.socket.do_handshake()
                connection.shakes = False
            if mask & EVENT_WRITE:
                self._flush(connection)
            if mask & EVENT_READ and connection.is_open:
                self._read(connection)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:
            self._close(connection)

    def _read(self, connection: Connection) -> None:
        # One read: OpenSSL takes no more from the kernel than one record, so what follows wakes the selector again.
        if not (data := connection.socket.recv(MOST_AT_ONCE)):
            self._close(connection)
            return
        connection.buffer = connection.buffer + data if connection.buffer else data
        self._answer(connection)

    def _close(self, connection: Connection) -> None:
        self.figures.left += connection.is_busy
        self.figures.open -= connection.is_open
        connection.is_busy = connection.is_open = False
        self._selector.unregister(connection.socket)
        connection.socket.close()

    # Answers.

    def _answer(self, connection: Connection) -> None:
        while connection.buffer and not connection.is_busy and connection.is_open and not connection.closes:
            try:
                found = next_request(connection.buffer)
            except RefusedError as exc:
                self.figures.refused += 1
                connection.closes = True
                self._send(connection, exc.answer)
                return
            if found is None:
                return
            head, body, connection.buffer = found
            self.figures.requests += 1
            is_streamed = any(text in body for text in _STREAM)
            connection.pieces = (self._streamed if is_streamed else self._whole)[head.is_chat]
            connection.written, connection.is_busy = 0, True
            if self.rules.latency_s:
                self._later(self.rules.latency_s, connection)
            else:
                self._write(connection)

    def _write_piece(self, connection: Connection) -> None:
        if connection.is_busy:  # and not closed meanwhile
            self._write(connection)
            self._answer(connection)

    def _write(self, connection: Connection) -> None:
        piece = connection.pieces[connection.written]
        connection.written += 1
        if connection.written == len(connection.pieces):
            connection.is_busy = False
            self.figures.answered += 1
            self._send(connection, piece)
            return
        self._send(connection, piece)
        if self.rules.gap_s:
            self._later(self.rules.gap_s, connection)
        elif not connection.unsent:
            self._ready.append(connection)

    def _later(self, delay_s: float, connection: Connection) -> None:
        self._order += 1
        heappush(self._due, (monotonic() + delay_s, self._order, connection))

    def _go_on_with_due(self) -> None:
        if not self._due:
            return
        now = monotonic()
        while self._due and self._due[0][0] <= now:
            self._write_piece(heappop(self._due)[2])

    def _wait_s(self) -> float | None:
        if self._ready:
            return 0.0
        return max(0.0, self._due[0][0] - monotonic()) if self._due else None

    def _send(self, connection: Connection, data: bytes) -> None:
        """Never raises: a connection that is gone is closed."""
        if connection.unsent:
            connection.unsent += data
            return
        try:
            sent = connection.socket.send(data)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            sent = 0
        except OSError:
            self._close(connection)
            return
        if sent < len(data):
            self.figures.stalls += 1
            connection.unsent = data[sent:]
            self._watch(connection, EVENT_READ | EVENT_WRITE)
        elif connection.closes:
            self._close(connection)

    def _flush(self, connection: Connection) -> None:
        connection.unsent = connection.unsent[connection.socket.send(connection.unsent) :]
        if connection.unsent:
            return
        self._watch(connection, EVENT_READ)
        if connection.closes:
            self._close(connection)
        elif connection.is_busy and connection.written and not self.rules.gap_s:
            self._ready.append(connection)

    def _watch(self, connection: Connection, mask: int) -> None:
        self._selector.modify(connection.socket, mask, partial(self._serve, connection))

    # The parent.

    def _obey(self, control: int, _mask: int) -> None:
        asked = os.read(control, MOST_AT_ONCE)
        self.is_over = not asked
        for _ in range(asked.count(b"\n")):
            print(json.dumps(asdict(replace(self.figures, cpu_s=process_time()))), flush=True)


def _stream(chat: bool, chunks: int) -> list[bytes]:
    return [STREAM_HEAD, *(chunk(event) for event in events(chat, chunks)), LAST_CHUNK]


def _tls_of(certificate: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.set_alpn_protocols(["http/1.1"])
    return context


def parse(argv: Sequence[str]) -> Rules:
    """The rules of a command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wire_server", allow_abbrev=False)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before an answer begins")
    parser.add_argument("--chunks", type=int, default=1, help="pieces of text in an answer")
    parser.add_argument("--gap", type=float, default=0.0, help="seconds between two pieces of a streamed answer")
    parser.add_argument("--certificate", help="PEM file with the key and the chain; without it there is no TLS")
    given = parser.parse_args(argv)
    return Rules(latency_s=given.latency, chunks=given.chunks, gap_s=given.gap, certificate=given.certificate)


def main(argv: Sequence[str]) -> None:
    """Serve."""
    server = Server(parse(argv))
    print(server.url, flush=True)
    server.run(sys.stdin.fileno())


if __name__ == "__main__":
    main(sys.argv[1:])
