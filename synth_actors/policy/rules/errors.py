"""What fails, where, and what would make it succeed?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil
from types import MappingProxyType

from synth_actors.findings import Finding
from synth_actors.policy.rules.thresholds import Thresholds, severity_of
from synth_actors.snapshot import EndpointSnapshot, Snapshot

REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        "rate_limited": "{fewer}",
        "overloaded": "{fewer}, and list a second endpoint",
        "unreachable": "check base_url and the network of endpoint {name!r}, and list a second endpoint",
        "schema_refused": "endpoint {name!r} takes no schema: it is asked for in the prompt from now on",
        "failed": "list a second endpoint after {name!r}, which fails {failed} of {attempts} calls",
        "timed_out": "Endpoint(name={name!r}, attempt_timeout_s={patience_s}) or more: whole answers took up to"
        " {slowest_s:.3g} s",
        "too_large": "EngineConfig(max_response_bytes) up, or Request(max_tokens) down: answers of {name!r} are longer",
        "output_invalid": "{wanted}",
        "rejected": "the requests are wrong for {name!r}: see the error of one of them",
        "fatal": "check the key, the model and the quota of endpoint {name!r}",
        "bug": "the provider of {name!r} raises what it should translate: see the error of one request",
    }
)
""""By the value of `Fault`; a test holds the two together."""
_CUT = "cut at max_tokens"
"""What the last message says when an answer was cut."""


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
    tried = [e for e in endpoints if e.attempts >= limits.fewest_requests or _is_useless(e, limits)]
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
        | {name: float(count) for name, count in _faults(worst).items()},
        remedy=_remedy(snapshot, worst, fault),
    )


def _is_useless(endpoint: EndpointSnapshot, limits: Thresholds) -> bool:
    in_vain = not endpoint.successes and _failed(endpoint) >= limits.failures_in_vain
    return in_vain or endpoint.state == "fatal"


def _faults(endpoint: EndpointSnapshot) -> dict[str, int]:
    """What the endpoint did wrong; calls that nobody waited for any more are not its fault."""
    return {fault: count for fault, count in (endpoint.failures or {}).items() if fault in REMEDIES}


def _failed(endpoint: EndpointSnapshot) -> int:
    return sum(_faults(endpoint).values())


def _failed_share(endpoint: EndpointSnapshot) -> float:
    return _failed(endpoint) / max(1, endpoint.attempts)


def _worst(endpoints: Iterable[EndpointSnapshot]) -> tuple[str, EndpointSnapshot | None]:
    """The most frequent fault and the endpoint that has it; ("", None) where nothing failed."""
    counts = [(count, fault, e) for e in endpoints for fault, count in _faults(e).items() if count]
    _count, fault, endpoint = max(counts, key=lambda row: row[0], default=(0, "", None))
    return fault, endpoint


def _remedy(snapshot: Snapshot, endpoint: EndpointSnapshot, fault: str) -> str:
    slowest_s = snapshot.latency["service"].max_s
    failed = _failed(endpoint)
    return REMEDIES[fault].format(
        name=endpoint.name,
        fewer=_fewer_places(snapshot, endpoint),
        wanted=_valid_output(snapshot, endpoint),
        failed=failed,
        attempts=endpoint.attempts,
        patience_s=max(1, ceil(2 * slowest_s)),
        slowest_s=slowest_s,
    )


def _fewer_places(snapshot: Snapshot, endpoint: EndpointSnapshot) -> str:
    if not endpoint.successes:
        return f"check the rate limit and the quota of endpoint {endpoint.name!r}, which refuses every call"
    places = endpoint.max_concurrency or snapshot.router.max_concurrency
    fewer = max(1, int(places * endpoint.successes / max(1, endpoint.attempts)))
    return f"Endpoint(name={endpoint.name!r}, max_concurrency={places} -> {fewer})"


def _valid_output(snapshot: Snapshot, endpoint: EndpointSnapshot) -> str:
    if _CUT in endpoint.last_message:
        written = snapshot.counters.output_tokens / max(1, snapshot.counters.paid_calls)
        return f"Request(max_tokens={max(1, ceil(2 * written))}): the answers of {endpoint.name!r} are cut"
    return f"a model that follows a JSON Schema in place of {endpoint.name!r}, or a simpler output_schema"
