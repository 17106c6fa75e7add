from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from math import log2

import pytest

from synth_actors.findings import UNITS, Finding
from synth_actors.policy.bottlenecks import RULES, analyze
from synth_actors.policy.rules.errors import REMEDIES
from synth_actors.policy.rules.thresholds import DEFAULT_THRESHOLDS, MIB, SEVERITIES, severity_of
from synth_actors.providers.base import Fault
from synth_actors.snapshot import RateLimitSnapshot, Snapshot
from tests.policy.bottleneck_cases import (
    CASES,
    EMPTY,
    HEALTHY,
    LARGE_CACHE,
    LOCAL,
    LONG_QUEUE,
    NEAR_MISSES,
    NOT_RECLAIMABLE,
    NOT_TOO_LARGE,
    ONE_FAILS,
    OWN_LIMIT,
    RESERVED,
    SATURATED,
    SHORT_TTL,
    SLOW_CALLS,
    SLOWED,
    SMALL_CACHE,
    TTLS,
    endpoint,
    failing,
    took,
    until,
    with_cache,
    with_endpoints,
    with_latency,
    with_memory,
    with_router,
)


def the(rule: str, snapshot: Snapshot) -> Finding:
    return next(finding for finding in analyze(snapshot).bottlenecks if finding.rule == rule)


@pytest.mark.parametrize("snapshot", [EMPTY, HEALTHY], ids=["empty", "healthy"])
def test_nothing_is_found_where_nothing_is_wrong(snapshot: Snapshot) -> None:
    report = analyze(snapshot)
    assert report.bottlenecks == ()
    assert report.recommendations == ()
    assert not report.detected


@pytest.mark.parametrize(("rule", "snapshot"), CASES.items(), ids=CASES)
def test_what_is_wrong_is_found_and_nothing_else_is(rule: str, snapshot: Snapshot) -> None:
    assert [finding.rule for finding in analyze(snapshot).bottlenecks] == [rule]


@pytest.mark.parametrize("snapshot", NEAR_MISSES.values(), ids=NEAR_MISSES)
def test_what_is_just_good_enough_is_no_finding(snapshot: Snapshot) -> None:
    assert analyze(snapshot).bottlenecks == ()


def test_every_rule_has_a_case() -> None:
    assert set(CASES) == {rule.__name__ for rule in RULES}


@pytest.mark.parametrize("snapshot", CASES.values(), ids=CASES)
def test_a_finding_can_be_written_down(snapshot: Snapshot) -> None:
    finding = analyze(snapshot).bottlenecks[0]
    assert finding.kind in ("latency", "throughput", "memory", "cache", "errors", "rate_limit", "cost")
    assert finding.severity in SEVERITIES
    assert finding.effort in ("low", "medium", "high")
    assert finding.what
    assert finding.cause
    assert finding.evidence
    assert all(type(figure) is float for figure in finding.evidence.values())
    json.dumps(asdict(finding))
    assert not re.search(r"{\w", finding.remedy)


@pytest.mark.parametrize("rule", CASES)
def test_a_remedy_names_every_setting_as_it_would_be_written(rule: str) -> None:
    finding = the(rule, CASES[rule])
    for setting in finding.settings:
        assert str(setting) in finding.remedy
        assert setting.then != setting.now


@pytest.mark.parametrize("rule", sorted(set(CASES) - {"requests_fail", "endpoint_fails"}))
def test_what_the_remedy_would_bring_is_worked_out(rule: str) -> None:
    prediction = the(rule, CASES[rule]).prediction
    assert prediction is not None
    assert prediction.is_better
    assert prediction.then != prediction.now
    assert prediction.unit == UNITS[prediction.metric]
    assert prediction.basis


@pytest.mark.parametrize("snapshot", NOT_TOO_LARGE.values(), ids=NOT_TOO_LARGE)
def test_a_limit_of_tokens_is_not_blamed_on_max_tokens_that_are_right(snapshot: Snapshot) -> None:
    assert [finding.rule for finding in analyze(snapshot).bottlenecks] == ["rate_limit_sets_the_pace"]


def test_a_report_can_be_read() -> None:
    lines = str(analyze(SMALL_CACHE)).splitlines()
    assert lines[0] == "[high] 10% of 10000 lookups were hits, 4000 entries had to make room"
    assert lines[2] == "  remedy:   CacheConfig(max_entries=1000 -> 4000) (effort: low)"
    assert lines[3].startswith("  would be: hit_rate 10.0% -> 59.0%; ")
    assert str(analyze(HEALTHY)) == "nothing is known to hold it back"


