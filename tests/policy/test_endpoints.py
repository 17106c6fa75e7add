from __future__ import annotations

from collections.abc import Callable
from math import inf

import pytest

from synth_actors.policy.breaker import FAILURES_TO_PAUSE, PROBE_EVERY_S, REFUSALS_TO_PAUSE
from synth_actors.policy.concurrency import FIRST_LIMIT
from synth_actors.policy.endpoints import Begun, EndpointState
from synth_actors.policy.limits import Need, PerMinute
from synth_actors.providers.base import Allowance, Fault, RateLimits
from synth_actors.types import NO_USAGE, Usage
from tests.policy.support import NEED, Told, endpoint, fail, succeed

THE_REQUESTS_OWN = (Fault.REJECTED, Fault.OUTPUT_INVALID, Fault.SCHEMA_REFUSED, Fault.TOO_LARGE, Fault.BUG)


def remote(most_at_once: float = 1000.0) -> EndpointState:
    return endpoint(most_at_once=most_at_once, metering="meter")


def begin(state: EndpointState, count: int, now: float = 0.0) -> list[Begun]:
    return [state.begin(NEED, now) for _ in range(count)]


def end(state: EndpointState, call: Begun, fault: Fault | None, now: float, after_s: float | None = None) -> None:
    if fault is None:
        state.succeeded(call, NO_USAGE, now - call.at, None, now)
    else:
        state.failed(call, fault, Told(fault.value, after_s), now)


def left(requests: float) -> RateLimits:
    return RateLimits(requests=Allowance(limit=600.0, remaining=requests))


def test_an_endpoint_in_this_process_gets_all_that_it_may() -> None:
    state = endpoint(in_flight=2, most_at_once=3)
    assert state.admits(0.0, NEED)
    state.in_flight = 3
    assert not state.admits(0.0, NEED)
    assert endpoint(in_flight=10_000).admits(0.0, NEED)


def test_one_in_front_of_a_server_begins_with_few_and_never_gets_more_than_it_may() -> None:
    state = remote()
    state.in_flight = FIRST_LIMIT - 1
    assert state.admits(0.0, NEED)
    state.in_flight = FIRST_LIMIT
    assert not state.admits(0.0, NEED)
    assert not endpoint(in_flight=3, most_at_once=3, metering="meter").admits(0.0, NEED)


def test_it_opens_when_breaker_and_buckets_are_ready() -> None:
    state = endpoint(per_minute=PerMinute(requests=60))
    begin(state, 60)
    assert not state.admits(0.5, NEED)
    assert state.opens_at(0.5, NEED) == 1.0
    assert state.admits(1.0, NEED)
    assert state.opens_at(1.0, NEED) == float("inf"), "it waits for no time"
    state.breaker.limited(0.0, begun_at=0.0, retry_after_s=7.0, used_up=True)
    assert state.opens_at(1.0, NEED) == 7.0
    assert not state.admits(6.9, NEED)


def test_the_amount_of_a_call_decides_whether_it_is_admitted() -> None:
    state = endpoint(per_minute=PerMinute(input_tokens=1000))
    state.begin(Need(900.0, 10), 0.0)
    assert state.admits(0.0, Need(100.0, 10))
    assert not state.admits(0.0, Need(101.0, 10))


def test_it_counts_its_calls_its_failures_and_what_they_cost() -> None:
    state = endpoint()
    fail(state, Fault.FAILED, 1.0)
    fail(state, Fault.SCHEMA_REFUSED, 1.0)
    state.abandoned(state.begin(NEED, 1.0), NO_USAGE, 1.0)
    succeed(state, 1.0)
    state.begin(NEED, 1.0)
    snapshot = state.snapshot(1.0)
    assert snapshot.failures == {"failed": 1, "schema_refused": 1, "abandoned": 1}
    assert (snapshot.attempts, snapshot.successes, snapshot.in_flight) == (5, 1, 1)
    assert (snapshot.output_tokens, snapshot.schema_in_prompt) == (7, True)
    assert (snapshot.concurrency_limit, snapshot.rate_limits, snapshot.state) == (None, {}, "open")
    assert snapshot.last_message == "one schema_refused"


