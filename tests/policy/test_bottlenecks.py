from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, replace

import pytest

from synth_actors.policy.bottlenecks import RULES, analyze
from synth_actors.policy.rules.errors import REMEDIES
from synth_actors.policy.rules.thresholds import DEFAULT_THRESHOLDS, MIB, SEVERITIES, Thresholds, severity_of
from synth_actors.providers.base import Fault
from synth_actors.snapshot import (
    SERIES,
    CacheSnapshot,
    Counters,
    EndpointSnapshot,
    Finding,
    LatencySummary,
    MemorySnapshot,
    RateLimitSnapshot,
    RouterSnapshot,
    Snapshot,
)


def took(count: int, mean_s: float, p99_s: float) -> LatencySummary:
    return LatencySummary(
        count=count, mean_s=mean_s, p50_s=mean_s, p95_s=p99_s, p99_s=p99_s, p999_s=p99_s, max_s=1.5 * p99_s
    )


EMPTY = Snapshot(
    taken_at_s=0.0,
    wall_time=0.0,
    latency=dict.fromkeys(SERIES, LatencySummary()),
    cache=CacheSnapshot(max_entries=1000, max_bytes=128 * MIB, ttl_s=3600.0),
    router=RouterSnapshot(
        max_concurrency=10, concurrency_cap=10, endpoints={"a": EndpointSnapshot(name="a", model="m")}
    ),
    memory=MemorySnapshot(limit_bytes=600 * MIB, rss_at_open_bytes=100 * MIB, rss_bytes=100 * MIB),
    counters=Counters(),
    mailboxes={},
)

HEALTHY = replace(
    EMPTY,
    taken_at_s=100.0,
    latency={
        "response": took(5000, 0.3, 0.9),
        "queue": took(5000, 0.01, 0.1),
        "service": took(5000, 0.29, 0.8),
        "ttft": LatencySummary(),
        "cached_response": took(5000, 0.00001, 0.0001),
    },
    cache=replace(EMPTY.cache, hits=5000, misses=5000, stored=900, entries=900, accounted_bytes=9 * MIB, stale=100),
    router=replace(
        EMPTY.router,
        in_flight=9,
        backlog=2,
        endpoints={
            "a": EndpointSnapshot(
                name="a", model="m", in_flight=9, attempts=5000, successes=4980, failures={"overloaded": 20}
            )
        },
    ),
    memory=replace(EMPTY.memory, rss_bytes=300 * MIB),
    counters=Counters(submitted=10_010, succeeded=9_990, failed=10, waiting=10, paid_calls=5000, output_tokens=500_000),
)


def with_latency(snapshot: Snapshot, **series: LatencySummary) -> Snapshot:
    return replace(snapshot, latency={**snapshot.latency, **series})


def with_router(snapshot: Snapshot, **fields: object) -> Snapshot:
    return replace(snapshot, router=replace(snapshot.router, **fields))  # type: ignore[arg-type]


def with_endpoints(snapshot: Snapshot, *endpoints: EndpointSnapshot) -> Snapshot:
    return with_router(snapshot, endpoints={endpoint.name: endpoint for endpoint in endpoints})


def with_cache(snapshot: Snapshot, **fields: object) -> Snapshot:
    return replace(snapshot, cache=replace(snapshot.cache, **fields))  # type: ignore[arg-type]


def with_memory(snapshot: Snapshot, **fields: object) -> Snapshot:
    return replace(snapshot, memory=replace(snapshot.memory, **fields))  # type: ignore[arg-type]


def endpoint(name: str = "a", **fields: object) -> EndpointSnapshot:
    return replace(EndpointSnapshot(name=name, model="m"), **fields)  # type: ignore[arg-type]


def failing(attempts: int, **failures: int) -> EndpointSnapshot:
    return endpoint(attempts=attempts, successes=attempts - sum(failures.values()), failures=failures)