@pytest.mark.parametrize("snapshot", CASES.values(), ids=CASES)
def test_a_remedy_that_changes_a_number_really_changes_it(snapshot: Snapshot) -> None:
    for before, after in re.findall(r"(\d+) -> (\d+)", analyze(snapshot).bottlenecks[0].remedy):
        assert before != after


def test_places_follow_little_s_law() -> None:
    # ten places, three seconds of waiting for each second of service: forty requests were inside
    assert the("requests_wait", LONG_QUEUE).remedy == "EngineConfig(max_concurrency=10 -> 40)"


def test_what_waits_now_counts_when_places_are_reckoned() -> None:
    assert the("engine_is_saturated", SATURATED).remedy == "EngineConfig(max_concurrency=10 -> 40)"
    without_figures = replace(SATURATED, latency=EMPTY.latency)
    assert the("engine_is_saturated", without_figures).remedy == "EngineConfig(max_concurrency=10 -> 40)"


def test_places_are_raised_at_most_tenfold_at_a_time() -> None:
    remedy = the("engine_is_saturated", with_router(SATURATED, backlog=19_000)).remedy
    assert remedy == "EngineConfig(max_concurrency=10 -> 100)"


def test_endpoints_whose_own_limits_stand_in_the_way_are_raised_too() -> None:
    both = with_endpoints(SATURATED, endpoint("a", in_flight=4, max_concurrency=4), endpoint("b", max_concurrency=6))
    remedy = the("engine_is_saturated", both).remedy
    assert remedy == "EngineConfig(max_concurrency=10 -> 40) and Endpoint(name='b', max_concurrency=6 -> 36)"


def test_a_queue_before_endpoints_with_a_smaller_limit_is_no_reason_to_raise_the_engine_s() -> None:
    narrow = with_endpoints(
        with_router(LONG_QUEUE, max_concurrency=100, concurrency_cap=100), endpoint(max_concurrency=5)
    )
    assert the("requests_wait", narrow).remedy == "Endpoint(name='a', max_concurrency=5 -> 20)"


def test_where_the_server_sets_the_pace_no_setting_is_raised() -> None:
    used_up = endpoint("a", rate_limits={"requests": RateLimitSnapshot(per_minute=1000.0, remaining=3.0)})
    report = analyze(with_endpoints(LONG_QUEUE, used_up))
    assert [finding.rule for finding in report.bottlenecks] == ["rate_limit_sets_the_pace"]
    assert report.recommendations[0].startswith("ask the provider of 'a' for ")
    assert report.bottlenecks[0].settings == ()
    narrow = endpoint("a", concurrency_limit=7, is_limit_found=True)
    remedy = the("requests_wait", with_endpoints(LONG_QUEUE, narrow)).remedy
    assert remedy.startswith("endpoint 'a' works on 7 calls at once, as its answers show: ")
    growing = endpoint("a", concurrency_limit=7)
    assert "max_concurrency" in the("requests_wait", with_endpoints(LONG_QUEUE, growing)).remedy


def test_the_highest_concurrency_has_another_remedy() -> None:
    most = with_router(LONG_QUEUE, max_concurrency=100_000, concurrency_cap=100_000)
    assert "second process" in the("requests_wait", most).remedy


def test_an_endpoint_is_raised_by_no_more_than_the_places_that_are_free() -> None:
    finding = the("endpoint_is_saturated", OWN_LIMIT)
    assert finding.remedy == "Endpoint(name='a', max_concurrency=4 -> 10)"
    assert finding.evidence["free_places"] == 6.0


@pytest.mark.parametrize("snapshot", [SATURATED, OWN_LIMIT, LONG_QUEUE])
def test_a_provider_that_refuses_calls_is_not_sent_more_at_once(snapshot: Snapshot) -> None:
    refusing = replace(failing(100, rate_limited=9), in_flight=10, max_concurrency=10)
    report = analyze(with_endpoints(snapshot, refusing))
    assert not any(re.search(r"max_concurrency=(\d+) ->", remedy) for remedy in report.recommendations)


def test_slow_calls_say_how_much_less_text_would_be_fast_enough() -> None:
    finding = the("calls_are_slow", SLOW_CALLS)
    assert "100 -> 10 tokens a call" in finding.remedy  # p99 of 8 s, of which 7.8 are 100 tokens; aim 1 s
    assert finding.evidence["response_p99_s"] == 8.0


