"""May this endpoint be called at all?

A circuit breaker (Nygard, *Release It!*) for the three ways in which an upstream fails.  Each looks at calls in a row,
and a call that was let in ends a row, if it began after the row did.  A row of refusals counts only while half as many
were refused as were sent since it began: a call that is not streamed is let in silently.

- *limited* (429): one is the request's own affair, which waits as long as it was told.  The endpoint pauses when a
  limit is used up, as the server says, or when the next call that was sent is refused, too.
- *down* (529, 503, no connection): it pauses after `REFUSALS_TO_PAUSE`, or when more than half of the last calls were
  refused; then one probe goes every `PROBE_EVERY_S`.
- *failing* (after acceptance, perhaps paid): it pauses after `FAILURES_TO_PAUSE`, each time twice as long, up to
  `LONGEST_PROBE_S`.
"""

from __future__ import annotations

from math import inf

from synth_actors.policy.retry import LONGEST_RETRY_AFTER_S, MOST_WAITS_EXCUSED

FAILURES_TO_PAUSE = 5
REFUSALS_TO_PAUSE = 5
DOWN_SHARE = 0.5
"""The share of calls refused as overloaded, of those that are remembered, above which the endpoint is down."""
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
PROBE_EVERY_S = 2.0
LONGEST_PROBE_S = 3.0
PROBE_GROWTH = 1.1
"""While it is down, a probe goes every 2, later every 3 seconds: each is wasted, and a late one costs until then."""


