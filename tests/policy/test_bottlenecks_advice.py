"""What a finding advises fits what is configured, and its figures are what they say they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from synth_actors.findings import Finding
from synth_actors.policy.bottlenecks import analyze
from synth_actors.policy.rules.figures import another
from synth_actors.snapshot import (
    EndpointSnapshot,
    RateLimitSnapshot,
    SeriesSnapshot,
    Snapshot,
)
from tests.policy.bottleneck_cases import (
    FLAKY,
    HEALTHY,
    LONG_QUEUE,
    MANY_FAIL,
    MUCH_OF_THE_TIME,
    RATE_LIMITED,
    SLOW_CALLS,
    endpoint,
    failing,
    served,
    took,
    with_endpoints,
    with_router,
    with_series,
)


def the(rule: str, snapshot: Snapshot) -> Finding:
    return next(finding for finding in analyze(snapshot).bottlenecks if finding.rule == rule)


def rules(snapshot: Snapshot) -> set[str]:
    return {finding.rule for finding in analyze(snapshot).bottlenecks}


def ended(count: int, outcome: str) -> SeriesSnapshot:
    return SeriesSnapshot(name="response", outcome=outcome, summary=took(count, 1.0, 2.0))


# ------------------------------------------------------------------------------------------------ what a wait is for


NO_PLACE_WANTED = with_router(LONG_QUEUE, busy_s=300.0, saturated_s=3.0)
"""Who waited seven seconds did not wait for a place: all were taken for three."""


def test_a_long_wait_for_something_unknown_is_a_finding_without_a_setting() -> None:
    (finding,) = analyze(NO_PLACE_WANTED).bottlenecks
    assert (finding.rule, finding.settings, finding.prediction) == ("requests_wait", (), None)
    assert "places were free" in finding.cause


@pytest.mark.parametrize(
    ("snapshot", "said"),
    [
        (with_endpoints(NO_PLACE_WANTED, endpoint(concurrency_limit=7)), "only as fast as its answers show"),
        (with_router(NO_PLACE_WANTED, budget_usd=1.0, budget_spent_usd=0.9), "raise budget_usd"),
        (with_endpoints(NO_PLACE_WANTED, endpoint(concurrency_limit=7, is_limit_found=True)), "works on 7 calls"),
    ],
)
def test_what_else_a_request_may_have_waited_for_is_said(snapshot: Snapshot, said: str) -> None:
    assert said in the("requests_wait", snapshot).remedy


def test_a_high_p99_of_a_flaky_server_is_put_down_to_the_failures_even_if_most_requests_meet_none() -> None:
    rare = with_router(FLAKY, busy_s=5000.0, closed_backlog_s=1500.0)
    assert rules(rare) == {"retries_wait"}
    assert the("retries_wait", rare).severity == "medium"  # by its p99 of 8 s
    for_places = with_router(rare, backlog_s=8000.0, saturated_s=80.0, saturated_backlog_s=6500.0)
    assert rules(for_places) == {"requests_wait", "engine_is_saturated"}


def test_what_is_lost_to_failures_is_what_the_mean_response_is_longer_by() -> None:
    prediction = the("retries_wait", FLAKY).prediction
    assert prediction is not None
    assert (prediction.metric, prediction.now) == ("response_mean_s", 2.0)
    assert prediction.then == pytest.approx(2.0 - (10.0 + 90.0 + 1500.0) / 1000)


def test_who_keeps_a_limit_waits_no_less_than_who_was_refused_by_it() -> None:
    one = replace(failing(1050, rate_limited=50))
    snapshot = with_endpoints(with_router(FLAKY, retries_by_reason={"rate_limited": 50}), one)
    assert the("retries_wait", snapshot).prediction is None


def test_failures_with_one_remedy_are_one_finding() -> None:
    flaky = replace(failing(1300, failed=300))
    snapshot = with_endpoints(with_router(FLAKY, retries=300, retries_by_reason={"failed": 300}), flaky)
    (finding,) = analyze(snapshot).bottlenecks
    assert finding.rule == "retries_wait"
    for said in ("of the time of requests", "failed 23% of 1300 calls", "300 of 1300 calls repeated"):
        assert said in finding.what
    assert {"lost_share", "failed_share", "attempts"} < set(finding.evidence)
    assert len(analyze(snapshot).recommendations) == 1


# ------------------------------------------------------------------------------------------------ refused calls


def refusing(attempts: int, **fields: object) -> EndpointSnapshot:
    return replace(failing(attempts, rate_limited=88), **fields)  # type: ignore[arg-type]


def few_at_once(one: EndpointSnapshot) -> Snapshot:
    """450 answers of 0.1 s in half a minute: 1.5 under way on average, of ten places."""
    snapshot = with_series(with_endpoints(HEALTHY, one), served("a", 450, 0.1))
    return with_router(replace(snapshot, taken_at_s=3600.0), active_s=30.0, backlog=0)


def test_calls_that_are_refused_though_few_are_under_way_are_slowed_to_what_was_accepted() -> None:
    finding = the("endpoint_fails", few_at_once(refusing(538)))
    assert finding.remedy.startswith("Endpoint(name='a', requests_per_minute=None -> 300), which is about what")
    many = with_series(few_at_once(refusing(538)), served("a", 450, 0.4))
    assert "max_concurrency" in the("endpoint_fails", many).remedy


def test_a_limit_of_one_s_own_that_is_too_high_is_lowered_and_one_that_the_server_names_is_not() -> None:
    own = RateLimitSnapshot(per_minute=600.0, remaining=9.0, is_configured=True)
    finding = the("endpoint_fails", few_at_once(refusing(538, rate_limits={"requests": own})))
    assert [(each.now, each.then) for each in finding.settings] == [(600, 300)]
    for limit in (replace(own, is_configured=False), replace(own, per_minute=300.0)):
        finding = the("endpoint_fails", few_at_once(refusing(538, rate_limits={"requests": limit})))
        assert finding.settings == ()
        assert "check the rate limit and the quota of endpoint 'a', which refuses 16% of its calls" in finding.remedy


def test_a_server_that_is_overloaded_by_few_calls_is_not_helped_by_fewer_places() -> None:
    finding = the("endpoint_fails", few_at_once(replace(failing(538), failures={"overloaded": 88})))
    assert finding.remedy == "list a second endpoint: 'a' refuses 16% of its calls though few are under way at once"


def test_a_limit_of_one_s_own_at_which_calls_were_refused_is_raised_only_if_the_provider_allows_it() -> None:
    refused = replace(RATE_LIMITED.router.endpoints["a"], failures={"rate_limited": 1})
    assert the("rate_limit_sets_the_pace", RATE_LIMITED).severity == "critical"
    finding = the("rate_limit_sets_the_pace", with_endpoints(RATE_LIMITED, refused))
    assert (finding.severity, finding.effort) == ("medium", "medium")
    assert finding.remedy == (
        "Endpoint(name='a', requests_per_minute=300 -> 600), only if the provider allows more (it has refused 1 calls"
        " already); else list a second endpoint"
    )


# ------------------------------------------------------------------------------------------------ other endpoints


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (None, "list a second endpoint: 'a' fails 50 of 100 calls"),
        (endpoint("b", attempts=100, successes=90, failures={"failed": 10}), "list 'b' before 'a': 'a' fails"),
        (endpoint("b", attempts=100, successes=60, failures={"failed": 40}), "list another endpoint that fails less"),
        (endpoint("b"), "see that 'b' may take its requests"),
    ],
)
def test_a_second_endpoint_is_advised_only_where_there_is_none(other: EndpointSnapshot | None, said: str) -> None:
    flaky = failing(100, failed=50)
    snapshot = with_endpoints(HEALTHY, *(each for each in (flaky, other) if each is not None))
    finding = next(each for each in analyze(snapshot).bottlenecks if "'a' failed" in each.what)
    assert finding.remedy.startswith(said)


def test_two_endpoints_that_fail_alike_are_one_finding() -> None:
    both = failing(100, failed=50), endpoint("b", attempts=100, successes=60, failures={"failed": 40})
    snapshot = with_router(with_endpoints(FLAKY, *both), retries=90, retries_by_reason={"failed": 90})
    (finding,) = analyze(snapshot).bottlenecks
    assert finding.remedy.endswith("less: 'a' fails 50 of 100 calls, 'b' fails 40 of 100 calls")


def test_an_endpoint_that_is_out_for_good_is_no_second_one() -> None:
    flaky, out = failing(100, failed=50), endpoint("b", attempts=9, successes=9, state="fatal")
    assert another(with_endpoints(HEALTHY, flaky, out), flaky) == "list a second endpoint"


def test_connections_to_a_server_that_only_refuses_are_not_blamed_on_it() -> None:
    refused = endpoint("a", attempts=21, failures={"rate_limited": 21}, connections=17)
    snapshot = with_series(
        with_endpoints(HEALTHY, refused),
        served("a", 21, 0.01, outcome="rate_limited"),
        served("a", 17, 0.01, series="connect"),
    )
    assert "connecting_takes_long" not in rules(snapshot)


def test_with_routing_by_speed_the_few_slow_calls_are_not_taken_for_a_slow_model() -> None:
    both = with_endpoints(
        with_router(SLOW_CALLS, routing="fastest"),
        endpoint("a", attempts=480, successes=480),
        endpoint("b", attempts=20, successes=20),
    )
    answered = [served("a", 480, 0.1, outcome="call", series="response")]
    tried = [served("b", 20, 4.0, outcome="call", series="response")]
    finding = the("calls_are_slow", with_series(both, *answered, *tried))
    assert finding.remedy.startswith("leave 'b' out: ")
    assert finding.prediction is not None
    assert finding.prediction.then == 0.2
    both = with_router(both, routing="preference")
    assert "faster endpoint" in the("calls_are_slow", with_series(both, *answered, *tried)).remedy


# ------------------------------------------------------------------------------------------------ what figures say


def test_what_a_call_costs_is_not_what_an_answer_costs() -> None:
    one = endpoint("a", attempts=876, successes=12, failures={"failed": 764, "rate_limited": 100}, cost_usd=0.776)
    snapshot = with_endpoints(with_router(HEALTHY, retries=400, retries_by_reason={"failed": 400}), one)
    found = next(each for each in analyze(snapshot).bottlenecks if "repeated one" in each.what)
    assert found.evidence["cost_usd_per_call"] == pytest.approx(0.001)


def test_calls_that_failed_make_answers_no_shorter() -> None:
    one = endpoint("a", attempts=600, successes=500, failures={"failed": 50, "rate_limited": 50})
    counters = replace(HEALTHY.counters, output_tokens=500 * 120, paid_calls=600)
    snapshot = with_endpoints(replace(SLOW_CALLS, counters=counters), one)
    assert "120 tokens an answer" in the("calls_are_slow", snapshot).cause


@pytest.mark.parametrize(("waiting", "is_said"), [(9.5, True), (4.0, False), (11.0, False)])
def test_of_what_may_be_a_batch_it_is_said_that_more_places_may_help_again(waiting: float, is_said: bool) -> None:
    snapshot = with_router(MUCH_OF_THE_TIME, saturated_backlog_s=95.0 * waiting, in_flight=0, backlog=0)
    finding = the("engine_is_saturated", snapshot)
    assert ("if it is a batch" in finding.cause) is is_said
    assert not {"in_flight", "backlog"} & set(finding.evidence)  # after a run they say nothing


def test_an_engine_that_idles_after_its_work_was_no_less_busy_with_it() -> None:
    after = with_router(replace(MUCH_OF_THE_TIME, taken_at_s=86_400.0), active_s=100.0, in_flight=0, backlog=0)
    assert "96% of the time" in the("engine_is_saturated", with_router(after, saturated_s=96.0)).what


def test_a_wrong_address_is_among_what_is_to_be_checked() -> None:
    out = with_endpoints(HEALTHY, replace(failing(1, fatal=1), state="fatal"), endpoint("b", attempts=500))
    assert "base_url" in the("endpoint_fails", out).remedy


def test_calls_that_were_stopped_at_a_deadline_are_counted() -> None:
    snapshot = with_series(with_router(MANY_FAIL, abandoned=80), ended(9, "deadline"), ended(1, "failed"))
    assert "80 calls that were under way were stopped" in the("requests_fail", snapshot).what
