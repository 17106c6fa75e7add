"""Whose fault was it, and what did it cost?

Below `SynthActorsError` there are two kinds.  A `GenerationError` may have cost money: it says how many attempts were
made, what text had arrived and what was used.  Everything else was refused before anything was sent.
"""

from __future__ import annotations

import re
from typing import ClassVar

import trio

from synth_actors.usage import Usage


class SynthActorsError(Exception):
    """Base of every exception that this package raises on purpose.

    `outcome` is what figures and logs call a request that ended with it.
    """

    outcome: ClassVar[str] = "failed"


class ConfigError(SynthActorsError, ValueError):
    """Something the user gave is wrong; the message names the field, the value and the remedy.  Nothing was sent."""

    outcome = "refused"


class OverloadedError(SynthActorsError):
    """The engine already holds `max_waiting` requests and `on_full="refuse"`.  Nothing was sent."""

    outcome = "overloaded"


class BudgetExceededError(SynthActorsError):
    """The next call might have passed `budget_usd`, so it was not made.  Nothing was sent for this request."""

    outcome = "budget"


class EngineClosedError(SynthActorsError):
    """The engine was closed, or ended by a bug (then `__cause__` is it), before the answer was there.

    `usage` is what a running call had used, None when no call was running.
    """

    outcome = "closed"

    def __init__(self, message: str, *, usage: Usage | None = None) -> None:
        super().__init__(message)
        self.usage = usage


class GenerationError(SynthActorsError):
    """A request was tried and failed.

    `attempts` calls were made; `partial` is the text that had arrived from the last one; `usage` is what this request
    added to the bill, None when unknown; `retryable` says whether the same request may succeed later; `endpoint` is the
    name of the endpoint that failed last, None when none was reached.
    """

    def __init__(
        self,
        message: str,
        *,
        attempts: int = 0,
        partial: str = "",
        usage: Usage | None = None,
        retryable: bool = False,
        endpoint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.attempts = attempts
        self.partial = partial
        self.usage = usage
        self.retryable = retryable
        self.endpoint = endpoint


class DeadlineExceededError(GenerationError, trio.TooSlowError):
    """`timeout_s` was over before the answer was there."""

    outcome = "deadline"


class RateLimitedError(GenerationError):
    """Every endpoint that may serve the request was rate limited or closed for longer than `outage_patience_s`.

    `retry_after_s` is when the first of them said it would be open again, None when none said so.
    """

    outcome = "rate_limited"
    retry_after_s: float | None = None


class OutputInvalidError(GenerationError):
    """The model answered, and the answer is not what `output_schema` asks for; `partial` is its whole text."""

    outcome = "invalid"


def text_of(exc: BaseException) -> str:
    """What `exc` says; an exception of somebody else's may fail even at that."""
    try:
        return str(exc)
    except Exception as problem:  # noqa: BLE001  (whatever its `__str__` raises, the one who waits is answered)
        return f"(its text cannot be read: {type(problem).__name__})"


def without_password(url: str) -> str:
    """An address as an error or a repr may show it; a password may hold an @ of its own."""
    return re.sub(r"//[^/?#]*@", "//**********@", url)