def test_the_snapshot_tells_the_limits_that_are_known() -> None:
    state = endpoint(most_at_once=40, metering="meter", per_minute=PerMinute(requests=60))
    begin(state, 6)
    snapshot = state.snapshot(0.0)
    assert snapshot.concurrency_limit == FIRST_LIMIT
    assert (snapshot.rate_limits["requests"].per_minute, snapshot.rate_limits["requests"].remaining) == (60.0, 54.0)


@pytest.mark.parametrize("fault", [None, *Fault])
def test_after_every_end_nothing_is_under_way(fault: Fault | None) -> None:
    state = remote()
    for _ in range(REFUSALS_TO_PAUSE):
        fail(state, Fault.OVERLOADED, 0.0)
    call = state.begin(NEED, 10.0)
    assert call.is_probe
    end(state, call, fault, 11.0)
    assert (state.in_flight, state.breaker.probing_since) == (0, inf)


@pytest.mark.parametrize("fault", THE_REQUESTS_OWN)
def test_the_request_s_own_faults_close_no_endpoint_and_lower_no_limit(fault: Fault) -> None:
    state = remote()
    for now in range(50):
        fail(state, fault, float(now))
    assert state.admits(50.0, NEED)
    assert state.limits.limit >= FIRST_LIMIT
    assert state.pace.error_share == 0.0


@pytest.mark.parametrize("fault", [None, Fault.FAILED, *THE_REQUESTS_OWN])
def test_a_call_that_was_let_in_ends_the_row_of_refusals_whatever_becomes_of_it(fault: Fault | None) -> None:
    state = endpoint()
    for _ in range(REFUSALS_TO_PAUSE - 1):
        fail(state, Fault.OVERLOADED, 0.0)
    end(state, state.begin(NEED, 1.0), fault, 2.0)
    for _ in range(REFUSALS_TO_PAUSE - 1):
        fail(state, Fault.OVERLOADED, 3.0)
    assert state.admits(3.0, NEED)


def test_the_first_token_is_enough_to_be_let_in() -> None:
    state = endpoint()
    fail(state, Fault.RATE_LIMITED, 0.0, retry_after_s=50.0)
    call = state.begin(NEED, 1.0)
    state.let_in(call, 0.2, 1.2)
    fail(state, Fault.RATE_LIMITED, 2.0, retry_after_s=50.0)
    assert state.admits(2.0, NEED), "the row was ended"
    state.let_in(call, 0.2, 3.0)
    fail(state, Fault.RATE_LIMITED, 4.0, retry_after_s=50.0)
    assert not state.admits(4.0, NEED), "a call is let in once"


@pytest.mark.parametrize("fault", [Fault.FAILED, Fault.TIMED_OUT])
def test_failures_after_acceptance_close_it_for_a_while(fault: Fault) -> None:
    state = endpoint()
    for _ in range(FAILURES_TO_PAUSE - 1):
        fail(state, fault, 1.0)
    assert state.admits(1.0, NEED)
    fail(state, fault, 1.0)
    assert not state.admits(1.0, NEED)
    assert state.pace.error_share > 0.0


def test_an_answer_ends_the_row_of_failures() -> None:
    state = endpoint()
    for now in range(20):
        fail(state, Fault.FAILED, float(now))
        if now % (FAILURES_TO_PAUSE - 1) == 0:
            succeed(state, float(now))
    assert state.admits(20.0, NEED)
    assert not state.schema_in_prompt


@pytest.mark.parametrize("fault", sorted(set(THE_REQUESTS_OWN) - {Fault.BUG}, key=str))
def test_an_answer_that_is_the_request_s_own_fault_ends_the_row_of_failures_and_proves_it_again(fault: Fault) -> None:
    state = endpoint()
    for now in range(20):
        fail(state, Fault.FAILED, float(now))
        fail(state, fault, float(now))
    assert state.breaker.is_trusted
    for _ in range(FAILURES_TO_PAUSE):
        fail(state, Fault.FAILED, 30.0)
    fail(state, fault, 40.0)
    assert state.snapshot(40.0).state == "open"


