"""What is a process asked to do, and what does it say of it?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

from synth_actors.telemetry.recording import Recording

REFUSED = 3
"""The exit status of a process whose engine or first call failed: the last line on stderr says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """`kind` is "steady" (with a cache), "batch" (read as it comes, no cache) or "list" (all at the end, no cache)."""

    kind: str
    calls: int
    concurrency: int
    endpoint: str
    budget_usd: float | None

    def as_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Resident bytes: before the first call, after a tenth and a half of the calls, after the last, and at the most.

    Of a list, of which nothing is seen before its end, the two in between are that of the end.
    """

    start_bytes: int
    after_tenth_bytes: int
    after_half_bytes: int
    end_bytes: int
    peak_bytes: int
    failed: int
    spent_usd: float
    recording: Recording

    @property
    def above_start_bytes(self) -> int:
        """What the work took at the most."""
        return self.peak_bytes - self.start_bytes


def to_json(result: Result) -> str:
    """What `result_of` reads."""
    return TypeAdapter(Result).dump_json(result).decode()


def result_of(text: str) -> Result:
    """The result that `to_json` wrote."""
    return TypeAdapter(Result).validate_json(text)
