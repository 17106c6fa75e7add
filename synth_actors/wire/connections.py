"""Which connection does a request get, and what becomes of it afterwards?

An idle one if there is one that its server has not closed, else a new one.  Afterwards it is kept, if its answer was
read to the end and both sides leave it open, or closed; both without a turn of the event loop, so that a cancelled
request leaves nothing behind.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Callable

import httpx2
import trio

from synth_actors.wire.connecting import Origin, connect
from synth_actors.wire.connection import Connection
from synth_actors.wire.pool import IdlePool
from synth_actors.wire.reuse import Reuse

CLOSES_WITHIN_S = 0.02
"""So long after an answer a server that closes its connection may take to do so, on a busy machine too."""


class Connections:
    """All connections of one transport, idle or in use; `certificates` makes the context of TLS when it is needed."""

    def __init__(self, certificates: Callable[[], ssl.SSLContext], limits: httpx2.Limits, reuse: Reuse) -> None:
        self._certificates = certificates
        self._context: ssl.SSLContext | None = None
        self._reuse = reuse
        self._most = limits.max_connections
        self._places = None if self._most is None else trio.CapacityLimiter(self._most)
        self._active: set[Connection] = set()
        self._opening: set[trio.CancelScope] = set()
        self._is_closed = False
        self._idle: IdlePool[Connection] = IdlePool(
            most_idle=limits.max_keepalive_connections, idle_s=limits.keepalive_expiry
        )

    def __repr__(self) -> str:
        return f"<Connections {len(self._active)} active, {len(self._idle)} idle>"

    async def lease(self, origin: Origin, timeout_s: float | None) -> Lease:
        """A claim to one connection to `origin`, as soon as there may be another.

        Raises:
            httpx2.PoolTimeout: there were `max_connections` of them for `timeout_s`.
        """
        lease = Lease(self, origin)
        if self._places is not None:
            try:
                with trio.fail_after(math.inf if timeout_s is None else timeout_s):
                    await self._places.acquire_on_behalf_of(lease)
            except trio.TooSlowError as exc:
                raise httpx2.PoolTimeout(f"max_connections={self._most} were in use for {timeout_s} s") from exc
        return lease

    def take_idle(self, origin: Origin) -> Connection | None:
        """The newest idle connection, which its server may have closed."""
        self._close_expired()
        if (idle := self._idle.take(origin)) is not None:
            self._active.add(idle)
        return idle

    async def is_usable(self, idle: Connection) -> bool:
        """Whether the server has left it open.

        As long as no connection to this server has outlived such an answer, it is given a moment to close this one: a
        request that is on its way then is lost, and looks as if it had been read.  Where most are found closed, there
        is no waiting for it: only one that was idle for longer is used.
        """
        watch_s = idle.idle_since_s + CLOSES_WITHIN_S - trio.current_time()
        if watch_s > 0 and self._reuse.is_vain(in_chunks=idle.in_chunks):
            return False
        if watch_s > 0 and not self._reuse.is_proven(in_chunks=idle.in_chunks):
            await idle.watch(watch_s)
        is_open = not idle.is_stale()
        self._reuse.tried(was_closed=not is_open, in_chunks=idle.in_chunks)
        return is_open

    async def open(self, origin: Origin, timeout_s: float | None) -> Connection:
        """A new connection.

        Raises:
            httpx2.ConnectError: there is none, or all were closed meanwhile.
            httpx2.ConnectTimeout: see `connect`.
        """
        places = self._places  # each of those that are taken has a connection, or will have one; this one's, too
        is_full = places is not None and places.borrowed_tokens + len(self._idle) > places.total_tokens
        if is_full and (oldest := self._idle.oldest()) is not None:  # of another origin: there was none of this one
            oldest.close()
        began_s = trio.current_time()
        fresh = await self._connect(origin, timeout_s)
        self._active.add(fresh)
        self._reuse.opened(trio.current_time() - began_s)
        return fresh

    async def _connect(self, origin: Origin, timeout_s: float | None) -> Connection:
        """`connect`, until `close`: a connection that came about after it would be nobody's, and open for ever."""
        fresh: Connection | None = None
        with trio.CancelScope() as opening:
            self._opening.add(opening)
            try:
                if not self._is_closed:
                    fresh = await connect(origin, self._context_for(origin), timeout_s)
            finally:
                self._opening.discard(opening)
        if fresh is None or self._is_closed:
            if fresh is not None:
                fresh.close()
            raise httpx2.ConnectError(f"no connection to {origin.host}:{origin.port}: the transport was closed")
        return fresh

    def settle(self, origin: Origin, connection: Connection) -> None:
        """Keep a connection that was used, or close it; where most are found closed, one is kept to see that change."""
        self._active.discard(connection)
        is_surplus = len(self._idle) > 0 and self._reuse.is_vain(in_chunks=connection.in_chunks)
        if not connection.may_reuse or is_surplus:
            connection.close()
            return
        self._close_expired()
        connection.idle_since_s = trio.current_time()
        if (surplus := self._idle.put(origin, connection, connection.idle_since_s)) is not None:
            surplus.close()

    def was_closed(self, *, in_chunks: bool) -> None:
        """A connection that looked open after such an answer had been closed by its server."""
        self._reuse.tried(was_closed=True, in_chunks=in_chunks)

    def release(self, lease: Lease) -> None:
        """Let the next request have its place."""
        if self._places is not None:
            self._places.release_on_behalf_of(lease)

    def close(self) -> None:
        """Close all of them, and open none from now on.

        Who uses one gets `httpx2.ReadError` or `WriteError`, who waits for one, or asks later, `ConnectError`.
        """
        self._is_closed = True
        for opening in tuple(self._opening):
            opening.cancel(reason="the transport was closed")
        while (idle := self._idle.oldest()) is not None:
            idle.close()
        for connection in tuple(self._active):
            connection.close()

    def _close_expired(self) -> None:
        now_s = trio.current_time()
        while (expired := self._idle.expired(now_s)) is not None:
            expired.close()

    def _context_for(self, origin: Origin) -> ssl.SSLContext | None:
        if self._context is None and origin.is_tls:
            try:
                self._context = self._certificates()
            except OSError as exc:  # ssl.SSLError is one
                raise httpx2.ConnectError(f"no certificates to check the server by: {exc}") from exc
            self._context.set_alpn_protocols(["http/1.1"])
        return self._context


class Lease:
    """One request's claim to a connection, which it may change once, until `end`."""

    __slots__ = ("_connections", "_is_ended", "connection", "origin")

    def __init__(self, connections: Connections, origin: Origin) -> None:
        self._connections = connections
        self._is_ended = False
        self.connection: Connection | None = None
        self.origin = origin

    def __repr__(self) -> str:
        return f"<Lease {self.origin.host}:{self.origin.port}, {self.connection!r}>"

    async def take_idle(self) -> Connection | None:
        """An idle connection that its server has left open, None if there is none."""
        while (idle := self._connections.take_idle(self.origin)) is not None:
            self.connection = idle
            if await self._connections.is_usable(idle):
                return idle
            idle.close()
            self._settle()
        return None

    async def open(self, timeout_s: float | None) -> Connection:
        """See `Connections.open`; what was held before is settled."""
        self._settle()
        self.connection = fresh = await self._connections.open(self.origin, timeout_s)
        return fresh

    def end(self) -> None:
        """Give everything back; a second time does nothing."""
        if not self._is_ended:
            self._is_ended = True
            self._settle()
            self._connections.release(self)

    def _settle(self) -> None:
        if self.connection is not None:
            self._connections.settle(self.origin, self.connection)
            self.connection = None
