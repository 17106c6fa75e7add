"""Which connection does a request get, when there are a thousand?

For each request httpx2's pool (2.16) looks twice at every connection that it has: 2 ms with a thousand of them, twice
the rest of the call.  So here a pool has few, and those requests that find it full go to the next one.  Of the same
kind is the question whether the server has closed an idle connection, which `Connection` asks once, when it is used.
"""

from __future__ import annotations

import ssl

import httpcore2
import trio

from synth_actors.providers.connections import Connector
from synth_actors.wire.reuse import Reuse

MOST_REQUESTS = 32
"""Of one pool.  With a thousand at once 16 to 64 cost the same, 128 a tenth more, one pool for all 2.5 times that."""


class Pool(httpcore2.AsyncConnectionPool):
    """A pool for any number of HTTP/1.1 requests at once, which never makes one wait."""

    def __init__(self, *, ssl_context: ssl.SSLContext, keepalive_s: float, reuse: Reuse | None = None) -> None:
        self._reuse = reuse or Reuse()
        super().__init__(
            ssl_context,
            max_connections=None,
            max_keepalive_connections=None,
            keepalive_expiry=keepalive_s,
            network_backend=Connector(self._reuse),
        )
        self._ssl = ssl_context
        self._keepalive_s = keepalive_s
        self._used_at = 0.0
        self._next: Pool | None = None

    async def handle_async_request(self, request: httpcore2.Request) -> httpcore2.Response:
        """Send a request by the first pool that has room."""
        pool = self._first_with_room()
        if (unused := pool._take_unused()) is not None:
            await unused._close_own()  # a pool closes expired connections only when it is asked for one
            pool = self._first_with_room()  # others asked meanwhile
        pool._used_at = trio.current_time()
        return await super(Pool, pool).handle_async_request(request)

    async def aclose(self) -> None:
        """Close all connections, also those of the pools behind this one."""
        pool: Pool | None = self
        while pool is not None:
            await pool._close_own()
            pool = pool._next

    async def _close_own(self) -> None:
        await super().aclose()

    def _first_with_room(self) -> Pool:
        pool = self
        while len(pool._requests) >= MOST_REQUESTS:
            if pool._next is None:
                pool._next = Pool(ssl_context=self._ssl, keepalive_s=self._keepalive_s, reuse=self._reuse)
            pool = pool._next
        return pool

    def _take_unused(self) -> Pool | None:
        """Take out the next pool if all its connections are idle and too old to be used again."""
        found = self._next
        if found is None or found._requests or trio.current_time() - found._used_at <= self._keepalive_s:
            return None
        self._next = found._next
        return found
