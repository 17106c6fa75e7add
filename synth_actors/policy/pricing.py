"""What did it cost, and what may it cost at most?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synth_actors.config import Price
from synth_actors.policy.retry import REFUSED_BEFORE_WORK, REJECTED_FOR_GOOD
from synth_actors.providers.base import Fault
from synth_actors.schema import Output
from synth_actors.types import NO_USAGE, Request, Usage


def priced(usage: Usage, price: Price | None) -> Usage:
    """`usage` with its dollars; None when the price is not known, or the provider does not know what was used."""
    if usage.cost_usd is None:
        return usage
    if price is None:
        used = usage.input_tokens or usage.output_tokens or usage.cache_read_tokens or usage.cache_write_tokens
        return _with_cost(usage, None if used else 0.0)
    prices = price.at(usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens)
    micro_usd = (
        usage.input_tokens * prices.input_usd_per_mtok
        + usage.output_tokens * prices.output_usd_per_mtok
        + usage.cache_read_tokens * prices.cache_read_usd_per_mtok
        + usage.cache_write_tokens * prices.cache_write_usd_per_mtok
    )
    return _with_cost(usage, micro_usd / 1e6)


def usd_per_mtok(price: Price) -> dict[str, float]:
    """Dollars for a million tokens, by kind, of a call with a short prompt."""
    return {
        "input": price.input_usd_per_mtok,
        "output": price.output_usd_per_mtok,
        "cache_read": price.cache_read_usd_per_mtok,
        "cache_write": price.cache_write_usd_per_mtok,
    }


def _with_cost(usage: Usage, cost_usd: float | None) -> Usage:
    return Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cost_usd=cost_usd,
    )


_FREE: frozenset[object] = REFUSED_BEFORE_WORK | REJECTED_FOR_GOOD | {Fault.SCHEMA_REFUSED}
"""Faults of calls that were not charged."""


def known_cost_usd(usage: Usage, fault: object | None) -> float | None:
    """What a call cost; None when it ended with a fault after it was accepted and nobody told what it had used."""
    return None if fault is not None and fault not in _FREE and usage is NO_USAGE else usage.cost_usd


OF_GATEWAYS = frozenset({502, 504, *range(520, 528)})
"""Statuses by which a gateway says that what is behind it gave no answer in time, or none that it understood."""


def is_free(fault: object, usage: Usage, status: int | None) -> bool:
    """Whether a call that was sent and failed is not on the bill.

    It was refused before work, or answered with an error status before anything was used; not with that of a gateway,
    behind which the model may have gone on.
    """
    if usage is not NO_USAGE:
        return False
    is_of_server = status is not None and 500 <= status < 600 and status not in OF_GATEWAYS
    return fault in _FREE or is_of_server


_LENGTHS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
"""What APIs call the bound of an answer, where `extra` or `extra_body` may set it past `Request.max_tokens`."""


def longest_answer_tokens(request: Request, extra_body: Mapping[str, Any]) -> int:
    """The most tokens that one answer may have."""
    extras = {**extra_body, **request.extra}
    return max(request.max_tokens, *(_whole(extras.get(name)) for name in _LENGTHS))


def upper_estimate_usd(request: Request, output: Output | None, price: Price, extra_body: Mapping[str, Any]) -> float:
    """The most one call may cost: a token has at least one byte, and an answer at most `max_tokens` tokens."""
    texts = (request.prompt, request.messages, request.system, request.stop, request.extra)
    schema_bytes = len(output.tag) if output else 0
    input_bytes = len(repr(texts).encode()) + schema_bytes  # not as JSON, which cannot write everything that comes
    prices = price.at(input_bytes)
    input_usd = max(prices.input_usd_per_mtok, prices.cache_write_usd_per_mtok, prices.cache_read_usd_per_mtok)
    output_tokens = longest_answer_tokens(request, extra_body)
    answers = max(1, _whole({**extra_body, **request.extra}.get("n")))
    return (input_bytes * input_usd + answers * output_tokens * prices.output_usd_per_mtok) / 1e6


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