def test_a_bug_of_ours_proves_nothing() -> None:
    state = endpoint()
    for _ in range(FAILURES_TO_PAUSE):
        fail(state, Fault.FAILED, 30.0)
    fail(state, Fault.BUG, 40.0)
    assert state.snapshot(40.0).state == "probing"


def test_what_was_never_sent_gives_everything_back() -> None:
    per_minute = PerMinute(requests=60, input_tokens=600, output_tokens=6000)
    state = endpoint(per_minute=per_minute, metering="meter")
    before, limit = state.snapshot(0.0), state.limits.limit
    call = state.begin(NEED, 0.0)
    assert state.snapshot(0.0).rate_limits != before.rate_limits
    state.withdrawn(call, 0.0)
    assert state.snapshot(0.0) == before
    assert (state.limits.limit, state.breaker.is_trusted, state.pace.error_share) == (limit, True, 0.0)


def test_a_probe_that_was_never_sent_is_none() -> None:
    state = endpoint()
    for _ in range(REFUSALS_TO_PAUSE):
        fail(state, Fault.OVERLOADED, 0.0)
    call = state.begin(NEED, 10.0)
    assert call.is_probe
    state.withdrawn(call, 10.0)
    assert (state.in_flight, state.breaker.probing_since, state.snapshot(10.0).state) == (0, inf, "probing")


def test_what_waits_only_for_a_bucket() -> None:
    assert not endpoint(most_at_once=0).lacks_only_tokens(0.0, NEED), "nothing comes back there"
    state = endpoint(most_at_once=2, per_minute=PerMinute(input_tokens=600))
    assert not state.lacks_only_tokens(0.0, NEED), "it is open"
    state.begin(Need(595.0, 1), 0.0)
    assert state.lacks_only_tokens(0.0, NEED)
    assert not state.lacks_only_tokens(0.5, NEED), "it has come back"
    state.breaker.limited(0.0, begun_at=0.0, retry_after_s=7.0, used_up=True)
    assert not state.lacks_only_tokens(0.0, NEED), "it is paused"
    full = endpoint(most_at_once=1, per_minute=PerMinute(input_tokens=600))
    full.begin(Need(595.0, 1), 0.0)
    assert not full.lacks_only_tokens(0.0, NEED), "it is full, too"


@pytest.mark.parametrize(("fault", "lowered"), [(Fault.TIMED_OUT, True), (Fault.FAILED, False)])
def test_a_call_that_was_not_answered_in_time_lowers_the_limit(fault: Fault, lowered: bool) -> None:
    state = remote()
    end(state, begin(state, 2)[0], fault, 9.0)
    assert (state.limits.limit < FIRST_LIMIT) == lowered


@pytest.mark.parametrize(("fault", "left"), [(Fault.RATE_LIMITED, 59.0), (Fault.OVERLOADED, 60.0)])
def test_a_configured_limit_of_requests_counts_those_that_a_rate_limit_refused(fault: Fault, left: float) -> None:
    state = endpoint(per_minute=PerMinute(requests=60))
    fail(state, fault, 0.0)
    assert state.snapshot(0.0).rate_limits["requests"].remaining == left


def test_a_call_proves_the_limit_once() -> None:
    state = remote()
    call = begin(state, FIRST_LIMIT)[0]
    for now in range(5):
        state.let_in(call, 0.5, float(now))
    assert state.limits.limit == FIRST_LIMIT + 1


def test_a_fatal_fault_closes_it_for_good() -> None:
    state = endpoint()
    fail(state, Fault.FATAL, 1.0)
    assert not state.admits(1e9, NEED)
    assert (state.breaker.fatal_reason, state.snapshot(1.0).state) == ("one fatal", "fatal")


# ------------------------------------------------------------------------------------------------ limits that are found


def test_a_429_lowers_the_limit_to_what_is_in_flight() -> None:
    state = remote()
    calls = begin(state, 12)
    end(state, calls[0], Fault.RATE_LIMITED, 0.1)
    assert state.limits.limit == 11
    assert not state.admits(0.1, NEED), "the eleven others may be all that it takes"
    end(state, calls[1], None, 0.2)
    assert state.admits(0.2, NEED)


