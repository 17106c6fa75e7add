"""Is one endpoint much slower than another, and how much is asked again?"""

from __future__ import annotations

from collections.abc import Mapping

from synth_actors.findings import Finding, Prediction, Setting, predicted, remedy_of
from synth_actors.policy.pace import TRY_AGAIN_CALLS, TRY_AGAIN_S
from synth_actors.policy.retry import FAILED_AFTER_ACCEPTANCE
from synth_actors.policy.rules.errors import remedy_for, worst_of
from synth_actors.policy.rules.figures import computes_here
from synth_actors.policy.rules.rates import pace_setter
from synth_actors.policy.rules.thresholds import Thresholds, severity_of
from synth_actors.policy.throughput import REFUSALS, attempts, mean_in_flight, most_at_once
from synth_actors.snapshot import EndpointSnapshot, Snapshot

PAID_FAULTS = frozenset(fault.value for fault in FAILED_AFTER_ACCEPTANCE) | {"output_invalid", "too_large"}
"""Faults of calls that may be on the bill."""


def endpoint_is_slow(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """One endpoint gets many calls although another would answer them much sooner, and has room for them."""
    times = _times(snapshot, limits)
    calls = sum(count for count, _mean_s in times.values())
    if len(times) < 2 or snapshot.router.routing == "fastest":
        return None
    fast, slow = min(times, key=lambda name: times[name][1]), max(times, key=lambda name: times[name][1])
    ratio = times[slow][1] / times[fast][1]
    severity = severity_of(ratio, limits.slow_endpoint_ratio)
    share = times[slow][0] / calls
    if severity is None or ratio <= 1 or share < limits.slow_endpoint_share or not _has_room(snapshot, fast, limits):
        return None
    if snapshot.router.routing == "cheapest" and _is_dearer(snapshot, fast, slow):  # that is what was chosen
        return None
    prediction = _with_fastest(snapshot, times, fast)
    if not prediction.is_better:
        return None
    setting = Setting(where="EngineConfig", name="routing", now=snapshot.router.routing, then="fastest")
    return Finding(
        kind="latency",
        rule="endpoint_is_slow",
        severity=severity,
        what=f"endpoint {slow!r} takes {times[slow][1]:.3g} s a call, {ratio:.1f} times what {fast!r} does, and gets"
        f" {share:.0%} of the calls",
        evidence={
            "slow_service_mean_s": times[slow][1],
            "fast_service_mean_s": times[fast][1],
            "ratio": ratio,
            "share_of_calls": share,
        },
        cause=f'routing="{snapshot.router.routing}" does not look at how long an endpoint takes',
        remedy=f"{remedy_of(setting)}, or leave {slow!r} out",
        settings=(setting,),
        prediction=prediction,
    )


def _times(snapshot: Snapshot, limits: Thresholds) -> Mapping[str, tuple[int, float]]:
    """Answers and their mean service time, by endpoint that is in use and has answered often enough to be judged.

    What computes in this process is no model, and is not compared with one.
    """
    counted: dict[str, tuple[int, float]] = {}
    endpoints = snapshot.router.endpoints
    for each in snapshot.series:
        row, name = each.summary, each.endpoint
        if each.name != "service" or each.outcome != "success" or name not in endpoints:
            continue
        if computes_here(endpoints[name]):
            continue
        if row.count >= limits.fewest_responses and row.mean_s > 0 and endpoints[name].state != "fatal":
            counted[name] = (row.count, row.mean_s)
    return counted


def _has_room(snapshot: Snapshot, fast: str, limits: Thresholds) -> bool:
    """Whether all calls that are usually under way could be at `fast`, as far as its limits are known."""
    endpoint, setter = snapshot.router.endpoints[fast], pace_setter(snapshot, limits)
    is_limited = setter is not None and setter.endpoint.name == fast
    return not is_limited and mean_in_flight(snapshot) <= most_at_once(endpoint)


def _is_dearer(snapshot: Snapshot, one: str, other: str) -> bool:
    endpoints = snapshot.router.endpoints
    return _usd_an_answer(endpoints[one]) > _usd_an_answer(endpoints[other])


def _with_fastest(snapshot: Snapshot, times: Mapping[str, tuple[int, float]], fast: str) -> Prediction:
    """The mean time of a call when only single ones go elsewhere, to see how the others do."""
    calls = sum(count for count, _mean_s in times.values())
    tries = {name: min(count, _tries(snapshot, calls)) for name, (count, _) in times.items() if name != fast}
    spent_s = sum(tries[name] * times[name][1] for name in tries) + (calls - sum(tries.values())) * times[fast][1]
    return predicted(
        "service_mean_s",
        sum(count * mean_s for count, mean_s in times.values()) / calls,
        spent_s / calls,
        f"all calls at {fast!r}, but for one in {TRY_AGAIN_CALLS} to see how the others do, every {TRY_AGAIN_S:g} s at"
        " most",
    )


def _tries(snapshot: Snapshot, calls: int) -> int:
    """How many calls routing "fastest" would have sent to one that is not."""
    return 1 + int(min(calls / TRY_AGAIN_CALLS, snapshot.taken_at_s / TRY_AGAIN_S))


def calls_are_repeated(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """Many calls are repetitions of calls that failed."""
    router, sent = snapshot.router, attempts(snapshot)
    first = sent - router.retries
    severity = severity_of(router.retries / max(1, first), limits.retry_ratio)
    if severity is None or first < limits.fewest_requests or not router.retries_by_reason:
        return None
    reason = max(router.retries_by_reason, key=lambda name: router.retries_by_reason[name])
    endpoint = worst_of(router.endpoints.values(), reason)
    if endpoint is None:
        return None
    remedy, settings = remedy_for(snapshot, endpoint, reason)
    return Finding(
        kind="errors",
        rule="calls_are_repeated",
        severity=severity,
        what=f"{router.retries} of {sent} calls repeated one that had failed, most often {reason}",
        evidence={"retries": float(router.retries), "attempts": float(sent), "cost_usd_per_call": _usd_a_call(endpoint)}
        | {name: float(count) for name, count in router.retries_by_reason.items()},
        cause=f"endpoint {endpoint.name!r}: {reason}"
        + (", and such calls may be paid" if reason in PAID_FAULTS else ""),
        remedy=remedy,
        settings=settings,
        effort="low" if settings else "medium",
        prediction=predicted(
            "attempts",
            float(sent),
            float(max(0, sent - router.retries_by_reason[reason])),
            f"without the repetitions after {reason}",
        ),
    )


def _usd_an_answer(endpoint: EndpointSnapshot) -> float:
    """What an answer of it cost, with the calls that failed for it; 0.0 where no price is known."""
    return (endpoint.cost_usd or 0.0) / max(1, endpoint.successes)


def _usd_a_call(endpoint: EndpointSnapshot) -> float:
    """What one of its calls cost that may be on the bill; 0.0 where no price is known."""
    refused = sum((endpoint.failures or {}).get(fault, 0) for fault in REFUSALS)
    return (endpoint.cost_usd or 0.0) / max(1, endpoint.attempts - endpoint.in_flight - refused)
