"""What fails, where, and what would make it succeed?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from math import ceil
from types import MappingProxyType

from synth_actors.findings import Finding, Setting
from synth_actors.policy.rules.figures import ALL_FAIL, another, output_tokens_per_answer, rounded_up
from synth_actors.policy.rules.refused import Remedy, fewer_or_elsewhere, slower
from synth_actors.policy.rules.thresholds import Thresholds, severity_of
from synth_actors.snapshot import SUCCEEDED, EndpointSnapshot, Snapshot

_CUT = "cut at max_tokens"
"""What the last message says when an answer was cut."""
_TIMEOUT = re.compile(r"no answer within (\w+_timeout_s)=([0-9.e+-]+)")
"""What it says when a timeout of the endpoint has ended a call: which one, and how long it is."""
_REFUSE = Setting(where="EngineConfig", name="on_full", now="refuse", then="wait")
WITHOUT_A_CALL: Mapping[str, tuple[str, Remedy]] = MappingProxyType(
    {
        "deadline": (
            "requests took longer than their timeout_s",
            ("give them more time (timeout_s of Request or EngineConfig), or see what makes them slow", ()),
        ),
        "overloaded": (
            "more than max_waiting requests were inside, and the engine refuses what is beyond",
            (f"{_REFUSE}, or ask for less at once", (_REFUSE,)),
        ),
        "budget": ("the next call might have passed budget_usd", ("raise budget_usd or lower max_tokens", ())),
        "closed": (
            "the engine was closed before they were answered",
            ("let requests end before the block of open_engine does, or raise drain_timeout_s", ()),
        ),
    }
)
"""How requests end that no call has failed: cause and remedy, by outcome."""


def requests_fail(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """More requests fail in the end than should, after all retries."""
    counters = snapshot.counters
    ended = counters.succeeded + counters.failed
    severity = severity_of(counters.failed / max(1, ended), limits.failed_share)
    if severity is None or ended < limits.fewest_requests:
        return None
    fault, cause, (remedy, settings) = _why(snapshot)
    stopped = snapshot.router.abandoned if fault == "deadline" else 0
    in_vain = f"; {stopped} calls that were under way were stopped, and may be on the bill" if stopped else ""
    return Finding(
        kind="errors",
        rule="requests_fail",
        severity=severity,
        what=f"{counters.failed} of {ended} requests failed" + (f", most often {fault}" if fault else "") + in_vain,
        evidence={
            "failed": float(counters.failed),
            "ended": float(ended),
            "retries": float(snapshot.router.retries),
            "abandoned": float(snapshot.router.abandoned),
        },
        cause=cause,
        remedy=remedy,
        settings=settings,
        effort="low" if settings else "medium",
    )


def _why(snapshot: Snapshot) -> tuple[str, str, Remedy]:
    """How most of the requests failed that did, its cause and its remedy."""
    outcomes: Counter[str] = Counter()
    for each in snapshot.series:
        if each.name == "response" and each.outcome not in SUCCEEDED and each.outcome != "cancelled":
            outcomes[each.outcome] += each.summary.count
    most = max(outcomes, key=lambda outcome: outcomes[outcome], default="")
    if most in WITHOUT_A_CALL:
        return most, *WITHOUT_A_CALL[most]
    fault, worst = _worst(snapshot.router.endpoints.values())
    if worst is not None:
        return fault, _cause(worst, fault), remedy_for(snapshot, worst, fault)
    cause = "no call had failed: deadlines, the budget or a closed engine did it"
    return most, cause, ("see the errors of the requests", ())


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
    remedy, settings = remedy_for(snapshot, worst, fault)
    return Finding(
        kind="errors",
        rule="endpoint_fails",
        severity=severity,
        what=f"endpoint {worst.name!r} failed {share:.0%} of {worst.attempts} calls, most often {fault}",
        evidence={"failed_share": share, "attempts": float(worst.attempts)}
        | {name: float(count) for name, count in faults_of(worst).items()},
        cause=_cause(worst, fault),
        remedy=remedy,
        settings=settings,
        effort="low" if settings else "medium",
    )


def _is_useless(endpoint: EndpointSnapshot, limits: Thresholds) -> bool:
    in_vain = not endpoint.successes and _failed(endpoint) >= limits.failures_in_vain
    return in_vain or endpoint.state == "fatal"


def faults_of(endpoint: EndpointSnapshot) -> dict[str, int]:
    """What the endpoint did wrong; calls that nobody waited for any more are not its fault."""
    return {fault: count for fault, count in (endpoint.failures or {}).items() if fault in REMEDIES}


def _failed(endpoint: EndpointSnapshot) -> int:
    return sum(faults_of(endpoint).values())


def _failed_share(endpoint: EndpointSnapshot) -> float:
    return _failed(endpoint) / max(1, endpoint.attempts)


def _worst(endpoints: Iterable[EndpointSnapshot]) -> tuple[str, EndpointSnapshot | None]:
    """The most frequent fault and the endpoint that has it; ("", None) where nothing failed."""
    counts = [(count, fault, e) for e in endpoints for fault, count in faults_of(e).items() if count]
    _count, fault, endpoint = max(counts, key=lambda row: row[0], default=(0, "", None))
    return fault, endpoint


def worst_of(endpoints: Iterable[EndpointSnapshot], fault: str) -> EndpointSnapshot | None:
    """The endpoint that has a fault most often; None when none has."""
    rows = [(faults_of(endpoint).get(fault, 0), endpoint) for endpoint in endpoints]
    count, endpoint = max(rows, key=lambda row: row[0], default=(0, None))
    return endpoint if count else None


def _cause(endpoint: EndpointSnapshot, fault: str) -> str:
    said = " ".join(endpoint.last_message.split())
    return f"{fault} at {endpoint.name!r}" + (f", which said last: {said}" if said else "")


def remedy_for(snapshot: Snapshot, endpoint: EndpointSnapshot, fault: str) -> Remedy:
    """What to do about a fault of an endpoint."""
    return REMEDIES[fault](snapshot, endpoint)


def _more_patience(snapshot: Snapshot, endpoint: EndpointSnapshot) -> Remedy:
    """Twice the timeout that ended the last call, and twice what whole answers take.

    Where no timeout of the endpoint is named, it is its server or its provider that gives up.
    """
    found = _TIMEOUT.search(endpoint.last_message)
    if found is None:
        after = f" after {cut_s:.3g} s" if (cut_s := _longest_cut_s(snapshot, endpoint)) else ""
        return (
            f"raise the timeout that ends calls of {endpoint.name!r}{after}: its server's, that of a provider of your"
            " own, or attempt_timeout_s; or ask for fewer tokens",
            (),
        )
    name, now_s = found[1], float(found[2])
    slowest_s = snapshot.latency["service"].max_s if name == "attempt_timeout_s" else 0.0
    wanted = max(1, ceil(2 * max(now_s, slowest_s)))
    setting = Setting(where="Endpoint", name=name, now=now_s, then=wanted, endpoint=endpoint.name)
    answers = f": whole answers took up to {slowest_s:.3g} s" if slowest_s else ""
    return f"{setting} or more{answers}", (setting,)


def _longest_cut_s(snapshot: Snapshot, endpoint: EndpointSnapshot) -> float:
    """How long the calls of `endpoint` took at most that ran out of time."""
    rows = [s for s in snapshot.series if (s.name, s.endpoint, s.outcome) == ("service", endpoint.name, "timed_out")]
    return max((row.summary.max_s for row in rows), default=0.0)


def _valid_output(snapshot: Snapshot, endpoint: EndpointSnapshot) -> Remedy:
    if _CUT not in endpoint.last_message:
        return f"a model that follows a JSON Schema in place of {endpoint.name!r}, or a simpler output_schema", ()
    # what the cut calls had asked for is not known: no less than the others did, and than was written
    asked = endpoint.max_tokens_asked / max(1, endpoint.successes)
    wanted = rounded_up(2 * max(asked, endpoint.longest_output_tokens, output_tokens_per_answer(snapshot)))
    setting = Setting(where="Request", name="max_tokens", now=None, then=wanted, is_now_known=False)
    return f"{setting}: the answers of {endpoint.name!r} are cut", (setting,)


def _in_words(text: str) -> Callable[[Snapshot, EndpointSnapshot], Remedy]:
    """A remedy that no setting is."""

    def remedy(snapshot: Snapshot, endpoint: EndpointSnapshot) -> Remedy:
        return text.format(name=endpoint.name, another=another(snapshot, endpoint)), ()

    return remedy


def _one_that_fails_less(snapshot: Snapshot, endpoint: EndpointSnapshot) -> Remedy:
    """Where all fail alike, all are named: it is one cause, whichever of them is asked for."""
    advice = another(snapshot, endpoint)
    named = [endpoint]
    if advice == ALL_FAIL:
        named = [each for each in snapshot.router.endpoints.values() if _failed(each)]
    return f"{advice}: {', '.join(f'{e.name!r} fails {_failed(e)} of {e.attempts} calls' for e in named)}", ()


REMEDIES: Mapping[str, Callable[[Snapshot, EndpointSnapshot], Remedy]] = MappingProxyType(
    {
        "rate_limited": slower,
        "overloaded": fewer_or_elsewhere,
        "unreachable": _in_words("check base_url and the network of endpoint {name!r}, and {another}"),
        "schema_refused": _in_words("endpoint {name!r} takes no schema: it is asked for in the prompt from now on"),
        "failed": _one_that_fails_less,
        "timed_out": _more_patience,
        "too_large": _in_words("raise max_response_bytes or lower max_tokens: answers of {name!r} are longer"),
        "output_invalid": _valid_output,
        "rejected": _in_words("the requests are wrong for {name!r}: see the error of one of them"),
        "fatal": _in_words("check the key, the model, the address (base_url) and the quota of endpoint {name!r}"),
        "bug": _in_words("the provider of {name!r} raises what it should translate: see the error of one request"),
    }
)
"""By the value of `Fault`; a test holds the two together."""
