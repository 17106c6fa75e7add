"""Can a request that may use these endpoints still be served, and until when is it worth waiting?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from synth_actors.policy.endpoints import EndpointState
from synth_actors.policy.retry import REFUSED_BEFORE_WORK
from synth_actors.providers.base import Fault


@dataclass(frozen=True, slots=True)
class Open:
    """At least one endpoint works or is just being tried; `look_again_at` is when a paused one may, `inf` for never."""

    look_again_at: float


@dataclass(frozen=True, slots=True)
class Closed:
    """Every endpoint is paused, not yet proved again, or dead; one may reopen at `reopens_at`, in `opens_in_s`.

    It has been so since `since`.  `fault` is a refusal before work: that is what this is for whoever waits, also when
    other failures led to it.
    """

    since: float
    reopens_at: float
    opens_in_s: float | None
    fault: Fault
    reason: str


@dataclass(frozen=True, slots=True)
class Dead:
    """Every endpoint is out for good."""

    reason: str


Outlook = Open | Closed | Dead


def outlook(endpoints: Sequence[EndpointState], now: float) -> Outlook:
    """What the endpoints of one lane promise."""
    fatal = [e for e in endpoints if e.breaker.fatal_reason is not None]
    if len(fatal) == len(endpoints):
        return Dead("; ".join(str(e.breaker.fatal_reason) for e in fatal))  # each reason names its endpoint
    alive = [e for e in endpoints if e.breaker.fatal_reason is None]
    due = min((e.breaker.reopens_at for e in alive if e.breaker.reopens_at > now), default=inf)
    if any(e.breaker.is_probing or not e.breaker.is_closed(now) for e in alive):
        return Open(due)
    first = min(alive, key=lambda e: (e.breaker.reopens_at, e.rank))
    fault = first.last_fault if first.last_fault in REFUSED_BEFORE_WORK else Fault.OVERLOADED  # closed is as good
    since = max(e.breaker.closed_since for e in alive)
    return Closed(since, due, None if due == inf else due - now, fault, first.last_message)
