"""What has been tried for one request, and what follows from it?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from synth_actors.policy.endpoints import EndpointState
from synth_actors.policy.retry import (
    LONGEST_RETRY_AFTER_S,
    MOST_WAITS_EXCUSED,
    REFUSED_BEFORE_WORK,
    REJECTED_FOR_GOOD,
    Trial,
    Verdict,
    judge,
)
from synth_actors.providers.base import Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The numbers of the configuration that bound a request's attempts; `jitter()` draws from [0, 1).

    `shortest_timeout_s` is the shortest one of any endpoint.
    """

    max_attempts: int
    patience_s: float
    shortest_timeout_s: float
    jitter: Callable[[], float]


Endpoints = Mapping[str, EndpointState]

_NOWHERE: frozenset[str] = frozenset()
MOST_CHANGES = 3
"""So often a rate limit after an outage, or an outage after it, begins the patience anew."""


class LastCall(Protocol):
    """What the attempt that failed last tells."""

    truncated: bool
    retry_after_s: float | None


class Progress:
    """The history of one request: where it may go, and where and how it has failed."""

    __slots__ = (
        "_changes",
        "_excused_s",
        "_invalid_outputs",
        "_is_limited",
        "_last_told_s",
        "_refusals",
        "_refused_at",
        "_refused_since",
        "_schema_refusals",
        "_spent",
        "allowed",
        "failed_at",
        "last_endpoint",
        "rejected_at",
    )

    def __init__(self, allowed: frozenset[str]) -> None:
        self.allowed = allowed
        self.failed_at = _NOWHERE  # since all were free to try
        self.rejected_at = _NOWHERE  # will never take it
        self.last_endpoint: str | None = None
        self._spent = 0  # calls that may have been paid
        self._invalid_outputs = 0
        self._schema_refusals = 0
        self._is_limited = False  # the last refusal was a rate limit
        self._changes = 0
        self._refused_since: float | None = None
        self._refusals = 0  # in a row
        self._refused_at = _NOWHERE  # in the same row
        self._excused_s = 0.0  # waits in the row that rate limits named, but for the last one
        self._last_told_s = 0.0

    def places(self) -> frozenset[str]:
        """Where it may go next: where it has not failed yet, or again wherever it was not rejected."""
        if not self.failed_at and not self.rejected_at:
            return self.allowed
        return self.untried() or self.willing()

    def willing(self) -> frozenset[str]:
        """Where it was not rejected for good, whether it failed there or not; anywhere when that is nowhere."""
        return self.allowed - self.rejected_at or self.allowed

    def untried(self) -> frozenset[str]:
        """Where it has not failed yet."""
        return self.allowed - self.failed_at - self.rejected_at

    def note(self, fault: Fault, endpoint: str, now: float, retry_after_s: float | None = None) -> None:
        """An attempt at `endpoint` ended with `fault`, and with the wait that the server named."""
        self.last_endpoint = endpoint
        if fault in REFUSED_BEFORE_WORK:
            self._refused(fault, endpoint, now, retry_after_s or 0.0)
            return
        self._new_row()  # it was let in
        if fault is Fault.SCHEMA_REFUSED:
            self._schema_refusals += 1
            return
        self._spent += 1
        self._invalid_outputs += fault is Fault.OUTPUT_INVALID
        if fault in REJECTED_FOR_GOOD:
            self.rejected_at |= {endpoint}
        else:
            self.failed_at |= {endpoint}

    def _refused(self, fault: Fault, endpoint: str, now: float, told_s: float) -> None:
        is_limit = fault is Fault.RATE_LIMITED
        if is_limit != self._is_limited and self._refusals and self._changes < MOST_CHANGES:
            self._changes += 1
            self._new_row()  # it was down and is up again, or the other way round
        self._is_limited = is_limit
        self._refused_since = now if self._refused_since is None else self._refused_since
        if self._refusals <= MOST_WAITS_EXCUSED:  # so many were before, and each of them has named a wait
            self._excused_s += self._last_told_s
        self._refusals += 1
        self.failed_at |= {endpoint}
        self._refused_at |= {endpoint}
        self._last_told_s = told_s if is_limit and told_s <= LONGEST_RETRY_AFTER_S else 0.0

    def _new_row(self) -> None:
        self._refused_since, self._refusals = None, 0
        self._refused_at, self._excused_s, self._last_told_s = _NOWHERE, 0.0, 0.0

    def verdict(self, fault: Fault, call: LastCall, endpoints: Endpoints, limits: Limits, now: float) -> Verdict:
        """Again, elsewhere or give up, after an attempt that was noted."""
        last = self.last_endpoint
        alive = [name for name in self.allowed - self.rejected_at if endpoints[name].breaker.fatal_reason is None]
        return judge(
            Trial(
                fault=fault,
                truncated=call.truncated,
                spent=self._spent,
                max_attempts=limits.max_attempts,
                invalid_outputs=self._invalid_outputs,
                schema_refusals=self._schema_refusals,
                endpoints=len(self.allowed),
                others_left=any(name != last for name in alive),
                others_unasked=any(name not in self._refused_at for name in alive),
                others_open=any(name != last and not endpoints[name].breaker.is_closed(now) for name in self.untried()),
                some_left=bool(alive),
                refusals=self._refusals,
                refused_for_s=self._refused_for_s(now),
                patience_s=limits.patience_s,
                retry_after_s=call.retry_after_s,
                jitter=limits.jitter(),
                all_closed=bool(alive) and all(endpoints[name].breaker.is_closed(now) for name in alive),
            )
        )

    def _refused_for_s(self, now: float) -> float:
        """Since the first refusal in a row, without the waits that were named."""
        return 0.0 if self._refused_since is None else max(0.0, now - self._refused_since - self._excused_s)

    def start_over(self) -> None:
        """All endpoints that may take it may try again."""
        self.failed_at = _NOWHERE
