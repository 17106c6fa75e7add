"""How much gets through, and how much would with other settings?

Little's law (J. D. C. Little, 1961): what is inside on average is the rate times how long it stays.  N places that are
kept busy, each held for S seconds for one answer, answer N / S requests a second, as long as N are inside and no limit
per minute is reached.  S is as recorded: a server that answers slower when it is sent more answers fewer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf

from synth_actors.snapshot import EndpointSnapshot, Snapshot

S_PER_MINUTE = 60.0
REFUSALS = ("rate_limited", "overloaded", "unreachable")
"""Faults of calls that were refused before work: no limit of tokens counts them."""


def successes(snapshot: Snapshot) -> int:
    """Requests that a call has answered."""
    return sum(endpoint.successes for endpoint in snapshot.router.endpoints.values())


def attempts(snapshot: Snapshot) -> int:
    """Calls that were sent, those under way included."""
    return sum(endpoint.attempts for endpoint in snapshot.router.endpoints.values())


def service_s(snapshot: Snapshot, endpoint: str | None = None) -> float:
    """Seconds that attempts which ended have held a place: of one endpoint, or of all."""
    return sum(
        each.summary.count * each.summary.mean_s
        for each in snapshot.series
        if each.name == "service" and endpoint in (None, each.endpoint)
    )


def place_s(snapshot: Snapshot) -> float:
    """How long one answer holds a place, the attempts that failed for it included; 0.0 when that is not known."""
    held_s, answers = service_s(snapshot), successes(snapshot)
    return held_s / answers if held_s > 0 and answers else snapshot.latency["service"].mean_s


def places(snapshot: Snapshot) -> int:
    """How many calls may be under way by the settings, the watchdog's cap, and what servers have shown to bear."""
    router = snapshot.router
    own = [most_at_once(endpoint) for endpoint in router.endpoints.values() if endpoint.state != "fatal"]
    return int(min(router.max_concurrency, router.concurrency_cap or inf, sum(own) if own else inf))


def most_at_once(endpoint: EndpointSnapshot) -> float:
    """How many calls an endpoint may have at once; `inf` for any number.  What may still rise is no limit."""
    found = endpoint.concurrency_limit if endpoint.is_limit_found else None
    return min((float(limit) for limit in (endpoint.max_concurrency, found) if limit is not None), default=inf)


def active_s(snapshot: Snapshot) -> float:
    """How long anything was inside: an engine that idles after its work was no less busy with it."""
    return snapshot.router.active_s or snapshot.taken_at_s


def mean_in_flight(snapshot: Snapshot) -> float:
    """How many calls were under way on average, while anything was inside; at the moment, where no time is recorded."""
    router, elapsed_s = snapshot.router, active_s(snapshot)
    return router.busy_s / elapsed_s if router.busy_s > 0 < elapsed_s else float(router.in_flight)


def mean_backlog(snapshot: Snapshot) -> float:
    """How many requests waited on average, while anything was inside; at the moment, where no time is recorded."""
    router, elapsed_s = snapshot.router, active_s(snapshot)
    return router.backlog_s / elapsed_s if router.backlog_s > 0 < elapsed_s else float(router.backlog)


def inside(snapshot: Snapshot, taken: int) -> float:
    """How many requests were inside, waiting or under way, while all `taken` places were.

    By the time that requests waited then, where it is recorded; else by Little's law from what a request waits for each
    second of service.  What waits now counts as well.
    """
    router = snapshot.router
    queue_s, call_s = snapshot.latency["queue"].mean_s, snapshot.latency["service"].mean_s
    if router.saturated_s > 0:
        on_average = taken + router.saturated_backlog_s / router.saturated_s
    else:
        on_average = taken * (queue_s + call_s) / call_s if call_s > 0 else 0.0
    return max(on_average, float(taken + router.backlog))


def need_of_answer(endpoint: EndpointSnapshot, kind: str) -> float:
    """What one answer takes off a limit of that kind; 0.0 while nothing was answered.

    Where `max_tokens` counts up front, all of it does, for each call that was let in.
    """
    answers = endpoint.successes
    if not answers:
        return 0.0
    refused = sum((endpoint.failures or {}).get(fault, 0) for fault in REFUSALS)
    calls = max(1.0, (endpoint.attempts - endpoint.in_flight - refused) / answers)
    read = (endpoint.input_tokens + endpoint.cache_write_tokens) / answers
    is_reserved = endpoint.output_metering == "reserve"
    written = calls * endpoint.max_tokens_asked / answers if is_reserved else endpoint.output_tokens / answers
    needs = {"requests": calls, "input_tokens": read, "output_tokens": written, "tokens": read + written}
    return needs.get(kind, 0.0)


def ceiling_of(endpoint: EndpointSnapshot) -> float:
    """Answers per second that the limits per minute let through; `inf` without any."""
    needs = {kind: need_of_answer(endpoint, kind) for kind in endpoint.rate_limits}
    return min(
        (endpoint.rate_limits[kind].per_minute / S_PER_MINUTE / need for kind, need in needs.items() if need > 0),
        default=inf,
    )


def ceiling_per_s(endpoints: Iterable[EndpointSnapshot]) -> float:
    """The same of all endpoints together that are not out for good."""
    return sum((ceiling_of(endpoint) for endpoint in endpoints if endpoint.state != "fatal"), 0.0) or inf


def answers_per_s(snapshot: Snapshot, taken: float, endpoints: Mapping[str, EndpointSnapshot] | None = None) -> float:
    """Answers per second from calls, with `taken` places kept busy, and with other `endpoints` than the present ones.

    0.0 while nothing was answered.
    """
    held_s = place_s(snapshot)
    through = ceiling_per_s((snapshot.router.endpoints if endpoints is None else endpoints).values())
    return min(taken / held_s, through) if held_s > 0 else 0.0
