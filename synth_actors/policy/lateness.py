"""How often does the loop come round too late?

A timer that is set for a moment fires in the first round of the loop after it.  When a turn of some task takes 100 ms,
whoever has a timer then is late by what was left of it; nothing that the actors do takes that long.
"""

from __future__ import annotations

LATE_S = 0.01
"""A timer that is less than so much after its time counts as in time: trio and the system take a millisecond or two."""


class Lateness:
    """Looks at a timer, and how late they came, in seconds."""

    __slots__ = ("late", "late_s", "longest_s", "looks")

    def __init__(self) -> None:
        self.looks = self.late = 0
        self.late_s = self.longest_s = 0.0

    def looked(self, after_s: float) -> None:
        """The timer was seen `after_s` after its time."""
        self.looks += 1
        if after_s >= LATE_S:
            self.late += 1
            self.late_s += after_s
            self.longest_s = max(self.longest_s, after_s)

    def __repr__(self) -> str:
        return f"<Lateness late={self.late}/{self.looks} longest={self.longest_s:.3f}s>"
