"""How many requests per second?"""

from __future__ import annotations

from functools import partial

from benchmarks.case import Case, Claim
from benchmarks.suites.throughput import alone, http


def throughput(concurrency: int) -> tuple[Case, ...]:  # noqa: ARG001  (every load says its own)
    """Requests per second, through the whole engine and over real HTTP to a server in another process.

    The server takes 50 ms for a call.  So many callers as --concurrency says each ask again when they were answered (a
    closed loop); "one after another" is a single caller.  The bare loop makes the same calls over raw sockets, with no
    client library at all: it says what the machine could do at that moment.  With 2 % of the calls answered 500 and 2 %
    answered 429, what counts is how many requests fail in the end, after the engine's retries; nothing new is begun
    after 4 s.  The rate is lower than 4 % more calls would make it: an engine that is told "too many" asks for fewer at
    once.  "engine alone" has no server and no waiting: what the engine itself takes for a request, beside a loop that
    calls the same provider.
    """
    return (
        Case(
            name="uncached",
            unit="requests/s",
            measure=http.uncached,
            claim=Claim(text="concurrency against one request after another", than="one after another"),
        ),
        Case(name="one after another", unit="requests/s", measure=http.one_after_another),
        Case(name="cached", unit="requests/s", measure=http.cached),
        Case(name="uncached, 2 % 5xx and 2 % 429", unit="requests/s", measure=http.with_faults),
        Case(name="failed, 2 % 5xx and 2 % 429", unit="% of the requests", measure=http.failed),
        Case(name="engine alone", unit="us each", measure=partial(alone.each, 1)),
    )
