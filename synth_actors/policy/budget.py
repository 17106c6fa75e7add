"""May this call be made, or might it pass the budget?

The upper estimate is reserved before a call is sent and settled with the real cost afterwards, so that what was spent
plus what is under way never passes the limit.
"""

from __future__ import annotations

from enum import Enum


class Reservation(Enum):
    """Whether an amount was set aside."""

    GRANTED = "granted"
    WAIT = "wait"  # calls under way hold too much; some of it may come back
    EXCEEDED = "exceeded"  # nothing is under way, and it does not fit


class Budget:
    """Dollars: `spent_usd` + `reserved_usd` <= `limit_usd` at all times; no limit when None.

    `spent_usd` counts a call whose cost cannot be known with all that was reserved for it, since it may have cost that.
    """

    __slots__ = ("_held", "limit_usd", "reserved_usd", "spent_usd")

    def __init__(self, limit_usd: float | None, spent_usd: float = 0.0) -> None:
        self.limit_usd = limit_usd
        self.spent_usd = spent_usd
        self.reserved_usd = 0.0
        self._held = 0  # reservations; sums of floats do not come back to exactly 0

    def fits(self, amount_usd: float) -> bool:
        """Whether `amount_usd` could be set aside now."""
        return self.limit_usd is None or self.spent_usd + self.reserved_usd + amount_usd <= self.limit_usd

    def reserve(self, amount_usd: float) -> Reservation:
        """Set `amount_usd` aside for a call about to be sent."""
        if not self.fits(amount_usd):
            return Reservation.WAIT if self._held else Reservation.EXCEEDED
        self.reserved_usd += amount_usd
        self._held += 1
        return Reservation.GRANTED

    def settle(self, reserved_usd: float, cost_usd: float | None) -> None:
        """The call that had `reserved_usd` has ended and cost `cost_usd`, None when nobody knows."""
        self._held -= 1
        self.reserved_usd = max(0.0, self.reserved_usd - reserved_usd) if self._held else 0.0
        self.spent_usd += reserved_usd if cost_usd is None else cost_usd

    def refusal(self, amount_usd: float) -> str:
        """Why a call that may cost `amount_usd` is not made."""
        return (
            f"budget_usd={self.limit_usd:g}: {self.spent_usd:.6f} is spent, or may be, and the next call may cost "
            f"{amount_usd:.6f}; raise the budget or lower max_tokens"
        )
