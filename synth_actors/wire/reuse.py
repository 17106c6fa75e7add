"""Are the connections to a server worth using again?

Some servers close a connection after each answer and do not say so (llama.cpp after each stream).  What is written
before the end is seen is lost, and looks as if it had been read.  Where most are found closed, none is used twice.
"""

from __future__ import annotations

from collections.abc import Callable

FEWEST_CLOSED = 4
MOST_CLOSED_SHARE = 0.5


def _not_told(_opened_s: float) -> None:
    """Nobody wants to know."""


class Reuse:
    """Whether the connections to a server are worth using again.  `opened` is told how long opening each one took.

    Judged apart after answers in chunks: who streams may close after a stream alone.
    """

    def __init__(self, opened: Callable[[float], None] = _not_told) -> None:
        self.opened = opened
        self._tries = {False: 0, True: 0}
        self._closed = {False: 0, True: 0}

    def __repr__(self) -> str:
        return f"<Reuse {sum(self._closed.values())} of {sum(self._tries.values())} found closed>"

    def tried(self, *, was_closed: bool, in_chunks: bool = False) -> None:
        """A connection was to be used again after such an answer, and the server had closed it or not."""
        self._tries[in_chunks] += 1
        self._closed[in_chunks] += was_closed

    def is_vain(self, *, in_chunks: bool = False) -> bool:
        """Whether the server closes them after each such answer."""
        closed = self._closed[in_chunks]
        return closed >= FEWEST_CLOSED and closed > MOST_CLOSED_SHARE * self._tries[in_chunks]

    def is_proven(self, *, in_chunks: bool = False) -> bool:
        """Whether the server has left one open after such an answer."""
        return self._tries[in_chunks] > self._closed[in_chunks]
