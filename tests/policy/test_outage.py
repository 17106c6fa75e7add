from __future__ import annotations

from math import inf

import pytest

from synth_actors.policy.breaker import FIRST_PAUSE_S, LONGEST_PROBE_S, PROBE_EVERY_S
from synth_actors.policy.limits import Need, PerMinute
from synth_actors.policy.outage import Closed, Dead, Open, outlook
from synth_actors.policy.retry import GRACE_SHARE
from synth_actors.providers.base import Fault
from synth_actors.types import NO_USAGE
from tests.policy.support import NEED, close, endpoint, fail


def closed(
    *, since: float = 0.0, excused_s: float = 0.0, probing_since: float = inf, reopens_at: float = inf
) -> Closed:
    return Closed(since, excused_s, probing_since, reopens_at, None, Fault.OVERLOADED, "")


def test_an_open_endpoint_is_looked_at_again_when_something_ends() -> None:
    assert outlook([endpoint("one")], NEED, 1.0) == Open(inf)
    full = endpoint("full", in_flight=5, most_at_once=5)
    assert outlook([full], NEED, 1.0) == Open(inf), "full is not closed"


def test_a_paused_endpoint_beside_an_open_one_is_looked_at_when_it_reopens() -> None:
    one, two = endpoint("one"), endpoint("two", 1)
    close(one, 1.0, for_s=9.0)
    assert outlook([one, two], NEED, 1.0) == Open(10.0)


def test_a_bucket_that_is_empty_is_waited_for_with_an_endpoint_that_is_open() -> None:
    one = endpoint("one", per_minute=PerMinute(requests=60))
    for _ in range(60):
        one.begin(NEED, 0.0)
    assert outlook([one], NEED, 0.0) == Open(1.0)
    tokens = endpoint("two", per_minute=PerMinute(output_tokens=600))
    tokens.begin(Need(0.0, 600), 0.0)
    assert outlook([tokens], Need(0.0, 100), 0.0) == Open(10.0)
    assert outlook([one, tokens], Need(0.0, 100), 0.0) == Open(1.0)


def test_closed_endpoints_since_the_last_of_them_closed_until_the_first_reopens() -> None:
    one, two, dead = endpoint("one"), endpoint("two", 1), endpoint("dead", 2)
    close(one, 1.0, for_s=9.0)
    for _ in range(5):
        fail(two, Fault.UNREACHABLE, 2.0, retry_after_s=4.0)
    fail(dead, Fault.FATAL, 1.0)
    assert outlook([one, two, dead], NEED, 3.0) == Closed(2.0, 0.0, inf, 6.0, 3.0, Fault.UNREACHABLE, "two unreachable")


def test_an_excuse_of_one_excuses_all() -> None:
    one, two = endpoint("one"), endpoint("two", 1)
    close(one, 1.0, for_s=9.0)
    two.breaker.limited(1.0, begun_at=1.0, retry_after_s=99.0, used_up=True)
    view = outlook([one, two], NEED, 1.0)
    assert isinstance(view, Closed)
    assert (view.excused_s, view.reopens_at) == (99.0, 10.0)


def test_a_closed_endpoint_whose_bucket_is_empty_reopens_when_both_are_ready() -> None:
    one = endpoint("one", per_minute=PerMinute(requests=1))
    one.begin(NEED, 0.0)
    close(one, 0.0, for_s=10.0)
    view = outlook([one], NEED, 0.0)
    assert isinstance(view, Closed)
    assert (view.reopens_at, view.opens_in_s) == (60.0, 60.0)


def test_endpoints_that_failed_are_for_whoever_waits_as_good_as_refusing() -> None:
    one = endpoint("one")
    for _ in range(5):
        fail(one, Fault.FAILED, 1.0)
    reopens_at = 1.0 + FIRST_PAUSE_S
    assert outlook([one], NEED, 1.0) == Closed(1.0, 0.0, inf, reopens_at, 0.5, Fault.OVERLOADED, "one failed")
    assert outlook([one], NEED, 2.0) == Closed(1.0, 0.0, inf, inf, None, Fault.OVERLOADED, "one failed"), (
        "a probe may go"
    )