def test_a_cache_that_fills_the_memory_is_given_what_brings_it_to_three_quarters() -> None:
    finding = the("cache_fills_memory", LARGE_CACHE)
    (wanted,) = re.findall(rf"max_bytes={400 * MIB} -> (\d+)", finding.remedy)
    freed = 1.25 * (300 * MIB - int(wanted))
    assert 560 * MIB - freed == pytest.approx(0.75 * 600 * MIB, abs=MIB)


def test_memory_that_is_not_the_engine_s_is_told_apart() -> None:
    finding = the("memory_is_not_reclaimable", NOT_RECLAIMABLE)
    assert finding.evidence["others_bytes"] == (580 - 100 - 9) * MIB
    assert finding.severity == "high"
    above = with_memory(NOT_RECLAIMABLE, rss_bytes=601 * MIB)
    assert the("memory_is_not_reclaimable", above).severity == "critical"


def test_a_cap_for_want_of_memory_says_how_much_is_wanting() -> None:
    busy = with_memory(SLOWED, rss_bytes=550 * MIB)
    (wanted,) = re.findall(r"memory_limit_bytes=\d+ -> (\d+)", the("memory_slows_the_engine", busy).remedy)
    per_call = (550 - 100 - 9 * 1.25) * MIB / 5
    assert 0 <= int(wanted) - (600 * MIB + 5 * per_call) < 100e6  # to two digits


def test_a_cache_is_raised_to_where_its_curve_has_flattened() -> None:
    assert the("cache_is_too_small", SMALL_CACHE).remedy == "CacheConfig(max_entries=1000 -> 4000)"


def test_what_earlier_runs_have_spent_of_a_budget_is_not_left() -> None:
    priced = replace(RESERVED.router.endpoints["a"], rate_limits={}, usd_per_mtok={"input": 1.0, "output": 10.0})
    rich = with_router(with_endpoints(RESERVED, priced), budget_usd=10.0, budget_spent_usd=0.5)
    assert "max_tokens_are_too_large" not in {finding.rule for finding in analyze(rich).bottlenecks}
    # a call sets aside $0.01 for its answer and $0.0004 for its prompt: what is left holds four of ten at once
    finding = the("max_tokens_are_too_large", with_router(rich, budget_spent_usd=9.955))
    assert finding.kind == "cost"
    assert "hold 4 calls at once" in finding.what
    assert finding.remedy == "Request(max_tokens=1000 -> 200)"


def test_lookups_that_may_not_be_answered_by_the_cache_gain_nothing() -> None:
    half = replace(SMALL_CACHE.cache.curves, lookups=5000)  # the others were refreshes: of these, a fifth were hits
    prediction = the("cache_is_too_small", with_cache(SMALL_CACHE, curves=half)).prediction
    assert prediction is not None
    assert prediction.then == pytest.approx(0.1 + (0.59 - 0.2) / 2)


def test_a_cache_that_is_full_by_bytes_is_raised_by_them() -> None:
    by_bytes = with_cache(SMALL_CACHE, max_entries=3000, max_bytes=10 * MIB)
    finding = the("cache_is_too_small", by_bytes)
    assert finding.remedy == (
        f"CacheConfig(max_entries=3000 -> 4000) and CacheConfig(max_bytes={10 * MIB} -> 42000000)"
    )
    assert finding.prediction is not None
    assert finding.prediction.then == pytest.approx(0.59)


def test_a_larger_cache_that_needs_more_bytes_gets_both() -> None:
    both = with_cache(SMALL_CACHE, max_bytes=11 * MIB)
    assert [setting.name for setting in the("cache_is_too_small", both).settings] == ["max_entries", "max_bytes"]


def test_a_cache_is_raised_no_further_than_memory_has_room_for() -> None:
    # 450 MiB are aimed at, 440 resident: room for 10 MiB, which 800 entries of 10 kiB at 1.25 resident bytes take
    finding = the("cache_is_too_small", with_memory(SMALL_CACHE, rss_bytes=440 * MIB))
    assert finding.remedy == "CacheConfig(max_entries=1000 -> 1800)"
    assert finding.prediction is not None
    assert finding.prediction.then == pytest.approx(0.1 + 0.15 * log2(1.8))


def test_the_curve_of_another_policy_is_said_to_be_a_lower_bound() -> None:
    prediction = the("cache_is_too_small", with_cache(SMALL_CACHE, policy="cost")).prediction
    assert prediction is not None
    assert "a lower bound" in prediction.basis


def test_a_short_ttl_is_raised_to_where_its_curve_has_flattened() -> None:
    finding = the("entries_expire_too_soon", SHORT_TTL)
    assert finding.remedy == "CacheConfig(ttl_s=60 -> 120)"
    assert finding.prediction is not None
    assert finding.prediction.then == pytest.approx(0.8)


