"""What did it cost, and what may it cost at most?"""

from __future__ import annotations

from synth_actors.policy.endpoints import Prices
from synth_actors.schema import Output
from synth_actors.types import Request, Usage


def priced(usage: Usage, price: Prices | None) -> Usage:
    """`usage` with its dollars; None when the price is not known, or the provider does not know what was used."""
    if usage.cost_usd is None:
        return usage
    if price is None:
        used = usage.input_tokens or usage.output_tokens or usage.cache_read_tokens or usage.cache_write_tokens
        return _with_cost(usage, None if used else 0.0)
    micro_usd = (
        usage.input_tokens * price.input_usd_per_mtok
        + usage.output_tokens * price.output_usd_per_mtok
        + usage.cache_read_tokens * price.cache_read_usd_per_mtok
        + usage.cache_write_tokens * price.cache_write_usd_per_mtok
    )
    return _with_cost(usage, micro_usd / 1e6)


def _with_cost(usage: Usage, cost_usd: float | None) -> Usage:
    return Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cost_usd=cost_usd,
    )


def upper_estimate_usd(request: Request, output: Output | None, price: Prices) -> float:
    """The most one call may cost: a token has at least one byte, and the answer at most `max_tokens` tokens."""
    texts = (request.prompt, request.messages, request.system, request.stop, request.extra)
    schema_bytes = len(output.tag) if output else 0
    input_bytes = len(repr(texts).encode()) + schema_bytes  # not as JSON, which cannot write everything that comes
    input_usd = max(price.input_usd_per_mtok, price.cache_write_usd_per_mtok)
    return (input_bytes * input_usd + request.max_tokens * price.output_usd_per_mtok) / 1e6
