"""What is a person told about endpoints that fail or say nothing?"""

from __future__ import annotations

import dataclasses
from typing import Any

from synth_actors.cli.trouble import Watch, endpoint_line
from synth_actors.snapshot import (
    CacheSnapshot,
    Counters,
    EndpointSnapshot,
    MemorySnapshot,
    RateLimitSnapshot,
    RouterSnapshot,
    Snapshot,
)


def endpoint(name: str, **fields: Any) -> EndpointSnapshot:
    return EndpointSnapshot(name=name, model="m", **fields)


def at(now: float, *endpoints: EndpointSnapshot) -> Snapshot:
    return Snapshot(
        taken_at_s=now,
        wall_time=0.0,
        latency={},
        cache=CacheSnapshot(),
        router=RouterSnapshot(endpoints={each.name: each for each in endpoints}),
        memory=MemorySnapshot(),
        counters=Counters(),
        mailboxes={},
    )


REFUSED = endpoint(
    "openai:x", state="paused", attempts=1, failures={"unreachable": 1}, last_message="openai:x: no connection: refused"
)
LOCAL = endpoint("local", attempts=5, successes=5)


def test_the_first_pause_is_said_once_with_the_reason_and_how_long_it_is_tried() -> None:
    watch = Watch(patience_s=60.0)
    said = "openai:x: no connection: refused; trying again for up to outage_patience_s=60 s"
    assert list(watch.news(at(1.0, REFUSED))) == [said]
    assert list(watch.news(at(2.0, REFUSED))) == []
    assert watch.note(at(2.0, REFUSED)) == "openai:x: no connection: refused"


def test_who_takes_over_is_named() -> None:
    assert list(Watch(60.0).news(at(1.0, REFUSED, LOCAL))) == [
        "openai:x: no connection: refused; what it cannot do goes to local"
    ]


def test_an_endpoint_that_is_out_for_good_is_said_to_be() -> None:
    dead = endpoint("a", state="fatal", attempts=1, failures={"fatal": 1}, last_message="a: HTTP 401: no such key")
    assert list(Watch(60.0).news(at(1.0, dead))) == ["a: HTTP 401: no such key; it gets no more calls"]


def test_an_endpoint_whose_every_answer_is_refused_is_said_but_one_slip_is_not() -> None:
    prose = endpoint("a", attempts=3, failures={"output_invalid": 3}, last_message="a: no JSON")
    assert list(Watch(60.0).news(at(1.0, prose))) == ["a: no JSON; 3 of 3 calls failed so far"]
    slip = endpoint("a", attempts=9, successes=8, failures={"output_invalid": 1}, last_message="a: no JSON")
    assert list(Watch(60.0).news(at(1.0, slip))) == []
    assert Watch(60.0).note(at(1.0, slip)) == ""


def test_calls_that_do_not_end_are_counted_with_their_time() -> None:
    watch = Watch(60.0)
    waiting = endpoint("openai:m", in_flight=5, attempts=5)
    assert watch.note(at(0.0, waiting)) == ""
    assert watch.note(at(9.5, waiting)) == ""
    assert watch.note(at(30.0, waiting)) == "5 calls waiting on openai:m for 30 s"
    one_ended = endpoint("openai:m", in_flight=4, attempts=5, successes=1)
    assert watch.note(at(31.0, one_ended)) == ""


def test_an_idle_endpoint_is_not_waited_for() -> None:
    watch = Watch(60.0)
    assert watch.note(at(0.0, LOCAL)) == watch.note(at(100.0, LOCAL)) == ""


def test_the_line_of_an_endpoint_counts_answers_and_failures_and_shows_the_last_one() -> None:
    mixed = endpoint(
        "openai:m",
        attempts=7,
        in_flight=2,
        failures={"failed": 2, "rate_limited": 2, "abandoned": 1},
        last_message="openai:m: HTTP 500:\n boom",
    )
    assert endpoint_line(mixed) == (
        "openai:m: 0 answers, 3 calls stopped before they ended, 4 of 7 calls failed (2 failed, 2 rate limited), "
        "last: HTTP 500: boom"
    )
    assert endpoint_line(LOCAL) == "local: 5 answers"


def test_a_limit_that_is_used_up_is_named_while_requests_wait_for_it() -> None:
    limits = {"requests": RateLimitSnapshot(per_minute=30.0, remaining=0.4)}
    waiting = dataclasses.replace(
        at(1.0), router=RouterSnapshot(backlog=3, endpoints={"openai:x": endpoint("openai:x", rate_limits=limits)})
    )
    note = Watch(patience_s=60.0).note
    assert note(waiting) == "waiting for openai:x: 30 requests a minute are used up"
    going_on = dataclasses.replace(waiting, router=dataclasses.replace(waiting.router, in_flight=1))
    assert note(going_on) == ""
