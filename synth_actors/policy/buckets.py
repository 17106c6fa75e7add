"""How fast may calls follow each other?

A token bucket with continuous refill (Turner 1986), as the providers themselves keep one per limit.  The server's own
is the truth; this is the picture of it that follows the calls which the server has not told about yet.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from synth_actors.providers.base import Allowance

WINDOW_S = 60.0
"""Limits are given per minute; a full bucket holds as much as comes back in this time."""


class Bucket:
    """What is left of one limit.  Times are monotonic seconds, given from outside; the level may be below 0."""

    __slots__ = ("_at", "_level", "capacity", "per_s")

    def __init__(self, per_minute: float, now: float) -> None:
        self.capacity = float(per_minute)
        self.per_s = per_minute / WINDOW_S
        self._level = self.capacity
        self._at = now

    def level(self, now: float) -> float:
        """What is left at `now`."""
        if now > self._at:
            self._level = min(self.capacity, self._level + (now - self._at) * self.per_s)
            self._at = now
        return self._level

    def ready_at(self, amount: float, now: float) -> float:
        """When `amount` is there, `now` or later.  More than the bucket ever holds is there when it is full."""
        missing = min(amount, self.capacity) - self.level(now)
        if missing <= 0.0:
            return now
        return now + missing / self.per_s if self.per_s else inf

    def take(self, amount: float, now: float) -> None:
        """Take `amount`, or give it back when it is negative."""
        self._level = min(self.capacity, self.level(now) - amount)

    def resize(self, per_minute: float, per_s: float, now: float) -> None:
        """The server named its limit: `per_minute` when full, refilled with `per_s`."""
        self._level = min(self.level(now), per_minute)
        self.capacity, self.per_s = per_minute, per_s

    def correct(self, level: float, now: float) -> None:
        """The server said what was left, and `level` is what follows for `now`."""
        self._at = now
        self._level = min(self.capacity, level)

    def __repr__(self) -> str:
        return f"<Bucket {self._level:g}/{self.capacity:g} +{self.per_s:g}/s>"


MARGIN_S = 0.1
"""So much of the refill is left alone: calls that are sent one after the other may arrive at the same time."""
LONG_RESET_S = 90.0
"""A bucket that takes longer than this to fill is not refilled by the minute, whatever its limit is called."""
FOREIGN_WINDOW_S = 5.0
FOREIGN_GAIN = 0.3
LEAST_OWN_SHARE = 0.05


class Unsure(NamedTuple):
    """What was sent together with a call that is heard of.

    `others` were not heard of yet, and may have come before it or after it; `own` is what the call itself has taken,
    0.0 if it was refused and has taken nothing.
    """

    others: float
    own: float


def _share_before(heard: int) -> float:
    """How much of what was not heard of is likely to have come before the last of so many that were."""
    return heard / (heard + 1)


class ServerBucket:
    """A limit that the server names in its headers, and how much of it somebody else uses up.

    What others take shows as a level that is lower than reckoned each time the server tells it.  It is learned by
    integrating that error, and taken off what comes back, down to `LEAST_OWN_SHARE` of it.

    Of calls that were sent together nobody knows in which order they came.  So the level is that of the one with the
    least left, less all that were not heard of yet, though most of them came before it; it rises with each that is
    heard of.  The error is reckoned with as many as are likely to have come after it, else every burst looked as if
    somebody else had used up what it took itself.
    """

    __slots__ = ("_error", "_foreign_per_s", "_gap", "_heard", "_lowest", "_lowest_at", "_per_s", "_since", "bucket")

    def __init__(
        self, allowance: Allowance, outstanding: float, begun_at: float, now: float, *, unsure: Unsure | None = None
    ) -> None:
        self.bucket = Bucket(allowance.limit or 0.0, now)
        self._per_s = self.bucket.per_s
        self._foreign_per_s = 0.0
        self._error = 0.0  # reckoned since `_since`
        self._since = now
        self._lowest = inf  # what the call with the least left had told, of those sent with it, as of `_lowest_at`
        self._lowest_at = now
        self._heard = 0  # of those
        self._gap = 0.0  # between the level and what is likely
        self.heard(allowance, outstanding, begun_at, now, unsure=unsure)
        self._error = 0.0

    def heard(
        self,
        allowance: Allowance,
        outstanding: float,
        begun_at: float,
        now: float,
        *,
        at_most: bool = False,
        unsure: Unsure | None = None,
    ) -> None:
        """A call sent at `begun_at` brought `allowance`; `outstanding` was sent, or is expected, since.

        `at_most`: others that were sent with it have told already, and the lowest holds.  `unsure` is what was sent
        with it; None: what is outstanding was not sent, it is expected.
        """
        bucket, remaining = self.bucket, allowance.remaining
        if allowance.limit:  # a limit of 0 would never be ready again, and no header would correct it
            self._per_s = _refill_per_s(allowance.limit, remaining, allowance.reset_s)
            bucket.resize(allowance.limit, self._own_per_s, now)
        if remaining is None:
            return
        there = remaining + (now - begun_at) * bucket.per_s
        if there > bucket.capacity:  # it ran over: what is missing then nobody has taken
            there = bucket.capacity
            self._error, self._since = 0.0, now
        margin = MARGIN_S * bucket.per_s
        if unsure is not None:
            there = self._lowest_of_burst(there, at_most, now)
        elif at_most and there - outstanding - margin > bucket.level(now):
            return
        level, gap_before = there - outstanding - margin, self._gap
        if unsure is not None:
            if at_most:  # what was given back for those that were refused is no longer in the level either
                gap_before = (unsure.others + unsure.own) * _share_before(self._heard - 1)
            self._gap = unsure.others * _share_before(self._heard)
        likely, reckoned = level + self._gap, bucket.level(now) + gap_before
        self._error += likely - reckoned if there < bucket.capacity else 0.0
        bucket.correct(level, now)
        if now - self._since >= FOREIGN_WINDOW_S:
            self._learn(now)

    def _lowest_of_burst(self, there: float, at_most: bool, now: float) -> float:
        if at_most:
            self._heard += 1
            before = self._lowest + (now - self._lowest_at) * self.bucket.per_s
            there = min(there, before)
        else:
            self._heard = 1
        self._lowest, self._lowest_at = there, now
        return there

    @property
    def _own_per_s(self) -> float:
        return self._per_s - min(self._foreign_per_s, (1.0 - LEAST_OWN_SHARE) * self._per_s)

    def _learn(self, now: float) -> None:
        drift_per_s = min(self._per_s, -self._error / (now - self._since))  # nobody takes more than comes for long
        most_per_s = (1.0 - LEAST_OWN_SHARE) * self._per_s
        self._foreign_per_s = min(most_per_s, max(0.0, self._foreign_per_s + FOREIGN_GAIN * drift_per_s))
        self._error, self._since = 0.0, now
        self.bucket.resize(self.bucket.capacity, self._own_per_s, now)


def _refill_per_s(limit: float, remaining: float | None, reset_s: float | None) -> float:
    if reset_s is not None and remaining is not None and reset_s > LONG_RESET_S and remaining < limit:
        return (limit - remaining) / reset_s
    return limit / WINDOW_S
