"""What fails, where, and what would make it succeed?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil
from types import MappingProxyType

from synth_actors.policy.rules.thresholds import Thresholds, severity_of
from synth_actors.snapshot import EndpointSnapshot, Finding, Snapshot

REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        "rate_limited": "Endpoint(name={name!r}, max_concurrency={places} -> {fewer_places})",
        "overloaded": "Endpoint(name={name!r}, max_concurrency={places} -> {fewer_places}), and list a second endpoint",
        "unreachable": "check base_url and the network of endpoint {name!r}, and list a second endpoint",
        "schema_refused": "endpoint {name!r} takes no schema: it is asked for in the prompt from now on",
        "failed": "list a second endpoint after {name!r}, which fails {failed} of {attempts} calls",
        "timed_out": "Endpoint(name={name!r}, attempt_timeout_s={patience_s}) or more: whole answers took up to"
        " {slowest_s:.3g} s",
        "output_invalid": "Request(max_tokens={tokens}) if answers are cut, or a simpler output_schema for {name!r}",
        "rejected": "the requests are wrong for {name!r}: see the error of one of them",
        "fatal": "check the key, the model and the quota of endpoint {name!r}",
        "bug": "the provider of {name!r} raises what it should translate: see the error of one request",
    }
)
"""By the value of `Fault`; a test holds the two together."""


def requests_fail(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """More requests fail in the end than should, after all retries."""
    counters = snapshot.counters
    ended = counters.succeeded + counters.failed
    severity = severity_of(counters.failed / max(1, ended), limits.failed_share)
    if severity is None or ended < limits.fewest_requests:
        return None
    fault, worst = _worst(snapshot.router.endpoints.values())
    return Finding(
        kind="errors",
        rule="requests_fail",
        severity=severity,
        what=f"{counters.failed} of {ended} requests failed" + (f", most often {fault}" if fault else ""),
        evidence={"failed": float(counters.failed), "ended": float(ended), "retries": float(snapshot.router.retries)},
        remedy=_remedy(snapshot, worst, fault) if worst else "see the errors of the requests: no call had failed",
    )


def endpoint_fails(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """One endpoint fails much of what it is given, whether or not another one makes up for it."""
    endpoints = snapshot.router.endpoints.values()
    tried = [e for e in endpoints if e.attempts >= limits.fewest_requests or e.state == "fatal"]
    worst = max(tried, key=lambda endpoint: (endpoint.state == "fatal", _failed_share(endpoint)), default=None)
    if worst is None:
        return None
    share = _failed_share(worst)
    severity = "critical" if worst.state == "fatal" else severity_of(share, limits.failed_attempts)
    if severity is None:
        return None
    fault = "fatal" if worst.state == "fatal" else _worst([worst])[0]
    return Finding(
        kind="errors",
        rule="endpoint_fails",
        severity=severity,
        what=f"endpoint {worst.name!r} failed {share:.0%} of {worst.attempts} calls, most often {fault}",
        evidence={"failed_share": share, "attempts": float(worst.attempts)}
        | {name: float(count) for name, count in (worst.failures or {}).items()},
        remedy=_remedy(snapshot, worst, fault),
    )


def _failed(endpoint: EndpointSnapshot) -> int:
    return sum((endpoint.failures or {}).values())


def _failed_share(endpoint: EndpointSnapshot) -> float:
    return _failed(endpoint) / max(1, endpoint.attempts)


def _worst(endpoints: Iterable[EndpointSnapshot]) -> tuple[str, EndpointSnapshot | None]:
    """The most frequent fault and the endpoint that has it; ("", None) where nothing failed."""
    counts = [(count, fault, e) for e in endpoints for fault, count in (e.failures or {}).items() if count]
    _count, fault, endpoint = max(counts, key=lambda row: row[0], default=(0, "", None))
    return fault, endpoint


def _remedy(snapshot: Snapshot, endpoint: EndpointSnapshot, fault: str) -> str:
    places = endpoint.max_concurrency or snapshot.router.max_concurrency
    slowest_s = snapshot.latency["service"].max_s
    failed = _failed(endpoint)
    written = snapshot.counters.output_tokens / max(1, snapshot.counters.paid_calls)
    return REMEDIES[fault].format(
        name=endpoint.name,
        places=places,
        fewer_places=max(1, int(places * (1 - failed / max(1, endpoint.attempts)))),
        failed=failed,
        attempts=endpoint.attempts,
        patience_s=max(1, ceil(2 * slowest_s)),
        slowest_s=slowest_s,
        tokens=max(1, ceil(2 * written)),
    )
