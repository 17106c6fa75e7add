"""What does a process of this suite report?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from pydantic import TypeAdapter


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """A full cache whose limit was lowered.

    `released_bytes` is what the snapshot says was given back, `footprint_given_up_bytes` how much less the cache
    occupies by its own reckoning, what entries cost beside their values included.
    """

    entries_before: int
    entries_after: int
    reached_after_s: float
    rss_before_bytes: int
    rss_after_bytes: int
    released_bytes: int
    footprint_given_up_bytes: int
    shrinks: int
    changes_after: int  # shrinks, and changes of state, once the target was reached


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """The most that was ever resident."""

    entries: int
    peak_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Steady:
    """What was resident after a tenth of the requests, and at most from there on."""

    hits: int
    after_a_tenth_bytes: int
    peak_after_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """An engine in a program that holds much, below the mark at first and then far above it."""

    most_at_once: int
    lowest_cap: int
    calls_per_s_below: float
    calls_per_s_above: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A durable file in which every answer is."""

    answers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refilled:
    """Answers that came back from a file as fast as they could, under a limit with room for few of them."""

    limit_bytes: int
    peak_bytes: int
    above_share: float  # of the looks at resident memory
    hits_per_s: float
    paid_calls: int
    shrinks: int
    entries: int
    evicted: int
    evicted_out_of_order: int


Result = Lowered | Resident | Steady | Beside | Filled | Refilled
R = TypeVar("R", bound=Result)


def to_json(result: Result) -> bytes:
    """One line for the parent process."""
    adapter: TypeAdapter[Result] = TypeAdapter(type(result))
    return adapter.dump_json(result)


def from_json(kind: type[R], text: bytes) -> R:
    """What `to_json` wrote for a `kind`."""
    return TypeAdapter(kind).validate_json(text)
