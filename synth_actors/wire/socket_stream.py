"""How do bytes pass through a TCP socket with the fewest turns of the event loop?

`trio.SocketStream` takes a turn for each send, and tries each receive before it waits.  A client writes into an empty
buffer and waits for an answer that is not there yet: here a send that the kernel takes at once takes no turn, and each
receive waits first, which is its turn.  What the kernel took, and what the other side has acknowledged, can be asked
afterwards: they tell whether a request can have been read by anybody.

A send that fails is not raised, since an answer may have come before: `trio.SSLStream`, which lies above where there is
TLS, reads no more once it was told.  It is kept instead, and nothing more is sent.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

import trio

READ_BYTES = 64 * 1024
"""So much is read at once, at most."""

_TCP_INFO_BYTES = 256
_BYTES_ACKED = struct.Struct("=120xQ")
"""`tcpi_bytes_acked` of `struct tcp_info` in linux/tcp.h, since Linux 4.1: RFC 4898's tcpEStatsAppHCThruOctetsAcked."""


class SocketStream(trio.abc.HalfCloseableStream):
    """A connected TCP socket; `taken_bytes` are all that the kernel took of what was sent.

    `send_failure` is why nothing more can be sent, None while nothing speaks against it.

    Raises (as trio's streams do):
        trio.BrokenResourceError: nothing can be received, the connection is gone; the cause says how.
        trio.ClosedResourceError: it was closed on this side.
    """

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self._socket = connected
        self.taken_bytes = 0
        self.send_failure: OSError | None = None
        self._is_reset = False
        self._is_silent = False
        self._waiting_for_room = trio.CancelScope()
        self._acknowledged_before = _acknowledged(connected)

    def __repr__(self) -> str:
        return f"<SocketStream {'closed' if self.is_closed else self._socket.fileno()}, {self.taken_bytes} bytes sent>"

    @property
    def is_closed(self) -> bool:
        """Whether it was closed on this side."""
        return self._socket.fileno() < 0

    @property
    def acknowledged_bytes(self) -> int | None:
        """So many of `taken_bytes` have reached the other machine; None where the system does not say (not Linux)."""
        now = _acknowledged(self._socket)
        return None if now is None or self._acknowledged_before is None else now - self._acknowledged_before

    def is_readable(self) -> bool:
        """Whether there is something to read, be it the end, without waiting for it."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    async def wait_readable(self) -> None:
        """Wait until there is something to read, be it the end."""
        self._check()
        await trio.lowlevel.wait_readable(self._socket)

    def is_ended(self) -> bool:
        """Whether the other side has sent its end (FIN), and everything before it was read.

        A reset that somebody was told of looks like an end afterwards, and is none.
        """
        try:
            return not self._is_reset and self._socket.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return False

    def stop_sending(self) -> None:
        """Drop what waits to be sent, and what is sent from now on; who sends goes on as if it had been sent."""
        self._is_silent = True
        self._waiting_for_room.cancel()

    def send_now(self, data: bytes | bytearray | memoryview) -> int:
        """Send what the kernel takes at once; gives how many bytes that were, all of them if nothing can be sent."""
        if self._is_silent:
            return len(data)
        self._check()
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as exc:
            self.send_failure = exc
            self._is_reset = self._is_reset or not isinstance(exc, BrokenPipeError)  # that is sent after an end
            self.stop_sending()
            return len(data)
        self.taken_bytes += sent
        return sent

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`; a turn only if the kernel does not take it at once."""
        await trio.lowlevel.checkpoint_if_cancelled()
        rest = data
        while (sent := self.send_now(rest)) < len(rest):
            rest = memoryview(rest)[sent:]
            with trio.CancelScope() as self._waiting_for_room:
                await trio.lowlevel.wait_writable(self._socket)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait until there is something, and take it; empty at the end."""
        while True:
            self._check()
            await trio.lowlevel.wait_readable(self._socket)
            try:
                return self._socket.recv(max_bytes or READ_BYTES)
            except BlockingIOError:
                continue  # somebody else's: the kernel may wake without data
            except OSError as exc:
                self._is_reset = True
                raise trio.BrokenResourceError(str(exc)) from exc

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room to send."""
        self._check()
        await trio.lowlevel.wait_writable(self._socket)

    async def send_eof(self) -> None:
        """Say that nothing more will be sent."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check()
        with suppress(OSError):  # already gone
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close it, without a turn; whoever waits for it gets `trio.ClosedResourceError`."""
        if not self.is_closed:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    async def aclose(self) -> None:
        """Close it."""
        self.close()
        await trio.lowlevel.checkpoint()

    def _check(self) -> None:
        if self.is_closed:
            raise trio.ClosedResourceError("this connection was closed")


def _acknowledged(connected: socket.socket) -> int | None:
    if not hasattr(socket, "TCP_INFO"):
        return None
    with suppress(OSError):
        info = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        if len(info) >= _BYTES_ACKED.size:
            (acknowledged,) = _BYTES_ACKED.unpack_from(info)
            return int(acknowledged)
    return None
