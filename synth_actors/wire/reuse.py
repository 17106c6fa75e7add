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
    """Whether the connections to a server are worth using again.  `opened` is told how long opening each one took."""

    def __init__(self, opened: Callable[[float], None] = _not_told) -> None:
        self.opened = opened
        self._tries = self._closed = 0

    def __repr__(self) -> str:
        return f"<Reuse {self._closed} of {self._tries} found closed>"

    def tried(self, *, was_closed: bool) -> None:
        """A connection was to be used again, and the server had closed it or not."""
        self._tries += 1
        self._closed += was_closed

    @property
    def is_vain(self) -> bool:
        """Whether the server closes them after each answer."""
        return self._closed >= FEWEST_CLOSED and self._closed > MOST_CLOSED_SHARE * self._tries
