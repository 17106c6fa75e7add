"""What does a server do that a test scripts byte by byte?

A raw server in threads, apart from the client's event loop: each connection runs the test's script, a plain function
of a `Peer`, which reads requests and then sends what it likes, ends in the middle, resets, or says nothing.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType

PATIENCE_S = 20.0
_PIECE_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came in: header names in lower case, the body out of its chunks."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Peer:
    """The server's end of one connection.

    `number` counts the connections of one server from 1, `requests` those that came in whole,
    `received_bytes` what came in, as HTTP.
    """

    def __init__(self, server: Scripted, connection: socket.socket, number: int) -> None:
        self.number = number
        self.requests = 0
        self.received_bytes = 0
        self._server = server
        self._socket = connection
        self._unread = bytearray()

    @property
    def tls(self) -> ssl.SSLSocket:
        """The connection as TLS sees it: SNI, ALPN, version."""
        assert isinstance(self._socket, ssl.SSLSocket)
        return self._socket

    def head(self) -> Received | None:
        """The head of the next request, its body unread; None when the client has left.

        Raises:
            ConnectionError: it left in the middle.
        """
        while (end := self._unread.find(b"\r\n\r\n")) < 0:
            if not self._more():
                if self._unread:
                    raise ConnectionError(f"the client left in the middle of a head: {bytes(self._unread)!r}")
                return None
        head = bytes(self._unread[:end]).decode("latin-1")
        del self._unread[: end + 4]
        line, *fields = head.split("\r\n")
        method, target, _ = line.split(" ")
        headers = {name.lower(): value for name, value in (one.split(": ", 1) for one in fields)}
        received = Received(method, target, headers, b"")
        self._server.heads.append(received)
        return received

    def request(self) -> Received | None:
        """The next request, whole; None when the client has left.

        Raises:
            ConnectionError: it left in the middle.
        """
        head = self.head()
        if head is None:
            return None
        request = Received(head.method, head.target, head.headers, self.body(head))
        self.requests += 1
        self._server.requests.append(request)
        return request

    def body(self, head: Received) -> bytes:
        """The body that follows `head`."""
        if head.headers.get("transfer-encoding") != "chunked":
            return self._exactly(int(head.headers.get("content-length", "0")))
        body = bytearray()
        while size := int(self._line(), 16):
            body += self._exactly(size)
            self._line()
        self._line()
        return bytes(body)

    def count_body(self) -> int:
        """The bytes of a chunked body, which are read away."""
        count = 0
        while size := int(self._line(), 16):
            count += len(self._exactly(size))
            self._line()
        self._line()
        return count

    def send(self, data: bytes) -> None:
        """All of `data`, in one piece if the kernel takes it."""
        self._socket.sendall(data)

    def send_bytewise(self, data: bytes) -> None:
        """Each byte in a segment (over TLS: in a record) of its own."""
        for position in range(len(data)):
            self._socket.sendall(data[position : position + 1])

    def send_some(self, data: bytes) -> int:
        """As much of `data` as the kernel takes without waiting, in bytes."""
        self._socket.setblocking(False)
        try:
            return self._socket.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError):
            return 0
        finally:
            self._socket.settimeout(PATIENCE_S)

    def has_room(self, *, within_s: float) -> bool:
        """Whether the kernel takes more before that."""
        return bool(select.select([], [self._socket], [], within_s)[1])

    def end(self) -> None:
        """No more comes from here (FIN; over TLS without `close_notify`, as after a crash); we still read."""
        self._shut(socket.SHUT_WR)

    def end_both(self) -> None:
        """A close of which the kernel says the truth: FIN, and a reset for whatever arrives after it."""
        self._shut(socket.SHUT_RDWR)

    def say_goodbye(self) -> None:
        """TLS's own end (`close_notify`), and no FIN."""
        self.tls.settimeout(0)  # not waiting for the client's
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self.tls.settimeout(PATIENCE_S)

    def close(self) -> None:
        """As a server does that has nothing more to say: a reset, if it has left something unread."""
        self._socket.close()

    def reset(self) -> None:
        """RST instead of FIN; what the client has not read yet may be lost to it."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def unread(self) -> bytes:
        """Everything that the client still sends, until it leaves."""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while self._more():
                pass
        return bytes(self._unread)

    def _shut(self, how: int) -> None:
        try:
            socket.socket.shutdown(self._socket, how)  # SSLSocket's own forgets the session
        except OSError as exc:
            if exc.errno != errno.ENOTCONN:  # the client has left
                raise

    def receive(self) -> bytes:
        """What comes next; empty when the client has left."""
        data = self._socket.recv(_PIECE_BYTES)
        self.received_bytes += len(data)
        return data

    def _more(self) -> bool:
        data = self.receive()
        self._unread += data
        return bool(data)

    def _exactly(self, count: int) -> bytes:
        while len(self._unread) < count:
            if not self._more():
                raise ConnectionError(f"the client left after {len(self._unread)} of {count} bytes of a body")
        data = bytes(self._unread[:count])
        del self._unread[:count]
        return data

    def _line(self) -> bytes:
        while (end := self._unread.find(b"\r\n")) < 0:
            if not self._more():
                raise ConnectionError("the client left in the middle of a chunked body")
        line = bytes(self._unread[:end])
        del self._unread[: end + 2]
        return line


Script = Callable[[Peer], None]


@dataclass(slots=True)
class Scripted:
    """A server that runs `script` for each connection while the `with` block lasts.

    `receive_buffer_bytes`: of the kernel, for each connection; its own choice, some megabytes, when None.
    Afterwards, when every thread has ended: `requests` and `heads` that came in, in order; the `peers`, one for each
    connection that was accepted and shook hands; `refused_handshakes`, in TLS's words; `left`: who went while a script
    still spoke or listened.  Whatever else a script raised leaves the block.
    """

    script: Script
    context: ssl.SSLContext | None
    receive_buffer_bytes: int | None = None
    requests: list[Received] = field(default_factory=list)
    heads: list[Received] = field(default_factory=list)
    peers: list[Peer] = field(default_factory=list)
    refused_handshakes: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    _failures: list[BaseException] = field(default_factory=list)
    _open: set[socket.socket] = field(default_factory=set)
    _threads: list[threading.Thread] = field(default_factory=list)
    _listener: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self._listener = socket.socket()
        if self.receive_buffer_bytes is not None:  # before `listen`: its connections announce it from their beginning
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer_bytes)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(1024)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http{'s' if self.context else ''}://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many were accepted and, over TLS, shook hands."""
        return len(self.peers)

    def __enter__(self) -> Scripted:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._threads[0].join(PATIENCE_S)
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)  # wakes a script that still reads
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), f"{thread.name} has not ended"
        if raised is None and self._failures:
            raise self._failures[0]

    def _start(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            accepted.settimeout(PATIENCE_S)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = accepted
            if self.context is not None:
                connection = self.context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)
            self._open.add(connection)
            self._start(partial(self._serve, connection))

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._shakes_hands(connection):
                peer = Peer(self, connection, self.connections + 1)
                self.peers.append(peer)
                self.script(peer)
        except (ConnectionError, ssl.SSLError) as left:
            self.left.append(repr(left))
        except BaseException as exc:  # noqa: BLE001  (a thread has nobody above it: it leaves by __exit__)
            self._failures.append(exc)
        finally:
            self._open.discard(connection)
            connection.close()

    def _shakes_hands(self, connection: socket.socket) -> bool:
        if isinstance(connection, ssl.SSLSocket):
            try:
                connection.do_handshake()
            except (OSError, ssl.SSLError) as exc:
                self.refused_handshakes.append(str(exc))
                return False
        return True
