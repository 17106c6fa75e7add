"""Is what a provider hands over what its contract says?

A provider may be anybody's code.  What it hands over with a wrong type would fail later, inside the router, and end the
engine; checked here it fails the one request, as a bug of the provider.
"""

from __future__ import annotations

from typing import get_args

from synth_actors.providers.base import Completion, Fault, ProviderError
from synth_actors.types import StopReason, Usage

_STOP_REASONS = frozenset(get_args(StopReason))
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


def check_usage(usage: Usage) -> Usage:
    """`usage` as it is.

    Raises:
        TypeError: it is no `Usage`, or holds something else than counts and dollars; it names the field.
    """
    if not isinstance(usage, Usage):
        raise TypeError(f"usage={usage!r}: give a Usage")
    for name in _TOKENS:
        count = getattr(usage, name)
        if not isinstance(count, int) or count < 0:
            raise TypeError(f"Usage.{name}={count!r}: give a count of tokens, an int from 0 on")
    cost_usd = usage.cost_usd
    if cost_usd is not None and not (isinstance(cost_usd, int | float) and cost_usd >= 0):
        raise TypeError(f"Usage.cost_usd={cost_usd!r}: give dollars from 0 on, or None when they are not known")
    return usage


def check_text(text: str) -> str:
    """`text` as it is.  Raises `TypeError` when it is none."""
    if not isinstance(text, str):
        raise TypeError(f"emit({text!r}): give a str")
    return text


def check_completion(completion: Completion) -> None:
    """Raises `TypeError` when a field has a wrong type; it names the field."""
    if not isinstance(completion, Completion):
        raise TypeError(f"generate returned {completion!r}: return a Completion")
    if not isinstance(completion.text, str):
        raise TypeError(f"Completion.text={completion.text!r}: give a str")
    if completion.stop_reason not in _STOP_REASONS:
        known = ", ".join(sorted(_STOP_REASONS))
        raise TypeError(f"Completion.stop_reason={completion.stop_reason!r}: give one of {known}")
    if completion.model is not None and not isinstance(completion.model, str):
        raise TypeError(f"Completion.model={completion.model!r}: give a str or None")
    check_usage(completion.usage)


def check_error(exc: ProviderError) -> None:
    """Raises `TypeError` when a field has a wrong type; it names the field."""
    if not isinstance(exc.fault, Fault):
        raise TypeError(f"ProviderError.fault={exc.fault!r}: give a Fault such as Fault.FAILED")
    retry_after_s = exc.retry_after_s
    if retry_after_s is not None and not (isinstance(retry_after_s, int | float) and retry_after_s >= 0):
        raise TypeError(f"ProviderError.retry_after_s={retry_after_s!r}: give seconds from 0 on, or None")
    check_usage(exc.usage)
