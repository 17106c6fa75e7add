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

    __slots__ = (
        "_failures",
        "_paused_at",
        "_pauses",
        "_probing",
        "_suspect",
        "closed_since",
        "fatal_reason",
        "reopens_at",
    )

    def __init__(self) -> None:
        self.reopens_at = -inf  # a call may start from here on
        self.closed_since = -inf  # when it last stopped being open; means nothing while it is
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

    @property
    def is_probing(self) -> bool:
        """Whether the call that decides about the others is under way."""
        return self._suspect and self._probing

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

    def refused(self, now: float, *, begun_at: float, was_probe: bool, retry_after_s: float | None) -> None:
        """A call was refused before work: wait as long as the server says, else ever longer.

        A wish below `FIRST_PAUSE_S` is granted once; a server that goes on refusing is asked ever more rarely.
        """
        self.ignored(was_probe=was_probe)
        is_news = begun_at >= self._paused_at  # those under way at the pause say nothing new about its length
        if retry_after_s is not None:
            wish_s = min(max(retry_after_s, 0.0), LONGEST_RETRY_AFTER_S)
            insists = is_news and wish_s < FIRST_PAUSE_S and self._pauses > 0
            length_s = max(wish_s, self._backoff_s(self._pauses - 1)) if insists else wish_s
            self._pause(now, length_s, begun_at=begun_at)
        elif is_news:
            self._pause(now, self._backoff_s(self._pauses), begun_at=begun_at)

    def failed(self, now: float, *, begun_at: float, was_probe: bool) -> None:
        """A call failed after it was accepted."""
        self._failures += 1
        self.ignored(was_probe=was_probe)
        if begun_at >= self._paused_at and (self._suspect or self._failures >= FAILURES_TO_PAUSE):
            self._pause(now, self._backoff_s(self._pauses), begun_at=begun_at)
            self._suspect = True

    def died(self, reason: str) -> None:
        """No call will ever succeed here: wrong key, unknown model, quota used up."""
        self.fatal_reason = reason

    @staticmethod
    def _backoff_s(pauses: int) -> float:
        return min(FIRST_PAUSE_S * 2.0 ** min(pauses, 16), LONGEST_PAUSE_S)

    def _pause(self, now: float, length_s: float, *, begun_at: float) -> None:
        was_just_tried = (
            self._pauses > 0 and begun_at <= self.reopens_at + FIRST_PAUSE_S
        )  # the first call after a pause
        if not self.is_closed(now) and not was_just_tried:
            self.closed_since = now
        self.reopens_at = max(self.reopens_at, now + length_s)
        if begun_at >= self._paused_at:
            self._pauses += 1
            self._paused_at = now

    def state(self, now: float) -> str:
        """The name of the state, for snapshots."""
        if self.fatal_reason is not None:
            return "fatal"
        if now < self.reopens_at:
            return "paused"
        return "probing" if self._suspect else "open"
