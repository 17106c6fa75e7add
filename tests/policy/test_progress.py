from __future__ import annotations

from collections.abc import Collection

import pytest

from synth_actors.policy.progress import MOST_CHANGES, Limits, Progress
from synth_actors.policy.retry import MOST_WAITS_EXCUSED, REFUSED_BEFORE_WORK, Again, Elsewhere, GiveUp, Verdict
from synth_actors.providers.base import Fault
from tests.policy.support import Told, close, endpoint

TWO = frozenset({"one", "two"})
LIMITS = Limits(max_attempts=6, patience_s=60.0, shortest_timeout_s=5.0, jitter=lambda: 1.0)


def verdict(
    progress: Progress,
    fault: Fault,
    now: float = 0.0,
    *,
    closed: Collection[str] = (),
    full: Collection[str] = (),
    told_s: float | None = None,
) -> Verdict:
    """The verdict where all endpoints but the `closed` ones are open; those that are `full` have no room."""
    endpoints = {name: endpoint(name, most_at_once=1, in_flight=int(name in full)) for name in progress.allowed}
    for name in closed:
        close(endpoints[name], now)
    return progress.verdict(fault, Told(retry_after_s=told_s), endpoints, LIMITS, now)


def test_a_request_may_go_anywhere_it_is_allowed() -> None:
    assert Progress(TWO).places() == Progress(TWO).untried() == TWO


def test_after_a_failure_it_goes_elsewhere_and_when_all_failed_anywhere() -> None:
    progress = Progress(TWO)
    progress.note(Fault.FAILED, "one", 0.0)
    assert progress.places() == {"two"}
    progress.note(Fault.FAILED, "two", 0.0)
    assert progress.places() == TWO
    progress.start_over()
    assert progress.untried() == TWO
    assert progress.last_endpoint == "two"


@pytest.mark.parametrize("fault", [Fault.REJECTED, Fault.FATAL])
def test_where_it_was_rejected_it_does_not_go_again(fault: Fault) -> None:
    progress = Progress(TWO)
    progress.note(fault, "one", 0.0)
    progress.start_over()
    assert progress.places() == {"two"}
    progress.note(Fault.FAILED, "two", 0.0)
    assert progress.places() == {"two"}


@pytest.mark.parametrize("fault", [*sorted(REFUSED_BEFORE_WORK, key=str), Fault.SCHEMA_REFUSED])
def test_a_refusal_spends_nothing(fault: Fault) -> None:
    progress = Progress(TWO)
    for _ in range(50):
        progress.note(fault, "one", 0.0)
    progress.note(Fault.FAILED, "one", 0.0)
    assert verdict(progress, Fault.FAILED, closed=["two"]) == Again(0.5)


@pytest.mark.parametrize("fault", sorted(REFUSED_BEFORE_WORK, key=str))
def test_after_a_refusal_it_goes_elsewhere_until_all_are_free_to_try_again(fault: Fault) -> None:
    progress = Progress(TWO)
    progress.note(fault, "one", 0.0)
    assert progress.places() == {"two"}
    assert verdict(progress, fault) == Elsewhere(0.5)
    progress.note(fault, "two", 0.0)
    assert progress.places() == TWO
    assert verdict(progress, fault) == Again(1.0), "both have refused it"
    progress.start_over()
    assert progress.untried() == TWO


def test_a_schema_that_was_refused_is_asked_for_again_at_the_same_place() -> None:
    progress = Progress(TWO)
    progress.note(Fault.SCHEMA_REFUSED, "one", 0.0)
    assert progress.places() == TWO


def test_patience_counts_from_the_first_refusal_in_a_row() -> None:
    alone = Progress(frozenset({"one"}))
    alone.note(Fault.RATE_LIMITED, "one", 0.0)
    alone.note(Fault.RATE_LIMITED, "one", 59.0)
    assert verdict(alone, Fault.RATE_LIMITED, 59.0) == Again(1.0)
    assert verdict(alone, Fault.RATE_LIMITED, 60.0) == GiveUp()
    alone.note(Fault.FAILED, "one", 62.0)  # it was let in
    alone.note(Fault.RATE_LIMITED, "one", 63.0)
    assert verdict(alone, Fault.RATE_LIMITED, 63.0) == Again(0.5)
    assert verdict(alone, Fault.RATE_LIMITED, 122.875) == Again(0.125)


def test_attempts_and_invalid_outputs_are_counted() -> None:
    progress = Progress(TWO)
    for attempt in range(1, 7):
        progress.note(Fault.FAILED, "one", 0.0)
        assert isinstance(verdict(progress, Fault.FAILED), GiveUp) == (attempt == 6)
    progress = Progress(TWO)
    for attempt in range(1, 4):
        progress.note(Fault.OUTPUT_INVALID, "one", 0.0)
        assert isinstance(verdict(progress, Fault.OUTPUT_INVALID), GiveUp) == (attempt == 3)


def test_schema_refusals_are_counted_apart() -> None:
    progress = Progress(frozenset({"one"}))
    progress.note(Fault.SCHEMA_REFUSED, "one", 0.0)
    assert verdict(progress, Fault.SCHEMA_REFUSED) == Again(0.0)
    progress.note(Fault.SCHEMA_REFUSED, "one", 0.0)
    assert verdict(progress, Fault.SCHEMA_REFUSED) == GiveUp()


