"""Which idle connection does a request get?

The one to its origin that was used last: its server is least likely to have closed it, TCP still knows how fast it may
send, and those that a crowd needed grow old.  Every question is answered in O(1), however many there are: httpx2's pool
(2.16) looks at each of its connections twice for each request, 2 ms with a thousand of them.

Pure: connections are any hashable objects, `now_s` is an argument, and what has to be closed is handed back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

C = TypeVar("C", bound=Hashable)


class IdlePool(Generic[C]):
    """At most `most_idle` idle connections (None: any number), none idle for more than `idle_s` (None: for ever)."""

    def __init__(self, *, most_idle: int | None, idle_s: float | None) -> None:
        self._most_idle = most_idle
        self._idle_s = idle_s
        self._since: OrderedDict[C, tuple[Hashable, float]] = OrderedDict()  # the oldest first: its origin, since when
        self._by_origin: dict[Hashable, dict[C, None]] = {}  # the newest last; a dict, so that any can be taken out

    def __len__(self) -> int:
        return len(self._since)

    def __repr__(self) -> str:
        return f"<IdlePool {len(self._since)} idle, {len(self._by_origin)} origins>"

    def take(self, origin: Hashable) -> C | None:
        """The newest connection to `origin`, which is no longer idle; None if there is none.

        Ask for those that have expired first.
        """
        if (idle := self._by_origin.get(origin)) is None:
            return None
        connection, _ = idle.popitem()
        if not idle:
            del self._by_origin[origin]
        del self._since[connection]
        return connection

    def put(self, origin: Hashable, connection: C, now_s: float) -> C | None:
        """Keep a connection for the next request; gives the one to close if there is no room for both."""
        if self._most_idle == 0:
            return connection
        self._by_origin.setdefault(origin, {})[connection] = None
        self._since[connection] = (origin, now_s)
        return self.oldest() if self._most_idle is not None and len(self._since) > self._most_idle else None

    def expired(self, now_s: float) -> C | None:
        """One connection that was idle for too long, to be closed; None if there is none (left)."""
        if self._idle_s is None or not self._since:
            return None
        _, since_s = next(iter(self._since.values()))
        return self.oldest() if now_s - since_s > self._idle_s else None

    def oldest(self) -> C | None:
        """The connection that was idle longest, taken out; None if there is none (left)."""
        if not self._since:
            return None
        connection, (origin, _) = self._since.popitem(last=False)
        idle = self._by_origin[origin]
        del idle[connection]
        if not idle:
            del self._by_origin[origin]
        return connection
