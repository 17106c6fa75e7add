"""What do the tests of the policies share?  Endpoints, and what a failed call tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from synth_actors.policy.endpoints import Begun, EndpointState, Terms
from synth_actors.policy.limits import Need
from synth_actors.providers.base import Fault
from synth_actors.types import NO_USAGE, Usage

NEED = Need(input_tokens=10.0, max_tokens=100)


@dataclass
class Told:
    """What a failed call tells."""

    message: str = ""
    retry_after_s: float | None = None
    usage: Usage = NO_USAGE
    truncated: bool = False


def endpoint(name: str = "one", rank: int = 0, in_flight: int = 0, **terms: Any) -> EndpointState:
    """An endpoint that nothing is known of yet, with `in_flight` calls under way."""
    state = EndpointState(Terms(name=name, model="m", rank=rank, **terms))
    state.in_flight = in_flight
    return state


def fail(
    state: EndpointState, fault: Fault, now: float, *, begun_at: float | None = None, retry_after_s: float | None = None
) -> Begun:
    """A call that began at `begun_at`, or now, fails."""
    call = state.begin(NEED, now if begun_at is None else begun_at)
    state.failed(call, fault, Told(f"{state.name} {fault.value}", retry_after_s, Usage(output_tokens=1)), now)
    return call


def succeed(state: EndpointState, now: float, *, service_s: float = 0.0, ttft_s: float | None = None) -> Begun:
    """A call that took `service_s` is answered."""
    call = state.begin(NEED, now - service_s)
    state.succeeded(call, Usage(output_tokens=5), service_s, ttft_s, now)
    return call


def close(state: EndpointState, now: float, for_s: float = 100.0) -> None:
    """It says that it is down for so long."""
    state.breaker.down(now, begun_at=now, retry_after_s=for_s, share=1.0)
