"""Is someone already making it, and who waits?

A flight is one generation under way and everybody who waits for it.  Who comes first leads and causes the call; who
comes while it is under way follows.  The first one still waiting when it lands pays, the others share.  The scheme is
that of Go's `golang.org/x/sync/singleflight`, with waiters that may leave.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Generic, TypeVar

K = TypeVar("K")
W = TypeVar("W")


class Flight(Generic[K, W]):
    """One generation under way.  `key` is None when nobody may join it; `payload` belongs to the caller."""

    __slots__ = ("_waiters", "key", "payload", "settled")

    def __init__(self, key: K | None) -> None:
        self.key = key
        self.payload: Any = None
        self.settled = 0  # of those who wait, how many carry no part of the bill any more; kept by the caller
        self._waiters: dict[int, W] = {}  # by identity: who waits twice with equal values waits twice

    @property
    def waiters(self) -> list[W]:
        """Who waits, in the order in which they came."""
        return list(self._waiters.values())

    @property
    def payer(self) -> W | None:
        """The first who still waits, None when nobody does."""
        return next(iter(self._waiters.values()), None)

    def __len__(self) -> int:
        return len(self._waiters)

    def __bool__(self) -> bool:
        return True  # a flight is a flight, also when nobody waits

    def __repr__(self) -> str:
        name = self.key.hex() if isinstance(self.key, bytes) else self.key
        return f"<Flight {name if name is not None else 'alone'} waiters={len(self)}>"


class Lead(Generic[K, W]):
    """Nobody makes it yet: the one who asked leads `flight`."""

    __slots__ = ("flight",)
    __match_args__ = ("flight",)

    def __init__(self, flight: Flight[K, W]) -> None:
        self.flight = flight


class Follow(Generic[K, W]):
    """Somebody makes it already: the one who asked waits in `flight`."""

    __slots__ = ("flight",)
    __match_args__ = ("flight",)

    def __init__(self, flight: Flight[K, W]) -> None:
        self.flight = flight


class Departure(Enum):
    """What a waiter that leaves leaves behind."""

    REMAINS = "remains"  # others wait still
    DESERTED = "deserted"  # it was the last one: the flight is over, and the next request leads anew
    NOT_WAITING = "not_waiting"  # it had left, or the flight had landed


class SingleFlight(Generic[K, W]):
    """The flights under way, at most one for each key, and those that nobody may join."""

    def __init__(self) -> None:
        self._by_key: dict[K, Flight[K, W]] = {}
        self._alone: dict[int, Flight[K, W]] = {}

    def join(self, key: K, waiter: W) -> Lead[K, W] | Follow[K, W]:
        """Wait for `key`, in the flight that is under way or at the head of a new one.

        Raises:
            ValueError: `waiter` waits in that flight already.
        """
        flight = self._by_key.get(key)
        if flight is None:
            flight = self._by_key[key] = Flight(key)
            flight._waiters[id(waiter)] = waiter
            return Lead(flight)
        if id(waiter) in flight._waiters:
            raise ValueError(f"{waiter!r} waits in {flight!r} already")
        flight._waiters[id(waiter)] = waiter
        return Follow(flight)

    def lead_alone(self, waiter: W) -> Lead[K, W]:
        """Lead a flight that no other request can join or find."""
        flight: Flight[K, W] = Flight(None)
        flight._waiters[id(waiter)] = waiter
        self._alone[id(flight)] = flight
        return Lead(flight)

    def leave(self, flight: Flight[K, W], waiter: W) -> Departure:
        """Wait no longer."""
        if flight._waiters.pop(id(waiter), None) is None:
            return Departure.NOT_WAITING
        if flight._waiters:
            return Departure.REMAINS
        self._forget(flight)
        return Departure.DESERTED

    def land(self, flight: Flight[K, W]) -> list[W]:
        """The flight is over: everybody to be answered, the payer first.  Empty when it was over before."""
        waiters = list(flight._waiters.values())
        flight._waiters.clear()
        self._forget(flight)
        return waiters

    def flights(self) -> list[Flight[K, W]]:
        """Every flight under way."""
        return [*self._by_key.values(), *self._alone.values()]

    def _forget(self, flight: Flight[K, W]) -> None:
        if flight.key is None:
            self._alone.pop(id(flight), None)
        elif self._by_key.get(flight.key) is flight:  # the key may have a new flight by now
            del self._by_key[flight.key]

    def __len__(self) -> int:
        return len(self._by_key) + len(self._alone)

    def __repr__(self) -> str:
        return f"<SingleFlight flights={len(self)} waiting={sum(map(len, self.flights()))}>"