class Breaker:
    """Whether one endpoint takes calls.  All times are monotonic seconds, given from outside."""

    __slots__ = (
        "_failures",
        "_paused_at",
        "_pauses",
        "_probed_at",
        "_probes",
        "_refusals",
        "_row_began_at",
        "_sent",
        "_suspect",
        "closed_since",
        "excused_s",
        "fatal_reason",
        "reopens_at",
    )

    def __init__(self) -> None:
        self.reopens_at = -inf  # a call may start from here on
        self.closed_since = -inf  # when the pauses in a row began; means nothing while there are none
        self.excused_s = 0.0  # how long of it a rate limit itself said that it would take
        self.fatal_reason: str | None = None
        self._failures = 0  # in a row, after acceptance
        self._refusals = 0  # in a row, before work
        self._row_began_at = -inf
        self._sent = 0  # since the row began
        self._pauses = 0  # in a row
        self._paused_at = -inf
        self._suspect = False  # after a pause probes go first
        self._probed_at = -inf
        self._probes: list[float] = []  # when those under way began

    # ------------------------------------------------------------------------------------------------ asking

    def admits(self, now: float) -> bool:
        """Whether a call may start now."""
        return self.fatal_reason is None and now >= self.opens_at

    @property
    def opens_at(self) -> float:
        """When the next call may start, as far as one knows."""
        return max(self.reopens_at, self._probed_at + PROBE_EVERY_S) if self._suspect else self.reopens_at

    def is_closed(self, now: float) -> bool:
        """Whether the endpoint is known to be unusable: paused, dead, or not yet proved again."""
        return self.fatal_reason is not None or now < self.reopens_at or self._suspect

    @property
    def probing_since(self) -> float:
        """When the oldest call under way that may prove it again began; `inf` when there is none."""
        return min(self._probes, default=inf) if self._suspect else inf

    @property
    def is_trusted(self) -> bool:
        """Whether nothing speaks against it: the last call was answered."""
        return self.fatal_reason is None and not (self._suspect or self._failures or self._refusals or self._pauses)

    @property
    def has_just_closed(self) -> bool:
        """Whether its pause is the first one in a row."""
        return self._pauses == 1

    # ------------------------------------------------------------------------------------------------ learning

    def begin(self, now: float) -> bool:
        """A call starts; True when it is a probe."""
        self._sent += 1
        if self._suspect:
            self._probed_at = now
            self._probes.append(now)
        return self._suspect

    def probed(self, begun_at: float) -> None:
        """The probe that began at `begun_at` has ended, whatever it said."""
        self._probes.remove(begun_at)

    def let_in(self, *, begun_at: float) -> None:
        """A call that was dispatched at `begun_at` was let in, whatever may become of it."""
        if self._refusals and begun_at >= self._row_began_at:
            self._refusals = 0
            if not self._failures:
                self._recovered()

    def succeeded(self, *, begun_at: float) -> None:
        """A call was answered."""
        if begun_at >= self._paused_at:
            self._failures = 0
        if begun_at >= self._row_began_at:
            self._refusals = 0
        if not self._failures and not self._refusals and begun_at >= self._paused_at:
            self._recovered()

    def limited(self, now: float, *, begun_at: float, retry_after_s: float | None, used_up: bool) -> bool:
        """A call met a rate limit; True when the endpoint pauses for it."""
        is_second = self._refuse(now, begun_at)
        told_s = 0.0 if retry_after_s is None else retry_after_s
        if not (used_up or (is_second and self._is_refused_mostly) or told_s > LONGEST_RETRY_AFTER_S):
            return False
        is_told = FIRST_PAUSE_S <= told_s <= LONGEST_RETRY_AFTER_S
        length_s = min(told_s, LONGEST_RETRY_AFTER_S)
        if retry_after_s is None or (told_s < FIRST_PAUSE_S and self._pauses):
            length_s = max(told_s, self._backoff_s())
        return self._pause(now, length_s, begun_at, suspect=not used_up, is_told=is_told)

    def down(self, now: float, *, begun_at: float, retry_after_s: float | None, share: float) -> bool:
        """A call was turned away; `share` of the last ones were.  True when the endpoint pauses for it."""
        self._refuse(now, begun_at)
        in_a_row = self._refusals >= REFUSALS_TO_PAUSE and self._is_refused_mostly
        if not in_a_row and share <= DOWN_SHARE and not self._suspect:
            return False
        probe_s = min(PROBE_EVERY_S * PROBE_GROWTH ** min(self._pauses, 16), LONGEST_PROBE_S)
        length_s = min(max(probe_s, retry_after_s or 0.0), LONGEST_RETRY_AFTER_S)
        return self._pause(now, length_s, begun_at, suspect=True)

    def failed(self, now: float, *, begun_at: float) -> bool:
        """A call failed after it was accepted; True when the endpoint pauses for it."""
        self._failures += 1
        if self._failures < FAILURES_TO_PAUSE and not self._suspect:
            return False
        return self._pause(now, min(self._backoff_s(), LONGEST_PROBE_S), begun_at, suspect=True)

    def died(self, reason: str) -> None:
        """No call will ever succeed here: wrong key, unknown model, quota used up."""
        self.fatal_reason = reason

    def _refuse(self, now: float, begun_at: float) -> bool:
        """One more in the row; True when it was sent after the first one had been refused."""
        if not self._refusals:
            self._row_began_at, self._sent = now, 0
        self._refusals += 1
        return self._refusals > 1 and begun_at >= self._row_began_at

    @property
    def _is_refused_mostly(self) -> bool:
        """Whether half as many were refused as were sent since: a call that is not streamed is let in silently."""
        return self._refusals >= DOWN_SHARE * self._sent

    def _backoff_s(self) -> float:
        return min(FIRST_PAUSE_S * 2.0 ** min(self._pauses, 16), LONGEST_PAUSE_S)

    def _recovered(self) -> None:
        self._pauses = 0
        self._suspect = False

    def _pause(self, now: float, length_s: float, begun_at: float, *, suspect: bool, is_told: bool = False) -> bool:
        """Close it.  `is_told`: a rate limit says itself how long it takes, which tries nobody's patience."""
        if self._pauses and begun_at < self._paused_at:  # it says nothing new
            return False
        if not self._pauses:
            self.closed_since = self._row_began_at if self._refusals and not self._failures else now
            self.excused_s = 0.0
        if is_told and self._pauses < MOST_WAITS_EXCUSED:
            self.excused_s += length_s
        self.reopens_at = max(self.reopens_at, now + length_s)
        self._pauses += 1
        self._paused_at = now
        self._suspect = suspect
        return True

    def state(self, now: float) -> str:
        """The name of the state, for snapshots."""
        if self.fatal_reason is not None:
            return "fatal"
        if now < self.reopens_at:
            return "paused"
        return "probing" if self._suspect else "open"
