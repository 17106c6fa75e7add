"""Which endpoint next?

Each strategy picks one of the endpoints that may take a call now; the caller has left out those that are full, paused,
dead or not allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter

from synth_actors.policy.endpoints import EndpointState

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
