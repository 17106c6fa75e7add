"""What is to be done about an endpoint that refuses calls: fewer at once, fewer a minute, or another one?"""

from __future__ import annotations

from synth_actors.findings import Setting
from synth_actors.policy.rules.figures import another, failed_share, rounded_down
from synth_actors.policy.throughput import S_PER_MINUTE, active_s, service_s
from synth_actors.snapshot import EndpointSnapshot, Snapshot

Remedy = tuple[str, tuple[Setting, ...]]
"""What to do, in words and as settings."""
FEW_SHARE = 0.5
"""Of the places of an endpoint: where fewer are taken on average, it is not for how many are under way at once."""


def slower(snapshot: Snapshot, endpoint: EndpointSnapshot) -> Remedy:
    """For 429: calls are refused for how many are under way, or, when those are few, for how many come a minute."""
    return _fewer_a_minute(snapshot, endpoint) if _are_few(snapshot, endpoint) else _fewer_places(snapshot, endpoint)


def fewer_or_elsewhere(snapshot: Snapshot, endpoint: EndpointSnapshot) -> Remedy:
    """For 503 and 529: fewer at once, unless that is not what is wrong, and another endpoint."""
    more = another(snapshot, endpoint)
    if _are_few(snapshot, endpoint):
        refused = f"{failed_share(endpoint):.0%} of its calls though few are under way at once"
        return f"{more}: {endpoint.name!r} refuses {refused}", ()
    text, settings = _fewer_places(snapshot, endpoint)
    return f"{text}, and {more}", settings


def _are_few(snapshot: Snapshot, endpoint: EndpointSnapshot) -> bool:
    """Whether few calls of it are under way on average, as far as the time of calls is recorded."""
    called_s, elapsed_s = service_s(snapshot, endpoint.name), active_s(snapshot)
    return 0 < called_s < FEW_SHARE * elapsed_s * _places(snapshot, endpoint)


def _places(snapshot: Snapshot, endpoint: EndpointSnapshot) -> int:
    return endpoint.max_concurrency or snapshot.router.max_concurrency


def _fewer_places(snapshot: Snapshot, endpoint: EndpointSnapshot) -> Remedy:
    places = _places(snapshot, endpoint)
    fewer = max(1, int(places * endpoint.successes / max(1, endpoint.attempts)))
    if not endpoint.successes or fewer >= places:
        return _quota(endpoint)
    setting = Setting(
        where="Endpoint", name="max_concurrency", now=endpoint.max_concurrency, then=fewer, endpoint=endpoint.name
    )
    return str(setting), (setting,)


def _quota(endpoint: EndpointSnapshot) -> Remedy:
    refused = "every call" if not endpoint.successes else f"{failed_share(endpoint):.0%} of its calls"
    return f"check the rate limit and the quota of endpoint {endpoint.name!r}, which refuses {refused}", ()


def _fewer_a_minute(snapshot: Snapshot, endpoint: EndpointSnapshot) -> Remedy:
    """The rate at which calls were accepted so far.

    A server that says nothing of its limit mostly has a bucket that one minute fills: of what it has accepted, a
    minute's worth was saved up when the first call came.
    """
    limit = endpoint.rate_limits.get("requests")
    accepted = rounded_down(endpoint.successes * S_PER_MINUTE / (S_PER_MINUTE + active_s(snapshot)))
    is_lower = limit is None or (limit.is_configured and accepted < limit.per_minute)
    if not endpoint.successes or not is_lower:
        return _quota(endpoint)
    now = None if limit is None else int(limit.per_minute)
    setting = Setting(where="Endpoint", name="requests_per_minute", now=now, then=accepted, endpoint=endpoint.name)
    return f"{setting}, which is about what it has accepted, or the limit that its provider states", (setting,)