LOCAL = endpoint("local", model="local", attempts=500, successes=500)
SLOW_CALLS = with_latency(HEALTHY, response=took(500, 3.0, 8.0), service=took(500, 2.9, 7.8))
LONG_QUEUE = with_latency(HEALTHY, response=took(500, 4.0, 8.0), service=took(500, 1.0, 1.5), queue=took(500, 3.0, 7.0))
SATURATED = with_router(HEALTHY, in_flight=10, backlog=30)
OWN_LIMIT = with_endpoints(
    with_router(HEALTHY, in_flight=4, backlog=30), endpoint("a", in_flight=4, max_concurrency=4), endpoint("b")
)
TIGHT = with_memory(HEALTHY, rss_bytes=560 * MIB)
LARGE_CACHE = with_cache(TIGHT, accounted_bytes=300 * MIB, max_bytes=400 * MIB)
NOT_RECLAIMABLE = with_memory(HEALTHY, rss_bytes=580 * MIB, state="not_reclaimable")
SLOWED = with_memory(with_router(HEALTHY, concurrency_cap=5, in_flight=5, backlog=9), state="slowed")
SMALL_CACHE = with_cache(
    HEALTHY, hits=1000, misses=9000, stored=9000, entries=1000, max_entries=1000, evicted_for_space=4000, stale=0
)
SHORT_TTL = with_cache(HEALTHY, hits=6000, misses=4000, stale=3000, ttl_s=60.0)
MANY_FAIL = replace(
    with_endpoints(HEALTHY, failing(200, timed_out=15)), counters=replace(HEALTHY.counters, succeeded=90, failed=10)
)
ONE_FAILS = with_endpoints(HEALTHY, endpoint("b", attempts=900, successes=900), failing(100, rate_limited=50))

CASES: Mapping[str, Snapshot] = {
    "calls_are_slow": SLOW_CALLS,
    "requests_wait": LONG_QUEUE,
    "engine_is_saturated": SATURATED,
    "endpoint_is_saturated": OWN_LIMIT,
    "memory_is_tight": TIGHT,
    "cache_fills_memory": LARGE_CACHE,
    "memory_is_not_reclaimable": NOT_RECLAIMABLE,
    "memory_slows_the_engine": SLOWED,
    "cache_is_too_small": SMALL_CACHE,
    "entries_expire_too_soon": SHORT_TTL,
    "requests_fail": MANY_FAIL,
    "endpoint_fails": ONE_FAILS,
}