def test_while_a_probe_is_under_way_it_is_closed_and_since_when_it_is_tried_is_told() -> None:
    one, two = endpoint("one"), endpoint("two", 1)
    close(one, 0.0, for_s=2.0)
    call = one.begin(NEED, 2.0)
    assert outlook([one], NEED, 2.0) == Closed(0.0, 0.0, 2.0, 2.0 + PROBE_EVERY_S, PROBE_EVERY_S, Fault.OVERLOADED, "")
    close(two, 0.0, for_s=3.0)
    later = two.begin(NEED, 3.0)
    view = outlook([two, one], NEED, 3.0)
    assert isinstance(view, Closed)
    assert view.probing_since == 2.0, "the oldest probe of any"
    one.abandoned(call, NO_USAGE, 3.5)
    view = outlook([two, one], NEED, 3.5)
    assert isinstance(view, Closed)
    assert view.probing_since == 3.0
    two.succeeded(later, NO_USAGE, 1.0, None, 4.0)
    assert isinstance(outlook([two, one], NEED, 4.0), Open)


def test_dead_endpoints_give_their_reasons() -> None:
    one, two = endpoint("one"), endpoint("two", 1)
    fail(one, Fault.FATAL, 1.0)
    fail(two, Fault.FATAL, 1.0)
    assert outlook([one, two], NEED, 9.0) == Dead("one fatal; two fatal")


# ------------------------------------------------------------------------------------------------------------- patience


def test_patience_counts_from_when_all_were_closed() -> None:
    assert closed(since=10.0).patient_until(60.0) == 70.0
    assert closed(since=10.0).patient_until(0.0) == 10.0


def test_the_waits_that_rate_limits_name_are_not_counted() -> None:
    assert closed(since=10.0, excused_s=100.0).patient_until(60.0) == 170.0
    assert closed(since=10.0, excused_s=40.0).patient_until(60.0) == 110.0
    assert closed(since=10.0, excused_s=40.0, reopens_at=112.0).patient_until(60.0) == 112.0 + FIRST_PAUSE_S


PATIENCE_S = LONGEST_PROBE_S / GRACE_SHARE


@pytest.mark.parametrize(
    ("reopens_at", "patience_s", "until"),
    [
        (PATIENCE_S, PATIENCE_S, PATIENCE_S),  # due in time
        (PATIENCE_S + 0.001, PATIENCE_S, PATIENCE_S + 0.001 + FIRST_PAUSE_S),  # just missed
        (PATIENCE_S + LONGEST_PROBE_S, PATIENCE_S, PATIENCE_S + LONGEST_PROBE_S + FIRST_PAUSE_S),
        (PATIENCE_S + LONGEST_PROBE_S + 0.001, PATIENCE_S, PATIENCE_S),  # too late
        (PATIENCE_S, PATIENCE_S - 1.0, PATIENCE_S - 1.0),  # so little patience that a probe is much of it
    ],
)
def test_a_probe_that_is_due_soon_afterwards_is_waited_for(reopens_at: float, patience_s: float, until: float) -> None:
    assert closed(reopens_at=reopens_at).patient_until(patience_s) == pytest.approx(until)


def test_the_end_of_a_probe_that_began_in_time_is_waited_for() -> None:
    last = PATIENCE_S * (1 + GRACE_SHARE)
    for probing_since, until in ((PATIENCE_S - 1.0, inf), (last, inf), (last + 0.001, PATIENCE_S)):
        assert closed(probing_since=probing_since).patient_until(PATIENCE_S) == until
    assert closed(probing_since=9.0, excused_s=1.0).patient_until(9.0) == inf
    assert closed(probing_since=9.001).patient_until(9.0) == 9.0, "so little patience has no grace"