def test_a_ttl_that_nothing_is_long_enough_for_is_given_up() -> None:
    curves = replace(TTLS, ttl=(until(60.0, 0.6), until(600.0, 0.6), until(None, 0.9)))
    assert the("entries_expire_too_soon", with_cache(SHORT_TTL, curves=curves)).remedy == (
        "CacheConfig(ttl_s=60 -> None)"
    )


def test_the_failing_endpoint_and_its_fault_are_named() -> None:
    finding = the("endpoint_fails", ONE_FAILS)
    assert "'a'" in finding.what
    assert "rate_limited" in finding.what
    assert finding.remedy == "Endpoint(name='a', max_concurrency=None -> 5)"
    assert finding.evidence["rate_limited"] == 50.0


def test_an_endpoint_that_never_answered_is_found_after_three_calls() -> None:
    finding = the("endpoint_fails", with_endpoints(HEALTHY, failing(3, failed=3), LOCAL))
    assert (finding.severity, finding.what) == ("critical", "endpoint 'a' failed 100% of 3 calls, most often failed")


@pytest.mark.parametrize("fault", ["rate_limited", "overloaded"])
def test_an_endpoint_that_refuses_every_call_is_not_helped_by_fewer_places(fault: str) -> None:
    remedy = the("endpoint_fails", with_endpoints(HEALTHY, failing(20, **{fault: 20}))).remedy
    assert "max_concurrency" not in remedy
    assert "check the rate limit and the quota of endpoint 'a'" in remedy


def test_more_tokens_are_advised_only_for_answers_that_are_cut() -> None:
    few = replace(HEALTHY, counters=replace(HEALTHY.counters, output_tokens=20 * 100))
    prose = replace(failing(20, output_invalid=20), last_message="a: the answer is no JSON")
    assert "max_tokens" not in the("endpoint_fails", with_endpoints(few, prose)).remedy
    cut = replace(prose, last_message="a: output_schema: the answer was cut at max_tokens; raise max_tokens")
    assert "Request(max_tokens=200)" in the("endpoint_fails", with_endpoints(few, cut)).remedy


def test_an_endpoint_that_is_out_for_good_is_critical_after_one_call() -> None:
    snapshot = with_endpoints(HEALTHY, replace(failing(1, fatal=1), state="fatal"), endpoint("b", attempts=500))
    finding = the("endpoint_fails", snapshot)
    assert finding.severity == "critical"
    assert "key" in finding.remedy


def test_requests_that_fail_without_a_failed_call_have_a_remedy_too() -> None:
    snapshot = replace(
        with_endpoints(HEALTHY, endpoint(attempts=90)), counters=replace(HEALTHY.counters, succeeded=90, failed=10)
    )
    assert "errors of the requests" in the("requests_fail", snapshot).remedy


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_has_a_remedy_that_names_what_to_do(fault: Fault) -> None:
    finding = the("endpoint_fails", with_endpoints(HEALTHY, failing(100, **{fault.value: 50})))
    assert fault.value in finding.what
    assert len(finding.remedy) > 20


def test_the_remedy_for_answers_that_are_too_long_names_their_bound() -> None:
    finding = the("endpoint_fails", with_endpoints(HEALTHY, failing(100, too_large=50)))
    assert "max_response_bytes" in finding.remedy


def test_remedies_are_for_faults_that_exist() -> None:
    assert set(REMEDIES) == {fault.value for fault in Fault}


def test_the_most_severe_finding_comes_first() -> None:
    many = with_memory(with_latency(SATURATED, **SLOW_CALLS.latency), rss_bytes=700 * MIB)
    found = [finding.severity for finding in analyze(many).bottlenecks]
    assert found == sorted(found, key=SEVERITIES.index, reverse=True)
    assert found[0] == "critical"
    assert len(found) == 3
    assert len(analyze(many).recommendations) == 3


@pytest.mark.parametrize(
    ("p99_s", "severity"), [(0.99, None), (1.0, "low"), (5.0, "medium"), (20.0, "high"), (61.0, "critical")]
)
def test_severity_follows_the_thresholds(p99_s: float, severity: str | None) -> None:
    assert severity_of(p99_s, DEFAULT_THRESHOLDS.response_p99_s) == severity
    found = analyze(with_latency(HEALTHY, response=took(100, p99_s, p99_s), service=took(100, p99_s, p99_s)))
    assert [finding.severity for finding in found.bottlenecks] == ([severity] if severity else [])
