"""Again, elsewhere, or give up?

A table from the fault of the last attempt to a verdict.  A refusal before work costs nothing, so it spends no attempt
and waits, but not longer than the patience.  A failure after acceptance may have been paid and spends one.
"""

from __future__ import annotations

from dataclasses import dataclass

from synth_actors.providers.base import Fault

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 20.0
MAX_INVALID_OUTPUTS = 3
"""A model that three times answered something else than the schema asks for is not asked a fourth time."""


@dataclass(frozen=True, slots=True)
class Again:
    """Queue it again after `delay_s`, for any endpoint it may use."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Queue it at once, for the endpoints that have not failed it yet."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The last failure is the answer."""


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
    others_open: bool  # such endpoints that it has not tried and that take a call at the moment
    some_left: bool  # endpoints that may still serve it, this one included
    refused_for_s: float
    patience_s: float
    retry_after_s: float | None
    jitter: float


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
        return Elsewhere() if trial.others_open else _after_failure(trial)
    return GiveUp()


def _after_refusal(trial: Trial) -> Verdict:
    """The endpoint pauses by itself; the request waits in line and goes to whichever opens first."""
    wait_s = trial.retry_after_s or 0.0
    if trial.others_left:
        wait_s = 0.0
    return Again(0.0) if trial.refused_for_s + wait_s <= trial.patience_s else GiveUp()


def _after_failure(trial: Trial) -> Verdict:
    if trial.spent >= trial.max_attempts or not trial.some_left:
        return GiveUp()
    if trial.others_open:  # a closed one is no better than another try here
        return Elsewhere()
    ceiling_s = min(FIRST_DELAY_S * 2.0 ** (trial.spent - 1), LONGEST_DELAY_S)
    return Again(ceiling_s * (0.5 + trial.jitter / 2))


def _after_invalid_output(trial: Trial) -> Verdict:
    exhausted = trial.spent >= trial.max_attempts or trial.invalid_outputs >= MAX_INVALID_OUTPUTS
    if trial.truncated or exhausted:
        return GiveUp()
    return Elsewhere() if trial.others_open else Again(0.0)
