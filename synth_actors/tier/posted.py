"""What is on its way to the file, and not there yet?

A request whose answer was evicted from memory before the writer came to it would else be paid twice.  Numbers, not
times, say what has arrived: the writer settles answers in the order in which they were posted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TypeAlias

from synth_actors.tier.rows import Kept

Place: TypeAlias = tuple[bytes, str]
"""Key and identity of the endpoint."""


class Posted:
    """The answers from the `settled`-th to the `count`-th, as many bytes as the queue may hold; of one task."""

    def __init__(self) -> None:
        self.count = self.size_bytes = 0
        self._settled = 0
        self._order: deque[Place] = deque()
        self._latest: dict[Place, tuple[int, Kept]] = {}

    def add(self, kept: Kept, size_bytes: int) -> None:
        """One more, in the place of an earlier one of the same endpoint to the same key."""
        self.count += 1
        self.size_bytes += size_bytes
        place = kept.key, kept.identity
        self._order.append(place)
        self._latest[place] = self.count, kept

    def settle(self, count: int) -> None:
        """The first `count` of all that were ever posted are in the file, or dropped."""
        while self._settled < count:
            self._settled += 1
            place = self._order.popleft()
            if self._latest[place][0] == self._settled:
                del self._latest[place]

    def among(self, keys: Sequence[bytes], identities: Sequence[str]) -> dict[Place, Kept]:
        """Those of these endpoints to these keys."""
        if not self._latest:
            return {}
        places = ((key, identity) for key in keys for identity in identities)
        return {place: self._latest[place][1] for place in places if place in self._latest}

    def __len__(self) -> int:
        return len(self._order)

    def __repr__(self) -> str:
        return f"<Posted {len(self)} of {self.count}>"
