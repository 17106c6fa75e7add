"""Who pays for a flight, and how much is known of it so far?"""

from __future__ import annotations

from synth_actors.messages import Lookup, Route
from synth_actors.policy.single_flight import Flight
from synth_actors.usage import Usage


def payer_of(flight: Flight[bytes, Lookup]) -> Lookup | None:
    """The first who waits and has not ended yet: the answer to this one carries the bill.

    One whose wait was aborted in this very moment has not said so yet; it is the payer only if there is no other.
    """
    left = None
    for lookup in flight.waiters:
        if not lookup.settled:
            if not lookup.reply.is_leaving:
                return lookup
            left = left or lookup
    return left


def bill_of(route: Route | None) -> Usage | None:
    """What the calls for `route` are known to have used, None when there was none."""
    return route.used if route is not None and route.calls else None
