"""What do several rules ask of a snapshot?"""

from __future__ import annotations

from math import ceil

from synth_actors.policy.rules.thresholds import Thresholds
from synth_actors.policy.throughput import active_s, attempts, successes
from synth_actors.snapshot import EndpointSnapshot, Snapshot

LOCAL_MODEL = "local"
"""Computes inside this process: its answers wait for the processor, whatever the settings."""

ALL_FAIL = "list another endpoint that fails less"
"""What to do where every endpoint fails about as much."""
ANSWERED = ("output_invalid", "too_large")
"""Faults of calls that brought an answer."""
SIMULATED_RATIO = 1.5
"""Trio's seconds for one of the machine's, beyond which its clock is simulated."""


def is_local(snapshot: Snapshot) -> bool:
    """Whether all answers were computed here, or will be: more places or fewer tokens would change nothing."""
    endpoints = list(snapshot.router.endpoints.values())
    answering = [endpoint for endpoint in endpoints if endpoint.successes]
    return all(computes_here(each) for each in answering or endpoints)


def computes_here(endpoint: EndpointSnapshot) -> bool:
    """Whether its answers are made up in this process: quickly, and of no use in place of a model's."""
    return LOCAL_MODEL in (endpoint.model, endpoint.provider)


def is_refused(snapshot: Snapshot, limits: Thresholds) -> bool:
    """Whether a provider already says that it is too much: then more places would only be refused more often."""
    endpoints = snapshot.router.endpoints.values()
    refused = sum((e.failures or {}).get(fault, 0) for e in endpoints for fault in ("rate_limited", "overloaded"))
    return refused >= limits.failed_share[1] * max(1, attempts(snapshot))


def is_real_time(snapshot: Snapshot) -> bool:
    """Whether trio's clock goes with the machine's; what memory does in simulated hours is what it does in seconds."""
    real_s = snapshot.loop.elapsed_s
    return not real_s or snapshot.taken_at_s <= SIMULATED_RATIO * real_s + 1.0


def share_of_time(snapshot: Snapshot, seconds: float) -> float:
    """`seconds` of all the time in which anything was inside, 0.0 to 1.0."""
    elapsed_s = active_s(snapshot)
    return min(1.0, seconds / elapsed_s) if elapsed_s > 0 else 0.0


def output_tokens_per_answer(snapshot: Snapshot) -> float:
    """Tokens of an answer on average, be it one that was of no use: what was refused or cut short is none."""
    endpoints = snapshot.router.endpoints.values()
    unusable = sum((e.failures or {}).get(fault, 0) for e in endpoints for fault in ANSWERED)
    return snapshot.counters.output_tokens / max(1, successes(snapshot) + unusable)


def another(snapshot: Snapshot, endpoint: EndpointSnapshot) -> str:
    """What to say of other endpoints than one that fails, in place of "list a second endpoint" where there is one."""
    others = [e for e in snapshot.router.endpoints.values() if e.name != endpoint.name and e.state != "fatal"]
    if not others:
        return "list a second endpoint"
    best = min(others, key=failed_share)
    if best.attempts and failed_share(best) <= failed_share(endpoint) / 2:
        return f"list {best.name!r} before {endpoint.name!r}"
    return ALL_FAIL if best.attempts else f"see that {best.name!r} may take its requests"


def failed_share(endpoint: EndpointSnapshot) -> float:
    """The share of its calls that failed, other than by being stopped."""
    failed = sum(count for fault, count in (endpoint.failures or {}).items() if fault != "abandoned")
    return failed / max(1, endpoint.attempts)


def rounded_up(value: float) -> int:
    """To two digits: more would be false precision, and nobody types them."""
    whole = max(1, ceil(value))
    step = int(10 ** max(0, len(str(whole)) - 2))
    return -(-whole // step) * step


def rounded_down(value: float) -> int:
    """The same downwards."""
    whole = max(1, int(value))
    step = int(10 ** max(0, len(str(whole)) - 2))
    return whole // step * step