NEAR_MISSES: Mapping[str, Snapshot] = {
    "calls that are just fast enough": with_latency(SLOW_CALLS, response=took(500, 0.3, 0.999)),
    "slow, but only a few": with_latency(SLOW_CALLS, response=took(19, 3.0, 8.0)),
    "a queue that is just short enough": with_latency(LONG_QUEUE, response=took(500, 0.5, 0.999)),
    "a queue that only memory keeps long": with_router(LONG_QUEUE, backlog=0, concurrency_cap=9),
    "full without a backlog": with_router(SATURATED, backlog=2),
    "a backlog with places left": with_router(SATURATED, in_flight=9),
    "an endpoint just below its own limit": with_endpoints(OWN_LIMIT, endpoint("a", in_flight=3, max_concurrency=4)),
    "an endpoint at its own limit and nobody waits": with_router(OWN_LIMIT, backlog=2),
    "memory just below the first mark": with_memory(HEALTHY, rss_bytes=527 * MIB),
    "a large cache in little memory": with_cache(HEALTHY, accounted_bytes=150 * MIB),
    "a lowered cap that nobody feels": with_router(SLOWED, backlog=0),
    "a cache that hits often enough": with_cache(SMALL_CACHE, hits=9001),
    "a cache that evicts little": with_cache(SMALL_CACHE, evicted_for_space=899),
    "requests that never repeat": with_cache(SMALL_CACHE, hits=40, misses=9000),
    "a cache that was hardly asked": with_cache(SMALL_CACHE, hits=20, misses=179),
    "a cache that is switched off": with_cache(SMALL_CACHE, enabled=False, hits=0, misses=10_000),
    "few stale entries": with_cache(SHORT_TTL, stale=999),
    "stale entries that something other than a ttl made so": with_cache(SHORT_TTL, ttl_s=None),
    "failures below one in a hundred": replace(HEALTHY, counters=replace(HEALTHY.counters, succeeded=9901, failed=99)),
    "the first few requests failed": replace(HEALTHY, counters=Counters(submitted=19, succeeded=0, failed=19)),
    "an endpoint that fails below one in ten": with_endpoints(HEALTHY, failing(1000, failed=99)),
    "an endpoint that failed the first two": with_endpoints(HEALTHY, failing(2, failed=2)),
    "an endpoint that failed all but one of the first few": with_endpoints(HEALTHY, failing(19, failed=18)),
    "calls that we stopped ourselves": with_endpoints(HEALTHY, failing(100, abandoned=100)),
    "slow answers that were computed here": with_endpoints(SLOW_CALLS, LOCAL),
    "a queue before what computes here": with_endpoints(LONG_QUEUE, LOCAL),
    "full of what computes here": with_endpoints(SATURATED, LOCAL),
    "full of what computes here, and nothing is done yet": with_endpoints(SATURATED, endpoint(model="local")),
}


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
    assert finding.kind in ("latency", "throughput", "memory", "cache", "errors")
    assert finding.severity in SEVERITIES
    assert finding.what
    assert finding.evidence
    assert all(type(figure) is float for figure in finding.evidence.values())
    json.dumps(asdict(finding))
    assert "{" not in finding.remedy


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
    remedy = the("requests_wait", with_endpoints(LONG_QUEUE, used_up)).remedy
    assert remedy.startswith("endpoint 'a' uses all of its 1000 requests a minute: ask the provider for more")
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
    assert "100 -> 12 tokens a call" in finding.remedy  # p99 of 8 s, aim 1 s
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
    assert int(wanted) == pytest.approx(600 * MIB + 5 * per_call, abs=1)


def test_a_cache_is_raised_at_the_bound_that_it_has_reached() -> None:
    assert the("cache_is_too_small", SMALL_CACHE).remedy == "CacheConfig(max_entries=1000 -> 5000)"
    by_bytes = with_cache(SMALL_CACHE, max_entries=100_000, accounted_bytes=127 * MIB)
    assert the("cache_is_too_small", by_bytes).remedy == f"CacheConfig(max_bytes={128 * MIB} -> {5 * 128 * MIB})"


def test_a_short_ttl_is_raised_by_what_it_loses() -> None:
    assert the("entries_expire_too_soon", SHORT_TTL).remedy == "CacheConfig(ttl_s=60 -> 120)"
    worse = with_cache(SHORT_TTL, hits=1000, misses=9000, stale=4000)
    assert the("entries_expire_too_soon", worse).remedy == "CacheConfig(ttl_s=60 -> 300)"


def test_the_failing_endpoint_and_its_fault_are_named() -> None:
    finding = the("endpoint_fails", ONE_FAILS)
    assert "'a'" in finding.what
    assert "rate_limited" in finding.what
    assert finding.remedy == "Endpoint(name='a', max_concurrency=10 -> 5)"
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
    prose = replace(failing(20, output_invalid=20), last_message="a: the answer is no JSON")
    assert "max_tokens" not in the("endpoint_fails", with_endpoints(HEALTHY, prose)).remedy
    cut = replace(prose, last_message="a: output_schema: the answer was cut at max_tokens; raise max_tokens")
    assert "Request(max_tokens=200)" in the("endpoint_fails", with_endpoints(HEALTHY, cut)).remedy


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


def test_other_thresholds_find_other_things() -> None:
    patient = Thresholds(response_p99_s=(10.0, 20.0, 40.0, 80.0))
    assert analyze(SLOW_CALLS, patient).bottlenecks == ()
    assert analyze(HEALTHY, Thresholds(hit_rate=0.9)).bottlenecks == ()  # nothing was evicted
