from __future__ import annotations

from dataclasses import replace

import pytest

from synth_actors.policy.retry import (
    FIRST_DELAY_S,
    LONGEST_DELAY_S,
    MAX_INVALID_OUTPUTS,
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
OTHERS = replace(PLAIN, endpoints=2, others_left=True, others_open=True)
OTHERS_CLOSED = replace(OTHERS, others_open=False)
AT_ONCE = Again(0.0)
LATER = Again(FIRST_DELAY_S / 2)

TABLE: dict[Fault, tuple[Verdict, Verdict, Verdict]] = {  # alone, with open others, with closed others
    Fault.RATE_LIMITED: (AT_ONCE, AT_ONCE, AT_ONCE),
    Fault.OVERLOADED: (AT_ONCE, AT_ONCE, AT_ONCE),
    Fault.UNREACHABLE: (AT_ONCE, AT_ONCE, AT_ONCE),
    Fault.SCHEMA_REFUSED: (AT_ONCE, AT_ONCE, AT_ONCE),
    Fault.FAILED: (LATER, Elsewhere(), LATER),
    Fault.TIMED_OUT: (LATER, Elsewhere(), LATER),
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
    for spent in range(1, 20):
        ceiling_s = min(FIRST_DELAY_S * 2 ** (spent - 1), LONGEST_DELAY_S)
        for jitter, share in ((0.0, 0.5), (0.5, 0.75), (1.0, 1.0)):
            verdict = judge(replace(PLAIN, spent=spent, max_attempts=100, jitter=jitter))
            assert verdict == Again(ceiling_s * share)


def test_a_refusal_spends_no_attempt_and_ends_with_the_patience() -> None:
    refused = replace(PLAIN, fault=Fault.RATE_LIMITED, spent=99)
    assert judge(replace(refused, refused_for_s=60.0)) == AT_ONCE
    assert judge(replace(refused, refused_for_s=60.1)) == GiveUp()
    assert judge(replace(refused, refused_for_s=30.0, retry_after_s=31.0)) == GiveUp()
    assert judge(replace(refused, refused_for_s=30.0, retry_after_s=31.0, others_left=True)) == AT_ONCE


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
