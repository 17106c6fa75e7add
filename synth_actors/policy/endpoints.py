"""What is known about one endpoint, and may it take a call?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Protocol

from synth_actors.config import Price
from synth_actors.policy.breaker import Breaker
from synth_actors.policy.limits import NO_LIMITS, EndpointLimits, Need, PerMinute, Ticket
from synth_actors.policy.pace import Pace
from synth_actors.policy.pricing import usd_per_mtok
from synth_actors.policy.retry import REFUSED_BEFORE_WORK
from synth_actors.providers.base import Fault, Metering, RateLimits
from synth_actors.snapshot import EndpointSnapshot
from synth_actors.types import NO_USAGE, Usage

_THE_REQUESTS_OWN = frozenset({Fault.REJECTED, Fault.OUTPUT_INVALID, Fault.SCHEMA_REFUSED, Fault.TOO_LARGE, Fault.BUG})
"""Faults that say nothing about the health of the endpoint."""


class FailedCall(Protocol):
    """What a failed call tells."""

    message: str
    usage: Usage
    retry_after_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an endpoint is called, costs and may be given.

    `max_concurrency` is its own, None for none; `most_at_once` what it may have at all; `metering` says that it is in
    front of a server whose limits have to be found.
    """

    name: str
    model: str
    rank: int  # place in the order of preference, from 0
    max_concurrency: int | None = None
    most_at_once: float = inf
    price: Price | None = None
    weight: float = 1.0
    per_minute: PerMinute = NO_LIMITS
    metering: Metering | None = None
    provider: str = ""  # what kind it is
    extra_body: Mapping[str, Any] = field(default_factory=dict)  # merged into every call; may lengthen its answer


@dataclass(slots=True, eq=False)
class Begun:
    """One call at an endpoint, from dispatch until its end."""

    at: float
    need: Need
    ticket: Ticket | None
    is_probe: bool
    limits: RateLimits | None = None  # what the headers of its answer say
    is_let_in: bool = False


