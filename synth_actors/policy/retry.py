"""Again, elsewhere, or give up?

A table from the fault of the last attempt to a verdict.  A refusal before work costs nothing, so it spends no attempt
and waits: as long as a rate limit says, and for an endpoint that is down as long as the patience and a little longer.
A failure after acceptance may have been paid: it spends one attempt, and takes from the budget that all requests share.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

from synth_actors.providers.base import Fault

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 20.0
LONGEST_RETRY_AFTER_S = 600.0
"""A server that asks for a longer wait is not waited for: limits per minute fill within one, those per day do not."""
MOST_WAITS_EXCUSED = 10
"""So many waits in a row that a rate limit names try nobody's patience; what refuses then goes on refusing."""
GRACE_SHARE = 0.1
LEAST_GRACE_S = 3.0
MAX_INVALID_OUTPUTS = 3
"""A model that three times answered something else than the schema asks for is not asked a fourth time."""


@dataclass(frozen=True, slots=True)
class Again:
    """Queue it again after `delay_s`, for any endpoint it may use."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Queue it at once for the endpoints that have not failed it yet; after `back_after_s` for the others, too."""

    back_after_s: float = inf


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The last failure is the answer; `why` says what the failure itself does not."""

    why: str = ""


Verdict = Again | Elsewhere | GiveUp

REFUSED_BEFORE_WORK = frozenset({Fault.RATE_LIMITED, Fault.OVERLOADED, Fault.UNREACHABLE})
FAILED_AFTER_ACCEPTANCE = frozenset({Fault.FAILED, Fault.TIMED_OUT})
REJECTED_FOR_GOOD = frozenset({Fault.REJECTED, Fault.FATAL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What has been tried for one request.

    `spent` counts attempts that may have been paid, `refused_for_s` is the time since its first refusal, `jitter` is
    drawn from [0, 1) by the caller.
    """

    fault: Fault
    truncated: bool
    spent: int
    max_attempts: int
    invalid_outputs: int
    schema_refusals: int
    endpoints: int  # how many it may use
    others_left: bool  # endpoints other than the one that failed it that may still serve it
    others_open: bool  # such endpoints that it has not tried and that are not closed, if perhaps full
    some_left: bool  # endpoints that may still serve it, this one included
    refusals: int  # in a row
    refused_for_s: float
    patience_s: float
    retry_after_s: float | None
    jitter: float
    others_unasked: bool = False  # some of those that may still serve it have not refused it in this row
    all_closed: bool = False  # every endpoint that may still serve it is paused, or being tried


def judge(trial: Trial) -> Verdict:
    """The verdict on a request whose last attempt failed."""
    fault = trial.fault
    if fault in REFUSED_BEFORE_WORK:
        return _after_refusal(trial)
    if fault is Fault.SCHEMA_REFUSED:
        once_each = trial.schema_refusals <= trial.endpoints  # from now on the provider asks in the prompt
        return Again(0.0) if once_each else GiveUp()
    if fault in FAILED_AFTER_ACCEPTANCE:
        return _after_failure(trial)
    if fault is Fault.OUTPUT_INVALID:
        return _after_invalid_output(trial)
    if fault in REJECTED_FOR_GOOD and trial.others_left:
        return Elsewhere() if trial.others_open else _after_failure(replace(trial, retry_after_s=None))
    return GiveUp()


def _after_refusal(trial: Trial) -> Verdict:
    if not trial.some_left:
        return GiveUp()
    told_s, left_s = trial.retry_after_s or 0.0, trial.patience_s - trial.refused_for_s
    if told_s > LONGEST_RETRY_AFTER_S:
        return Elsewhere() if trial.others_left else GiveUp(_too_long(told_s, LONGEST_RETRY_AFTER_S))
    counted_s = 0.0 if trial.fault is Fault.RATE_LIMITED else told_s  # the wait of a limit tries nobody's patience
    is_over = left_s <= 0.0 or counted_s > left_s + grace_s(trial.patience_s)
    if is_over and not trial.others_unasked:
        return GiveUp(_too_long(told_s, trial.patience_s) if counted_s > trial.patience_s else "")
    wait_s = _wait_s(trial) if is_over else min(_wait_s(trial), max(left_s, told_s))
    return Elsewhere(wait_s) if trial.others_open else Again(wait_s)


def _wait_s(trial: Trial) -> float:
    """As long as the server says; who goes on refusing with a short wish is asked ever more rarely all the same."""
    told_s = trial.retry_after_s
    if told_s is None:
        return _backoff_s(trial.refusals, trial.jitter)
    if told_s < FIRST_DELAY_S and trial.refusals > 1:
        return max(told_s, _backoff_s(trial.refusals - 1, trial.jitter))
    return max(0.0, told_s)


def _after_failure(trial: Trial) -> Verdict:
    if trial.spent >= trial.max_attempts or not trial.some_left:
        return GiveUp()
    told_s = trial.retry_after_s or 0.0
    wait_s = max(told_s, _backoff_s(trial.spent, trial.jitter))
    if trial.others_open:  # a closed one is no better than another try here
        return Elsewhere(wait_s if told_s <= LONGEST_RETRY_AFTER_S else inf)
    if told_s > LONGEST_RETRY_AFTER_S:
        return GiveUp(_too_long(told_s, LONGEST_RETRY_AFTER_S))
    if trial.all_closed:  # it waits in line, with its patience, and the endpoint says when it goes
        return Again(told_s)
    return Again(wait_s)


def _after_invalid_output(trial: Trial) -> Verdict:
    exhausted = trial.spent >= trial.max_attempts or trial.invalid_outputs >= MAX_INVALID_OUTPUTS
    if trial.truncated or exhausted:
        return GiveUp()
    return Elsewhere() if trial.others_open else Again(0.0)


def _backoff_s(tries: int, jitter: float) -> float:
    """Twice as long after each try, spread over the upper half so that those who failed together come back apart."""
    ceiling_s = min(FIRST_DELAY_S * 2.0 ** min(tries - 1, 16), LONGEST_DELAY_S)
    return ceiling_s * (0.5 + jitter / 2)


def grace_s(patience_s: float) -> float:
    """How much longer than the patience is waited for what ends soon: a probe goes every 3 seconds."""
    return GRACE_SHARE * patience_s if GRACE_SHARE * patience_s >= LEAST_GRACE_S else 0.0


def _too_long(wait_s: float, most_s: float) -> str:
    return f"it asks to wait {wait_s:g} s, and no request waits longer than {most_s:g} s for that"
