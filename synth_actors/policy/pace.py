"""How long does an endpoint take to answer well?

The expected time to a good answer when a call comes to a good end with probability p: the usual service time, with
decay, over p, and `FAILURE_COST_S` for each of the (1 - p) / p failures before it.  So an endpoint that fails fast is
slow: its failures count in no service time, and each of them costs the wait before another try.
"""

from __future__ import annotations

from math import exp, inf

DECAY_S = 30.0
"""What was measured this long ago weighs a third; a call weighs at least `LEAST_WEIGHT`."""
LEAST_WEIGHT = 0.1
TRY_AGAIN_S = 10.0
TRY_AGAIN_CALLS = 50
"""An endpoint that gets no calls, since others are faster, gets one after this long and so many calls: it may be better
now.  So this takes a fiftieth of the calls at the most."""
LEAST_SHARE = 1e-3
FAILURE_COST_S = 1.0


class Pace:
    """The pace of one endpoint.  Times are monotonic seconds, given from outside."""

    __slots__ = ("_at", "_good_share", "last_begun_at", "passed_over", "service_s")

    def __init__(self) -> None:
        self.service_s: float | None = None  # None until a call was answered
        self._good_share = 1.0
        self._at = -inf
        self.last_begun_at = -inf  # of the newest call
        self.passed_over = 0  # calls since then that another one got

    def begin(self, now: float) -> None:
        """A call is sent."""
        self.last_begun_at = now
        self.passed_over = 0

    def answered(self, service_s: float, now: float) -> None:
        """A call was answered after `service_s`."""
        weight = self._weight(now)
        self.service_s = service_s if self.service_s is None else self.service_s + weight * (service_s - self.service_s)
        self._good_share += weight * (1.0 - self._good_share)

    def failed(self, now: float) -> None:
        """A call came to no good end."""
        self._good_share -= self._weight(now) * self._good_share

    def expected_s(self) -> float:
        """Seconds to a good answer, `inf` while none is known."""
        if self.service_s is None:
            return inf
        share = max(self._good_share, LEAST_SHARE)
        return (self.service_s + (1.0 - share) * FAILURE_COST_S) / share

    @property
    def error_share(self) -> float:
        """The share of calls that failed of late."""
        return 1.0 - self._good_share

    def is_due(self, now: float, in_flight: int, others: int) -> bool:
        """Whether it is time to see how it does: nothing is under way there, and nothing was sent to it for long."""
        if in_flight or now - self.last_begun_at < TRY_AGAIN_S:
            return False
        return self.last_begun_at == -inf or self.passed_over >= TRY_AGAIN_CALLS * others

    def _weight(self, now: float) -> float:
        elapsed_s, self._at = now - self._at, now
        return max(LEAST_WEIGHT, 1.0 - exp(-elapsed_s / DECAY_S))
