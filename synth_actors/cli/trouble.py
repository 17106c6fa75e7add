"""Which endpoints keep the rows from coming, and why?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from synth_actors.snapshot import EndpointSnapshot, Snapshot

QUIET_S = 10.0
"""Calls of which none ends for this long are worth a word."""
FAILURES_TO_SAY = 3
"""Failed calls of an endpoint that never answered; fewer are a hiccup."""
LEAST_LEFT = 0.05
"""What is left of a limit, as a share of a minute's worth, below which it is called used up; it may be less than 1."""
LONGEST_REASON = 160
_NOT_ITS_FAILURES = frozenset({"abandoned", "schema_refused"})  # stopped by us; asked again at once without the schema


class Watch:
    """Looks at one snapshot after the other.  `patience_s` is the engine's `outage_patience_s`."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._said: set[str] = set()
        self._quiet_since: dict[str, tuple[int, float]] = {}  # calls that had ended, and when the last of them did

    def news(self, snapshot: Snapshot) -> Iterator[str]:
        """A line for every endpoint that is in trouble for the first time."""
        endpoints = snapshot.router.endpoints
        for endpoint in endpoints.values():
            if endpoint.name not in self._said and _is_in_trouble(endpoint):
                self._said.add(endpoint.name)
                yield f"{endpoint.name}: {reason_of(endpoint)}; {self._outlook(endpoint, endpoints)}"

    def _outlook(self, endpoint: EndpointSnapshot, endpoints: Mapping[str, EndpointSnapshot]) -> str:
        if endpoint.state == "fatal":
            return "it gets no more calls"
        others = [each for each in endpoints.values() if each is not endpoint]
        if any(each.state == "open" for each in others):
            return "what it cannot do goes to " + " or ".join(each.name for each in others if each.state == "open")
        if endpoint.state == "open":
            return f"{failed_calls(endpoint)} of {endpoint.attempts} calls failed so far"
        return f"trying again for up to outage_patience_s={self._patience_s:g} s"

    def note(self, snapshot: Snapshot) -> str:
        """What to add to a line of progress: who is in trouble, else who is silent, else which limit is waited for.

        Empty when all goes well.
        """
        endpoints = snapshot.router.endpoints.values()
        silent = [text for endpoint in endpoints if (text := self._silence(endpoint, snapshot.taken_at_s))]
        troubled = [f"{each.name}: {reason_of(each)}" for each in endpoints if _is_in_trouble(each)]
        return "; ".join(troubled or silent or _limits_waited_for(snapshot))

    def _silence(self, endpoint: EndpointSnapshot, now: float) -> str:
        ended = endpoint.attempts - endpoint.in_flight
        if not endpoint.in_flight or self._quiet_since.get(endpoint.name, (-1, 0.0))[0] != ended:
            self._quiet_since[endpoint.name] = (ended, now)
        quiet_s = now - self._quiet_since[endpoint.name][1]
        if quiet_s < QUIET_S:
            return ""
        return f"{endpoint.in_flight} calls waiting on {endpoint.name} for {quiet_s:.0f} s"


def _limits_waited_for(snapshot: Snapshot) -> list[str]:
    """The limits per minute that are used up, when requests wait and no call is out."""
    router = snapshot.router
    if not router.backlog or router.in_flight:
        return []
    return [
        f"waiting for {endpoint.name}: {limit.per_minute:,.0f} {name.replace('_', ' ')} a minute are used up"
        for endpoint in router.endpoints.values()
        for name, limit in endpoint.rate_limits.items()
        if limit.remaining < max(1.0, LEAST_LEFT * limit.per_minute)
    ]


def failed_calls(endpoint: EndpointSnapshot) -> int:
    """Calls that the endpoint failed."""
    return sum(_failures(endpoint).values())


def endpoint_line(endpoint: EndpointSnapshot) -> str:
    """What an endpoint did, in a line: `openai:m: 0 answers, 5 of 5 calls failed (5 rate limited), last: ...`."""
    text = f"{endpoint.name}: {endpoint.successes} answers"
    if stopped := (endpoint.failures or {}).get("abandoned", 0) + endpoint.in_flight:
        text += f", {stopped} calls stopped before they ended"
    if lost := failed_calls(endpoint):
        kinds = ", ".join(f"{count} {fault.replace('_', ' ')}" for fault, count in _failures(endpoint).items())
        text += f", {lost} of {endpoint.attempts} calls failed ({kinds}), last: {reason_of(endpoint)}"
    return text


def reason_of(endpoint: EndpointSnapshot) -> str:
    """What the last failed call said, without the name of the endpoint."""
    text = " ".join(endpoint.last_message.removeprefix(f"{endpoint.name}: ").split())
    return text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 3] + "..."


def _is_in_trouble(endpoint: EndpointSnapshot) -> bool:
    never_answered = not endpoint.successes and failed_calls(endpoint) >= FAILURES_TO_SAY
    return bool(endpoint.last_message) and (endpoint.state != "open" or never_answered)


def _failures(endpoint: EndpointSnapshot) -> dict[str, int]:
    return {fault: count for fault, count in (endpoint.failures or {}).items() if fault not in _NOT_ITS_FAILURES}
