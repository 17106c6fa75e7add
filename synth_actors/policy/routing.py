"""Which endpoint next?

Each strategy picks one of the endpoints that may take a call now; the caller has left out those that are full, paused,
dead or not allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Literal

from synth_actors.policy.endpoints import EndpointState

StreamMode = Literal["auto", "always", "never"]
Strategy = Callable[[Sequence[EndpointState]], EndpointState]


def preference(open_ones: Sequence[EndpointState]) -> EndpointState:
    """The first in the order that the user gave."""
    return min(open_ones, key=attrgetter("rank"))


def least_loaded(open_ones: Sequence[EndpointState]) -> EndpointState:
    """The one with the smallest share of its places taken; without a limit of its own, the fewest calls in flight.

    Endpoints with and without a limit are compared by calls in flight.  Ties go to the preferred one.
    """
    if all(endpoint.max_concurrency is not None for endpoint in open_ones):
        return min(open_ones, key=lambda e: (e.in_flight / (e.max_concurrency or 1), e.rank))
    return min(open_ones, key=lambda e: (e.in_flight, e.rank))


STRATEGIES: dict[str, Strategy] = {"preference": preference, "least_loaded": least_loaded}


STREAMED_ABOVE_TOKENS = 1000
"""An answer that may be longer is streamed, so that a stall is noticed long before the whole attempt is over."""


def is_streamed(mode: StreamMode, *, wanted: bool, max_tokens: int) -> bool:
    """Whether an attempt is streamed; `wanted` when somebody reads along."""
    return mode == "always" or (mode == "auto" and (wanted or max_tokens > STREAMED_ABOVE_TOKENS))