def test_when_the_next_call_is_refused_too_it_pauses_and_begins_again_with_half() -> None:
    state = remote()
    calls = begin(state, 12)
    for call in calls:
        end(state, call, Fault.RATE_LIMITED, 0.1, 5.0)
    assert state.limits.limit == 1
    fail(state, Fault.RATE_LIMITED, 1.0, retry_after_s=5.0)
    assert not state.admits(1.0, NEED)
    assert state.limits.limit == FIRST_LIMIT / 2


def test_a_limit_that_is_used_up_pauses_it_and_says_nothing_about_how_many_at_once() -> None:
    state = remote()
    calls = begin(state, 12)
    calls[0].limits = left(0.0)
    end(state, calls[0], Fault.RATE_LIMITED, 0.1, 5.0)
    assert not state.admits(0.1, NEED)
    assert state.limits.limit == FIRST_LIMIT
    assert state.opens_at(0.1, NEED) >= 5.1


def test_only_the_first_pause_in_a_row_halves_the_limit() -> None:
    state = remote()
    for number in range(REFUSALS_TO_PAUSE + 3):
        now = number * 10 * PROBE_EVERY_S
        fail(state, Fault.OVERLOADED, now)
    assert state.limits.limit == FIRST_LIMIT / 2


@pytest.mark.parametrize("fault", [Fault.OVERLOADED, Fault.UNREACHABLE])
def test_one_that_turns_away_two_of_three_is_paused_though_it_lets_in_every_third(fault: Fault) -> None:
    state, number = remote(), 0
    while state.admits(number * 0.01, NEED) and number < 60:
        number += 1
        if number % 3:
            fail(state, fault, number * 0.01)
        else:
            succeed(state, number * 0.01)
    assert number == 20, "as soon as there are enough to say"


def test_one_in_fifty_that_is_overloaded_lowers_nothing() -> None:
    state = remote()
    for number in range(1, 1001):
        state.in_flight = 100
        if number % 50:
            succeed(state, number * 0.01)
        else:
            fail(state, Fault.OVERLOADED, number * 0.01)
    assert state.limits.limit > 120


def test_a_probe_that_is_refused_tells_nothing_about_the_load() -> None:
    state = remote()
    for _ in range(REFUSALS_TO_PAUSE):
        fail(state, Fault.OVERLOADED, 0.0)
    limit = state.limits.limit
    for number in range(1, 100):
        fail(state, Fault.OVERLOADED, number * 10.0)
    assert state.limits.limit == limit
    assert state.limits.at_once is not None
    assert state.limits.at_once.overloaded_share == 0.0


@pytest.mark.parametrize("ask", [lambda s: s.limits.limit, lambda s: s.pace.error_share])
def test_what_we_cancelled_says_nothing(ask: Callable[[EndpointState], float]) -> None:
    state = remote()
    calls = begin(state, 10)
    before = ask(state)
    for call in calls:
        state.abandoned(call, NO_USAGE, 1.0)
    assert ask(state) == before
    assert state.breaker.is_trusted


def test_headers_of_any_end_are_heard() -> None:
    for fault in (None, *Fault):
        state = remote()
        call = state.begin(NEED, 0.0)
        call.limits = left(100.0)
        end(state, call, fault, 0.0)
        assert state.limits.named, fault
        assert state.snapshot(0.0).rate_limits["requests"].remaining == pytest.approx(100.0, abs=2.0)
    state = remote()
    call = state.begin(NEED, 0.0)
    call.limits = left(100.0)
    state.abandoned(call, NO_USAGE, 0.0)
    assert state.limits.named


def test_a_whole_answer_teaches_what_the_next_one_takes() -> None:
    state = remote()
    state.succeeded(state.begin(NEED, 0.0), Usage(input_tokens=20, output_tokens=7), 1.0, None, 1.0)
    assert state.limits.usual_output == 7.0
    fail(state, Fault.FAILED, 1.0)
    assert state.limits.usual_output == 7.0
