"""Where does each severity begin, and what may a user set?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from synth_actors import ConfigError, Snapshot
from synth_actors.policy.bottlenecks import RULES, BottleneckAnalyzer, analyze
from synth_actors.policy.rules.thresholds import DEFAULT_THRESHOLDS, MIB, SEVERITIES, Thresholds, severity_below
from synth_actors.snapshot import CurvesSnapshot, LoopSnapshot, RateLimitSnapshot
from tests.policy.bottleneck_cases import (
    ALWAYS_NEW,
    EMPTY,
    FLAKY,
    HEALTHY,
    LEAK,
    MUCH_OF_THE_TIME,
    ONE_IS_SLOW,
    OTHERWISE_FORMATTED,
    OWN_LIMIT,
    RATE_LIMITED,
    RESERVED,
    SATURATED,
    SHORT_TTL,
    SLOW_CALLS,
    SMALL_CACHE,
    STORM,
    TTLS,
    WRITES_IN_VAIN,
    at,
    endpoint,
    failing,
    served,
    took,
    until,
    with_cache,
    with_endpoints,
    with_latency,
    with_memory,
    with_router,
    with_series,
    written,
)

BY_NAME = {rule.__name__: rule for rule in RULES}
JUST_BELOW = 1 - 1e-6


def slow(p99_s: float) -> Snapshot:
    return with_latency(SLOW_CALLS, response=took(500, p99_s, p99_s), service=took(500, p99_s, p99_s))


def waiting_now(ratio: float) -> Snapshot:
    return with_router(SATURATED, in_flight=1000, max_concurrency=1000, concurrency_cap=1000, backlog=int(1000 * ratio))


def waiting_on_average(ratio: float) -> Snapshot:
    return with_router(MUCH_OF_THE_TIME, saturated_backlog_s=ratio * 10 * 100.0)


def at_its_own_limit(ratio: float) -> Snapshot:
    full = endpoint("a", in_flight=400, max_concurrency=400)
    router = with_router(OWN_LIMIT, in_flight=400, max_concurrency=1000, concurrency_cap=1000)
    return with_endpoints(with_router(router, backlog=int(400 * ratio)), full, endpoint("b"))


def limited(share: float) -> Snapshot:
    limit = RateLimitSnapshot(per_minute=300.0, remaining=200.0)
    one = endpoint(attempts=500, successes=500, rate_limits={"requests": limit}, rate_limited_s=100 * share)
    return with_endpoints(RATE_LIMITED, one)


def reserved(ratio: float) -> Snapshot:
    one = RESERVED.router.endpoints["a"]
    return with_endpoints(RESERVED, replace(one, max_tokens_asked=round(160 * ratio * one.successes)))


def connecting(share: float) -> Snapshot:
    return with_series(ALWAYS_NEW, served("a", 1000, 0.4), served("a", 1000, 0.4 * share, series="connect"))


def blocked(wait_s: float) -> Snapshot:
    return replace(HEALTHY, loop=LoopSnapshot(looks=100, late=20, late_s=20 * wait_s, elapsed_s=100.0))


def one_slower(ratio: float) -> Snapshot:
    return with_series(ONE_IS_SLOW, served("a", 600, 0.25), served("b", 400, 0.25 * ratio))


def repeated(ratio: float) -> Snapshot:
    count = round(10_000 * ratio)
    one = endpoint("a", attempts=10_000 + count, successes=10_000, failures={"failed": count})
    return with_endpoints(with_router(STORM, retries=count, retries_by_reason={"failed": count}), one)


def lost_to_failures(share: float) -> Snapshot:
    inside = 10.0 + 1000.0  # ten seconds of failed calls
    router = with_router(FLAKY, busy_s=inside, backlog_s=0.0, closed_backlog_s=inside * share - 10.0, delayed_s=0.0)
    return with_latency(router, response=took(1000, 0.3, 0.9))


def losing(share: float) -> Snapshot:
    return with_endpoints(WRITES_IN_VAIN, replace(written(), cost_usd=1.8 / share))


def resident(share: float) -> Snapshot:
    return with_memory(HEALTHY, limit_bytes=1000 * MIB, rss_bytes=round(share * 1000 * MIB))


def hours_left(hours: float) -> Snapshot:
    return with_memory(LEAK, growth_bytes_per_s=300 * MIB / (hours * 3600))


def larger_gains(gain: float) -> Snapshot:
    curves = replace(SMALL_CACHE.cache.curves, size=(at(1000, 0.0), at(2000, gain)))
    return with_cache(SMALL_CACHE, hits=0, misses=10_000, curves=curves)


def longer_gains(gain: float) -> Snapshot:
    curves = replace(TTLS, ttl=(until(60.0, 0.0), until(120.0, gain)))
    return with_cache(SHORT_TTL, hits=0, misses=10_000, curves=curves)


def formatted(share: float) -> Snapshot:
    curves = CurvesSnapshot(format_checked=1000, format_repeats=int(1000 * share))
    return with_cache(OTHERWISE_FORMATTED, curves=curves)


def failed(share: float) -> Snapshot:
    counters = replace(HEALTHY.counters, succeeded=10_000 - round(10_000 * share), failed=round(10_000 * share))
    return replace(HEALTHY, counters=counters)


def failed_calls(share: float) -> Snapshot:
    return with_endpoints(HEALTHY, failing(10_000, output_invalid=int(10_000 * share)))


EDGES: Mapping[str, tuple[str, Callable[[float], Snapshot]]] = {
    "calls_are_slow": ("response_p99_s", slow),
    "engine_is_saturated": ("backlog_ratio", waiting_now),
    "engine_is_saturated ": ("backlog_ratio", waiting_on_average),
    "endpoint_is_saturated": ("backlog_ratio", at_its_own_limit),
    "rate_limit_sets_the_pace": ("rate_limited_share", limited),
    "max_tokens_are_too_large": ("max_tokens_ratio", reserved),
    "connecting_takes_long": ("connecting_share", connecting),
    "loop_is_blocked": ("loop_wait_s", blocked),
    "endpoint_is_slow": ("slow_endpoint_ratio", one_slower),
    "calls_are_repeated": ("retry_ratio", repeated),
    "retries_wait": ("retry_wait_share", lost_to_failures),
    "prompt_cache_costs_more": ("prompt_cache_loss_share", losing),
    "memory_is_tight": ("memory_share", resident),
    "memory_leaks": ("leak_hours_left", hours_left),
    "cache_is_too_small": ("hit_rate_gain", larger_gains),
    "entries_expire_too_soon": ("hit_rate_gain", longer_gains),
    "prompts_differ_in_formatting": ("format_share", formatted),
    "requests_fail": ("failed_share", failed),
    "endpoint_fails": ("failed_attempts", failed_calls),
}
"""By rule: the name of its levels, and a snapshot in which the figure has a given value."""


def severity(rule: str, snapshot: Snapshot) -> str | None:
    """As the rule itself says; in a report it may be part of the finding of another one."""
    finding = BY_NAME[rule](snapshot, DEFAULT_THRESHOLDS)
    return None if finding is None else finding.severity


@pytest.mark.parametrize("step", range(4), ids=SEVERITIES)
@pytest.mark.parametrize("rule", EDGES)
def test_a_severity_begins_at_its_level_and_not_before(rule: str, step: int) -> None:
    name, snapshot_at = EDGES[rule]
    level = getattr(DEFAULT_THRESHOLDS, name)[step]
    less = level / JUST_BELOW if name == "leak_hours_left" else 0.99 * level
    before = SEVERITIES[step - 1] if step else None
    assert severity(rule.strip(), snapshot_at(level * (1 + 1e-9))) == SEVERITIES[step] or name == "leak_hours_left"
    assert severity(rule.strip(), snapshot_at(level * (1 - 1e-9))) == SEVERITIES[step] or name != "leak_hours_left"
    assert severity(rule.strip(), snapshot_at(less)) == before


@pytest.mark.parametrize(("value", "found"), [(73.0, None), (72.0, "low"), (24.0, "medium"), (0.0, "critical")])
def test_levels_that_fall_are_reached_from_above(value: float, found: str | None) -> None:
    assert severity_below(value, DEFAULT_THRESHOLDS.leak_hours_left) == found


# ------------------------------------------------------------------------------------------------ one's own


def test_a_user_s_thresholds_find_other_things() -> None:
    patient = {"response_p99_s": (10.0, 20.0, 40.0, 80.0)}
    assert analyze(SLOW_CALLS, patient).bottlenecks == ()
    assert analyze(SLOW_CALLS, Thresholds(response_p99_s=(0.1, 0.2, 0.3, 8.0))).bottlenecks[0].severity == "critical"
    analyzer = BottleneckAnalyzer(thresholds=patient)
    assert not analyzer.analyze(SLOW_CALLS).detected
    assert repr(analyzer).endswith("thresholds={'response_p99_s': (10.0, 20.0, 40.0, 80.0)}>")


def test_what_a_mapping_leaves_out_keeps_its_default() -> None:
    analyzer = BottleneckAnalyzer({"fewest_lookups": 10})
    assert analyzer.thresholds == Thresholds(fewest_lookups=10)
    assert BottleneckAnalyzer().thresholds == DEFAULT_THRESHOLDS


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"p99": 1.0}, "Thresholds.p99: unknown field; known fields are backlog_ratio, "),
        ({"hit_rate_gan": 1.0}, "did you mean 'hit_rate_gain'?"),
        (
            {"response_p99_s": (5.0, 1.0, 20.0, 60.0)},
            "Thresholds.response_p99_s: (5.0, 1.0, 20.0, 60.0) is not valid: ",
        ),
        (
            {"retry_ratio": (5, 1, 20, 60)},
            "Thresholds.retry_ratio: (5, 1, 20, 60) is not valid: give four levels that r",
        ),
        ({"leak_hours_left": (1.0, 6.0, 24.0, 72.0)}, "give four levels that fall"),
        ({"response_p99_s": (1.0, 2.0)}, "Thresholds.response_p99_s"),
        ({"waiting_share": 1.5}, "less than or equal to 1"),
        ({"waiting_share": -0.1}, "greater than or equal to 0"),
        ({"waiting_share": float("nan")}, "Thresholds.waiting_share"),
        ({"hit_rate_gain": (0.1, 0.2, 0.3, 1.1)}, "Thresholds.hit_rate_gain.3"),
        ({"response_p99_s": (1.0, 2.0, 3.0, float("inf"))}, "Thresholds.response_p99_s.3"),
        ({"waiting_share": "much"}, "Thresholds.waiting_share: 'much' is not valid: "),
        ({"fewest_lookups": True}, "Thresholds.fewest_lookups: True is not valid: "),
        ({"fewest_lookups": -1}, "greater than or equal to 0"),
        ({"largest_raise": 1.0}, "greater than 1"),
        ({"memory_aim": 0.9}, "memory_aim=0.9: give less than the first of memory_share, 0.88"),
        ({"response_p99_s": 1}, "Thresholds.response_p99_s: 1 is not valid: give four levels"),
        ({"response_p99_s": (1, 2, 3)}, "Thresholds.response_p99_s: (1, 2, 3) is not valid: give four levels"),
        ({"response_p99_s": (1, 1, 1, 1)}, "give four levels that rise"),
        ({"leak_hours_left": (9, 9, 9, 9)}, "give four levels that fall"),
        ({3: 3}, "thresholds: 3 is no name; known names are backlog_ratio, "),
        (0.5, "thresholds=0.5: give Thresholds(...), or a mapping"),
    ],
)
def test_thresholds_that_cannot_be_are_refused_by_name(given: object, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        BottleneckAnalyzer(given)  # type: ignore[arg-type]
    assert said in str(raised.value)


def test_nothing_is_found_at_a_level_of_nothing() -> None:
    from_nothing = (0.0, 0.1, 0.2, 0.3)
    good = with_endpoints(HEALTHY, endpoint(attempts=20, successes=20))
    good = with_router(replace(good, counters=replace(good.counters, succeeded=50, failed=0)), backlog=0)
    assert analyze(good, {"failed_attempts": from_nothing, "failed_share": from_nothing}).bottlenecks == ()
    assert analyze(EMPTY, {"backlog_ratio": from_nothing, "loop_wait_s": from_nothing}).bottlenecks == ()


async def not_awaited() -> Snapshot:
    return EMPTY


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (not_awaited, "what engine.metrics() gives without await is no Snapshot; give await engine.metrics()"),
        (lambda: None, "analyze: None is no Snapshot; give await engine.metrics()"),
        (dict, "an object of class dict is no Snapshot"),
    ],
)
def test_what_is_no_snapshot_is_refused(given: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        analyze(given())  # type: ignore[arg-type]
    assert said in str(raised.value)
