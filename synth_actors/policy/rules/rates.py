"""Do limits per minute set the pace, and is what counts against them asked for in vain?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from synth_actors.findings import Finding, Setting, predicted, remedy_of
from synth_actors.policy.rules.figures import another, rounded_up, share_of_time
from synth_actors.policy.rules.thresholds import SEVERITIES, Thresholds, severity_of
from synth_actors.policy.throughput import (
    S_PER_MINUTE,
    answers_per_s,
    ceiling_of,
    mean_backlog,
    mean_in_flight,
    need_of_answer,
    place_s,
    places,
)
from synth_actors.snapshot import EndpointSnapshot, RateLimitSnapshot, Snapshot

OF_OUTPUT = ("output_tokens", "tokens")
"""Kinds of limits that count what is written."""
BYTES_PER_TOKEN = 4
"""Of a prompt, when a reservation is reckoned from what was counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceSetter:
    """The limit per minute that requests wait for; `share` is how much of all the time they did."""

    endpoint: EndpointSnapshot
    kind: str
    limit: RateLimitSnapshot
    share: float
    severity: str

    @property
    def was_refused(self) -> bool:
        """Whether calls were refused although a limit of one's own was kept: the provider has one, too."""
        return self.limit.is_configured and (self.endpoint.failures or {}).get("rate_limited", 0) > 0

    @property
    def in_words(self) -> str:
        """The limit, as a person says it."""
        return f"{self.limit.per_minute:g} {self.kind.replace('_', ' ')} a minute"


def pace_setter(snapshot: Snapshot, limits: Thresholds) -> PaceSetter | None:
    """The limit that requests wait for most; None when they wait for none to speak of."""
    found = [setter for e in snapshot.router.endpoints.values() if (setter := _setter(snapshot, e, limits)) is not None]
    return max(found, key=lambda setter: setter.share, default=None)


def _setter(snapshot: Snapshot, endpoint: EndpointSnapshot, limits: Thresholds) -> PaceSetter | None:
    if not endpoint.rate_limits:
        return None
    share = share_of_time(snapshot, endpoint.rate_limited_s)
    severity = severity_of(share, limits.rate_limited_share)
    rows = [(_use(snapshot, endpoint, kind), -_left(row), kind, row) for kind, row in endpoint.rate_limits.items()]
    _, _, kind, limit = max(rows, key=lambda row: row[:2])
    if severity is None and snapshot.router.backlog:  # it may have begun only now
        _, _, kind, limit = max(rows, key=lambda row: row[1])
        severity = "low" if _left(limit) < limits.used_up_share else None
    if severity is None:
        return None
    return PaceSetter(endpoint=endpoint, kind=kind, limit=limit, share=share, severity=severity)


def _use(snapshot: Snapshot, endpoint: EndpointSnapshot, kind: str) -> float:
    """How much of a limit was used on average, as a share of it."""
    allowed = endpoint.rate_limits[kind].per_minute * snapshot.taken_at_s / S_PER_MINUTE
    return need_of_answer(endpoint, kind) * endpoint.successes / allowed if allowed > 0 else 0.0


def _left(limit: RateLimitSnapshot) -> float:
    return limit.remaining / limit.per_minute if limit.per_minute > 0 else 0.0


