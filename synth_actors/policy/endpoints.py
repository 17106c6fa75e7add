"""What is known about one endpoint, and may it take a call?"""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from synth_actors.policy.breaker import Breaker
from synth_actors.snapshot import EndpointSnapshot
from synth_actors.types import NO_USAGE, Usage


class Prices(Protocol):
    """US dollars per million tokens."""

    input_usd_per_mtok: float
    output_usd_per_mtok: float
    cache_read_usd_per_mtok: float
    cache_write_usd_per_mtok: float


class EndpointState:
    """Limits, health and counters of one endpoint.  The router owns it."""

    __slots__ = ("attempts", "breaker", "failures", "in_flight", "max_concurrency", "model", "name", "price", "rank", "schema_in_prompt", "successes", "usage")  # fmt: skip

    def __init__(self, *, name: str, model: str, rank: int, max_concurrency: int | None, price: Prices | None) -> None:
        self.name = name
        self.model = model
        self.rank = rank  # place in the order of preference, from 0
        self.max_concurrency = max_concurrency
        self.price = price
        self.breaker = Breaker()
        self.in_flight = 0
        self.attempts = 0
        self.successes = 0
        self.failures: Counter[str] = Counter()
        self.usage: Usage = NO_USAGE
        self.schema_in_prompt = False

    def admits(self, now: float) -> bool:
        """Whether a call may start here now."""
        has_room = self.max_concurrency is None or self.in_flight < self.max_concurrency
        return has_room and self.breaker.admits(now)

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
        )

    def __repr__(self) -> str:
        limit = "" if self.max_concurrency is None else f"/{self.max_concurrency}"
        return f"<EndpointState {self.name} in_flight={self.in_flight}{limit}>"
