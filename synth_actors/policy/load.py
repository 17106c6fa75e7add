"""How much was under way, and how much waited, on average?

Levels summed over time: divided by the time they are the mean numbers of Little's law (1961), whatever happened between
two looks.
"""

from __future__ import annotations

from typing import TypedDict


class LoadSums(TypedDict):
    """The sums so far, in seconds, or in seconds times what is counted; `RouterSnapshot` says what each is."""

    active_s: float
    busy_s: float
    backlog_s: float
    delayed_s: float
    saturated_s: float
    saturated_backlog_s: float
    closed_backlog_s: float


class Load:
    """Sums over time.  `now` is monotonic seconds, given from outside."""

    __slots__ = (
        "_at",
        "_closed",
        "_delayed",
        "_in_flight",
        "_saturated",
        "_waiting",
        "active_s",
        "backlog_s",
        "busy_s",
        "closed_backlog_s",
        "delayed_s",
        "saturated_backlog_s",
        "saturated_s",
    )

    def __init__(self, now: float) -> None:
        self.active_s = self.busy_s = self.backlog_s = self.delayed_s = 0.0
        self.saturated_s = self.saturated_backlog_s = self.closed_backlog_s = 0.0
        self._at = now
        self._in_flight = self._waiting = self._delayed = 0
        self._saturated = self._closed = False

    def change(self, now: float, *, in_flight: int, waiting: int, delayed: int, places: int, closed: bool) -> None:
        """From now on so many are under way, so many wait to be sent, so many until a time, and there are `places`.

        `closed` says that no endpoint takes calls.
        """
        elapsed_s = now - self._at
        if elapsed_s > 0.0:
            self._at = now
            self._add(elapsed_s)
        self._in_flight = in_flight
        self._waiting = waiting
        self._delayed = delayed
        self._saturated = waiting > 0 and in_flight >= places
        self._closed = closed

    def _add(self, elapsed_s: float) -> None:
        backlog_s = self._waiting * elapsed_s
        self.busy_s += self._in_flight * elapsed_s
        self.backlog_s += backlog_s
        self.delayed_s += self._delayed * elapsed_s
        if self._in_flight or self._waiting or self._delayed:
            self.active_s += elapsed_s
        if self._saturated:
            self.saturated_s += elapsed_s
            self.saturated_backlog_s += backlog_s
        elif self._closed:
            self.closed_backlog_s += backlog_s

    def sums(self) -> LoadSums:
        """All of them."""
        return LoadSums(
            active_s=self.active_s,
            busy_s=self.busy_s,
            backlog_s=self.backlog_s,
            delayed_s=self.delayed_s,
            saturated_s=self.saturated_s,
            saturated_backlog_s=self.saturated_backlog_s,
            closed_backlog_s=self.closed_backlog_s,
        )

    def __repr__(self) -> str:
        return f"<Load busy={self.busy_s:.3f}s backlog={self.backlog_s:.3f}s saturated={self.saturated_s:.3f}s>"
