"""Is a row of the durable tier still good, which rows go first, and when is a failed file tried again?

Wall time ages rows, and it jumps: a row from the future is not served, and yet not deleted for that, since the clock
may be what is wrong.  Nor is one deleted for its age: it only goes first when there is no room.  Monotonic time says
when a file that failed is opened anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

USE_NOTED_EVERY_S = 600.0
"""How exact "least recently used" is: a hit is written down at most this often for each row."""
FIRST_PAUSE_S = 30.0
LONGEST_PAUSE_S = 600.0
"""The pauses before a failed file is opened anew: doubled from the first to the longest."""
MOST_ROWS_AT_ONCE = 500
"""What one transaction deletes at most beside what it writes, so that nobody waits long for its end."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """Good for another `remaining_s` seconds; None: until it is evicted."""

    remaining_s: float | None


@dataclass(frozen=True, slots=True)
class Expired:
    """Older than the time to live by `by_s` seconds, 0 at its very end.

    Not served, and kept until room is needed: it was paid for, and who shares the file may let it live longer.
    """

    by_s: float


@dataclass(frozen=True, slots=True)
class Ahead:
    """Stored `by_s` seconds from now: the clock was, or is, wrong.  Not served; kept until room is needed."""

    by_s: float


def freshness(stored_at: float, *, now: float, ttl_s: float | None) -> Fresh | Expired | Ahead:
    """The verdict on a row that was stored at `stored_at`, at the wall time `now` (both Unix seconds)."""
    age_s = now - stored_at
    if not age_s >= 0:  # also when it is no number
        return Ahead(-age_s)
    if ttl_s is None:
        return Fresh(None)
    if age_s >= ttl_s:
        return Expired(age_s - ttl_s)
    return Fresh(ttl_s - age_s)


def is_use_worth_noting(used_at: float, *, now: float) -> bool:
    """Whether a hit at `now` changes what is known of a row that was last used at `used_at` (Unix seconds).

    A use that stands in the future is corrected: else the row would never be the least recently used one.
    """
    return not now - USE_NOTED_EVERY_S < used_at <= now


def excess_bytes(*, used_bytes: int, incoming_bytes: int, max_bytes: int) -> int:
    """What must go before `incoming_bytes` may come; 0 when there is room."""
    return max(0, used_bytes + incoming_bytes - max_bytes)


def rows_to_go(candidates: Iterable[tuple[int, int]], *, excess_bytes: int) -> list[int]:
    """The ids of the first rows that together hold `excess_bytes`, at most `MOST_ROWS_AT_ONCE`.

    `candidates` are (id, bytes), what goes first first; no more of them are taken than are needed.
    """
    going: list[int] = []
    if excess_bytes <= 0:
        return going
    for row, size_bytes in candidates:
        going.append(row)
        excess_bytes -= size_bytes
        if excess_bytes <= 0 or len(going) >= MOST_ROWS_AT_ONCE:
            break
    return going


@dataclass(frozen=True, slots=True)
class Pause:
    """A file that failed at `began_at` is opened anew after `pause_s` (monotonic seconds)."""

    began_at: float
    pause_s: float

    @property
    def over_at(self) -> float:
        """When it is over."""
        return self.began_at + self.pause_s


def has_worked(opened_at: float | None, *, now: float) -> bool:
    """Whether a failure at `now` is a new trouble: the file was open since `opened_at`, for long enough.

    None: it was not open.  One that opens and fails at the next write has not worked.
    """
    return opened_at is not None and now - opened_at >= LONGEST_PAUSE_S


def pause_after(last: Pause | None, *, opened_at: float | None, now: float) -> Pause:
    """The pause after a failure at `now`: the first again when the file has worked since `last`, else twice as long."""
    if last is None or has_worked(opened_at, now=now):
        return Pause(now, FIRST_PAUSE_S)
    return Pause(now, min(2 * last.pause_s, LONGEST_PAUSE_S))