def test_it_goes_elsewhere_only_where_it_is_not_closed_though_perhaps_full() -> None:
    progress = Progress(TWO)
    progress.note(Fault.FAILED, "one", 0.0)
    assert verdict(progress, Fault.FAILED) == Elsewhere(0.5), "and back when it has backed off"
    assert verdict(progress, Fault.FAILED, full=["two"]) == Elsewhere(0.5)
    assert verdict(progress, Fault.FAILED, closed=["two"]) == Again(0.5)
    progress.note(Fault.FAILED, "two", 0.0)
    assert verdict(progress, Fault.FAILED) == Again(1.0), "all have failed it"


def test_a_failure_waits_in_line_only_where_all_that_may_still_serve_it_are_closed() -> None:
    progress = Progress(TWO)
    progress.note(Fault.FAILED, "one", 0.0)
    assert verdict(progress, Fault.FAILED, closed=["one", "two"]) == Again(0.0)
    assert verdict(progress, Fault.FAILED, closed=["two"]) == Again(0.5), "the one that failed is open"
    progress.note(Fault.REJECTED, "two", 0.0)
    assert verdict(progress, Fault.FAILED, closed=["one"]) == Again(0.0), "the other will never take it"


def limited_every(told_s: float, *, times: int, fault: Fault = Fault.RATE_LIMITED) -> Progress:
    """Refused, sent again after the wait that was named, and so on."""
    progress = Progress(frozenset({"one"}))
    for number in range(times):
        progress.note(fault, "one", number * told_s, told_s)
    return progress


def test_the_waits_that_rate_limits_name_try_nobodys_patience() -> None:
    progress = limited_every(100.0, times=3)
    assert verdict(progress, Fault.RATE_LIMITED, 200.0, told_s=100.0) == Again(100.0)
    assert verdict(progress, Fault.RATE_LIMITED, 259.9, told_s=100.0) == Again(100.0)
    assert verdict(progress, Fault.RATE_LIMITED, 260.0, told_s=100.0) == GiveUp()
    progress.note(Fault.FAILED, "one", 300.0)  # it was let in
    progress.note(Fault.RATE_LIMITED, "one", 301.0)
    assert verdict(progress, Fault.RATE_LIMITED, 360.75) == Again(0.25)
    assert verdict(progress, Fault.RATE_LIMITED, 361.0) == GiveUp(), "what was named before is no excuse"


@pytest.mark.parametrize("fault", [Fault.OVERLOADED, Fault.UNREACHABLE])
def test_the_waits_that_an_overloaded_one_names_do_try_it(fault: Fault) -> None:
    assert verdict(limited_every(30.0, times=3, fault=fault), fault, 60.0, told_s=1.0) == GiveUp()


def test_only_the_first_ten_waits_in_a_row_try_nobodys_patience() -> None:
    after_ten = limited_every(100.0, times=MOST_WAITS_EXCUSED + 1)
    assert verdict(after_ten, Fault.RATE_LIMITED, 1000.0, told_s=100.0) == Again(100.0)
    after_eleven = limited_every(100.0, times=MOST_WAITS_EXCUSED + 2)
    assert verdict(after_eleven, Fault.RATE_LIMITED, 1100.0, told_s=100.0) == GiveUp()


def test_a_rate_limit_after_an_outage_begins_another_row_and_the_other_way_round() -> None:
    progress = Progress(frozenset({"one"}))
    progress.note(Fault.OVERLOADED, "one", 0.0)
    progress.note(Fault.RATE_LIMITED, "one", 70.0)
    assert verdict(progress, Fault.RATE_LIMITED, 70.0) == Again(0.5)
    progress.note(Fault.UNREACHABLE, "one", 140.0)
    assert verdict(progress, Fault.UNREACHABLE, 140.0) == Again(0.5)
    progress.note(Fault.OVERLOADED, "one", 200.0)
    assert verdict(progress, Fault.OVERLOADED, 200.0) == GiveUp(), "both are outages"


def test_one_that_is_now_down_and_now_limited_tries_patience_all_the_same() -> None:
    progress, now = Progress(frozenset({"one"})), 0.0
    for number in range(1000):
        fault = (Fault.OVERLOADED, Fault.RATE_LIMITED)[number % 2]
        progress.note(fault, "one", now)
        if isinstance(verdict(progress, fault, now), GiveUp):
            break
        now += 1.0
    assert 60.0 <= now <= 60.0 + MOST_CHANGES


def test_where_all_are_dead_a_refusal_is_the_end() -> None:
    progress = Progress(TWO)
    progress.note(Fault.RATE_LIMITED, "one", 0.0)
    endpoints = {name: endpoint(name) for name in TWO}
    for one in endpoints.values():
        one.breaker.died("wrong key")
    assert progress.verdict(Fault.RATE_LIMITED, Told(), endpoints, LIMITS, 0.0) == GiveUp()


def test_who_has_not_been_asked_is_waited_for_though_the_patience_is_over() -> None:
    progress = Progress(TWO)
    progress.note(Fault.OVERLOADED, "one", 0.0)
    progress.note(Fault.OVERLOADED, "one", 61.0)
    assert isinstance(verdict(progress, Fault.OVERLOADED, 61.0, closed=["two"]), Again)
    progress.note(Fault.OVERLOADED, "two", 62.0)
    assert verdict(progress, Fault.OVERLOADED, 62.0) == GiveUp()
