from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from synth_actors.policy.endpoints import EndpointState
from synth_actors.policy.outage import Closed, Dead, Open, outlook
from synth_actors.policy.routing import STRATEGIES, is_streamed, least_loaded, preference
from synth_actors.providers.base import Fault
from synth_actors.types import NO_USAGE, Usage


@dataclass
class Told:
    """What a failed call tells."""

    message: str
    retry_after_s: float | None
    usage: Usage = field(default_factory=lambda: Usage(output_tokens=1))


def endpoint(name: str, rank: int, in_flight: int = 0, limit: int | None = None) -> EndpointState:
    state = EndpointState(name=name, model="m", rank=rank, max_concurrency=limit, price=None)
    state.in_flight = in_flight
    return state


def fail(state: EndpointState, fault: Fault, now: float, retry_after_s: float | None = None) -> None:
    told = Told(f"{state.name} {fault.value}", retry_after_s)
    state.failed(fault, told, begun_at=now, was_probe=False, now=now)


def test_preference_is_the_order_of_the_user() -> None:
    rows = [endpoint("b", 1), endpoint("a", 0, in_flight=99), endpoint("c", 2)]
    assert preference(rows).name == "a"
    assert preference(rows[::2]).name == "b"


@pytest.mark.parametrize(
    ("loads", "chosen"),
    [
        ([(3, 10), (7, 30)], "1"),  # 30 % against 23 %
        ([(3, 10), (9, 30)], "0"),  # equal shares: the preferred one
        ([(0, None), (0, None)], "0"),
        ([(2, None), (1, None)], "1"),
        ([(3, 1000), (2, None)], "1"),  # one has no limit: calls are compared
    ],
)
def test_the_least_loaded(loads: list[tuple[int, int | None]], chosen: str) -> None:
    rows = [endpoint(str(rank), rank, *load) for rank, load in enumerate(loads)]
    assert least_loaded(rows).name == chosen


def test_the_strategies_that_exist() -> None:
    assert set(STRATEGIES) == {"preference", "least_loaded"}


@pytest.mark.parametrize(
    ("mode", "wanted", "max_tokens", "streamed"),
    [
        ("auto", False, 1000, False),
        ("auto", False, 1001, True),
        ("auto", True, 1, True),
        ("always", False, 1, True),
        ("never", True, 9999, False),
    ],
)
def test_which_calls_are_streamed(mode: str, wanted: bool, max_tokens: int, streamed: bool) -> None:
    assert is_streamed(mode, wanted=wanted, max_tokens=max_tokens) is streamed  # type: ignore[arg-type]


def test_an_endpoint_admits_up_to_its_own_limit() -> None:
    state = endpoint("a", 0, in_flight=2, limit=3)
    assert state.admits(0.0)
    state.in_flight = 3
    assert not state.admits(0.0)
    assert endpoint("b", 0, in_flight=10_000).admits(0.0)


def test_an_endpoint_counts_its_failures_and_what_they_cost() -> None:
    state = endpoint("a", 0)
    fail(state, Fault.FAILED, 1.0)
    fail(state, Fault.SCHEMA_REFUSED, 1.0)
    state.abandoned(NO_USAGE, was_probe=False)
    state.succeeded(Usage(output_tokens=5))
    snapshot = state.snapshot(1.0)
    assert snapshot.failures == {"failed": 1, "schema_refused": 1, "abandoned": 1}
    assert (snapshot.successes, snapshot.output_tokens, snapshot.schema_in_prompt) == (1, 7, True)


@pytest.mark.parametrize("fault", [Fault.REJECTED, Fault.OUTPUT_INVALID, Fault.SCHEMA_REFUSED, Fault.BUG])
def test_the_request_s_own_faults_close_no_endpoint(fault: Fault) -> None:
    state = endpoint("a", 0)
    for _ in range(20):
        fail(state, fault, 1.0)
    assert state.admits(1.0)


def test_the_outlook_on_open_endpoints() -> None:
    one, two = endpoint("one", 0), endpoint("two", 1, in_flight=5, limit=5)
    assert outlook([one, two], 1.0) == Open(float("inf"))
    fail(one, Fault.RATE_LIMITED, 1.0, retry_after_s=9.0)
    assert outlook([one, two], 1.0) == Open(10.0), "full is not closed, and one reopens at 10"


def test_the_outlook_on_closed_endpoints() -> None:
    one, two, dead = endpoint("one", 0), endpoint("two", 1), endpoint("dead", 2)
    fail(one, Fault.RATE_LIMITED, 1.0, retry_after_s=9.0)
    fail(two, Fault.UNREACHABLE, 1.0, retry_after_s=4.0)
    fail(dead, Fault.FATAL, 1.0)
    assert outlook([one, two, dead], 2.0) == Closed(1.0, 5.0, 3.0, Fault.UNREACHABLE, "two unreachable")


def test_the_outlook_on_endpoints_that_failed_is_a_refusal() -> None:
    one = endpoint("one", 0)
    for _ in range(5):
        fail(one, Fault.FAILED, 1.0)
    assert outlook([one], 1.0) == Closed(1.0, 1.5, 0.5, Fault.OVERLOADED, "one failed")
    assert outlook([one], 2.0) == Closed(1.0, float("inf"), None, Fault.OVERLOADED, "one failed")
    one.breaker.begin()
    assert outlook([one], 2.0) == Open(float("inf")), "a probe is under way: it may be open any moment"


def test_the_outlook_on_dead_endpoints() -> None:
    one, two = endpoint("one", 0), endpoint("two", 1)
    fail(one, Fault.FATAL, 1.0)
    fail(two, Fault.FATAL, 1.0)
    assert outlook([one, two], 9.0) == Dead("one fatal; two fatal")
