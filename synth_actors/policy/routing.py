"""Which endpoint next?

Each strategy picks one of the endpoints that may take a call now; the caller has left out those that are full, paused,
out of their limits, over the budget, dead or not allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from operator import attrgetter
from typing import Literal

from synth_actors.policy.endpoints import EndpointState
from synth_actors.policy.limits import Need

StreamMode = Literal["auto", "always", "never", "subscribed"]
"""As `Endpoint.stream`; "subscribed" is "auto" where no answer can stall: streamed only when somebody reads along."""
Strategy = Callable[[Sequence[EndpointState], Need, float], EndpointState]
"""Takes the endpoints, at least one, what the call needs, and the time."""


def preference(open_ones: Sequence[EndpointState], _need: Need, _now: float) -> EndpointState:
    """The first in the order that the user gave."""
    return min(open_ones, key=attrgetter("rank"))


def least_loaded(open_ones: Sequence[EndpointState], _need: Need, _now: float) -> EndpointState:
    """The one with the smallest share of its places taken; without a limit of its own, the fewest calls in flight.

    Endpoints with and without a limit are compared by calls in flight.  Ties go to the preferred one.
    """
    if all(endpoint.max_concurrency is not None for endpoint in open_ones):
        return min(open_ones, key=lambda e: (e.in_flight / (e.max_concurrency or 1), e.rank))
    return min(open_ones, key=lambda e: (e.in_flight, e.rank))


def fastest(open_ones: Sequence[EndpointState], _need: Need, now: float) -> EndpointState:
    """The one that is expected to give a good answer first; see `policy/pace.py`.

    One that has not been tried, or not for long, gets a single call to be measured by, the longest forgotten first.
    While nothing is known of any, they share the calls.
    """
    for endpoint in open_ones:
        endpoint.pace.passed_over += 1  # until it begins a call
    due = [e for e in open_ones if e.pace.is_due(now, e.in_flight, len(open_ones) - 1)]
    if due:
        return min(due, key=lambda e: (e.pace.last_begun_at, e.rank))
    return min(open_ones, key=lambda e: (e.pace.expected_s(), e.pace.error_share, e.in_flight, e.rank))


def cheapest(open_ones: Sequence[EndpointState], need: Need, _now: float) -> EndpointState:
    """The one at which such a call is expected to cost least; one without a price only when there is no other."""
    learned = [tokens for e in open_ones if (tokens := e.limits.usual_output) is not None]
    output_tokens = min(need.max_tokens, sum(learned) / len(learned)) if learned else float(need.max_tokens)
    return min(open_ones, key=lambda e: (_expected_usd(e, need.input_tokens, output_tokens), e.in_flight, e.rank))


def _expected_usd(endpoint: EndpointState, input_tokens: float, output_tokens: float) -> float:
    price = endpoint.price
    if price is None:
        return inf
    prices = price.at(input_tokens)
    return (input_tokens * prices.input_usd_per_mtok + output_tokens * prices.output_usd_per_mtok) / 1e6


def weighted(open_ones: Sequence[EndpointState], _need: Need, _now: float) -> EndpointState:
    """In proportion to the weights, evenly mixed (smooth weighted round-robin, as nginx does it).

    Who could not take a call is owed nothing afterwards.
    """
    for endpoint in open_ones:
        endpoint.credit += endpoint.weight
    chosen = max(open_ones, key=lambda e: (e.credit, -e.rank))
    chosen.credit -= sum(endpoint.weight for endpoint in open_ones)
    return chosen


STRATEGIES: dict[str, Strategy] = {
    "preference": preference,
    "least_loaded": least_loaded,
    "fastest": fastest,
    "cheapest": cheapest,
    "weighted": weighted,
}


STREAMED_ABOVE_TOKENS = 1000
"""An answer that may be longer is streamed, so that a stall is noticed long before the whole attempt is over."""


def is_streamed(mode: StreamMode, *, wanted: bool, max_tokens: int) -> bool:
    """Whether an attempt is streamed; `wanted` when somebody reads along."""
    if mode == "auto":
        return wanted or max_tokens > STREAMED_ABOVE_TOKENS
    return mode == "always" or (mode == "subscribed" and wanted)
