from __future__ import annotations

from collections.abc import Callable
from math import inf

import pytest

from synth_actors.policy.breaker import (
    DOWN_SHARE,
    FAILURES_TO_PAUSE,
    FIRST_PAUSE_S,
    LONGEST_PROBE_S,
    PROBE_EVERY_S,
    PROBE_GROWTH,
    REFUSALS_TO_PAUSE,
    Breaker,
)
from synth_actors.policy.retry import LONGEST_RETRY_AFTER_S, MOST_WAITS_EXCUSED

Event = Callable[[Breaker], object]


def limited(now: float, *, begun_at: float | None = None, after_s: float | None = None, used_up: bool = False) -> Event:
    begun_at = now if begun_at is None else begun_at
    return lambda breaker: breaker.limited(now, begun_at=begun_at, retry_after_s=after_s, used_up=used_up)


def down(
    now: float, *, begun_at: float | None = None, after_s: float | None = None, share: float = 0.0, count: int = 1
) -> Event:
    def happen(breaker: Breaker) -> None:
        for _ in range(count):
            breaker.down(now, begun_at=now if begun_at is None else begun_at, retry_after_s=after_s, share=share)

    return happen


def failed(now: float, *, begun_at: float | None = None, count: int = 1) -> Event:
    def happen(breaker: Breaker) -> None:
        for _ in range(count):
            breaker.failed(now, begun_at=now if begun_at is None else begun_at)

    return happen


def let_in(*, begun_at: float) -> Event:
    return lambda breaker: breaker.let_in(begun_at=begun_at)


def answered(*, begun_at: float) -> Event:
    def happen(breaker: Breaker) -> None:
        breaker.let_in(begun_at=begun_at)
        breaker.succeeded(begun_at=begun_at)

    return happen


def sent(count: int, *, at: float = 10.0) -> Event:
    def happen(breaker: Breaker) -> None:
        for _ in range(count):
            breaker.begin(at)

    return happen


def after(*events: Event) -> Breaker:
    breaker = Breaker()
    for event in events:
        event(breaker)
    return breaker


OPEN = -inf
LONG = LONGEST_RETRY_AFTER_S
FAILING, DOWN = failed(10.0, count=FAILURES_TO_PAUSE), down(10.0, count=REFUSALS_TO_PAUSE)
DOWN_AGAIN = down(30.0, count=REFUSALS_TO_PAUSE)

