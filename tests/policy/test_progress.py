from __future__ import annotations

from collections.abc import Collection

import pytest

from synth_actors.policy.progress import Limits, Progress
from synth_actors.policy.retry import REFUSED_BEFORE_WORK, Again, Elsewhere, GiveUp, Verdict
from synth_actors.providers.base import Fault
from tests.policy.support import NEED, Told, close, endpoint

TWO = frozenset({"one", "two"})
LIMITS = Limits(max_attempts=6, patience_s=60.0, shortest_timeout_s=5.0, jitter=lambda: 1.0)


def verdict(progress: Progress, fault: Fault, now: float = 0.0, *, closed: Collection[str] = ()) -> Verdict:
    """The verdict where all endpoints but the `closed` ones are open."""
    endpoints = {name: endpoint(name) for name in progress.allowed}
    for name in closed:
        close(endpoints[name], now)
    return progress.verdict(fault, Told(), NEED, endpoints, LIMITS, now)


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


@pytest.mark.parametrize("fault", [*REFUSED_BEFORE_WORK, Fault.SCHEMA_REFUSED])
def test_a_refusal_spends_nothing(fault: Fault) -> None:
    progress = Progress(TWO)
    for _ in range(50):
        progress.note(fault, "one", 0.0)
    progress.note(Fault.FAILED, "one", 0.0)
    assert verdict(progress, Fault.FAILED, closed=["two"]) == Again(0.5)


@pytest.mark.parametrize("fault", REFUSED_BEFORE_WORK)
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


def test_it_goes_elsewhere_only_where_a_call_is_taken_now() -> None:
    progress = Progress(TWO)
    progress.note(Fault.FAILED, "one", 0.0)
    assert verdict(progress, Fault.FAILED) == Elsewhere()
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
