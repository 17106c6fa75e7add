from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_actors.policy.retry import (
    FAILED_AFTER_ACCEPTANCE,
    FIRST_DELAY_S,
    LONGEST_DELAY_S,
    LONGEST_RETRY_AFTER_S,
    MAX_INVALID_OUTPUTS,
    REFUSED_BEFORE_WORK,
    Again,
    Elsewhere,
    GiveUp,
    Trial,
    Verdict,
    judge,
)
from synth_actors.providers.base import Fault

PLAIN = Trial(
    fault=Fault.FAILED,
    truncated=False,
    spent=1,
    max_attempts=6,
    invalid_outputs=0,
    schema_refusals=0,
    endpoints=1,
    others_left=False,
    others_open=False,
    some_left=True,
    refusals=1,
    refused_for_s=0.0,
    patience_s=60.0,
    retry_after_s=None,
    jitter=0.0,
)
OTHERS = replace(PLAIN, endpoints=2, others_left=True, others_unasked=True, others_open=True)
OTHERS_CLOSED = replace(OTHERS, others_open=False)
AT_ONCE = Again(0.0)
LATER = Again(FIRST_DELAY_S / 2)

TABLE: dict[Fault, tuple[Verdict, Verdict, Verdict]] = {  # alone, with open others, with closed others
    Fault.RATE_LIMITED: (LATER, Elsewhere(FIRST_DELAY_S / 2), LATER),
    Fault.OVERLOADED: (LATER, Elsewhere(FIRST_DELAY_S / 2), LATER),
    Fault.UNREACHABLE: (LATER, Elsewhere(FIRST_DELAY_S / 2), LATER),
    Fault.SCHEMA_REFUSED: (AT_ONCE, AT_ONCE, AT_ONCE),
    Fault.FAILED: (LATER, Elsewhere(FIRST_DELAY_S / 2), LATER),
    Fault.TIMED_OUT: (LATER, Elsewhere(FIRST_DELAY_S / 2), LATER),
    Fault.TOO_LARGE: (GiveUp(), GiveUp(), GiveUp()),
    Fault.OUTPUT_INVALID: (AT_ONCE, Elsewhere(), AT_ONCE),
    Fault.REJECTED: (GiveUp(), Elsewhere(), LATER),
    Fault.FATAL: (GiveUp(), Elsewhere(), LATER),
    Fault.BUG: (GiveUp(), GiveUp(), GiveUp()),
}


def test_the_table_has_every_fault() -> None:
    assert set(TABLE) == set(Fault)


@pytest.mark.parametrize("fault", Fault)
def test_the_verdict_on_a_first_failure(fault: Fault) -> None:
    found = tuple(judge(replace(trial, fault=fault)) for trial in (PLAIN, OTHERS, OTHERS_CLOSED))
    assert found == TABLE[fault]


@pytest.mark.parametrize("fault", [Fault.FAILED, Fault.TIMED_OUT, Fault.OUTPUT_INVALID])
def test_what_may_have_been_paid_is_tried_max_attempts_times(fault: Fault) -> None:
    for spent in range(1, 10):
        verdict = judge(replace(OTHERS, fault=fault, spent=spent))
        assert isinstance(verdict, GiveUp) == (spent >= 6)


def test_the_delay_doubles_to_a_limit_and_is_spread_over_its_upper_half() -> None:
    for tries in (*range(1, 20), 5000):
        ceiling_s = min(FIRST_DELAY_S * 2.0 ** min(tries - 1, 30), LONGEST_DELAY_S)
        for jitter, share in ((0.0, 0.5), (0.5, 0.75), (1.0, 1.0)):
            often = replace(PLAIN, spent=tries, refusals=tries, max_attempts=10_000, jitter=jitter)
            for fault in (Fault.FAILED, Fault.TIMED_OUT, *REFUSED_BEFORE_WORK):
                assert judge(replace(often, fault=fault)) == Again(ceiling_s * share)


@pytest.mark.parametrize("fault", sorted(REFUSED_BEFORE_WORK, key=str))
def test_a_refusal_spends_no_attempt_and_ends_with_the_patience(fault: Fault) -> None:
    refused = replace(PLAIN, fault=fault, spent=99)
    assert judge(replace(refused, refused_for_s=59.875)) == Again(0.125)
    assert judge(replace(refused, refused_for_s=60.0)) == GiveUp()
    assert judge(replace(refused, refused_for_s=99.0, others_left=True, others_unasked=True)) == LATER
    others = replace(refused, refused_for_s=99.0, others_left=True, others_open=True)
    assert judge(replace(others, others_unasked=True)) == Elsewhere(0.25)
    assert judge(others) == GiveUp(), "everybody has refused it in vain"


