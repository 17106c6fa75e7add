"""How much was under way, and how much waited, on average?

Levels summed over time: divided by the time they are the mean numbers of Little's law (1961), whatever happened between
two looks.
"""

from __future__ import annotations


class Load:
    """Sums over time, in seconds times what is counted.  `now` is monotonic seconds, given from outside."""

    __slots__ = (
        "_at",
        "_delayed",
        "_in_flight",
        "_saturated",
        "_waiting",
        "backlog_s",
        "busy_s",
        "delayed_s",
        "saturated_backlog_s",
        "saturated_s",
    )

    def __init__(self, now: float) -> None:
        self.busy_s = self.backlog_s = self.delayed_s = self.saturated_s = self.saturated_backlog_s = 0.0
        self._at = now
        self._in_flight = self._waiting = self._delayed = 0
        self._saturated = False

    def change(self, now: float, *, in_flight: int, waiting: int, delayed: int, places: int) -> None:
        """From now on so many are under way, so many wait to be sent, so many until a time, and there are `places`."""
        elapsed_s = now - self._at
        if elapsed_s > 0.0:
            self._at = now
            self.busy_s += self._in_flight * elapsed_s
            self.backlog_s += self._waiting * elapsed_s
            self.delayed_s += self._delayed * elapsed_s
            if self._saturated:
                self.saturated_s += elapsed_s
                self.saturated_backlog_s += self._waiting * elapsed_s
        self._in_flight = in_flight
        self._waiting = waiting
        self._delayed = delayed
        self._saturated = waiting > 0 and in_flight >= places

    def __repr__(self) -> str:
        return f"<Load busy={self.busy_s:.3f}s backlog={self.backlog_s:.3f}s saturated={self.saturated_s:.3f}s>"
