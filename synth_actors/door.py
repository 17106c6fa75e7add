"""How many may wait inside, and where do the others wait?

Backpressure waits at one place, the front door.  `waiting` counts those inside; beyond `max_waiting` callers park here,
first come, first served.
"""

from __future__ import annotations

from typing import Literal

import trio

from synth_actors.errors import EngineClosedError, OverloadedError
from synth_actors.reply import closed_error


class FrontDoor:
    """Places for `max_waiting` callers.

    A place is given back when its caller was answered, or, if the caller left, when the cache has *taken* the message
    that says so: callers that come and leave for ever can never fill a mailbox.
    """

    __slots__ = ("_closed", "_lot", "_max_waiting", "_on_full", "waiting")

    def __init__(self, max_waiting: int, on_full: Literal["wait", "refuse"]) -> None:
        self.waiting = 0
        self._max_waiting = max_waiting
        self._on_full = on_full
        self._lot = trio.lowlevel.ParkingLot()
        self._closed: EngineClosedError | None = None

    @property
    def has_room(self) -> bool:
        """Whether `enter` would return at once.

        While somebody is parked there is none: places are handed over, so `waiting` stays where it is.
        """
        return self.waiting < self._max_waiting

    async def enter(self) -> None:
        """Take a place, waiting for one if need be.

        Raises:
            OverloadedError: there is none and `on_full` is "refuse".
            EngineClosedError: the engine closed meanwhile.
        """
        if self.has_room:
            self.waiting += 1
            return
        if self._on_full == "refuse":
            message = f"max_waiting={self._max_waiting} requests wait already; send fewer at once or raise max_waiting"
            raise OverloadedError(message)
        await self._lot.park()  # whoever leaves hands the place over, so it is counted already
        if self._closed is not None:
            self.waiting -= 1
            raise closed_error("the engine", self._closed.__cause__)

    def place_back(self) -> None:
        """Give a place to the first who is parked, or back."""
        if self.waiting >= self._max_waiting and self._lot:
            self._lot.unpark()
        else:
            self.waiting -= 1

    def close(self, cause: BaseException | None) -> None:
        """Nobody enters any more; those parked are told."""
        self._closed = closed_error("the engine", cause)
        self.waiting += len(self._lot)  # as if each had been handed a place: those who wake up give it back
        self._lot.unpark_all()

    def check_open(self) -> None:
        """Raises `EngineClosedError` after `close`."""
        if self._closed is not None:
            raise closed_error("the engine", self._closed.__cause__)

    def __repr__(self) -> str:
        return f"<FrontDoor waiting={self.waiting}/{self._max_waiting} parked={len(self._lot)}>"