@pytest.mark.parametrize("fault", sorted(REFUSED_BEFORE_WORK, key=str))
@pytest.mark.parametrize("told_s", [0.5, 1.0, 59.0])
def test_a_wait_that_the_server_names_is_granted_as_it_is(fault: Fault, told_s: float) -> None:
    refused = replace(PLAIN, fault=fault, retry_after_s=told_s, refusals=9)
    assert judge(refused) == Again(told_s)
    assert judge(replace(refused, others_left=True)) == Again(told_s)
    assert judge(replace(refused, others_left=True, others_open=True)) == Elsewhere(told_s)


def test_a_short_wish_is_granted_once_and_from_then_on_it_backs_off() -> None:
    for told_s in (-5.0, 0.0, 0.1):
        refused = replace(PLAIN, fault=Fault.RATE_LIMITED, retry_after_s=told_s, jitter=1.0)
        waits = [judge(replace(refused, refusals=refusals)) for refusals in range(1, 6)]
        assert waits == [Again(max(0.0, told_s)), Again(0.5), Again(1.0), Again(2.0), Again(4.0)]


def test_the_wait_that_a_rate_limit_names_tries_nobodys_patience_but_a_refusal_after_it_does() -> None:
    limited = replace(PLAIN, fault=Fault.RATE_LIMITED, retry_after_s=LONGEST_RETRY_AFTER_S)
    assert judge(limited) == Again(LONGEST_RETRY_AFTER_S)
    assert judge(replace(limited, refused_for_s=59.9)) == Again(LONGEST_RETRY_AFTER_S)
    assert judge(replace(limited, refused_for_s=60.0)) == GiveUp()
    assert judge(replace(limited, patience_s=0.0)) == GiveUp()


@pytest.mark.parametrize("fault", [Fault.OVERLOADED, Fault.UNREACHABLE])
def test_an_endpoint_that_is_down_is_not_waited_for_longer_than_the_patience(fault: Fault) -> None:
    down = replace(PLAIN, fault=fault, refused_for_s=30.0)
    assert judge(replace(down, retry_after_s=29.9)) == Again(29.9)
    assert judge(replace(down, retry_after_s=36.0)) == Again(36.0), "with a little grace"
    assert judge(replace(down, retry_after_s=36.1)) == GiveUp()
    assert judge(replace(down, retry_after_s=36.1, others_left=True, others_unasked=True)) == Again(36.1)
    too_long = judge(replace(down, retry_after_s=66.1))
    assert too_long == GiveUp("it asks to wait 66.1 s, and no request waits longer than 60 s for that")
    assert judge(replace(down, refused_for_s=61.0, retry_after_s=1.0)) == GiveUp(), "the patience was over before"


@pytest.mark.parametrize("fault", sorted(REFUSED_BEFORE_WORK, key=str))
def test_a_wait_beyond_all_measure_is_a_clear_end(fault: Fault) -> None:
    refused = replace(PLAIN, fault=fault, retry_after_s=LONGEST_RETRY_AFTER_S + 1, patience_s=inf)
    assert judge(refused) == GiveUp("it asks to wait 601 s, and no request waits longer than 600 s for that")
    assert judge(replace(refused, others_left=True)) == Elsewhere()
    assert judge(replace(refused, retry_after_s=LONGEST_RETRY_AFTER_S)) == Again(LONGEST_RETRY_AFTER_S)


def test_where_all_are_closed_a_failure_waits_in_line_for_the_first_that_opens() -> None:
    assert judge(replace(PLAIN, all_closed=True)) == AT_ONCE
    assert judge(replace(PLAIN, all_closed=True, spent=6)) == GiveUp()
    too_long = GiveUp("it asks to wait 601 s, and no request waits longer than 600 s for that")
    assert judge(replace(PLAIN, all_closed=True, retry_after_s=601.0)) == too_long
    assert judge(replace(PLAIN, retry_after_s=601.0, others_left=True, others_open=True)) == Elsewhere()


trials = st.builds(
    Trial,
    fault=st.sampled_from(Fault),
    truncated=st.booleans(),
    spent=st.integers(0, 8),
    max_attempts=st.integers(1, 8),
    invalid_outputs=st.integers(0, 4),
    schema_refusals=st.integers(0, 4),
    endpoints=st.integers(1, 4),
    others_left=st.booleans(),
    others_open=st.booleans(),
    others_unasked=st.booleans(),
    some_left=st.booleans(),
    refusals=st.integers(1, 50),
    refused_for_s=st.floats(0.0, 200.0),
    patience_s=st.sampled_from([0.0, 1.0, 60.0, 1e6]),
    retry_after_s=st.none() | st.floats(-10.0, 2000.0),
    jitter=st.floats(0.0, 1.0, exclude_max=True),
).filter(
    lambda trial: (
        trial.others_left >= max(trial.others_open, trial.others_unasked) and trial.some_left >= trial.others_left
    )
)


