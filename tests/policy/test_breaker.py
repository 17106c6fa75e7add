from __future__ import annotations

from math import inf

import pytest

from synth_actors.policy.breaker import (
    FAILURES_TO_PAUSE,
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    LONGEST_RETRY_AFTER_S,
    Breaker,
)


def failed_often(count: int, now: float = 10.0) -> Breaker:
    breaker = Breaker()
    for _ in range(count):
        breaker.failed(now, begun_at=now - 1, was_probe=False)
    return breaker


def test_a_new_endpoint_is_open() -> None:
    breaker = Breaker()
    assert breaker.admits(0.0)
    assert not breaker.is_closed(0.0)
    assert not breaker.begin()
    assert breaker.state(0.0) == "open"


def test_failures_in_a_row_close_it_and_one_probe_opens_it() -> None:
    assert failed_often(FAILURES_TO_PAUSE - 1).admits(10.0)
    breaker = failed_often(FAILURES_TO_PAUSE)
    assert not breaker.admits(10.0)
    assert breaker.state(10.0) == "paused"
    reopens_at = 10.0 + FIRST_PAUSE_S
    assert breaker.reopens_at == reopens_at
    assert breaker.state(reopens_at) == "probing"
    assert breaker.is_closed(reopens_at)
    assert breaker.admits(reopens_at)
    assert breaker.begin(), "the first one is the probe"
    assert not breaker.admits(reopens_at), "and nobody else goes before it is back"
    breaker.succeeded()
    assert breaker.admits(reopens_at)
    assert breaker.state(reopens_at) == "open"


def test_a_success_in_between_starts_the_count_anew() -> None:
    breaker = failed_often(FAILURES_TO_PAUSE - 1)
    breaker.succeeded()
    breaker.failed(10.0, begun_at=9.0, was_probe=False)
    assert breaker.admits(10.0)


def test_a_probe_that_fails_pauses_twice_as_long_up_to_a_limit() -> None:
    breaker, now, pauses = failed_often(FAILURES_TO_PAUSE), 10.0, [FIRST_PAUSE_S]
    for _ in range(10):
        now = breaker.reopens_at
        assert breaker.begin()
        breaker.failed(now + 0.1, begun_at=now, was_probe=True)
        pauses.append(breaker.reopens_at - (now + 0.1))
    assert pauses == pytest.approx([min(FIRST_PAUSE_S * 2**n, LONGEST_PAUSE_S) for n in range(11)])


def test_calls_from_before_the_pause_say_nothing_new() -> None:
    breaker = failed_often(FAILURES_TO_PAUSE)
    reopens_at = breaker.reopens_at
    breaker.failed(10.2, begun_at=9.0, was_probe=False)
    breaker.refused(10.2, begun_at=9.0, was_probe=False, retry_after_s=None)
    assert breaker.reopens_at == reopens_at


def test_a_call_from_before_the_pause_does_not_let_a_second_probe_go() -> None:
    for late in ("failed", "refused"):
        breaker = failed_often(FAILURES_TO_PAUSE)
        now = breaker.reopens_at
        breaker.begin()
        if late == "failed":
            breaker.failed(now + 0.1, begun_at=9.5, was_probe=False)
        else:
            breaker.refused(now + 0.1, begun_at=9.5, was_probe=False, retry_after_s=None)
        assert not breaker.admits(now + 0.1)


def test_a_refusal_waits_as_long_as_the_server_says() -> None:
    breaker = Breaker()
    breaker.refused(10.0, begun_at=9.0, was_probe=False, retry_after_s=7.0)
    assert breaker.reopens_at == 17.0
    breaker.refused(11.0, begun_at=9.0, was_probe=False, retry_after_s=2.0)
    assert breaker.reopens_at == 17.0, "a shorter wish does not shorten a longer one"
    breaker.refused(11.0, begun_at=9.0, was_probe=False, retry_after_s=1e9)
    assert breaker.reopens_at == 11.0 + LONGEST_RETRY_AFTER_S
    assert Breaker().reopens_at == -inf


def test_a_negative_wish_is_no_wait() -> None:
    breaker = Breaker()
    breaker.refused(10.0, begun_at=9.0, was_probe=False, retry_after_s=-5.0)
    assert breaker.admits(10.0)


def test_a_refusal_without_a_wish_waits_ever_longer_and_needs_no_probe() -> None:
    breaker = Breaker()
    breaker.refused(10.0, begun_at=9.0, was_probe=False, retry_after_s=None)
    assert breaker.reopens_at == 10.0 + FIRST_PAUSE_S
    assert not breaker.begin()
    breaker.refused(11.0, begun_at=10.9, was_probe=False, retry_after_s=None)
    assert breaker.reopens_at == 11.0 + 2 * FIRST_PAUSE_S
    breaker.succeeded()
    breaker.refused(20.0, begun_at=19.0, was_probe=False, retry_after_s=None)
    assert breaker.reopens_at == 20.0 + FIRST_PAUSE_S


def test_a_probe_that_says_nothing_lets_the_next_one_go() -> None:
    breaker = failed_often(FAILURES_TO_PAUSE)
    now = breaker.reopens_at
    assert breaker.begin()
    breaker.ignored(was_probe=False)
    assert not breaker.admits(now)
    breaker.ignored(was_probe=True)
    assert breaker.admits(now)
    assert breaker.begin()


def test_a_dead_endpoint_stays_dead() -> None:
    breaker = Breaker()
    breaker.died("wrong key")
    breaker.succeeded()
    assert (breaker.admits(1e9), breaker.is_closed(1e9), breaker.state(1e9)) == (False, True, "fatal")


def test_a_server_that_goes_on_refusing_with_a_short_wish_is_asked_ever_more_rarely() -> None:
    breaker, now, waits = Breaker(), 10.0, []
    for _ in range(5):
        breaker.refused(now, begun_at=now, was_probe=False, retry_after_s=0.1)
        waits.append(round(breaker.reopens_at - now, 6))
        now = breaker.reopens_at
    assert waits == [0.1, 0.5, 1.0, 2.0, 4.0]


def test_it_knows_since_when_it_is_closed_over_pauses_that_follow_each_other() -> None:
    breaker = Breaker()
    breaker.refused(10.0, begun_at=9.0, was_probe=False, retry_after_s=5.0)
    assert breaker.closed_since == 10.0
    breaker.refused(15.2, begun_at=15.0, was_probe=False, retry_after_s=5.0)
    assert breaker.closed_since == 10.0, "one outage, though it was tried in between"
    breaker.succeeded()
    breaker.refused(50.0, begun_at=49.0, was_probe=False, retry_after_s=5.0)
    assert breaker.closed_since == 50.0
