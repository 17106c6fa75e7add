"""Are answers slow since calls take long, since connections do, or since requests wait?"""

from __future__ import annotations

from collections.abc import Mapping

from synth_actors.findings import Finding, Prediction, predicted
from synth_actors.histogram import LatencySummary
from synth_actors.policy.rules.figures import is_local, output_tokens_per_answer
from synth_actors.policy.rules.loop import loop_explains
from synth_actors.policy.rules.places import Advice, more_places, waited_for_places
from synth_actors.policy.rules.rates import pace_setter
from synth_actors.policy.rules.retries import failures_make_wait, retries_wait
from synth_actors.policy.rules.thresholds import Thresholds, severity_of
from synth_actors.policy.throughput import place_s, places, service_s
from synth_actors.snapshot import EndpointSnapshot, Snapshot

FEW_TRIES = 0.1
"""Of all calls, at one endpoint: routing "fastest" sends fewer to one that is not."""


def calls_are_slow(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """The p99 is high, and most of it is the model at work."""
    response, service = snapshot.latency["response"], snapshot.latency["service"]
    severity = severity_of(response.p99_s, limits.response_p99_s)
    if severity is None or response.count < limits.fewest_responses or loop_explains(snapshot, limits):
        return None
    if _waits(snapshot, limits) or is_local(snapshot) or _connects_slowly(snapshot, limits):
        return None
    fewer, target_s = _shorter_answers(snapshot, limits)
    written = output_tokens_per_answer(snapshot)
    remedy, prediction = _without_the_slow(snapshot, limits) or ("list a faster endpoint first", None)
    if fewer and prediction is None:
        remedy += f", or ask for less: {written:.0f} -> {fewer} tokens a call would bring p99 to about {target_s:g} s"
        basis = f"{_token_time(snapshot)}; {written:.0f} -> {fewer} tokens an answer"
        prediction = predicted("response_p99_s", response.p99_s, target_s, basis)
    return Finding(
        kind="latency",
        rule="calls_are_slow",
        severity=severity,
        what=f"p99 of responses is {response.p99_s:.3g} s, and that of the calls themselves {service.p99_s:.3g} s",
        evidence={
            "response_p99_s": response.p99_s,
            "service_p99_s": service.p99_s,
            "queue_p99_s": snapshot.latency["queue"].p99_s,
            "ttft_mean_s": snapshot.latency["ttft"].mean_s,
            "tpot_mean_s": snapshot.latency["tpot"].mean_s,
            "connecting_share": connecting_share(snapshot),
            "output_tokens_per_answer": written,
        },
        cause=f"the model takes its time for {written:.0f} tokens an answer, more than waiting and connecting do",
        remedy=remedy,
        effort="medium",
        prediction=prediction,
    )


def _without_the_slow(snapshot: Snapshot, limits: Thresholds) -> tuple[str, Prediction] | None:
    """With routing "fastest" the p99 may be that of the few calls that see how the slower endpoints do."""
    rows = {
        each.endpoint: each.summary
        for each in snapshot.series
        if (each.name, each.outcome) == ("response", "call") and each.endpoint in snapshot.router.endpoints
    }
    if snapshot.router.routing != "fastest" or len(rows) < 2:
        return None
    usual = max(rows, key=lambda name: rows[name].count)
    others = {name: row for name, row in rows.items() if name != usual}
    slow = max(others, key=lambda name: others[name].p99_s)
    now_s, then_s = snapshot.latency["response"].p99_s, max([rows[usual].p99_s, *_but(others, slow)])
    few = others[slow].count <= FEW_TRIES * sum(row.count for row in rows.values())
    if not few or then_s >= limits.response_p99_s[0]:
        return None
    text = (
        f'leave {slow!r} out: routing="fastest" sends it a call now and then to see how it does, and they are the p99'
    )
    return text, predicted("response_p99_s", now_s, then_s, f"the p99 of answers without those of {slow!r}")


def _but(rows: Mapping[str, LatencySummary], name: str) -> list[float]:
    return [row.p99_s for each, row in rows.items() if each != name]


def _shorter_answers(snapshot: Snapshot, limits: Thresholds) -> tuple[int, float]:
    """How many tokens an answer may have for a p99 that is no finding, and that p99; 0 tokens when none would do.

    By the time per token where answers were streamed; else all of the time of a call is taken to be that of its tokens.
    """
    p99_s, call_s = snapshot.latency["response"].p99_s, snapshot.latency["service"].p99_s
    written, tpot, target_s = output_tokens_per_answer(snapshot), snapshot.latency["tpot"], limits.response_p99_s[0]
    token_s = tpot.mean_s if tpot.count else call_s / max(1.0, written)
    too_much_s = p99_s - target_s
    if token_s <= 0 or too_much_s > written * token_s:
        return 0, p99_s
    fewer = int(written - too_much_s / token_s)
    return (fewer, target_s) if 1 <= fewer < round(written) else (0, p99_s)


def _token_time(snapshot: Snapshot) -> str:
    tpot = snapshot.latency["tpot"]
    return f"{tpot.mean_s:.3g} s a token, as streamed" if tpot.count else "time in proportion to the tokens"


def requests_wait(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """The p99 is high, and most of it is waiting: for a place, or for something that no other rule knows."""
    response, queue = snapshot.latency["response"], snapshot.latency["queue"]
    severity = severity_of(response.p99_s, limits.response_p99_s)
    is_capped = 0 < snapshot.router.concurrency_cap < snapshot.router.max_concurrency  # then memory is the cause
    if severity is None or is_capped or response.count < limits.fewest_responses:
        return None
    if not _waits(snapshot, limits) or is_local(snapshot) or pace_setter(snapshot, limits) is not None:
        return None
    if loop_explains(snapshot, limits):
        return None
    if failures_make_wait(snapshot, limits) and retries_wait(snapshot, limits) is not None:
        return None
    for_places = waited_for_places(snapshot, limits)
    advice = more_places(snapshot, limits) if for_places else _while_places_were_free(snapshot)
    return Finding(
        kind="latency",
        rule="requests_wait",
        severity=severity,
        what=f"p99 of responses is {response.p99_s:.3g} s, mostly waiting{' for a place' if for_places else ''}"
        f" (p99 {queue.p99_s:.3g} s)",
        evidence={
            "response_p99_s": response.p99_s,
            "queue_p99_s": queue.p99_s,
            "service_p99_s": snapshot.latency["service"].p99_s,
            "max_concurrency": float(snapshot.router.max_concurrency),
        },
        cause=f"requests arrive faster than {places(snapshot)} places take them"
        if for_places
        else "places were free: something else kept requests from being sent",
        remedy=advice.remedy,
        settings=advice.settings,
        effort="low" if advice.settings else "medium",
        prediction=_p99_with(snapshot, advice.places) if advice.settings else None,
    )


def _while_places_were_free(snapshot: Snapshot) -> Advice:
    """What requests may have waited for, if neither for a place nor after a failure."""
    router = snapshot.router
    if router.budget_usd is not None:
        return Advice(remedy="raise budget_usd or lower max_tokens: what is left of the budget holds few calls at once")
    growing = [each for each in router.endpoints.values() if each.concurrency_limit is not None]
    if growing:
        slowest = min(growing, key=lambda each: each.concurrency_limit or 0)
        return Advice(
            remedy=f"list a second endpoint, or let requests come evenly: {slowest.name!r} is given more calls at once"
            f" only as fast as its answers show that it bears them, {slowest.concurrency_limit} by now"
        )
    return Advice(remedy="see the series 'queue' by endpoint in snapshot.series: nothing that is recorded explains it")


def _p99_with(snapshot: Snapshot, wanted: int) -> Prediction | None:
    """The p99 with `wanted` places: whoever waited long had so many before it, and more of them would be under way."""
    taken, held_s = places(snapshot), place_s(snapshot)
    if held_s <= 0 or wanted <= taken:
        return None
    waited_s, now_s = snapshot.latency["queue"].p99_s, snapshot.latency["response"].p99_s
    before = waited_s * taken / held_s
    waits_s = max(0.0, before - (wanted - taken)) * held_s / wanted
    return predicted(
        "response_p99_s",
        now_s,
        max(min(now_s, snapshot.latency["service"].p99_s), now_s - (waited_s - min(waited_s, waits_s))),
        f"{before:.0f} requests were before the one that waited {waited_s:.3g} s;"
        f" {wanted} places take them, {held_s:.3g} s each",
    )


def _connects_slowly(snapshot: Snapshot, limits: Thresholds) -> bool:
    """Whether connections are at least half of it, and that is a finding already."""
    is_most = connecting_share(snapshot) >= limits.connecting_share[2]
    return is_most and connecting_takes_long(snapshot, limits) is not None


def _waits(snapshot: Snapshot, limits: Thresholds) -> bool:
    waited_s = snapshot.latency["queue"].p99_s
    return waited_s > 0 and waited_s >= limits.waiting_share * snapshot.latency["response"].p99_s


def connecting_takes_long(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """Many calls open a connection of their own, and that is much of their time."""
    endpoints = snapshot.router.endpoints.values()
    rows = [(_connecting_s(snapshot, e), e) for e in endpoints if _connects(snapshot, e, limits)]
    connecting_s, endpoint = max(rows, key=lambda row: row[0], default=(0.0, None))
    calls_s = service_s(snapshot, None if endpoint is None else endpoint.name)
    if endpoint is None or calls_s <= 0:
        return None
    share = min(1.0, connecting_s / calls_s)
    severity = severity_of(share, limits.connecting_share)
    if severity is None:
        return None
    each_s = connecting_s / max(1, endpoint.connections)
    calls = max(1, endpoint.attempts - endpoint.in_flight)
    return Finding(
        kind="latency",
        rule="connecting_takes_long",
        severity=severity,
        what=f"{endpoint.connections} connections to {endpoint.name!r} were opened for {endpoint.attempts} calls, and"
        f" {share:.0%} of the time of the calls was that",
        evidence={
            "connections": float(endpoint.connections),
            "attempts": float(endpoint.attempts),
            "connect_mean_s": each_s,
            "connecting_share": share,
            "service_mean_s": calls_s / calls,
        },
        cause="the network, not the model: the server or what stands before it closes connections after an answer, or"
        " sooner than the next call comes",
        remedy=f"let the server of {endpoint.name!r} keep connections open for longer than calls are apart (its"
        " keep-alive timeout), or give a base_url that is nearer",
        effort="medium",
        prediction=predicted(
            "service_mean_s",
            calls_s / calls,
            max(0.0, calls_s - connecting_s) / calls,
            f"without the {each_s:.3g} s of opening a connection in {endpoint.connections / calls:.2g} of the calls",
        ),
    )


def _connects(snapshot: Snapshot, endpoint: EndpointSnapshot, limits: Thresholds) -> bool:
    """Whether it has answered often enough, and connections are hardly used again.

    One is needed for each call that is under way at once: a generator makes one at a time, so those are as many.
    """
    again = endpoint.connections - snapshot.router.generators
    return endpoint.successes >= limits.fewest_requests and again >= limits.connections_per_call * endpoint.attempts


def _connecting_s(snapshot: Snapshot, endpoint: EndpointSnapshot) -> float:
    """The time that calls of `endpoint` spent on opening connections."""
    rows = [each.summary for each in snapshot.series if each.name == "connect" and each.endpoint == endpoint.name]
    return sum(row.count * row.mean_s for row in rows)


def connecting_share(snapshot: Snapshot) -> float:
    """The share of the time of all calls that went into opening connections."""
    connect, calls_s = snapshot.latency["connect"], service_s(snapshot)
    return min(1.0, connect.count * connect.mean_s / calls_s) if calls_s > 0 else 0.0
