"""At which endpoints does the budget bear a call?"""

from __future__ import annotations

from collections.abc import Callable

from synth_actors.policy.budget import Budget
from synth_actors.policy.endpoints import EndpointState
from synth_actors.policy.pricing import upper_estimate_usd
from synth_actors.schema import Output
from synth_actors.types import Request


def estimate_usd(budget: Budget, request: Request, output: Output | None, endpoint: EndpointState) -> float:
    """The most that `request` may cost at `endpoint`, in dollars; 0.0 when nobody asks."""
    if budget.limit_usd is None or endpoint.price is None:
        return 0.0
    return upper_estimate_usd(request, output, endpoint.price, endpoint.extra_body)


def affordable(
    budget: Budget,
    estimate: Callable[[EndpointState], float],
    open_ones: list[EndpointState],
    places: list[EndpointState],
) -> list[EndpointState]:
    """Those of `open_ones` that fit into the budget by `estimate`, which is in dollars.

    When none does, none while a cheaper one of all `places` may take it later; else the cheapest, so that the refusal
    says what it would have cost.
    """
    if fitting := [endpoint for endpoint in open_ones if budget.fits(estimate(endpoint))]:
        return fitting
    alive = [endpoint for endpoint in places if endpoint.breaker.fatal_reason is None]
    cheapest = min(alive, key=estimate)
    return [] if budget.fits(estimate(cheapest)) else [cheapest]