class EndpointState:
    """Limits, health and counters of one endpoint.  The router owns it."""

    __slots__ = (
        "_limited_since",
        "attempts",
        "breaker",
        "connections",
        "credit",
        "extra_body",
        "failures",
        "in_flight",
        "last_fault",
        "last_message",
        "limits",
        "longest_output_tokens",
        "max_concurrency",
        "max_tokens_asked",
        "metering",
        "model",
        "name",
        "pace",
        "price",
        "provider",
        "rank",
        "rate_limited_s",
        "schema_in_prompt",
        "successes",
        "usage",
        "weight",
    )

    def __init__(self, terms: Terms, now: float = 0.0) -> None:
        self.name = terms.name
        self.model = terms.model
        self.rank = terms.rank
        self.max_concurrency = terms.max_concurrency
        self.price = terms.price
        self.weight = terms.weight
        self.provider = terms.provider
        self.metering = terms.metering
        self.connections = 0
        self.max_tokens_asked = self.longest_output_tokens = 0
        self.rate_limited_s = 0.0
        self._limited_since: float | None = None
        self.extra_body = terms.extra_body
        self.breaker = Breaker()
        self.limits = EndpointLimits(
            maximum=terms.most_at_once, metering=terms.metering, per_minute=terms.per_minute, now=now
        )
        self.pace = Pace()
        self.credit = 0.0  # what weighted routing owes it
        self.in_flight = 0
        self.attempts = 0
        self.successes = 0
        self.failures: Counter[str] = Counter()
        self.usage: Usage = NO_USAGE
        self.schema_in_prompt = False
        self.last_fault: Fault | None = None
        self.last_message = ""

    # ------------------------------------------------------------------------------------------------ asking

    def admits(self, now: float, need: Need) -> bool:
        """Whether a call that takes `need` may start here now."""
        limits = self.limits
        return (
            limits.has_room(self.in_flight)
            and self.breaker.admits(now)
            and (not limits.has_buckets or limits.ready_at(need, now) <= now)
        )

    def lacks_only_tokens(self, now: float, need: Need) -> bool:
        """Whether such a call waits only for what comes back into a bucket."""
        limits = self.limits
        return (
            limits.has_buckets
            and limits.has_room(self.in_flight)
            and self.breaker.admits(now)
            and limits.ready_at(need, now) > now
        )

    def opens_at(self, now: float, need: Need) -> float:
        """When such a call may start here as far as time decides; `inf` when it only waits for another call's end."""
        at = max(self.breaker.opens_at, self.limits.ready_at(need, now))
        return at if at > now else inf

    # ------------------------------------------------------------------------------------------------ a call's way

    def begin(self, need: Need, now: float, *, streamed: bool = True) -> Begun:
        """A call is sent."""
        if self.limits.at_once is not None:
            self.limits.at_once.sent(streamed=streamed)
        self.in_flight += 1
        self.attempts += 1
        self.pace.begin(now)
        return Begun(now, need, self.limits.begin(need, now), is_probe=self.breaker.begin(now))

    def let_in(self, call: Begun, ttft_s: float | None, now: float) -> None:
        """It was let in: its first token is there, or its end."""
        if call.is_let_in:
            return
        call.is_let_in = True
        self.breaker.let_in(begun_at=call.at)
        self.limits.heard(call.ticket, call.limits, now)
        if self.limits.at_once is not None:
            self.limits.at_once.let_in(now, begun_at=call.at, in_flight=self.in_flight, ttft_s=ttft_s)

    def succeeded(self, call: Begun, usage: Usage, service_s: float, ttft_s: float | None, now: float) -> None:
        """It was answered."""
        self.let_in(call, ttft_s, now)
        self.successes += 1
        self.max_tokens_asked += call.need.max_tokens
        self.longest_output_tokens = max(self.longest_output_tokens, usage.output_tokens)
        self._ended(call, usage, now)
        self.limits.learn(call.ticket, usage)
        self.pace.answered(service_s, now)
        self.breaker.succeeded(begun_at=call.at)

    def withdrawn(self, call: Begun, now: float) -> None:
        """It was cancelled before anything was sent."""
        self.attempts -= 1
        self._over(call, NO_USAGE)
        self.limits.refused(call.ticket, None, now, counted=False)

    def abandoned(self, call: Begun, usage: Usage, now: float) -> None:
        """It was cancelled by us: that says nothing about the endpoint."""
        self.failures["abandoned"] += 1
        self._ended(call, usage, now)

    def failed(self, call: Begun, fault: Fault, failure: FailedCall, now: float) -> None:
        """It failed: what that says about the endpoint goes to its breaker and its limits."""
        self.failures[fault.value] += 1
        self.last_fault, self.last_message = fault, failure.message
        if fault in REFUSED_BEFORE_WORK:
            self._refused(call, fault, failure, now)
            return
        if fault not in (Fault.FATAL, Fault.TIMED_OUT):  # who is not heard of in time was perhaps never let in
            self.let_in(call, None, now)
        self._ended(call, failure.usage, now)
        if fault is Fault.FATAL:
            self.breaker.died(failure.message)
        elif fault in _THE_REQUESTS_OWN:
            self.schema_in_prompt |= fault is Fault.SCHEMA_REFUSED
            if fault is not Fault.BUG:  # it has answered
                self.breaker.succeeded(begun_at=call.at)
        else:
            self._broke(call, fault, now)

    def _ended(self, call: Begun, usage: Usage, now: float) -> None:
        self._over(call, usage)
        self.limits.heard(call.ticket, call.limits, now)
        self.limits.ended(call.ticket, usage, now)

    def _over(self, call: Begun, usage: Usage) -> None:
        self.in_flight -= 1
        self.usage = self.usage + usage
        if call.is_probe:
            self.breaker.probed(call.at)

    def _broke(self, call: Begun, fault: Fault, now: float) -> None:
        self.pace.failed(now)
        if fault is Fault.TIMED_OUT and self.limits.at_once is not None:
            self.limits.at_once.timed_out(now, begun_at=call.at)
        self.breaker.failed(now, begun_at=call.at)

    def _refused(self, call: Begun, fault: Fault, failure: FailedCall, now: float) -> None:
        self._over(call, failure.usage)
        if fault is Fault.RATE_LIMITED:
            self._limited(call, failure, now)
        else:
            self._turned_away(call, failure, now)

    def _limited(self, call: Begun, failure: FailedCall, now: float) -> None:
        limits, at_once = self.limits, self.limits.at_once
        limits.refused(call.ticket, call.limits, now, counted=True)
        used_up = limits.is_used_up(call.limits, call.need)
        pauses = self.breaker.limited(now, begun_at=call.at, retry_after_s=failure.retry_after_s, used_up=used_up)
        if at_once is None or used_up:  # how many were at once is not what was wrong
            return
        if not pauses:
            at_once.refused(now, in_flight=self.in_flight)
        elif self.breaker.has_just_closed:
            at_once.paused()

    def _turned_away(self, call: Begun, failure: FailedCall, now: float) -> None:
        at_once, share = self.limits.at_once, 0.0
        self.limits.refused(call.ticket, call.limits, now, counted=False)
        self.pace.failed(now)
        if at_once is not None and not call.is_probe:  # a probe tells whether it is up, not how much it bears
            at_once.overloaded(now, begun_at=call.at)
            share = at_once.overloaded_share
        pauses = self.breaker.down(now, begun_at=call.at, retry_after_s=failure.retry_after_s, share=share)
        if pauses and at_once is not None and self.breaker.has_just_closed:
            at_once.paused()

    def note_limited(self, now: float, *, is_limited: bool) -> None:
        """Whether, from now on, requests wait only for one of its limits per minute."""
        if self._limited_since is not None:
            self.rate_limited_s += now - self._limited_since
        self._limited_since = now if is_limited else None

    def snapshot(self, now: float) -> EndpointSnapshot:
        """Its figures at `now`."""
        self.note_limited(now, is_limited=self._limited_since is not None)
        price = self.price
        return EndpointSnapshot(
            name=self.name,
            model=self.model,
            provider=self.provider,
            state=self.breaker.state(now),
            in_flight=self.in_flight,
            max_concurrency=self.max_concurrency,
            concurrency_limit=None if self.limits.limit == inf else int(self.limits.limit),
            is_limit_found=self.limits.at_once is not None and self.limits.at_once.is_found,
            rate_limits=self.limits.snapshot(now),
            attempts=self.attempts,
            successes=self.successes,
            failures=dict(self.failures),
            input_tokens=self.usage.input_tokens,
            output_tokens=self.usage.output_tokens,
            cache_read_tokens=self.usage.cache_read_tokens,
            cache_write_tokens=self.usage.cache_write_tokens,
            cost_usd=self.usage.cost_usd,
            usd_per_mtok=None if price is None else usd_per_mtok(price),
            output_metering=self.metering,
            max_tokens_asked=self.max_tokens_asked,
            longest_output_tokens=self.longest_output_tokens,
            connections=self.connections,
            rate_limited_s=self.rate_limited_s,
            schema_in_prompt=self.schema_in_prompt,
            last_message=self.last_message,
        )

    def __repr__(self) -> str:
        limit = "" if self.max_concurrency is None else f"/{self.max_concurrency}"
        return f"<EndpointState {self.name} in_flight={self.in_flight}{limit}>"