# What happens, when a call may start afterwards, and the state from then on.
TABLE: dict[str, tuple[list[Event], float, str]] = {
    "nothing": ([], OPEN, "open"),
    # 429: the request's own affair
    "a 429": ([limited(10.0)], OPEN, "open"),
    "a 429 that names a wait": ([limited(10.0, after_s=LONG)], OPEN, "open"),
    "a second 429 that was sent after the first": ([limited(10.0), limited(11.0, after_s=7.0)], 18.0, "probing"),
    "one sent in the same instant as the first was refused": (
        [limited(10.0), limited(11.0, begun_at=10.0, after_s=7.0)],
        18.0,
        "probing",
    ),
    "a second 429 that was sent before the first was refused": (
        [limited(10.0), limited(11.0, begun_at=9.9, after_s=7.0)],
        OPEN,
        "open",
    ),
    "a second 429 that names no wait": ([limited(10.0), limited(11.0)], 11.0 + FIRST_PAUSE_S, "probing"),
    "a call let in between": ([limited(10.0), let_in(begun_at=10.0), limited(11.0)], OPEN, "open"),
    "a call answered between": ([limited(10.0), answered(begun_at=10.0), limited(11.0)], OPEN, "open"),
    "an older call let in between": (
        [limited(10.0), let_in(begun_at=9.9), limited(11.0, after_s=7.0)],
        18.0,
        "probing",
    ),
    "an older call answered between": (
        [limited(10.0), answered(begun_at=9.9), limited(11.0, after_s=7.0)],
        18.0,
        "probing",
    ),
    "a second 429 where half of what was sent since is under way": (
        [sent(9), limited(10.0), sent(4), limited(11.0, after_s=7.0)],
        18.0,
        "probing",
    ),
    "a second 429 where most of what was sent since may have been let in": (
        [limited(10.0), sent(5), limited(11.0, after_s=7.0)],
        OPEN,
        "open",
    ),
    "what was sent before the row was ended says nothing about the next": (
        [limited(10.0), sent(5), let_in(begun_at=10.0), limited(11.0), sent(1), limited(12.0, after_s=7.0)],
        19.0,
        "probing",
    ),
    # 429: a limit is used up
    "a limit used up": ([limited(10.0, after_s=7.0, used_up=True)], 17.0, "open"),
    "a limit used up, and no wait named": ([limited(10.0, used_up=True)], 10.0 + FIRST_PAUSE_S, "open"),
    "a limit used up, and a wait below 0": ([limited(10.0, after_s=-5.0, used_up=True)], 5.0, "open"),
    "a shorter wish does not shorten a longer one": (
        [limited(10.0, after_s=7.0, used_up=True), limited(11.0, after_s=2.0, used_up=True)],
        17.0,
        "open",
    ),
    "a call from before the pause names a longer wait": (
        [limited(10.0, after_s=7.0, used_up=True), limited(11.0, begun_at=9.0, after_s=50.0, used_up=True)],
        17.0,
        "open",
    ),
    "used up again after the pause": (
        [limited(10.0, used_up=True), limited(11.0, used_up=True)],
        11.0 + 2 * FIRST_PAUSE_S,
        "open",
    ),
    # 429: beyond all measure
    "a wait beyond all measure": ([limited(10.0, after_s=LONG + 1.0)], 10.0 + LONG, "probing"),
    # 529, 503, no connection
    "overloaded four times in a row": ([down(10.0, count=REFUSALS_TO_PAUSE - 1)], OPEN, "open"),
    "overloaded five times in a row": ([DOWN], 10.0 + PROBE_EVERY_S, "probing"),
    "overloaded five times in a row of ten that were sent": (
        [down(10.0), sent(10), down(10.0, count=REFUSALS_TO_PAUSE - 1)],
        10.0 + PROBE_EVERY_S,
        "probing",
    ),
    "overloaded five times in a row of eleven that were sent": (
        [down(10.0), sent(11), down(10.0, count=REFUSALS_TO_PAUSE - 1)],
        OPEN,
        "open",
    ),
    "overloaded, let in, overloaded": (
        [down(10.0, count=REFUSALS_TO_PAUSE - 1), let_in(begun_at=10.0), down(11.0, count=REFUSALS_TO_PAUSE - 1)],
        OPEN,
        "open",
    ),
    "half of the calls overloaded": ([down(10.0, share=DOWN_SHARE)], OPEN, "open"),
    "more than half of the calls overloaded": ([down(10.0, share=DOWN_SHARE + 0.01)], 10.0 + PROBE_EVERY_S, "probing"),
    "overloaded for as long as it says": ([down(10.0, after_s=9.0, share=1.0)], 19.0, "probing"),
    "overloaded for less than a probe is worth": (
        [down(10.0, after_s=0.1, share=1.0)],
        10.0 + PROBE_EVERY_S,
        "probing",
    ),
    "overloaded for a day": ([down(10.0, after_s=86_400.0, share=1.0)], 10.0 + LONG, "probing"),
    "a 429 and four overloaded": ([limited(10.0), down(11.0, count=4)], 11.0 + PROBE_EVERY_S, "probing"),
    # after acceptance
    "four failures in a row": ([failed(10.0, count=FAILURES_TO_PAUSE - 1)], OPEN, "open"),
    "five failures in a row": ([FAILING], 10.0 + FIRST_PAUSE_S, "probing"),
    "a success between failures": (
        [failed(10.0, count=4), answered(begun_at=10.0), failed(11.0, count=4)],
        OPEN,
        "open",
    ),
    "let in between failures": ([failed(10.0, count=4), let_in(begun_at=10.0), failed(11.0)], 11.5, "probing"),
    # nothing new
    "failing, and a failure from before": ([FAILING, failed(10.2, begun_at=9.0)], 10.0 + FIRST_PAUSE_S, "probing"),
    "failing, and a 429 from before": (
        [FAILING, limited(10.2, begun_at=9.0, after_s=50.0, used_up=True)],
        10.0 + FIRST_PAUSE_S,
        "probing",
    ),
    "failing, and overloaded before": ([FAILING, down(10.2, begun_at=9.0, count=9)], 10.0 + FIRST_PAUSE_S, "probing"),
    "failing, and a success from before": ([FAILING, answered(begun_at=9.0)], 10.0 + FIRST_PAUSE_S, "probing"),
    "down, and a call from before let in": ([DOWN, let_in(begun_at=9.0)], 10.0 + PROBE_EVERY_S, "probing"),
    # proved again
    "failing, and a probe let in": ([FAILING, let_in(begun_at=10.5)], 10.0 + FIRST_PAUSE_S, "probing"),
    "failing, and a probe answered": ([FAILING, answered(begun_at=10.5)], 10.0 + FIRST_PAUSE_S, "open"),
    "failing, and a call of the same instant answered": (
        [FAILING, answered(begun_at=10.0)],
        10.0 + FIRST_PAUSE_S,
        "open",
    ),
    "down, and a probe let in": ([DOWN, let_in(begun_at=12.0)], 10.0 + PROBE_EVERY_S, "open"),
    "down and failing, and a probe let in": (
        [failed(9.0), DOWN, let_in(begun_at=12.0)],
        10.0 + PROBE_EVERY_S,
        "probing",
    ),
    "down and failing, and a probe answered": (
        [failed(9.0), DOWN, answered(begun_at=12.0)],
        10.0 + PROBE_EVERY_S,
        "open",
    ),
    "a probe that fails": ([DOWN, failed(13.0, begun_at=12.0)], 13.0 + 2 * FIRST_PAUSE_S, "probing"),
    "a probe that is overloaded": ([DOWN, down(13.0, begun_at=12.0)], 13.0 + PROBE_EVERY_S * PROBE_GROWTH, "probing"),
    "a probe that says a limit is used up": (
        [DOWN, limited(13.0, begun_at=12.0, after_s=4.0, used_up=True)],
        17.0,
        "open",
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_when_it_opens_and_what_it_is_then(name: str) -> None:
    events, opens_at, state = TABLE[name]
    breaker = after(*events)
    assert breaker.opens_at == opens_at
    now = max(opens_at, 20.0)
    assert breaker.state(now) == state
    assert breaker.admits(now)
    assert breaker.is_closed(now) == (state == "probing")
    if opens_at > 10.0:
        assert not breaker.admits(opens_at - 0.001)
        assert breaker.is_closed(opens_at - 0.001)
        assert breaker.state(opens_at - 0.001) == "paused"


def test_whoever_reports_hears_whether_it_pauses_for_that() -> None:
    breaker = Breaker()
    assert not breaker.limited(10.0, begun_at=9.0, retry_after_s=1.0, used_up=False)
    assert breaker.limited(11.0, begun_at=10.5, retry_after_s=1.0, used_up=False)
    assert not breaker.limited(11.1, begun_at=10.6, retry_after_s=1.0, used_up=False), "it is paused already"
    breaker = Breaker()
    found = [breaker.down(10.0, begun_at=9.0, retry_after_s=None, share=0.0) for _ in range(6)]
    assert found == [False] * 4 + [True, False]
    breaker = Breaker()
    assert [breaker.failed(10.0, begun_at=9.0) for _ in range(6)] == [False] * 4 + [True, False]


def test_only_the_first_pause_in_a_row_has_just_closed_it() -> None:
    breaker, found = Breaker(), []
    events = (limited(10.0, used_up=True), limited(20.0, used_up=True), answered(begun_at=21.0), DOWN_AGAIN)
    for event in events:
        event(breaker)
        found.append(breaker.has_just_closed)
    assert found == [True, False, False, True]


def test_a_probe_goes_every_two_seconds_whether_or_not_the_last_one_is_back() -> None:
    breaker, now = after(FAILING), 10.0 + FIRST_PAUSE_S
    assert breaker.begin(now)
    assert not breaker.admits(now + PROBE_EVERY_S - 0.001)
    assert breaker.admits(now + PROBE_EVERY_S)
    assert breaker.begin(now + PROBE_EVERY_S)
    assert not breaker.admits(now + 2 * PROBE_EVERY_S - 0.001)
    assert breaker.opens_at == now + 2 * PROBE_EVERY_S


def test_it_is_probing_since_the_oldest_probe_under_way_until_the_last_has_ended() -> None:
    breaker = after(FAILING)
    steps: list[Event] = [
        lambda b: b.begin(11.0),
        lambda b: b.begin(13.0),
        lambda b: b.begin(15.0),
        lambda b: b.probed(13.0),
        lambda b: b.probed(11.0),
        lambda b: b.probed(15.0),
    ]
    found = [breaker.probing_since]
    for step in steps:
        step(breaker)
        found.append(breaker.probing_since)
    assert found == [inf, 11.0, 11.0, 11.0, 11.0, 15.0, inf]
    assert breaker.is_closed(16.0), "nobody has proved it"


def test_a_call_is_a_probe_only_while_it_is_suspect() -> None:
    assert not Breaker().begin(0.0)
    assert not after(limited(10.0, used_up=True)).begin(11.0)
    breaker = after(DOWN)
    assert breaker.begin(12.0)
    let_in(begun_at=12.0)(breaker)
    assert breaker.probing_since == inf, "it is proved, though the call is under way"
    assert not breaker.begin(12.1)
    assert breaker.admits(12.1)


def test_probes_that_fail_pause_it_twice_as_long_up_to_a_limit() -> None:
    breaker, now, pauses = after(FAILING), 10.0, [FIRST_PAUSE_S]
    for _ in range(10):
        now = breaker.opens_at
        assert breaker.begin(now)
        breaker.probed(now)
        breaker.failed(now + 0.1, begun_at=now)
        pauses.append(breaker.reopens_at - (now + 0.1))
    assert pauses == pytest.approx([min(FIRST_PAUSE_S * 2**n, LONGEST_PROBE_S) for n in range(11)])


def test_probes_that_find_it_down_go_a_little_more_rarely_up_to_a_limit() -> None:
    breaker, waits = after(DOWN), [PROBE_EVERY_S]
    for _ in range(10):
        now = breaker.opens_at
        assert breaker.begin(now)
        breaker.probed(now)
        breaker.down(now, begun_at=now, retry_after_s=None, share=0.0)
        waits.append(breaker.opens_at - now)
    assert waits == pytest.approx([min(PROBE_EVERY_S * PROBE_GROWTH**n, LONGEST_PROBE_S) for n in range(11)])


def test_a_server_that_goes_on_refusing_with_a_short_wish_is_asked_ever_more_rarely() -> None:
    breaker, now, waits = Breaker(), 10.0, []
    for _ in range(6):
        breaker.limited(now, begun_at=now, retry_after_s=0.1, used_up=True)
        waits.append(round(breaker.reopens_at - now, 6))
        now = breaker.reopens_at
    assert waits == [0.1, 1.0, 2.0, 4.0, 8.0, 16.0]


def test_a_wish_of_half_a_second_or_more_is_granted_as_it_is() -> None:
    breaker, now = Breaker(), 10.0
    for _ in range(6):
        breaker.limited(now, begun_at=now, retry_after_s=FIRST_PAUSE_S, used_up=True)
        assert breaker.reopens_at == now + FIRST_PAUSE_S
        now = breaker.reopens_at


# ------------------------------------------------------------------------------------- since when, and with what excuse


def test_it_is_closed_since_the_first_refusal_of_the_row_over_pauses_that_follow_each_other() -> None:
    breaker = after(limited(10.0), limited(11.0, after_s=5.0))
    assert breaker.closed_since == 10.0
    limited(16.2, begun_at=16.0, after_s=5.0)(breaker)
    assert breaker.closed_since == 10.0, "one outage, though it was tried in between"
    answered(begun_at=22.0)(breaker)
    down(50.0, count=REFUSALS_TO_PAUSE)(breaker)
    assert breaker.closed_since == 50.0


def test_failures_close_it_from_the_last_of_them_on() -> None:
    assert after(failed(9.0, count=4), failed(10.0)).closed_since == 10.0


@pytest.mark.parametrize(
    ("event", "excused_s"),
    [
        (limited(10.0, after_s=100.0, used_up=True), 100.0),
        (limited(10.0, after_s=LONG, used_up=True), LONG),
        (limited(10.0, after_s=FIRST_PAUSE_S, used_up=True), FIRST_PAUSE_S),
        (limited(10.0, after_s=FIRST_PAUSE_S - 0.1, used_up=True), 0.0),
        (limited(10.0, after_s=LONG + 1.0, used_up=True), 0.0),
        (limited(10.0, used_up=True), 0.0),
        (down(10.0, after_s=100.0, share=1.0), 0.0),
        (FAILING, 0.0),
    ],
)
def test_only_the_wait_that_a_rate_limit_names_is_excused(event: Event, excused_s: float) -> None:
    assert after(event).excused_s == excused_s


def test_the_waits_of_all_pauses_in_a_row_are_excused_together() -> None:
    breaker = after(limited(10.0, after_s=5.0, used_up=True), limited(15.0, after_s=100.0, used_up=True))
    assert breaker.excused_s == 105.0
    breaker = after(DOWN, limited(15.0, after_s=100.0, used_up=True))
    assert breaker.excused_s == 100.0
    answered(begun_at=116.0)(breaker)
    limited(120.0, after_s=7.0, used_up=True)(breaker)
    assert breaker.excused_s == 7.0
    answered(begun_at=128.0)(breaker)
    down(200.0, count=REFUSALS_TO_PAUSE)(breaker)
    assert breaker.excused_s == 0.0, "an old excuse is none"


def test_what_goes_on_refusing_after_ten_waits_is_not_excused_any_more() -> None:
    breaker, now = Breaker(), 0.0
    for number in range(1, MOST_WAITS_EXCUSED + 5):
        limited(now, after_s=3.0, used_up=True)(breaker)
        assert breaker.excused_s == 3.0 * min(number, MOST_WAITS_EXCUSED)
        now = breaker.reopens_at
    assert breaker.closed_since == 0.0


def test_a_pause_from_before_excuses_nothing() -> None:
    breaker = after(limited(10.0, after_s=5.0, used_up=True), limited(11.0, begun_at=9.0, after_s=50.0, used_up=True))
    assert breaker.excused_s == 5.0


def test_failures_that_follow_a_refusal_close_it_from_the_last_of_them_on() -> None:
    assert after(limited(10.0), failed(20.0, count=FAILURES_TO_PAUSE)).closed_since == 20.0


@pytest.mark.parametrize("event", [limited(10.0), down(10.0), failed(10.0), limited(10.0, used_up=True), DOWN, FAILING])
def test_it_is_trusted_while_the_last_call_was_answered(event: Event) -> None:
    assert Breaker().is_trusted
    breaker = after(event)
    assert not breaker.is_trusted
    answered(begun_at=30.0)(breaker)
    assert breaker.is_trusted


def test_a_dead_endpoint_stays_dead() -> None:
    breaker = Breaker()
    breaker.died("wrong key")
    answered(begun_at=1.0)(breaker)
    assert (breaker.admits(1e9), breaker.is_closed(1e9), breaker.state(1e9)) == (False, True, "fatal")
    assert (breaker.is_trusted, breaker.fatal_reason) == (False, "wrong key")