@settings(max_examples=400)
@given(trials)
def test_whatever_was_tried_the_verdict_keeps_its_bounds(trial: Trial) -> None:
    verdict = judge(trial)
    is_refusal, told_s = trial.fault in REFUSED_BEFORE_WORK, trial.retry_after_s or 0.0
    if isinstance(verdict, Again):
        assert 0.0 <= verdict.delay_s <= max(LONGEST_DELAY_S, min(told_s, LONGEST_RETRY_AFTER_S))
    if isinstance(verdict, Elsewhere):
        assert trial.others_left
        assert verdict.back_after_s >= 0.0
    if not trial.some_left and (is_refusal or trial.fault in FAILED_AFTER_ACCEPTANCE):
        assert verdict == GiveUp()
        return
    if is_refusal and trial.others_open and trial.others_unasked:
        assert isinstance(verdict, Elsewhere), "somebody else takes it at once"
    if is_refusal and trial.refused_for_s < trial.patience_s and told_s <= trial.patience_s - trial.refused_for_s:
        assert isinstance(verdict, GiveUp) == (told_s > LONGEST_RETRY_AFTER_S and not trial.others_left)
    if trial.fault in FAILED_AFTER_ACCEPTANCE and trial.spent >= trial.max_attempts:
        assert isinstance(verdict, GiveUp)
    if is_refusal and isinstance(verdict, Again) and told_s <= 0.0 and trial.retry_after_s is None:
        left_s = trial.patience_s - trial.refused_for_s
        assert trial.others_left or verdict.delay_s <= left_s, "nobody waits past the patience"


def test_an_invalid_output_is_asked_for_three_times() -> None:
    invalid = replace(PLAIN, fault=Fault.OUTPUT_INVALID, max_attempts=100)
    assert judge(replace(invalid, invalid_outputs=MAX_INVALID_OUTPUTS - 1)) == AT_ONCE
    assert judge(replace(invalid, invalid_outputs=MAX_INVALID_OUTPUTS)) == GiveUp()
    assert judge(replace(invalid, truncated=True)) == GiveUp()


def test_a_refused_schema_is_asked_for_once_more_for_each_endpoint() -> None:
    refused = replace(PLAIN, fault=Fault.SCHEMA_REFUSED)
    assert judge(replace(refused, schema_refusals=1)) == AT_ONCE
    assert judge(replace(refused, schema_refusals=2)) == GiveUp()
    assert judge(replace(refused, schema_refusals=2, endpoints=2)) == AT_ONCE


def test_where_nothing_is_left_there_is_no_second_try() -> None:
    assert judge(replace(PLAIN, some_left=False)) == GiveUp()
    for fault in REFUSED_BEFORE_WORK:
        for told_s in (None, 0.1, 30.0, 601.0):
            assert judge(replace(PLAIN, fault=fault, some_left=False, retry_after_s=told_s)) == GiveUp()


@pytest.mark.parametrize("fault", [Fault.REJECTED, Fault.FATAL])
@pytest.mark.parametrize("told_s", [7.0, 601.0, 86_400.0])
def test_the_wait_that_a_rejection_names_is_not_that_of_the_others(fault: Fault, told_s: float) -> None:
    assert judge(replace(OTHERS_CLOSED, fault=fault, retry_after_s=told_s)) == LATER
    assert judge(replace(OTHERS_CLOSED, fault=fault, retry_after_s=told_s, all_closed=True)) == AT_ONCE
    assert judge(replace(OTHERS, fault=fault, retry_after_s=told_s)) == Elsewhere()


def test_a_failure_queues_for_the_open_others_now_and_for_all_after_its_backoff() -> None:
    for spent, back_s in ((1, 0.5), (2, 1.0), (3, 2.0)):
        assert judge(replace(OTHERS, spent=spent, jitter=1.0)) == Elsewhere(back_s)
    assert judge(replace(OTHERS, retry_after_s=9.0)) == Elsewhere(9.0), "or after the wait that it names"


def test_a_failure_that_names_a_wait_is_tried_again_after_it_and_not_before() -> None:
    assert judge(replace(PLAIN, retry_after_s=7.0)) == Again(7.0)
    assert judge(replace(PLAIN, retry_after_s=7.0, all_closed=True)) == Again(7.0)
    assert judge(replace(PLAIN, retry_after_s=0.0)) == LATER
    match judge(replace(PLAIN, retry_after_s=LONGEST_RETRY_AFTER_S + 1)):
        case GiveUp(why):
            assert "601 s" in why
        case verdict:
            raise AssertionError(verdict)
