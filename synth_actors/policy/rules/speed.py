"""Are the calls slow, do requests wait, and whose limit keeps them waiting?"""

from __future__ import annotations

from math import ceil

from synth_actors.findings import Finding
from synth_actors.policy.rules.thresholds import Thresholds, severity_of
from synth_actors.snapshot import EndpointSnapshot, Snapshot

HIGHEST_CONCURRENCY = 100_000  # what EngineConfig accepts
LOCAL_MODEL = "local"
"""Computes inside this process: its answers wait for the processor, whatever the settings."""


def calls_are_slow(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """The p99 is high, and most of it is the call itself."""
    response, service = snapshot.latency["response"], snapshot.latency["service"]
    severity = severity_of(response.p99_s, limits.response_p99_s)
    if severity is None or response.count < limits.fewest_responses:
        return None
    if _waits(snapshot, limits) or _is_local(snapshot):
        return None
    written = snapshot.counters.output_tokens / max(1, snapshot.counters.paid_calls)
    target = limits.response_p99_s[0]
    fewer = max(1, int(written * target / response.p99_s))
    remedy = "list a faster endpoint first"
    if written > 1:
        remedy += f", or ask for less: {written:.0f} -> {fewer} tokens a call would bring p99 to about {target:g} s"
    return Finding(
        kind="latency",
        rule="calls_are_slow",
        severity=severity,
        what=f"p99 of responses is {response.p99_s:.3g} s, mostly the calls themselves (p99 {service.p99_s:.3g} s)",
        evidence={
            "response_p99_s": response.p99_s,
            "service_p99_s": service.p99_s,
            "queue_p99_s": snapshot.latency["queue"].p99_s,
            "output_tokens_per_call": written,
        },
        remedy=remedy,
    )


def requests_wait(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """The p99 is high, and most of it is waiting for a place."""
    response, queue = snapshot.latency["response"], snapshot.latency["queue"]
    severity = severity_of(response.p99_s, limits.response_p99_s)
    is_capped = 0 < snapshot.router.concurrency_cap < snapshot.router.max_concurrency  # then memory is the cause
    if severity is None or is_capped or response.count < limits.fewest_responses:
        return None
    if not _waits(snapshot, limits) or _is_local(snapshot):
        return None
    return Finding(
        kind="latency",
        rule="requests_wait",
        severity=severity,
        what=f"p99 of responses is {response.p99_s:.3g} s, mostly waiting for a place (p99 {queue.p99_s:.3g} s)",
        evidence={
            "response_p99_s": response.p99_s,
            "queue_p99_s": queue.p99_s,
            "service_p99_s": snapshot.latency["service"].p99_s,
            "max_concurrency": float(snapshot.router.max_concurrency),
        },
        remedy=_more_places(snapshot, limits),
    )


def _is_local(snapshot: Snapshot) -> bool:
    """Whether all answers were computed here, or will be: more places or fewer tokens would change nothing."""
    endpoints = list(snapshot.router.endpoints.values())
    answering = [endpoint for endpoint in endpoints if endpoint.successes]
    return all(endpoint.model == LOCAL_MODEL for endpoint in answering or endpoints)


def _waits(snapshot: Snapshot, limits: Thresholds) -> bool:
    return snapshot.latency["queue"].p99_s >= limits.waiting_share * snapshot.latency["response"].p99_s


def engine_is_saturated(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """Every place is taken and requests wait for one."""
    router = snapshot.router
    severity = severity_of(router.backlog / max(1, router.max_concurrency), limits.backlog_ratio)
    is_full = router.in_flight >= limits.saturated_share * router.max_concurrency > 0
    if severity is None or not is_full or _is_refused(snapshot, limits) or _is_local(snapshot):
        return None
    return Finding(
        kind="throughput",
        rule="engine_is_saturated",
        severity=severity,
        what=f"{router.in_flight} of {router.max_concurrency} places are taken and {router.backlog} requests wait",
        evidence={
            "in_flight": float(router.in_flight),
            "max_concurrency": float(router.max_concurrency),
            "backlog": float(router.backlog),
            "queue_mean_s": snapshot.latency["queue"].mean_s,
            "service_mean_s": snapshot.latency["service"].mean_s,
        },
        remedy=_more_places(snapshot, limits),
    )


def endpoint_is_saturated(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """The engine has places left, and an endpoint's own limit keeps requests waiting."""
    router = snapshot.router
    free = router.concurrency_cap - router.in_flight
    full = _full_endpoints(snapshot)
    severity = severity_of(router.backlog / max(1, router.max_concurrency), limits.backlog_ratio)
    if severity is None or not full or free < 1 or _is_refused(snapshot, limits):
        return None
    endpoint, now = max(full, key=lambda pair: pair[1])
    wanted = min(_places_wanted(snapshot, now, limits), now + free)
    return Finding(
        kind="throughput",
        rule="endpoint_is_saturated",
        severity=severity,
        what=f"endpoint {endpoint.name!r} runs all {now} calls that it may, {router.backlog} requests wait",
        evidence={"in_flight": float(now), "backlog": float(router.backlog), "free_places": float(free)},
        remedy=f"Endpoint(name={endpoint.name!r}, max_concurrency={now} -> {wanted})",
    )


def _full_endpoints(snapshot: Snapshot) -> list[tuple[EndpointSnapshot, int]]:
    """The endpoints that run as many calls as their own limit allows, with that limit."""
    limited = ((e, e.max_concurrency) for e in snapshot.router.endpoints.values())
    return [(e, limit) for e, limit in limited if limit is not None and e.in_flight >= limit]


def _more_places(snapshot: Snapshot, limits: Thresholds) -> str:
    """What to set so that requests wait less: the engine's limit, an endpoint's own, or both."""
    if _is_refused(snapshot, limits):
        return "list a second endpoint: the present ones refuse calls, more at once would be refused as well"
    if (pace := _pace_of_servers(snapshot, limits)) is not None:
        return f"{pace}: ask the provider for more, or list a second endpoint"
    engine, endpoints = snapshot.router.max_concurrency, _places_of_endpoints(snapshot)
    wanted = _places_wanted(snapshot, engine if endpoints is None else min(engine, endpoints), limits)
    remedies = []
    if wanted > engine:
        remedies.append(f"EngineConfig(max_concurrency={engine} -> {wanted})")
    if endpoints is not None and wanted > endpoints:
        largest = max(snapshot.router.endpoints.values(), key=lambda endpoint: endpoint.max_concurrency or 0)
        now = largest.max_concurrency or 0
        remedies.append(f"Endpoint(name={largest.name!r}, max_concurrency={now} -> {now + wanted - endpoints})")
    return " and ".join(remedies) or "run a second process: this engine has as many places as it can"


def _pace_of_servers(snapshot: Snapshot, limits: Thresholds) -> str | None:
    """What the servers allow, when that is less than the settings do; None when more places might help."""
    for endpoint in snapshot.router.endpoints.values():
        for name, limit in endpoint.rate_limits.items():
            if limit.remaining < limits.used_up_share * limit.per_minute:
                return (
                    f"endpoint {endpoint.name!r} uses all of its {limit.per_minute:g} {name.replace('_', ' ')} a minute"
                )
        most = endpoint.max_concurrency or snapshot.router.max_concurrency
        if endpoint.is_limit_found and endpoint.concurrency_limit is not None and endpoint.concurrency_limit < most:
            return (
                f"endpoint {endpoint.name!r} works on {endpoint.concurrency_limit} calls at once, as its answers show"
            )
    return None


def _places_of_endpoints(snapshot: Snapshot) -> int | None:
    """How many calls the endpoints' own limits allow together; None when one of them has none."""
    own = [endpoint.max_concurrency for endpoint in snapshot.router.endpoints.values()]
    known = [limit for limit in own if limit is not None]
    return sum(known) if own and len(known) == len(own) else None


def _places_wanted(snapshot: Snapshot, now: int, limits: Thresholds) -> int:
    """How many places would leave nobody waiting.

    Little's law: requests inside = rate x (waiting + service), and calls running = rate x service.  So `now` places
    that are all taken stand for now x (waiting + service) / service requests; what waits now counts as well.
    """
    queue_s, service_s = snapshot.latency["queue"].mean_s, snapshot.latency["service"].mean_s
    by_law = now * (queue_s + service_s) / service_s if service_s > 0 else 0.0
    wanted = ceil(max(by_law, now + snapshot.router.backlog, now + 1))
    return min(wanted, int(limits.largest_raise * now), HIGHEST_CONCURRENCY)


def _is_refused(snapshot: Snapshot, limits: Thresholds) -> bool:
    """Whether a provider already says that it is too much: then more places would only be refused more often."""
    endpoints = snapshot.router.endpoints.values()
    refused = sum((e.failures or {}).get(fault, 0) for e in endpoints for fault in ("rate_limited", "overloaded"))
    attempts = sum(endpoint.attempts for endpoint in endpoints)
    return refused >= limits.failed_share[1] * max(1, attempts)