def rate_limit_sets_the_pace(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """Requests that could go wait until a limit per minute lets them."""
    setter = pace_setter(snapshot, limits)
    if setter is None or _reserved_tokens(snapshot, limits) is not None:  # then smaller calls are the remedy
        return None
    endpoint, limit = setter.endpoint, setter.limit
    wanted = _wanted_per_minute(snapshot, setter, limits)
    setting = Setting(
        where="Endpoint",
        name=f"{setter.kind}_per_minute",
        now=int(limit.per_minute),
        then=wanted,
        endpoint=endpoint.name,
    )
    is_own = limit.is_configured and wanted > limit.per_minute
    remedy = _remedy(snapshot, setter, setting) if is_own else _asked_for(snapshot, setter, wanted)
    severity = min(setter.severity, "medium", key=SEVERITIES.index) if setter.was_refused else setter.severity
    raised = replace(endpoint, rate_limits={**endpoint.rate_limits, setter.kind: replace(limit, per_minute=wanted)})
    now, then = _paces(snapshot, endpoint, raised)
    return Finding(
        kind="rate_limit",
        rule="rate_limit_sets_the_pace",
        severity=severity,
        what=f"endpoint {endpoint.name!r} uses all of its {setter.in_words}; requests waited for it"
        f" {setter.share:.0%} of the time",
        evidence=_rate_figures(snapshot, setter),
        cause=f"{_configured(limit)} allows fewer than the places would take",
        remedy=remedy,
        settings=(setting,) if is_own else (),
        effort="low" if is_own and not setter.was_refused else "medium",
        prediction=predicted(
            "throughput_per_s",
            now,
            then,
            f"an answer takes {need_of_answer(endpoint, setter.kind):.4g} of it; bounded by the other limits and by"
            f" {_places(snapshot):.4g} busy places with {place_s(snapshot):.3g} s a call",
        )
        if then > now > 0
        else None,
    )


def _remedy(snapshot: Snapshot, setter: PaceSetter, setting: Setting) -> str:
    if not setter.was_refused:
        return remedy_of(setting)
    refused = (setter.endpoint.failures or {}).get("rate_limited", 0)
    instead = another(snapshot, setter.endpoint)
    return f"{setting}, only if the provider allows more (it has refused {refused} calls already); else {instead}"


def _asked_for(snapshot: Snapshot, setter: PaceSetter, wanted: int) -> str:
    endpoint, kind = setter.endpoint, setter.kind.replace("_", " ")
    return f"ask the provider of {endpoint.name!r} for {wanted} {kind} a minute, or {another(snapshot, endpoint)}"


def _configured(limit: RateLimitSnapshot) -> str:
    return "the endpoint's own setting" if limit.is_configured else "the server"


def _rate_figures(snapshot: Snapshot, setter: PaceSetter) -> dict[str, float]:
    return {
        "per_minute": float(setter.limit.per_minute),
        "remaining": float(setter.limit.remaining),
        "rate_limited_s": setter.endpoint.rate_limited_s,
        "rate_limited_share": setter.share,
        "need_per_answer": need_of_answer(setter.endpoint, setter.kind),
        "backlog": mean_backlog(snapshot),
    }


def _places(snapshot: Snapshot) -> float:
    """How many places there would be use for, if no limit per minute held anything back."""
    return min(float(places(snapshot)), max(1.0, mean_in_flight(snapshot) + mean_backlog(snapshot)))


def _wanted_per_minute(snapshot: Snapshot, setter: PaceSetter, limits: Thresholds) -> int:
    """What the places would use, within the largest raise.

    On average that may be less than there is: then only bursts have met the limit, and the figures do not tell what
    they need, so it is twice as much.
    """
    now, held_s = setter.limit.per_minute, place_s(snapshot)
    if setter.was_refused:  # the provider allows about as many: what it would allow beyond that nobody knows
        return rounded_up(2 * now)
    others = _rate_of_others(snapshot, setter.endpoint)
    pace = max(0.0, _places(snapshot) / held_s - others) if held_s > 0 else 0.0
    used = pace * S_PER_MINUTE * need_of_answer(setter.endpoint, setter.kind)
    return rounded_up(min(used if used > now else 2 * now, limits.largest_raise * now))


def _rate_of_others(snapshot: Snapshot, endpoint: EndpointSnapshot) -> float:
    """Answers per second of the other endpoints."""
    others = [each.successes for name, each in snapshot.router.endpoints.items() if name != endpoint.name]
    return sum(others) / snapshot.taken_at_s if snapshot.taken_at_s > 0 else 0.0


def _paces(snapshot: Snapshot, endpoint: EndpointSnapshot, changed: EndpointSnapshot) -> tuple[float, float]:
    """Answers per second while the limits of `endpoint` hold, and while those of `changed` do; 0.0 when not known."""
    others, held_s = _rate_of_others(snapshot, endpoint), place_s(snapshot)
    if held_s <= 0 or not endpoint.successes:
        return 0.0, 0.0
    most = _places(snapshot) / held_s
    now, then = (min(others + ceiling_of(each), max(most, others)) for each in (endpoint, changed))
    return now, then


def max_tokens_are_too_large(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """Answers are far shorter than what is reserved for them, and what is reserved is what is wanting.

    Where a server takes `max_tokens` off its limit when a call begins (OpenAI), or where the budget nearly does.
    """
    return _reserved_tokens(snapshot, limits) or _reserved_dollars(snapshot, limits)


def _reserved_tokens(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    setter = pace_setter(snapshot, limits)
    if setter is None or setter.kind not in OF_OUTPUT or setter.endpoint.output_metering != "reserve":
        return None
    found = _oversized(setter.endpoint, limits)
    if found is None:
        return None
    severity, setting, smaller = found
    now, then = _paces(snapshot, setter.endpoint, smaller)
    if then <= now:
        return None
    return Finding(
        kind="rate_limit",
        rule="max_tokens_are_too_large",
        severity=max(severity, setter.severity, key=SEVERITIES.index),
        what=_what_is_reserved(setter.endpoint),
        evidence=_reserved_figures(setter.endpoint) | _rate_figures(snapshot, setter),
        cause=f"all of max_tokens counts against the {setter.in_words} when a call begins, made or not",
        remedy=remedy_of(setting),
        settings=(setting,),
        prediction=predicted(
            "throughput_per_s",
            now,
            then,
            f"a call takes {need_of_answer(setter.endpoint, setter.kind):.0f} ->"
            f" {need_of_answer(smaller, setter.kind):.0f} of the {setter.in_words}, bounded by the places",
        ),
    )


def _reserved_dollars(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """The rest of the budget holds fewer reservations than there are places."""
    router, spent_usd = snapshot.router, snapshot.router.budget_spent_usd
    endpoint = max(router.endpoints.values(), key=lambda e: e.successes, default=None)
    if router.budget_usd is None or spent_usd is None or endpoint is None or not router.backlog:
        return None
    found = _oversized(endpoint, limits)
    reserved_usd = _reservation_usd(endpoint)
    left_usd, wanted = router.budget_usd - spent_usd, _places(snapshot)
    if found is None or reserved_usd <= 0 or not 0 < left_usd < wanted * reserved_usd:
        return None
    severity, setting, smaller = found
    at_once = [max(1.0, min(wanted, left_usd // _reservation_usd(each))) for each in (endpoint, smaller)]
    now, then = (answers_per_s(snapshot, taken) for taken in at_once)
    if then <= now:
        return None
    return Finding(
        kind="cost",
        rule="max_tokens_are_too_large",
        severity=severity,
        what=f"{_what_is_reserved(endpoint)}; the ${left_usd:.4g} left of the budget hold {at_once[0]:.0f} calls"
        " at once",
        evidence=_reserved_figures(endpoint) | {"left_usd": left_usd, "reserved_usd_per_call": reserved_usd},
        cause="a call sets aside what it may cost at most, so that the budget is never passed",
        remedy=remedy_of(setting),
        settings=(setting,),
        prediction=predicted(
            "throughput_per_s",
            now,
            then,
            f"{at_once[0]:.0f} -> {at_once[1]:.0f} calls at once fit into the rest, {place_s(snapshot):.3g} s each",
        ),
    )


def _oversized(endpoint: EndpointSnapshot, limits: Thresholds) -> tuple[str, Setting, EndpointSnapshot] | None:
    """How severe it is, the setting, and the endpoint as it would be with it; None when it is not."""
    if endpoint.successes < max(1, limits.fewest_requests) or not endpoint.longest_output_tokens:
        return None
    asked = round(endpoint.max_tokens_asked / endpoint.successes)
    severity = severity_of(asked / endpoint.longest_output_tokens, limits.max_tokens_ratio)
    wanted = rounded_up(limits.max_tokens_margin * endpoint.longest_output_tokens)
    if severity is None or wanted >= asked:
        return None
    setting = Setting(where="Request", name="max_tokens", now=asked, then=wanted)
    return severity, setting, replace(endpoint, max_tokens_asked=wanted * endpoint.successes)


def _what_is_reserved(endpoint: EndpointSnapshot) -> str:
    return (
        f"calls of {endpoint.name!r} ask for {endpoint.max_tokens_asked / endpoint.successes:.0f} tokens at most, and"
        f" the longest answer had {endpoint.longest_output_tokens}"
    )


def _reserved_figures(endpoint: EndpointSnapshot) -> dict[str, float]:
    return {
        "max_tokens": endpoint.max_tokens_asked / endpoint.successes,
        "longest_output_tokens": float(endpoint.longest_output_tokens),
        "output_tokens_mean": endpoint.output_tokens / endpoint.successes,
    }


def _reservation_usd(endpoint: EndpointSnapshot) -> float:
    """What one call sets aside of the budget: a token may be a single byte, an answer as long as max_tokens."""
    prices: Mapping[str, float] = endpoint.usd_per_mtok or {}
    if not endpoint.successes:
        return 0.0
    read = BYTES_PER_TOKEN * (endpoint.input_tokens + endpoint.cache_read_tokens + endpoint.cache_write_tokens)
    dearest = max((prices.get(kind, 0.0) for kind in ("input", "cache_read", "cache_write")), default=0.0)
    return (read * dearest + endpoint.max_tokens_asked * prices.get("output", 0.0)) / endpoint.successes / 1e6
