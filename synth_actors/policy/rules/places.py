"""Does everybody wait for a place, and whose limit is it?"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from synth_actors.findings import Finding, Prediction, Setting, predicted, remedy_of
from synth_actors.policy.rules.figures import is_local, is_refused, share_of_time
from synth_actors.policy.rules.loop import loop_explains
from synth_actors.policy.rules.thresholds import Thresholds, severity_of
from synth_actors.policy.throughput import (
    active_s,
    answers_per_s,
    attempts,
    ceiling_per_s,
    inside,
    mean_backlog,
    mean_in_flight,
    place_s,
    places,
    service_s,
)
from synth_actors.snapshot import EndpointSnapshot, RouterSnapshot, Snapshot

HIGHEST_CONCURRENCY = 100_000  # what EngineConfig accepts
BATCH_RATIO = (1.5, 2.05)
"""Requests inside for each place, on average, that a batch may have."""
LONGEST_QUEUE = 4.7
"""Times the mean: of numbers that are distributed exponentially one in a hundred is larger (ln 100 = 4.6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """How to get more places: `remedy` in words, `settings` as values, and how many `places` there would be."""

    remedy: str
    settings: tuple[Setting, ...] = ()
    places: int = 0


def engine_is_saturated(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """Every place is taken and requests wait for one, now or much of the time."""
    router = snapshot.router
    severity = severity_of(_waiting_per_place(snapshot, limits), limits.backlog_ratio)
    is_capped = 0 < router.concurrency_cap < router.max_concurrency  # then memory is the cause
    if severity is None or is_capped or is_refused(snapshot, limits) or is_local(snapshot):
        return None
    if loop_explains(snapshot, limits):
        return None
    advice = more_places(snapshot, limits)
    prediction = _throughput(snapshot, places(snapshot), advice.places)
    if advice.settings and place_s(snapshot) > 0 and prediction is None:
        return None  # a limit per minute, or what arrives, would let no more through
    return Finding(
        kind="throughput",
        rule="engine_is_saturated",
        severity=severity,
        what=_full(snapshot),
        evidence=_at_the_moment(router)
        | {
            "max_concurrency": float(router.max_concurrency),
            "backlog_mean": mean_backlog(snapshot),
            "saturated_share": share_of_time(snapshot, router.saturated_s),
            "queue_mean_s": snapshot.latency["queue"].mean_s,
            "service_mean_s": snapshot.latency["service"].mean_s,
        },
        cause="more requests are inside than may run at once" + _of_a_batch(snapshot),
        remedy=advice.remedy,
        settings=advice.settings,
        effort="low" if advice.settings else "high",
        prediction=prediction,
    )


def _at_the_moment(router: RouterSnapshot) -> dict[str, float]:
    """The gauges, while there is something to see: after a run they say nothing of it."""
    if not router.in_flight and not router.backlog:
        return {}
    return {"in_flight": float(router.in_flight), "backlog": float(router.backlog)}


def _of_a_batch(snapshot: Snapshot) -> str:
    """A batch has twice the places inside and reads no further: that more of it would come no figure tells."""
    ratio = inside(snapshot, snapshot.router.max_concurrency) / max(1, snapshot.router.max_concurrency)
    if not BATCH_RATIO[0] <= ratio <= BATCH_RATIO[1]:
        return ""
    return "; if it is a batch, it keeps no more than 2 x max_concurrency inside: then even more places may help"


def _waiting_per_place(snapshot: Snapshot, limits: Thresholds) -> float:
    """Requests that wait while all places are taken, for each place: at the moment or on average, what is more."""
    router = snapshot.router
    is_full = router.in_flight >= limits.saturated_share * router.max_concurrency > 0
    waiting = float(router.backlog) if is_full else 0.0
    enough = attempts(snapshot) >= limits.fewest_requests
    if enough and share_of_time(snapshot, router.saturated_s) >= max(limits.saturated_time_share, 1e-9):
        waiting = max(waiting, router.saturated_backlog_s / active_s(snapshot))
    return waiting / max(1, router.max_concurrency)


def _full(snapshot: Snapshot) -> str:
    router = snapshot.router
    if router.saturated_s > 0 < snapshot.taken_at_s:
        share = share_of_time(snapshot, router.saturated_s)
        return (
            f"all {router.max_concurrency} places were taken and requests waited {share:.0%} of the time,"
            f" {mean_backlog(snapshot):.1f} of them on average"
        )
    return f"{router.in_flight} of {router.max_concurrency} places are taken and {router.backlog} requests wait"


def endpoint_is_saturated(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """The engine has places left, and an endpoint's own limit keeps requests waiting."""
    router = snapshot.router
    full = _full_endpoints(snapshot, limits)
    free = _free_places(snapshot, full)
    if not full or free < 1 or is_refused(snapshot, limits) or is_local(snapshot) or loop_explains(snapshot, limits):
        return None
    endpoint, now = max(full, key=lambda pair: pair[1])
    waiting = max(float(router.backlog), mean_backlog(snapshot))
    severity = severity_of(waiting / now, limits.backlog_ratio)
    if severity is None:
        return None
    wanted = min(_places_wanted(snapshot, now, limits), now + free)
    taken = min(places(snapshot), max(now, router.in_flight, ceil(mean_in_flight(snapshot))))
    setting = Setting(where="Endpoint", name="max_concurrency", now=now, then=wanted, endpoint=endpoint.name)
    prediction = _throughput(snapshot, taken, taken + wanted - now)
    if place_s(snapshot) > 0 and prediction is None:
        return None
    return Finding(
        kind="throughput",
        rule="endpoint_is_saturated",
        severity=severity,
        what=f"endpoint {endpoint.name!r} runs all {now} calls that it may, {waiting:.0f} requests wait",
        evidence=_at_the_moment(router)
        | {"max_concurrency": float(now), "backlog_mean": waiting, "free_places": float(free)},
        cause="the endpoint's own max_concurrency is below the engine's",
        remedy=remedy_of(setting),
        settings=(setting,),
        prediction=prediction,
    )


def _in_use(snapshot: Snapshot) -> list[EndpointSnapshot]:
    """The endpoints that are not out for good."""
    return [endpoint for endpoint in snapshot.router.endpoints.values() if endpoint.state != "fatal"]


def _full_endpoints(snapshot: Snapshot, limits: Thresholds) -> list[tuple[EndpointSnapshot, int]]:
    """The endpoints that run as many calls as their own limit allows, now or nearly all the time, with that limit."""
    limited = ((e, e.max_concurrency) for e in _in_use(snapshot))
    return [
        (e, limit)
        for e, limit in limited
        if limit is not None and (e.in_flight >= limit or _was_full(snapshot, e, limit, limits))
    ]


def _was_full(snapshot: Snapshot, endpoint: EndpointSnapshot, limit: int, limits: Thresholds) -> bool:
    if endpoint.attempts < limits.fewest_requests or snapshot.taken_at_s <= 0 or snapshot.router.backlog_s <= 0:
        return False
    called_s = service_s(snapshot, endpoint.name)
    return called_s > 0 and called_s / active_s(snapshot) >= limits.full_share * limit


def waited_for_places(snapshot: Snapshot, limits: Thresholds) -> bool:
    """Whether those who waited longest waited for a place.

    Then all places were taken for about as long, and as many were inside as that wait took to serve; or those of an
    endpoint are taken, be it the ones that it has shown to bear.  A request also waits to be tried again, or for an
    endpoint that is down.
    """
    router, waited_s, held_s = snapshot.router, snapshot.latency["queue"].p99_s, place_s(snapshot)
    if not router.busy_s:  # no time is recorded
        return True
    if _full_endpoints(snapshot, limits) or _bears_no_more(snapshot) is not None:
        return True
    if 2 * router.saturated_s < waited_s:
        return False
    taken = places(snapshot)
    before = waited_s * taken / held_s if held_s > 0 else 0.0
    return before <= LONGEST_QUEUE * inside(snapshot, taken)


def _free_places(snapshot: Snapshot, full: list[tuple[EndpointSnapshot, int]]) -> int:
    """Places of the engine that are free while endpoints are full: at the moment if one is full now, else usually."""
    router = snapshot.router
    allowed = min(router.max_concurrency, router.concurrency_cap or router.max_concurrency)
    is_now = any(endpoint.in_flight >= limit for endpoint, limit in full)
    return allowed - (router.in_flight if is_now else ceil(mean_in_flight(snapshot)))


def more_places(snapshot: Snapshot, limits: Thresholds) -> Advice:
    """What to set so that requests wait less: the engine's limit, an endpoint's own, or both."""
    if is_refused(snapshot, limits):
        return Advice(
            remedy="list a second endpoint: the present ones refuse calls, more at once would be refused, too"
        )
    if (found := _bears_no_more(snapshot)) is not None:
        return Advice(remedy=f"{found}: give the server more room, or list a second endpoint")
    engine, endpoints = snapshot.router.max_concurrency, _places_of_endpoints(snapshot)
    wanted = _places_wanted(snapshot, engine if endpoints is None else min(engine, endpoints), limits)
    settings = []
    if wanted > engine:
        settings.append(Setting(where="EngineConfig", name="max_concurrency", now=engine, then=wanted))
    if endpoints is not None and wanted > endpoints:
        largest = max(_in_use(snapshot), key=lambda endpoint: endpoint.max_concurrency or 0)
        now = largest.max_concurrency or 0
        then = now + wanted - endpoints
        settings.append(
            Setting(where="Endpoint", name="max_concurrency", now=now, then=then, endpoint=largest.name),
        )
    if not settings:
        return Advice(remedy="run a second process: this engine has as many places as it can")
    return Advice(remedy=remedy_of(*settings), settings=tuple(settings), places=wanted)


def _throughput(snapshot: Snapshot, taken: int, wanted: int) -> Prediction | None:
    """What `wanted` places would let through instead of `taken`; None when that is no more, or not known."""
    now, then = answers_per_s(snapshot, taken), answers_per_s(snapshot, wanted)
    if not then > now > 0:
        return None
    basis = f"Little's law: {taken} -> {wanted} busy places, each held {place_s(snapshot):.3g} s for an answer"
    return predicted("throughput_per_s", now, then, basis)


def _bears_no_more(snapshot: Snapshot) -> str | None:
    """Which server has shown to work on fewer calls than the settings allow; None when more places might help."""
    for endpoint in _in_use(snapshot):
        most = endpoint.max_concurrency or snapshot.router.max_concurrency
        if endpoint.is_limit_found and endpoint.concurrency_limit is not None and endpoint.concurrency_limit < most:
            return (
                f"endpoint {endpoint.name!r} works on {endpoint.concurrency_limit} calls at once, as its answers show"
            )
    return None


def _places_of_endpoints(snapshot: Snapshot) -> int | None:
    """How many calls the endpoints' own limits allow together; None when one of them has none."""
    own = [endpoint.max_concurrency for endpoint in _in_use(snapshot)]
    known = [limit for limit in own if limit is not None]
    return sum(known) if own and len(known) == len(own) else None


def _places_wanted(snapshot: Snapshot, now: int, limits: Thresholds) -> int:
    """How many places would leave nobody waiting: as many as are inside, but no more than a limit per minute feeds."""
    needed = min(max(inside(snapshot, now), now + 1), HIGHEST_CONCURRENCY)
    wanted = ceil(round(needed, 6))  # a millionth of a place is an error of floating point
    through, held_s = ceiling_per_s(snapshot.router.endpoints.values()), place_s(snapshot)
    if through * held_s < wanted:
        wanted = max(now + 1, ceil(through * held_s))
    return min(wanted, max(now + 1, int(limits.largest_raise * now)), HIGHEST_CONCURRENCY)
