"""Is a leak seen, and nothing else taken for one?"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from random import Random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_actors.policy.growth import KNOWN_FROM_S, POINTS_AT_MOST, STRETCHES, Growth, Trend

MIB = 2**20
LOOK_S = 0.25
LEAK_SHARE = 0.7  # from here on the rule speaks of a leak


def growth_of(bytes_at: Callable[[float], float], span_s: float) -> Growth:
    growth = Growth()
    for look in range(int(span_s / LOOK_S) + 1):
        growth.note(look * LOOK_S, bytes_at(look * LOOK_S))
    return growth


def trend_of(bytes_at: Callable[[float], float], span_s: float = 900.0) -> Trend:
    return growth_of(bytes_at, span_s).trend()


@pytest.mark.parametrize("span_s", [120.0, 900.0, 7200.0])
@pytest.mark.parametrize("per_s", [0.02 * MIB, 0.5 * MIB])
def test_a_leak_under_noise_has_its_slope_and_rises_all_the_time(per_s: float, span_s: float) -> None:
    random = Random(1)
    noise = per_s * span_s / 20
    trend = trend_of(lambda now: 100 * MIB + per_s * now + random.uniform(0.0, noise), span_s)
    assert trend.bytes_per_s == pytest.approx(per_s, rel=0.1)
    assert trend.span_s == pytest.approx(span_s * 2 / 3, rel=0.1)
    assert trend.grown_bytes == pytest.approx(per_s * span_s * 2 / 3, rel=0.15)
    assert trend.rising_share >= 0.85


def test_a_leak_below_waves_of_garbage_is_seen() -> None:
    trend = trend_of(lambda now: 0.1 * MIB * now + 80 * MIB * (now % 7.0) / 7.0, 1800.0)
    assert trend.bytes_per_s == pytest.approx(0.1 * MIB, rel=0.1)
    assert trend.rising_share >= LEAK_SHARE


@pytest.mark.parametrize("period_s", [2.0, 7.0, 31.0])
def test_waves_over_a_floor_that_stays_are_no_growth(period_s: float) -> None:
    trend = trend_of(lambda now: 100 * MIB + 50 * MIB * (now % period_s) / period_s)
    assert trend.is_known
    assert abs(trend.bytes_per_s) * trend.span_s <= 2 * MIB
    assert trend.rising_share < LEAK_SHARE


def test_what_does_not_move_does_not_grow() -> None:
    trend = trend_of(lambda now: 7.0 * MIB)
    assert (trend.bytes_per_s, trend.rising_share, trend.grown_bytes) == (0.0, 0.0, 0.0)
    assert trend.is_known


@pytest.mark.parametrize("at_s", [350.0, 600.0, 890.0])
def test_a_step_rises_once(at_s: float) -> None:
    trend = trend_of(lambda now: 300 * MIB if now >= at_s else 100 * MIB)
    assert trend.rising_share <= 2 / 15


@pytest.mark.parametrize("at_s", [350.0, 600.0, 800.0])
def test_a_step_under_noise_is_no_leak(at_s: float) -> None:
    random = Random(2)
    trend = trend_of(lambda now: (300 * MIB if now >= at_s else 100 * MIB) + random.uniform(0.0, MIB))
    assert trend.rising_share < LEAK_SHARE


def test_what_only_fills_up_at_the_beginning_does_not_grow() -> None:
    trend = trend_of(lambda now: 400 * MIB * min(1.0, now / 250.0))
    assert trend.is_known
    assert (trend.bytes_per_s, trend.rising_share, trend.grown_bytes) == (0.0, 0.0, 0.0)


def test_a_walk_by_chance_is_seldom_taken_for_a_leak() -> None:
    taken = 0
    for seed in range(60):
        random, height = Random(seed), [0.0]

        def walk(now: float, random: Random = random, height: list[float] = height) -> float:
            height[0] += random.gauss(0.0, MIB)
            return height[0]

        trend = trend_of(walk, 300.0)
        taken += trend.rising_share >= LEAK_SHARE and trend.bytes_per_s > 0.0
    assert taken <= 9


def test_what_shrinks_has_a_negative_slope() -> None:
    trend = trend_of(lambda now: 1000.0 - now)
    assert trend.bytes_per_s == pytest.approx(-1.0)
    assert trend.rising_share == 0.0
    assert trend.grown_bytes < 0.0


def test_nothing_is_said_of_a_short_run_or_of_few_points() -> None:
    assert Growth().trend() == Trend()
    short = trend_of(lambda now: now * MIB, KNOWN_FROM_S)
    assert short == Trend()
    assert not short.is_known
    seldom = Growth()
    for look in range(STRETCHES):
        seldom.note(look * 100.0, look * MIB)
    assert not seldom.trend().is_known
    for look in range(STRETCHES, 2 * STRETCHES):
        seldom.note(look * 100.0, look * MIB)
    assert seldom.trend().bytes_per_s == pytest.approx(MIB / 100.0)


def test_a_trend_is_of_all_that_has_been_noted_until_then() -> None:
    growth = growth_of(lambda now: 5.0, 900.0)
    assert growth.trend().bytes_per_s == 0.0
    for look in range(8 * 3600):
        growth.note(900.0 + look * LOOK_S, 5.0 + look * LOOK_S)
    assert growth.trend().bytes_per_s == pytest.approx(1.0, rel=0.1)


@given(values=st.lists(st.integers(0, 1000), min_size=1, max_size=1200))
def test_every_point_is_the_lowest_of_its_interval_and_there_are_never_too_many(values: list[int]) -> None:
    growth = Growth()
    for at, value in enumerate(values):
        growth.note(float(at), float(value))
        assert len(growth._points) < POINTS_AT_MOST
    each = growth._notes_per_point
    assert len(growth._points) == len(values) // each
    for number, (at_s, bytes_) in enumerate(growth._points):
        interval = values[number * each : (number + 1) * each]
        assert bytes_ == min(interval)
        assert values[int(at_s)] == bytes_
        assert number * each <= at_s < (number + 1) * each


@given(values=st.lists(st.integers(0, 1000), min_size=40, max_size=120))
def test_the_slope_is_the_median_of_those_between_any_two_points(values: list[int]) -> None:
    growth = Growth()
    for at, value in enumerate(values):
        growth.note(at * 10.0, float(value))
    first = next(at for at in range(len(values)) if at * 10.0 >= (len(values) - 1) * 10.0 * (1 / 3))
    points = [(at * 10.0, float(values[at])) for at in range(first, len(values))]
    slopes = [(late - early) / (at - before) for (before, early), (at, late) in combinations(points, 2)]
    assert growth.trend().bytes_per_s == pytest.approx(median(slopes))


def test_it_says_how_it_is() -> None:
    assert repr(growth_of(lambda now: 0.0, 50.0)) == "<Growth points=100 notes_per_point=2>"
