"""Which exception does a failure become?"""

from __future__ import annotations

from synth_actors.errors import (
    BudgetExceededError,
    EngineClosedError,
    GenerationError,
    OutputInvalidError,
    RateLimitedError,
    SynthActorsError,
)
from synth_actors.messages import Ended, Failure
from synth_actors.policy.retry import REFUSED_BEFORE_WORK
from synth_actors.providers.base import Fault
from synth_actors.types import Usage

_RETRYABLE = frozenset({Fault.RATE_LIMITED, Fault.OVERLOADED, Fault.UNREACHABLE, Fault.FAILED, Fault.TIMED_OUT})


def error_of(failure: Failure, *, attempts: int, usage: Usage) -> SynthActorsError:
    """A fresh exception for one waiter; `usage` is that waiter's share of the bill."""
    error = _error_of(failure, attempts, usage)
    error.__cause__ = failure.cause
    return error


def _error_of(failure: Failure, attempts: int, usage: Usage) -> SynthActorsError:
    fault = failure.fault
    if fault is Ended.BUDGET and not attempts:
        return BudgetExceededError(failure.message)
    if fault is Ended.CLOSED:
        return EngineClosedError(failure.message, usage=usage if attempts else None)
    kind = GenerationError
    if fault is Fault.OUTPUT_INVALID:
        kind = OutputInvalidError
    elif fault in REFUSED_BEFORE_WORK:  # given up only when patience was over
        kind = RateLimitedError
    error = kind(
        failure.message,
        attempts=attempts,
        partial=failure.partial,
        usage=usage,
        retryable=fault in _RETRYABLE,
        endpoint=failure.endpoint,
    )
    if isinstance(error, RateLimitedError):
        error.retry_after_s = failure.retry_after_s
    return error
