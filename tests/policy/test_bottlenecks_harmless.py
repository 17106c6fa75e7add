"""A remedy never makes worse what it is for, whatever is configured."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from synth_actors.findings import Finding
from synth_actors.histogram import LatencySummary
from synth_actors.policy.bottlenecks import analyze
from synth_actors.policy.rules.thresholds import MIB
from synth_actors.snapshot import (
    DurableSnapshot,
    EndpointSnapshot,
    LoopSnapshot,
    RateLimitSnapshot,
    SeriesSnapshot,
    Snapshot,
)
from tests.policy.bottleneck_cases import (
    ALWAYS_NEW,
    BLOCKED,
    CASES,
    EMPTY,
    HEALTHY,
    LEAK,
    LONG_QUEUE,
    MANY_FAIL,
    NOT_RECLAIMABLE,
    ONE_IS_SLOW,
    OTHERWISE_FORMATTED,
    OWN_LIMIT,
    RATE_LIMITED,
    SLOWED,
    TIGHT,
    WRITES_IN_VAIN,
    endpoint,
    failing,
    served,
    took,
    with_cache,
    with_endpoints,
    with_latency,
    with_memory,
    with_router,
    with_series,
)


def the(rule: str, snapshot: Snapshot) -> Finding:
    return next(finding for finding in analyze(snapshot).bottlenecks if finding.rule == rule)


def rules(snapshot: Snapshot) -> set[str]:
    return {finding.rule for finding in analyze(snapshot).bottlenecks}


# ------------------------------------------------------------------------------------------------ errors


def timing_out(said: str) -> Snapshot:
    return with_endpoints(HEALTHY, replace(failing(100, timed_out=50), last_message=said))


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("a: no answer within attempt_timeout_s=600", "Endpoint(name='a', attempt_timeout_s=600 -> 1200)"),
        ("a: no answer within first_token_timeout_s=0.5", "Endpoint(name='a', first_token_timeout_s=0.5 -> 1)"),
        ("a: no answer within idle_timeout_s=60", "Endpoint(name='a', idle_timeout_s=60 -> 120)"),
    ],
)
def test_a_timeout_that_ended_calls_is_raised_and_never_lowered(said: str, remedy: str) -> None:
    assert remedy in the("endpoint_fails", timing_out(said)).remedy


def test_a_timeout_is_no_less_than_twice_as_long_as_answers_take() -> None:
    snapshot = with_latency(timing_out("a: no answer within attempt_timeout_s=10"), service=took(50, 3.0, 6.0))
    assert "attempt_timeout_s=10 -> 20" in the("endpoint_fails", snapshot).remedy
    snapshot = with_latency(timing_out("a: no answer within attempt_timeout_s=10"), service=took(50, 9.0, 10.0))
    assert "attempt_timeout_s=10 -> 30" in the("endpoint_fails", snapshot).remedy


def test_a_timeout_that_is_not_the_endpoint_s_own_is_not_lowered_to_what_answers_take() -> None:
    cut = SeriesSnapshot(name="service", endpoint="a", outcome="timed_out", summary=took(50, 40.0, 40.0))
    finding = the("endpoint_fails", with_series(timing_out("a: the server said 504"), cut))
    assert finding.settings == ()
    assert "ends calls of 'a' after 60 s: its server's, that of a provider of your own" in finding.remedy


def test_without_an_answer_nothing_is_said_about_how_long_answers_take() -> None:
    snapshot = with_latency(timing_out("a: no answer within attempt_timeout_s=10"), service=LatencySummary())
    assert "up to" not in the("endpoint_fails", snapshot).remedy


def cut(**fields: object) -> Snapshot:
    said = "a: output_schema: the answer was cut at max_tokens; raise max_tokens or ask for less"
    few = replace(HEALTHY, counters=replace(HEALTHY.counters, output_tokens=100 * 100))
    return with_endpoints(few, replace(failing(100, output_invalid=20), last_message=said, **fields))  # type: ignore[arg-type]


def test_answers_that_are_cut_get_more_tokens_than_they_may_have_now() -> None:
    # most answers are short; the few long ones are cut at 1,000
    snapshot = cut(max_tokens_asked=80 * 1000, longest_output_tokens=990, output_tokens=80 * 20 + 20 * 1000)
    assert "Request(max_tokens=2000)" in the("endpoint_fails", snapshot).remedy


def test_calls_that_were_refused_write_nothing_and_do_not_count_as_short_answers() -> None:
    snapshot = replace(
        cut(failures={"output_invalid": 20, "rate_limited": 10}, successes=0, attempts=100, in_flight=60),
        counters=replace(HEALTHY.counters, output_tokens=20 * 100, paid_calls=100),
    )
    assert "Request(max_tokens=200)" in the("endpoint_fails", snapshot).remedy


def ended(count: int, outcome: str) -> SeriesSnapshot:
    return SeriesSnapshot(name="response", outcome=outcome, summary=took(count, 1.0, 2.0))


@pytest.mark.parametrize(
    ("outcome", "remedy"),
    [
        ("deadline", "timeout_s"),
        ("overloaded", "EngineConfig(on_full='refuse' -> 'wait')"),
        ("budget", "budget_usd"),
        ("closed", "drain_timeout_s"),
    ],
)
def test_requests_that_no_call_has_failed_are_not_blamed_on_the_few_calls_that_did(outcome: str, remedy: str) -> None:
    finding = the("requests_fail", with_series(MANY_FAIL, ended(9, outcome), ended(1, "failed")))
    assert f"most often {outcome}" in finding.what
    assert remedy in finding.remedy
    assert "'a'" not in finding.cause


def test_requests_whose_calls_failed_are_blamed_on_these() -> None:
    finding = the("requests_fail", with_series(MANY_FAIL, ended(1, "deadline"), ended(9, "failed")))
    assert "most often timed_out" in finding.what
    assert "'a'" in finding.cause


def test_who_left_has_not_failed() -> None:
    finding = the("requests_fail", with_series(MANY_FAIL, ended(500, "cancelled"), ended(500, "call")))
    assert "most often timed_out" in finding.what


def test_an_endpoint_with_a_single_place_is_not_said_to_refuse_every_call() -> None:
    one = replace(failing(100, rate_limited=50), max_concurrency=1)
    assert "refuses 50% of its calls" in the("endpoint_fails", with_endpoints(HEALTHY, one)).remedy


def test_a_remedy_that_puts_a_file_of_answers_out_of_use_says_so() -> None:
    assert "asked for again" not in the("prompt_cache_costs_more", WRITES_IN_VAIN).remedy
    snapshot = with_cache(WRITES_IN_VAIN, durable=DurableSnapshot(path="a.cache"))
    assert (
        "answers in 'a.cache' from before are then asked for again" in the("prompt_cache_costs_more", snapshot).remedy
    )


# ------------------------------------------------------------------------------------------------ endpoints


def test_what_computes_here_is_no_model_that_is_faster() -> None:
    fast = endpoint("a", provider="local", attempts=600, successes=600)
    other = endpoint("b", attempts=400, successes=400)
    assert rules(with_endpoints(ONE_IS_SLOW, fast, other)) == set()


@pytest.mark.parametrize(("fast_usd", "is_found"), [(6.1, False), (5.9, True)])
def test_who_chose_the_cheapest_is_not_sent_where_it_costs_more(fast_usd: float, is_found: bool) -> None:
    snapshot = with_endpoints(
        with_router(ONE_IS_SLOW, routing="cheapest"),
        endpoint("a", attempts=600, successes=600, cost_usd=fast_usd),
        endpoint("b", attempts=400, successes=400, cost_usd=4.0),
    )
    assert ("endpoint_is_slow" in rules(snapshot)) is is_found


def test_a_connection_for_each_place_is_not_one_too_many() -> None:
    snapshot = with_router(ALWAYS_NEW, generators=401)  # so many calls were under way at once
    assert "connecting_takes_long" not in rules(snapshot)
    assert "connecting_takes_long" in rules(with_router(ALWAYS_NEW, generators=400))


def test_an_endpoint_that_is_out_for_good_gets_no_more_places() -> None:
    out = endpoint("b", attempts=100, successes=100, max_concurrency=6, state="fatal")
    snapshot = with_endpoints(LONG_QUEUE, endpoint("a", attempts=500, successes=500, max_concurrency=5), out)
    finding = the("requests_wait", snapshot)
    assert "name='b'" not in finding.remedy
    assert "Endpoint(name='a', max_concurrency=5 -> 20)" in finding.remedy


def test_an_endpoint_that_is_out_for_good_is_not_found_full() -> None:
    out = endpoint("a", attempts=500, successes=500, max_concurrency=4, state="fatal")
    snapshot = with_router(with_series(OWN_LIMIT, served("a", 500, 0.8)), busy_s=400.0, backlog_s=900.0)
    assert "endpoint_is_saturated" in rules(with_endpoints(snapshot, replace(out, state="open"), endpoint("b")))
    assert "endpoint_is_saturated" not in rules(with_endpoints(snapshot, out, endpoint("b")))


def test_one_place_can_be_raised_however_little_a_raise_may_be() -> None:
    snapshot = with_router(HEALTHY, max_concurrency=1, concurrency_cap=1, in_flight=1, backlog=30)
    found = analyze(snapshot, {"largest_raise": 1.5}).bottlenecks
    assert [each.remedy for each in found] == ["EngineConfig(max_concurrency=1 -> 2)"]


def test_who_waited_through_an_outage_did_not_wait_for_a_place() -> None:
    outage_s, waiting = 50.0, 400.0  # then all places were taken for a while, and ten requests waited
    snapshot = with_router(
        HEALTHY, backlog_s=outage_s * waiting + 300.0, saturated_s=30.0, saturated_backlog_s=300.0, busy_s=300.0
    )
    assert the("engine_is_saturated", snapshot).remedy == "EngineConfig(max_concurrency=10 -> 20)"


@pytest.mark.parametrize(("inside", "is_found"), [(12.0, False), (16.0, True)])
def test_a_wait_is_for_places_only_if_as_many_waited_as_that_takes(inside: float, is_found: bool) -> None:
    # seven seconds of waiting, ten places, a second each: seventy were before it, if it waited for a place
    snapshot = with_router(LONG_QUEUE, busy_s=900.0, saturated_s=90.0, saturated_backlog_s=90.0 * (inside - 10))
    finding = the("requests_wait", snapshot)
    assert bool(finding.settings) is is_found
    assert ("waiting for a place" in finding.what) is is_found


# ------------------------------------------------------------------------------------------------ limits per minute


def test_a_limit_that_only_a_burst_has_met_is_not_lowered() -> None:
    idle = with_router(RATE_LIMITED, in_flight=0, backlog=0, busy_s=30.0, backlog_s=100.0)
    one = replace(idle.router.endpoints["a"], rate_limited_s=15.0, successes=600, attempts=600)
    finding = the("rate_limit_sets_the_pace", with_endpoints(idle, one))
    for number in re.findall(r"(\d+) requests a minute", finding.remedy):
        assert int(number) > 300
    assert [each.then for each in finding.settings] == [600]  # twice as much: what a burst needs nobody knows


def test_of_several_limits_the_one_that_was_used_is_raised_not_the_one_that_happens_to_be_low() -> None:
    used = RateLimitSnapshot(per_minute=300.0, remaining=30.0, is_configured=True)
    low = RateLimitSnapshot(per_minute=1_000_000.0, remaining=10.0, is_configured=True)
    one = replace(
        RATE_LIMITED.router.endpoints["a"], input_tokens=5000, rate_limits={"input_tokens": low, "requests": used}
    )
    finding = the("rate_limit_sets_the_pace", with_endpoints(RATE_LIMITED, one))
    assert [each.name for each in finding.settings] == ["requests_per_minute"]


# ------------------------------------------------------------------------------------------------ memory


@pytest.mark.parametrize(
    ("rule", "snapshot"),
    [
        ("memory_is_tight", TIGHT),
        ("memory_is_not_reclaimable", NOT_RECLAIMABLE),
        ("memory_slows_the_engine", SLOWED),
        ("memory_leaks", LEAK),
    ],
)
def test_no_limit_is_advised_that_the_container_has_no_memory_for(rule: str, snapshot: Snapshot) -> None:
    finding = the(rule, with_memory(snapshot, container_limit_bytes=601 * MIB))
    raised = [each.then for each in finding.settings if each.name == "memory_limit_bytes"]
    assert all(isinstance(then, int) and then <= 601 * MIB for then in raised)
    finding = the(rule, with_memory(snapshot, container_limit_bytes=600 * MIB))
    assert "memory_limit_bytes" not in finding.remedy
    assert len(finding.remedy) > 20


# ------------------------------------------------------------------------------------------------ loop, cache


def waits(actor: str, p99_s: float) -> SeriesSnapshot:
    return SeriesSnapshot(name="mailbox_wait", actor=actor, summary=took(1000, p99_s / 2, p99_s))


def test_a_question_that_waits_for_the_disk_does_not_wait_for_the_loop() -> None:
    quick = [waits(name, 0.001) for name in ("cache", "router", "generators")]
    assert "loop_is_blocked" not in rules(with_series(BLOCKED, *quick, waits("store", 0.5), waits("watchdog", 0.5)))
    assert "loop_is_blocked" in rules(with_series(BLOCKED, *quick[:2], waits("generators", 0.08), waits("store", 0.5)))


def test_before_anything_is_answered_nothing_is_predicted_of_answers() -> None:
    assert the("loop_is_blocked", with_latency(BLOCKED, response=LatencySummary())).prediction is None


def late(share: float, wait_s: float) -> LoopSnapshot:
    count = round(1000 * share)
    return LoopSnapshot(looks=1000, late=count, late_s=count * wait_s, longest_late_s=2 * wait_s)


@pytest.mark.parametrize(
    "silenced", ["engine_is_saturated", "endpoint_is_saturated", "calls_are_slow", "requests_wait"]
)
def test_what_takes_long_for_want_of_the_loop_is_not_sold_more_places_or_a_faster_model(silenced: str) -> None:
    assert rules(CASES[silenced]) == {silenced}
    assert rules(replace(CASES[silenced], loop=late(0.3, 0.3))) == {"loop_is_blocked"}
    assert rules(replace(CASES[silenced], loop=late(0.29, 0.3))) == {"loop_is_blocked", silenced}
    assert rules(replace(CASES[silenced], loop=late(0.5, 0.04))) == {silenced}


def test_a_blocked_loop_is_as_severe_as_what_it_explains_and_comes_first() -> None:
    assert the("loop_is_blocked", replace(LONG_QUEUE, loop=late(0.5, 0.06))).severity == "medium"
    also = replace(LONG_QUEUE, loop=late(0.2, 0.3))
    assert [each.rule for each in analyze(also).bottlenecks] == ["loop_is_blocked", "requests_wait"]


@pytest.mark.parametrize(("share", "found"), [(0.79, set()), (0.8, {"loop_is_blocked"})])
def test_a_loop_that_has_no_time_left_is_found_however_short_each_wait_is(share: float, found: set[str]) -> None:
    assert rules(replace(HEALTHY, loop=late(share, 0.015))) == found


def test_no_answer_is_predicted_to_take_less_than_no_time() -> None:
    assert the("loop_is_blocked", replace(HEALTHY, loop=late(0.5, 0.9))).prediction is None  # as long as its p99


def test_formatting_is_of_no_matter_where_the_file_has_all_answers() -> None:
    assert rules(with_cache(OTHERWISE_FORMATTED, hits=10_000, durable_hits=5000, misses=0)) == set()


def test_an_engine_in_which_nothing_has_happened_has_no_finding() -> None:
    bare = replace(EMPTY, router=replace(EMPTY.router, endpoints={"a": EndpointSnapshot(name="a", model="m")}))
    assert rules(bare) == set()
