"""How much does a server with a rate limit let through, and when?

A token bucket with continuous refill (Turner, 1986), computed exactly and only when somebody looks: between two looks
the level moves in straight lines, up by what is refilled and down by what is drained.  The same arithmetic says what
the best of all clients could have taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Stretch:
    """From `start_s` on, until the next one: the limit that the server names, and what really flows in for us."""

    start_s: float
    per_minute: float
    refill_per_s: float


class Supply:
    """What flows into one bucket over time.  Times are seconds since the start of the simulation.

    `changes` are (time, factor) pairs: from then on the limit is `factor` times `per_minute`.  From `neighbour_from_s`
    on somebody else takes `neighbour_share` of all that flows in; the server's headers say nothing of them.
    """

    __slots__ = ("capacity_s", "stretches")

    def __init__(
        self,
        per_minute: float,
        capacity_s: float,
        changes: tuple[tuple[float, float], ...] = (),
        neighbour_share: float = 0.0,
        neighbour_from_s: float = inf,
    ) -> None:
        self.capacity_s = capacity_s  # a full bucket holds so many seconds' worth
        starts = sorted({0.0, *(at_s for at_s, _ in changes), *({neighbour_from_s} - {inf})})
        self.stretches = tuple(
            Stretch(start_s, limit, limit / 60.0 * (1.0 - neighbour_share * (start_s >= neighbour_from_s)))
            for start_s in starts
            for limit in (per_minute * _factor_at(start_s, changes),)
        )

    def capacity(self, stretch: Stretch) -> float:
        """What a full bucket holds."""
        return stretch.per_minute / 60.0 * self.capacity_s

    def until(self, index: int) -> float:
        """When the stretch at `index` ends."""
        return self.stretches[index + 1].start_s if index + 1 < len(self.stretches) else inf

    def allowed(self, from_s: float, to_s: float) -> float:
        """What a client could take at the most between the two times.

        The bucket is full at the start, and that belongs to the first moment: two intervals that meet add up.
        """
        first = self.capacity(self.stretches[0]) if from_s <= 0.0 < to_s else 0.0
        return first + sum(self._refilled(from_s, to_s))

    def _refilled(self, from_s: float, to_s: float) -> Iterator[float]:
        for index, stretch in enumerate(self.stretches):
            overlap_s = min(to_s, self.until(index)) - max(from_s, stretch.start_s)
            yield stretch.refill_per_s * max(0.0, overlap_s)


def _factor_at(at_s: float, changes: tuple[tuple[float, float], ...]) -> float:
    return max((change for change in changes if change[0] <= at_s), default=(0.0, 1.0))[1]


class TokenBucket:
    """One bucket, full at the start.  Its level may be below 0 where the cost is known only afterwards."""

    __slots__ = ("_at_s", "_drain_per_s", "_drains", "_index", "_level", "_supply", "_taken")

    def __init__(self, supply: Supply) -> None:
        self._supply = supply
        self._index = 0
        self._at_s = 0.0
        self._level = self.capacity
        self._drain_per_s = 0.0
        self._drains = 0
        self._taken = 0.0

    @property
    def capacity(self) -> float:
        """What it holds when it is full, at the time of the last look."""
        return self._supply.capacity(self._supply.stretches[self._index])

    @property
    def per_minute(self) -> float:
        """The limit, as the server names it."""
        return self._supply.stretches[self._index].per_minute

    def level(self, now_s: float) -> float:
        """What is in it."""
        self._advance(now_s)
        return self._level

    def taken(self, now_s: float) -> float:
        """What has been taken in all, less what was given back."""
        self._advance(now_s)
        return self._taken

    def take(self, amount: float, now_s: float) -> None:
        """Take `amount`, whether it is there or not."""
        self._advance(now_s)
        self._level -= amount
        self._taken += amount

    def give_back(self, amount: float, now_s: float) -> None:
        """Give back what was taken and not needed; what finds no room is lost."""
        self._advance(now_s)
        self._level = min(self.capacity, self._level + amount)
        self._taken -= amount

    def drain(self, per_s: float, now_s: float) -> None:
        """From now on `per_s` more run out."""
        self._advance(now_s)
        self._drains += 1
        self._drain_per_s += per_s

    def end_drain(self, per_s: float, now_s: float) -> None:
        """One `drain` ends."""
        self._advance(now_s)
        self._drains -= 1
        self._drain_per_s = self._drain_per_s - per_s if self._drains else 0.0  # no dust of rounding stays

    def wait_s(self, amount: float, now_s: float) -> float:
        """How long until `amount` is there, if nobody takes anything and the limit stays as it is."""
        missing = amount - self.level(now_s)
        refill_per_s = self._supply.stretches[self._index].refill_per_s
        return 0.0 if missing <= 0 else missing / refill_per_s if refill_per_s > 0 else inf

    def _advance(self, now_s: float) -> None:
        while self._at_s < now_s:
            ends_s = self._supply.until(self._index)
            until_s = min(now_s, ends_s)
            self._flow(until_s - self._at_s)
            self._at_s = until_s
            if until_s == ends_s:
                self._index += 1
                self._level = min(self._level, self.capacity)

    def _flow(self, duration_s: float) -> None:
        drained = self._drain_per_s * duration_s
        self._taken += drained
        refilled = self._supply.stretches[self._index].refill_per_s * duration_s
        self._level = min(self.capacity, self._level + refilled - drained)

    def __repr__(self) -> str:
        return f"<TokenBucket {self._level:,.1f}/{self.capacity:,.0f} at {self._at_s:.3f} s>"
