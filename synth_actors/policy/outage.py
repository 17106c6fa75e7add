"""Can a request that may use these endpoints still be served, and until when is it worth waiting?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from synth_actors.policy.breaker import FIRST_PAUSE_S
from synth_actors.policy.endpoints import EndpointState
from synth_actors.policy.limits import Need
from synth_actors.policy.retry import REFUSED_BEFORE_WORK, grace_s
from synth_actors.providers.base import Fault


@dataclass(frozen=True, slots=True)
class Open:
    """At least one endpoint works; `look_again_at` is when one may take it, `inf` for never."""

    look_again_at: float


@dataclass(frozen=True, slots=True)
class Closed:
    """Every endpoint is paused, not yet proved again, or dead; one may reopen at `reopens_at`, in `opens_in_s`.

    It has been so since `since`; `excused_s` of it is what rate limits said that it would take, and a call that may
    prove it again is under way since `probing_since`, `inf` for none.  `fault` is a refusal before work: that is what
    this is for whoever waits, also when other failures led to it.
    """

    since: float
    excused_s: float
    probing_since: float
    reopens_at: float
    opens_in_s: float | None
    fault: Fault
    reason: str

    def patient_until(self, patience_s: float) -> float:
        """When the patience of whoever has waited since it closed is over; `inf` while a probe may still save them.

        The waits that rate limits name are not counted.  A probe that is due soon afterwards is waited for, and for its
        end: an outage of 60 seconds is not given up in the second before one sees its end.
        """
        until = self.since + patience_s + self.excused_s
        at_the_latest = until + grace_s(patience_s)
        if self.probing_since <= at_the_latest:
            return inf
        return self.reopens_at + FIRST_PAUSE_S if until < self.reopens_at <= at_the_latest else until


@dataclass(frozen=True, slots=True)
class Dead:
    """Every endpoint is out for good."""

    reason: str


Outlook = Open | Closed | Dead


def outlook(endpoints: Sequence[EndpointState], need: Need, now: float) -> Outlook:
    """What the endpoints of one lane promise to a call that takes `need`."""
    alive = [e for e in endpoints if e.breaker.fatal_reason is None]
    if not alive:
        return Dead("; ".join(str(e.breaker.fatal_reason) for e in endpoints))  # each reason names its endpoint
    due = min(e.opens_at(now, need) for e in alive)
    if not all(e.breaker.is_closed(now) for e in alive):
        return Open(due)
    first = min(alive, key=lambda e: (e.breaker.opens_at, e.rank))
    fault = first.last_fault if first.last_fault in REFUSED_BEFORE_WORK else Fault.OVERLOADED  # closed is as good
    return Closed(
        since=max(e.breaker.closed_since for e in alive),
        excused_s=max(e.breaker.excused_s for e in alive),
        probing_since=min(e.breaker.probing_since for e in alive),
        reopens_at=due,
        opens_in_s=None if due == inf else due - now,
        fault=fault,
        reason=first.last_message,
    )
