"""What does a call under way hold, beside what is accounted for it?

Tasks, buffers, connections and what the provider keeps of its own show in no count.  So it is measured: whenever the
number of calls moves, how much does resident memory move that nothing else explains?  Medians of the last few moves up
and down stand, since a program may allocate in the same moment for reasons of its own; and the mean of the two, since
what grows all the time makes calls seem dearer on the way up and cheaper on the way down.
"""

from __future__ import annotations

from collections import deque
from statistics import median

ENGINE_BYTES_PER_CALL = 14_000
"""What the engine itself holds for a call that waits for its provider: the least that is reckoned with.

Measured: `python -m benchmarks --suite engine`, "10,000 calls in flight: grown since opening" is 135 MB.
"""

MOVES = 5
"""Moves of each direction that are remembered."""
LEAST_MOVE = 4
"""A move of fewer calls says nothing: the noise is divided by them."""
SHARE = 0.125
"""Nor does one of a smaller share of the calls."""
LONGEST_MOVE_S = 2.0
"""What changed more slowly than that is laid to nobody."""
PROVING_MOVES = 3
"""So many tell the same by chance only rarely; fewer are a guess, such as that of the first calls after opening."""


class CallCost:
    """Learns `bytes_per_call` from readings."""

    def __init__(self, full: int, unexplained_bytes: int = 0) -> None:
        """`full` is the full concurrency; `unexplained_bytes` is what was resident before the first call."""
        self.bytes_per_call: float = ENGINE_BYTES_PER_CALL
        self._least_move = min(LEAST_MOVE, full)
        self._up: deque[float] = deque(maxlen=MOVES)
        self._down: deque[float] = deque(maxlen=MOVES)
        self._from: tuple[int, int] = (unexplained_bytes, 0)
        self._from_at: float | None = None
        self._has_tried = False

    @property
    def is_proven(self) -> bool:
        """Whether this is more than a guess: fewer calls were tried, or there were enough moves."""
        return self._has_tried or len(self._up) + len(self._down) >= PROVING_MOVES

    def look(self, unexplained_bytes: int, in_flight: int, now: float) -> None:
        """Note what is resident and neither cached nor accounted to calls, with so many calls under way."""
        before, calls = self._from
        moved = in_flight - calls
        is_far = abs(moved) >= max(self._least_move, SHARE * max(in_flight, calls))
        if is_far:
            (self._up if moved > 0 else self._down).append((unexplained_bytes - before) / moved)
            self._settle()
        if is_far or self._from_at is None or now - self._from_at >= LONGEST_MOVE_S:
            self._from, self._from_at = (unexplained_bytes, in_flight), now

    def measured(self, freed_bytes: int, ended: int) -> None:
        """`ended` calls were not replaced, on purpose, and `freed_bytes` came back: this is worth more than moves."""
        self._has_tried = True
        self._up.clear()
        self._down.clear()
        self._down.append(freed_bytes / ended)
        self._settle()

    def _settle(self) -> None:
        sides = [median(moves) for moves in (self._up, self._down) if moves]
        self.bytes_per_call = max(float(ENGINE_BYTES_PER_CALL), sum(sides) / len(sides))

    def __repr__(self) -> str:
        return f"<CallCost {self.bytes_per_call:.0f} bytes per call, {len(self._up)} up, {len(self._down)} down>"
