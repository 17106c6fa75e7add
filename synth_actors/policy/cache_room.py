"""How much may the cache occupy until memory is looked at again?

Looks are far apart: between two of them a cache that is filled from a file grows by a hundred megabytes.  So each look
leaves a bound, which holds whatever comes in.  It grants half of the room that is left, since calls, buffers and the
program grow at the same time and nobody knows by how much; the next look grants half of the rest.  A bound takes
nothing from the cache: where there is no room it only does not grow.
"""

from __future__ import annotations

from collections import deque
from typing import Final

GRANTED_SHARE: Final = 0.5
"""Of the room that is left, at one look."""
LOOKS: Final = 8
"""What else is resident goes up and down with the calls under way: the most of so many looks is reckoned with."""
NOISE_SHARE: Final = 0.02
"""Of the room between opening and limit: a bound that would move by less stays."""


class CacheRoom:
    """Remembers the bound that holds, and what else was resident lately.  All figures are bytes."""

    def __init__(self) -> None:
        self.bound_bytes = 0
        self._least_bytes = self._noise_bytes = self._full_bytes = 0
        self._others: deque[int] = deque(maxlen=LOOKS)

    def set_marks(self, *, full_bytes: int, least_bytes: int, room_bytes: int) -> None:
        """The cache may fill the process up to `full_bytes` resident, and have `least_bytes` whatever else is there."""
        self._full_bytes = full_bytes
        self._least_bytes = least_bytes
        self._noise_bytes = int(NOISE_SHARE * room_bytes)
        self.bound_bytes = max(self.bound_bytes, least_bytes)

    def look(
        self, *, cache_bytes: int, others_bytes: int, rss_per_byte: float, may_grow: bool, is_settled: bool
    ) -> None:
        """Set the bound by what the cache occupies, and what is resident beside it.

        `rss_per_byte` is what a byte of the cache takes in resident ones.  With `is_settled` it is known that giving up
        more would not help, so that a cache from which something has expired may have it again.
        """
        self._others.append(others_bytes)
        allowed = int((self._full_bytes - max(self._others)) / rss_per_byte)
        if may_grow and allowed >= cache_bytes:
            self._move(cache_bytes + int(GRANTED_SHARE * (allowed - cache_bytes)))
        elif not is_settled and self.bound_bytes > cache_bytes:
            self._move(cache_bytes)

    def shrink(self, target_bytes: int) -> None:
        """What is being given up is not to be filled again."""
        self.bound_bytes = max(min(self.bound_bytes, target_bytes), self._least_bytes)

    def _move(self, to_bytes: int) -> None:
        to_bytes = max(to_bytes, self._least_bytes)
        if abs(to_bytes - self.bound_bytes) > self._noise_bytes:
            self.bound_bytes = to_bytes

    def __repr__(self) -> str:
        return f"<CacheRoom {self.bound_bytes} bytes until the next look, at least {self._least_bytes}>"
