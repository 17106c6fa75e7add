"""May this endpoint be called at all?

A circuit breaker (Nygard, *Release It!*) with the three answers an upstream may give: it worked, it was refused before
work (429, 529, no connection), it failed after it was accepted.  The snapshot names the state.
"""

from __future__ import annotations

from math import inf

FAILURES_TO_PAUSE = 5
"""Failures in a row, after acceptance, that close an endpoint for a while."""
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
LONGEST_RETRY_AFTER_S = 3600.0
"""A server's wish beyond this is taken for this."""


class Breaker:
    """Whether one endpoint takes calls.  All times are monotonic seconds, given from outside."""

    __slots__ = ("_failures", "_paused_at", "_pauses", "_probing", "_suspect", "fatal_reason", "reopens_at")

    def __init__(self) -> None:
        self.reopens_at = -inf  # a call may start from here on
        self.fatal_reason: str | None = None
        self._failures = 0  # in a row
        self._pauses = 0  # in a row
        self._paused_at = -inf
        self._suspect = False  # after a pause one probe goes first
        self._probing = False

    def admits(self, now: float) -> bool:
        """Whether a call may start now."""
        return self.fatal_reason is None and now >= self.reopens_at and not (self._suspect and self._probing)

    def is_closed(self, now: float) -> bool:
        """Whether the endpoint is known to be unusable: paused, dead, or not yet proved again."""
        return self.fatal_reason is not None or now < self.reopens_at or self._suspect

    def begin(self) -> bool:
        """A call starts; True when it is the probe that decides about the others."""
        if self._suspect:
            self._probing = True
        return self._suspect

    def succeeded(self) -> None:
        """A call was answered."""
        self._failures = self._pauses = 0
        self._suspect = self._probing = False

    def ignored(self, *, was_probe: bool) -> None:
        """A call ended without saying anything about the endpoint: abandoned, or the request's own fault."""
        if was_probe:
            self._probing = False

    def refused(self, now: float, *, begun_at: float, retry_after_s: float | None) -> None:
        """A call was refused before work: wait as long as the server says, else ever longer."""
        self._probing = False
        if retry_after_s is not None:
            until = now + min(max(retry_after_s, 0.0), LONGEST_RETRY_AFTER_S)
            self.reopens_at = max(self.reopens_at, until)
        elif begun_at >= self._paused_at:  # those under way at the pause say nothing new
            self._pause(now)

    def failed(self, now: float, *, begun_at: float) -> None:
        """A call failed after it was accepted."""
        self._failures += 1
        self._probing = False
        if begun_at >= self._paused_at and (self._suspect or self._failures >= FAILURES_TO_PAUSE):
            self._suspect = True
            self._pause(now)

    def died(self, reason: str) -> None:
        """No call will ever succeed here: wrong key, unknown model, quota used up."""
        self.fatal_reason = reason

    def _pause(self, now: float) -> None:
        self.reopens_at = max(self.reopens_at, now + min(FIRST_PAUSE_S * 2.0**self._pauses, LONGEST_PAUSE_S))
        self._pauses += 1
        self._paused_at = now

    def state(self, now: float) -> str:
        """The name of the state, for snapshots."""
        if self.fatal_reason is not None:
            return "fatal"
        if now < self.reopens_at:
            return "paused"
        return "probing" if self._suspect else "open"
