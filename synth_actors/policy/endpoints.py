"""What is known about one endpoint, and may it take a call?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

from synth_actors.policy.breaker import Breaker
from synth_actors.policy.retry import REFUSED_BEFORE_WORK
from synth_actors.providers.base import Fault
from synth_actors.snapshot import EndpointSnapshot
from synth_actors.types import NO_USAGE, Usage


class Prices(Protocol):
    """US dollars per million tokens."""

    @property
    def input_usd_per_mtok(self) -> float: ...
    @property
    def output_usd_per_mtok(self) -> float: ...
    @property
    def cache_read_usd_per_mtok(self) -> float: ...
    @property
    def cache_write_usd_per_mtok(self) -> float: ...


_THE_REQUESTS_OWN = frozenset({Fault.REJECTED, Fault.OUTPUT_INVALID, Fault.SCHEMA_REFUSED, Fault.TOO_LARGE, Fault.BUG})
"""Faults that say nothing about the health of the endpoint."""


class FailedCall(Protocol):
    """What a failed call tells."""

    message: str
    usage: Usage
    retry_after_s: float | None


class EndpointState:
    """Limits, health and counters of one endpoint.  The router owns it."""

    __slots__ = (
        "attempts",
        "breaker",
        "extra_body",
        "failures",
        "in_flight",
        "last_fault",
        "last_message",
        "max_concurrency",
        "model",
        "name",
        "price",
        "rank",
        "schema_in_prompt",
        "successes",
        "usage",
    )

    def __init__(
        self,
        *,
        name: str,
        model: str,
        rank: int,
        max_concurrency: int | None,
        price: Prices | None,
        extra_body: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.name = name
        self.model = model
        self.rank = rank  # place in the order of preference, from 0
        self.max_concurrency = max_concurrency
        self.price = price
        self.extra_body = extra_body  # merged into every call; may lengthen its answer
        self.breaker = Breaker()
        self.in_flight = 0
        self.attempts = 0
        self.successes = 0
        self.failures: Counter[str] = Counter()
        self.usage: Usage = NO_USAGE
        self.schema_in_prompt = False
        self.last_fault: Fault | None = None
        self.last_message = ""

    def admits(self, now: float) -> bool:
        """Whether a call may start here now."""
        has_room = self.max_concurrency is None or self.in_flight < self.max_concurrency
        return has_room and self.breaker.admits(now)

    def succeeded(self, usage: Usage) -> None:
        """A call was answered and used `usage`."""
        self.successes += 1
        self.usage = self.usage + usage
        self.breaker.succeeded()

    def abandoned(self, usage: Usage, *, was_probe: bool) -> None:
        """A call was cancelled by us: it says nothing about the endpoint."""
        self.failures["abandoned"] += 1
        self.usage = self.usage + usage
        self.breaker.ignored(was_probe=was_probe)

    def failed(self, fault: Fault, call: FailedCall, *, begun_at: float, was_probe: bool, now: float) -> None:
        """A call dispatched at `begun_at` failed: what that says about the endpoint goes to its breaker."""
        breaker = self.breaker
        self.failures[fault.value] += 1
        self.usage = self.usage + call.usage
        self.last_fault, self.last_message = fault, call.message
        if fault is Fault.FATAL:
            breaker.died(call.message)
        elif fault in REFUSED_BEFORE_WORK:
            breaker.refused(now, begun_at=begun_at, was_probe=was_probe, retry_after_s=call.retry_after_s)
        elif fault in _THE_REQUESTS_OWN:
            breaker.ignored(was_probe=was_probe)
            self.schema_in_prompt |= fault is Fault.SCHEMA_REFUSED
        else:
            breaker.failed(now, begun_at=begun_at, was_probe=was_probe)

    def snapshot(self, now: float) -> EndpointSnapshot:
        """Its figures at `now`."""
        return EndpointSnapshot(
            name=self.name,
            model=self.model,
            state=self.breaker.state(now),
            in_flight=self.in_flight,
            max_concurrency=self.max_concurrency,
            attempts=self.attempts,
            successes=self.successes,
            failures=dict(self.failures),
            input_tokens=self.usage.input_tokens,
            output_tokens=self.usage.output_tokens,
            cost_usd=self.usage.cost_usd,
            schema_in_prompt=self.schema_in_prompt,
            last_message=self.last_message,
        )

    def __repr__(self) -> str:
        limit = "" if self.max_concurrency is None else f"/{self.max_concurrency}"
        return f"<EndpointState {self.name} in_flight={self.in_flight}{limit}>"
