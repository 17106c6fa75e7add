"""Little's law and the limits per minute, on figures that can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest

from synth_actors.policy.throughput import (
    answers_per_s,
    ceiling_of,
    ceiling_per_s,
    inside,
    mean_backlog,
    mean_in_flight,
    most_at_once,
    need_of_answer,
    place_s,
    places,
    service_s,
)
from synth_actors.snapshot import EndpointSnapshot, RateLimitSnapshot
from tests.policy.bottleneck_cases import (
    EMPTY,
    HEALTHY,
    endpoint,
    served,
    took,
    with_endpoints,
    with_latency,
    with_router,
    with_series,
)

CALLED = endpoint(
    attempts=110,
    successes=100,
    failures={"rate_limited": 6, "failed": 4},
    input_tokens=1500,
    cache_write_tokens=500,
    output_tokens=3000,
    max_tokens_asked=50_000,
)


def limited(one: EndpointSnapshot, **per_minute: float) -> EndpointSnapshot:
    limits = {kind: RateLimitSnapshot(per_minute=most, remaining=most) for kind, most in per_minute.items()}
    return replace(one, rate_limits=limits)


def test_a_place_is_held_for_an_answer_as_long_as_all_its_attempts_took() -> None:
    snapshot = with_series(with_endpoints(HEALTHY, CALLED), served("a", 100, 2.0), served("a", 4, 5.0, "failed"))
    assert place_s(snapshot) == pytest.approx((100 * 2.0 + 4 * 5.0) / 100)
    assert answers_per_s(snapshot, 11) == pytest.approx(5.0)


def test_only_attempts_hold_places_and_each_that_of_its_endpoint() -> None:
    snapshot = with_series(
        HEALTHY, served("a", 10, 2.0), served("b", 5, 3.0), served("a", 10, 7.0, series="ttft"), served("", 9, 9.0, "x")
    )
    assert service_s(snapshot, "a") == pytest.approx(20.0)
    assert service_s(snapshot) == pytest.approx(20.0 + 15.0 + 81.0)


def test_a_call_under_way_has_not_been_needed_for_an_answer_so_far() -> None:
    assert need_of_answer(replace(CALLED, output_metering="meter", in_flight=2), "requests") == pytest.approx(1.02)


def test_without_series_a_place_is_held_as_long_as_a_call_takes() -> None:
    assert place_s(HEALTHY) == HEALTHY.latency["service"].mean_s
    assert place_s(EMPTY) == 0.0
    assert answers_per_s(EMPTY, 10) == 0.0


@pytest.mark.parametrize(
    ("metering", "kind", "need"),
    [
        ("meter", "requests", 1.04),  # 104 calls were let in for 100 answers
        ("meter", "input_tokens", 20.0),
        ("meter", "output_tokens", 30.0),
        ("meter", "tokens", 50.0),
        ("reserve", "output_tokens", 520.0),
        ("reserve", "tokens", 540.0),
        ("reserve", "nothing known", 0.0),
    ],
)
def test_an_answer_takes_off_a_limit_what_its_calls_did(metering: str, kind: str, need: float) -> None:
    assert need_of_answer(replace(CALLED, output_metering=metering), kind) == pytest.approx(need)


def test_the_tightest_limit_of_an_endpoint_is_its_ceiling() -> None:
    both = limited(CALLED, requests=624.0, output_tokens=3600.0)
    assert ceiling_of(both) == pytest.approx(3600 / 60 / 30)
    assert ceiling_of(limited(endpoint(), requests=60.0)) == inf  # nothing was answered: nobody knows what one takes
    assert ceiling_of(CALLED) == inf


def test_ceilings_of_endpoints_add_up_and_one_without_a_limit_has_none() -> None:
    one = limited(endpoint(attempts=10, successes=10), requests=60.0)
    assert ceiling_per_s([one, one]) == pytest.approx(2.0)
    assert ceiling_per_s([one, replace(one, state="fatal")]) == pytest.approx(1.0)
    assert ceiling_per_s([one, CALLED]) == inf
    assert ceiling_per_s([]) == inf


def test_a_limit_bounds_what_busy_places_would_answer() -> None:
    one = limited(endpoint(attempts=10, successes=10), requests=60.0)
    snapshot = with_endpoints(with_latency(HEALTHY, service=took(10, 0.5, 0.5)), one)
    assert answers_per_s(snapshot, 10) == pytest.approx(1.0)
    raised = {"a": limited(one, requests=600.0)}
    assert answers_per_s(snapshot, 10, raised) == pytest.approx(10.0)
    assert answers_per_s(snapshot, 30, raised) == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("own", "found", "is_found", "most"),
    [(None, None, False, inf), (7, None, False, 7), (7, 5, True, 5), (7, 5, False, 7), (None, 5, True, 5)],
)
def test_a_limit_that_may_still_rise_is_none(own: int | None, found: int | None, is_found: bool, most: float) -> None:
    assert most_at_once(endpoint(max_concurrency=own, concurrency_limit=found, is_limit_found=is_found)) == most


def test_places_are_the_fewest_of_engine_memory_and_endpoints() -> None:
    assert places(HEALTHY) == 10
    assert places(with_router(HEALTHY, concurrency_cap=6)) == 6
    assert places(with_endpoints(HEALTHY, endpoint("a", max_concurrency=3), endpoint("b", max_concurrency=2))) == 5
    dead = replace(endpoint("b", max_concurrency=2), state="fatal")
    assert places(with_endpoints(HEALTHY, endpoint("a", max_concurrency=3), dead)) == 3


def test_means_are_over_time_where_time_is_recorded() -> None:
    recorded = with_router(HEALTHY, busy_s=450.0, backlog_s=700.0)
    assert (mean_in_flight(recorded), mean_backlog(recorded)) == (4.5, 7.0)
    assert (mean_in_flight(HEALTHY), mean_backlog(HEALTHY)) == (9.0, 2.0)


def test_what_is_inside_follows_from_waits_where_no_time_is_recorded() -> None:
    waiting = with_latency(HEALTHY, queue=took(100, 6.0, 6.0), service=took(100, 2.0, 2.0))
    assert inside(waiting, 10) == pytest.approx(40.0)
    assert inside(
        with_router(waiting, backlog_s=900.0, saturated_backlog_s=100.0, saturated_s=50.0), 10
    ) == pytest.approx(12.0)
    assert inside(with_router(EMPTY, backlog=5), 10) == 15.0
