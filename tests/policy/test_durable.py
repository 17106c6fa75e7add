"""Are the decisions of the durable tier those of a model that is too simple to be wrong?"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_actors.policy.durable import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    MOST_ROWS_AT_ONCE,
    USE_NOTED_EVERY_S,
    Ahead,
    Expired,
    Fresh,
    Pause,
    excess_bytes,
    freshness,
    has_worked,
    is_use_worth_noting,
    pause_after,
    rows_to_go,
)

moments = st.integers(-(2**40), 2**40).map(lambda n: n / 16)  # exact in floats
spans = st.integers(1, 2**40).map(lambda n: n / 16)


@given(stored_at=moments, now=moments, ttl_s=st.none() | spans)
def test_a_row_is_fresh_from_its_moment_on_and_before_its_end(
    stored_at: float, now: float, ttl_s: float | None
) -> None:
    lives = stored_at <= now and (ttl_s is None or now < stored_at + ttl_s)
    match freshness(stored_at, now=now, ttl_s=ttl_s):
        case Fresh(None):
            assert lives
            assert ttl_s is None
        case Fresh(remaining_s):
            assert lives
            assert ttl_s is not None
            assert remaining_s is not None
            assert now + remaining_s == stored_at + ttl_s
            assert 0 < remaining_s <= ttl_s
        case Expired(by_s):
            assert ttl_s is not None
            assert stored_at + ttl_s + by_s == now
            assert by_s >= 0
        case Ahead(by_s):
            assert now + by_s == stored_at
            assert by_s > 0


@pytest.mark.parametrize("ttl_s", [None, 1.0])
@pytest.mark.parametrize("stored_at", [math.nan, math.inf])
def test_what_is_no_moment_is_never_fresh(stored_at: float, ttl_s: float | None) -> None:
    assert not isinstance(freshness(stored_at, now=0.0, ttl_s=ttl_s), Fresh)


@given(first=moments, steps=st.lists(spans | st.just(0.0), max_size=50))
def test_a_row_that_is_used_all_the_time_is_noted_once_a_while(first: float, steps: list[float]) -> None:
    noted_at = now = first
    for step in steps:
        now += step
        if is_use_worth_noting(noted_at, now=now):
            assert now - noted_at >= USE_NOTED_EVERY_S
            noted_at = now
        else:
            assert now - noted_at < USE_NOTED_EVERY_S


@given(used_at=moments, now=moments)
def test_a_use_in_the_future_is_corrected(used_at: float, now: float) -> None:
    if used_at > now:
        assert is_use_worth_noting(used_at, now=now)
    assert not is_use_worth_noting(now, now=now)


@given(st.lists(st.integers(1, 5000), max_size=700), st.integers(-10, 2_000_000))
def test_no_more_rows_go_than_are_needed_and_the_first_first(sizes: list[int], excess: int) -> None:
    going = rows_to_go(enumerate(sizes), excess_bytes=excess)
    assert going == list(range(len(going)))
    assert len(going) <= MOST_ROWS_AT_ONCE
    freed = sum(sizes[: len(going)])
    if excess <= 0:
        assert not going
    else:
        assert freed >= excess or len(going) == min(len(sizes), MOST_ROWS_AT_ONCE)
        assert not going or freed - sizes[len(going) - 1] < excess


@given(st.integers(0, 2**40), st.integers(0, 2**30), st.integers(1, 2**40))
def test_what_is_too_much_goes_and_what_fits_stays(used: int, incoming: int, most: int) -> None:
    excess = excess_bytes(used_bytes=used, incoming_bytes=incoming, max_bytes=most)
    assert excess >= 0
    assert used - excess + incoming <= most
    assert (excess == 0) == (used + incoming <= most)


@given(st.lists(st.tuples(st.none() | spans, spans), max_size=30))
def test_pauses_double_up_to_the_longest_and_begin_again_after_it_has_worked(
    story: list[tuple[float | None, float]],
) -> None:
    """Each step: how long it was open before it failed (None: it did not open), and how late it was tried."""
    now, pause, expected = 0.0, None, FIRST_PAUSE_S
    for open_for_s, late_s in story:
        opened_at = None if open_for_s is None else now
        now += open_for_s or 0.0
        worked = open_for_s is not None and open_for_s >= LONGEST_PAUSE_S
        assert has_worked(opened_at, now=now) == worked
        if worked:
            expected = FIRST_PAUSE_S
        pause = pause_after(pause, opened_at=opened_at, now=now)
        assert pause == Pause(now, expected)
        assert pause.over_at == now + expected
        expected = min(2 * expected, LONGEST_PAUSE_S)
        now = pause.over_at + late_s
