"""What does a simulated server let through, and what do its headers say of it?"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf

from synth_actors.providers.base import Allowance, Fault, Metering, RateLimits
from synth_actors.testing.token_bucket import Supply, TokenBucket

ROUNDED_TO_TOKENS = 1000
"""Anthropic's headers give tokens in thousands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenLimits:
    """The rate limits of a simulated server; None: there is no such limit.  The client knows only what it is told.

    `output_tokens_per_minute` counts output as it is made, and a call begins while anything is left of it
    (Anthropic).  `tokens_per_minute` is one limit for both: the input and all of `max_tokens` are taken when a call
    begins (OpenAI), and `gives_back_unused` says whether the part of `max_tokens` that was not made comes back at the
    end.  A full bucket holds `capacity_s` seconds' worth; all are full at the start.  `max_concurrency` refuses the
    calls above it with a 429 without headers.

    From `neighbour_from_s` on somebody else takes `neighbour_share` of what flows into each bucket.  `changes` are
    (time in s, factor) pairs: from then on all rates and capacities are so many times what they were at first.

    `headers` tells the limits as the real servers do: of an accepted call, and of one that a bucket refused.
    `retry_after` says when the bucket has enough, in whole seconds; for `max_concurrency` it is 1.
    """

    requests_per_minute: float | None = None
    input_tokens_per_minute: float | None = None
    output_tokens_per_minute: float | None = None
    tokens_per_minute: float | None = None
    gives_back_unused: bool = False
    capacity_s: float = 60.0
    max_concurrency: int | None = None
    neighbour_share: float = 0.0
    neighbour_from_s: float = 0.0
    changes: tuple[tuple[float, float], ...] = ()
    headers: bool = True
    retry_after: bool = True

    def __post_init__(self) -> None:
        if self.max_concurrency is not None and not self.max_concurrency >= 1:
            raise ValueError(f"max_concurrency={self.max_concurrency!r}: give 1 or more, or None for no limit")
        if self.tokens_per_minute is not None and self.output_tokens_per_minute is not None:
            raise ValueError("give output_tokens_per_minute (metered) or tokens_per_minute (reserved), not both")
        if not 0.0 <= self.neighbour_share <= 1.0:
            raise ValueError(f"neighbour_share={self.neighbour_share!r}: give a share from 0 to 1")
        for name in ("requests_per_minute", "input_tokens_per_minute", "output_tokens_per_minute", "tokens_per_minute"):
            if (limit := getattr(self, name)) is not None and not limit > 0:
                raise ValueError(f"{name}={limit!r}: give more than 0, or None for no limit")

    @property
    def output_metering(self) -> Metering:
        """How output tokens are counted."""
        return "meter" if self.tokens_per_minute is None else "reserve"

    def supply(self, per_minute: float) -> Supply:
        """What flows into a bucket for a limit of `per_minute`."""
        return Supply(per_minute, self.capacity_s, self.changes, self.neighbour_share, self.neighbour_from_s)


@dataclass(frozen=True, slots=True)
class Admitted:
    """The call may begin."""

    limits: RateLimits | None


@dataclass(frozen=True, slots=True)
class Refused:
    """The call is refused before any work."""

    fault: Fault
    reason: str
    retry_after_s: float | None = None
    limits: RateLimits | None = None


class Gate:
    """The buckets of one simulated server.  Times are seconds since its start."""

    __slots__ = ("_hidden", "_supplies", "buckets", "in_flight")

    def __init__(self, hidden: HiddenLimits) -> None:
        self._hidden = hidden
        limits = {
            "requests": hidden.requests_per_minute,
            "input_tokens": hidden.input_tokens_per_minute,
            "output_tokens": hidden.output_tokens_per_minute,
            "tokens": hidden.tokens_per_minute,
        }
        self._supplies = {name: hidden.supply(limit) for name, limit in limits.items() if limit is not None}
        self.buckets = {name: TokenBucket(supply) for name, supply in self._supplies.items()}
        self.in_flight = 0

    def enter(self, input_tokens: int, max_tokens: int, now_s: float) -> Admitted | Refused:
        """A call asks to begin.  Whoever is admitted must `leave`."""
        hidden = self._hidden
        if hidden.max_concurrency is not None and self.in_flight >= hidden.max_concurrency:
            return Refused(Fault.RATE_LIMITED, "too many calls at once", 1.0 if hidden.retry_after else None)
        # Of metered output anything will do, and nobody knows yet how much it will be.
        costs = {"requests": 1, "input_tokens": input_tokens, "output_tokens": 1, "tokens": input_tokens + max_tokens}
        for name, bucket in self.buckets.items():
            if bucket.level(now_s) < costs[name]:
                return self._refusal(name, bucket, costs[name], now_s)
        for name, bucket in self.buckets.items():
            if name != "output_tokens":
                bucket.take(costs[name], now_s)
        self.in_flight += 1
        return Admitted(self.headers(now_s))

    def leave(self, unused_tokens: int, now_s: float) -> None:
        """A call that was admitted is over, and did not make `unused_tokens` of its `max_tokens`."""
        self.in_flight -= 1
        if self._hidden.gives_back_unused and (bucket := self.buckets.get("tokens")) is not None:
            bucket.give_back(unused_tokens, now_s)

    def begin_output(self, tokens: int, token_s: float, now_s: float) -> None:
        """A call makes a token every `token_s` seconds from now on, or all `tokens` at once if that is 0."""
        if (bucket := self.buckets.get("output_tokens")) is not None:
            if token_s > 0:
                bucket.drain(1.0 / token_s, now_s)
            else:
                bucket.take(tokens, now_s)

    def end_output(self, token_s: float, now_s: float) -> None:
        """It makes no more."""
        if token_s > 0 and (bucket := self.buckets.get("output_tokens")) is not None:
            bucket.end_drain(1.0 / token_s, now_s)

    def headers(self, now_s: float) -> RateLimits | None:
        """What an answer says about the limits now."""
        if not self._hidden.headers or not self.buckets:
            return None
        return RateLimits(**{name: self._allowance(name, bucket, now_s) for name, bucket in self.buckets.items()})

    def allowed(self, name: str, from_s: float, to_s: float) -> float:
        """The most that could be taken from the bucket `name`; `inf` without such a limit."""
        supply = self._supplies.get(name)
        return inf if supply is None else supply.allowed(from_s, to_s)

    def _allowance(self, name: str, bucket: TokenBucket, now_s: float) -> Allowance:
        level = max(0.0, bucket.level(now_s))
        step = 1 if name == "requests" or self._hidden.output_metering == "reserve" else ROUNDED_TO_TOKENS
        reset_s = (bucket.capacity - level) / (bucket.per_minute / 60.0)
        return Allowance(limit=bucket.per_minute, remaining=_stepwise(level, step), reset_s=max(0.0, reset_s))

    def _refusal(self, name: str, bucket: TokenBucket, cost: float, now_s: float) -> Refused:
        reason = f"rate limit on {name.replace('_', ' ')}"
        if cost > bucket.capacity:
            return Refused(Fault.REJECTED, f"{reason}: {cost:g} is more than the bucket ever holds")
        wait_s = bucket.wait_s(cost, now_s)
        after_s = float(max(1, ceil(wait_s))) if self._hidden.retry_after and wait_s < inf else None
        return Refused(Fault.RATE_LIMITED, reason, after_s, self.headers(now_s))


def _stepwise(value: float, step: int) -> float:
    """To the nearest multiple; whole numbers are cut, never rounded up."""
    return float(int(value) if step == 1 else round(value / step) * step)
