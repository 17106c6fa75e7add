"""What was used, and what did it cost?"""

from __future__ import annotations

from dataclasses import dataclass

from synth_actors.frozen import quick_init


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens and dollars.  `cost_usd` is None when the endpoint has no known price: never 0 for "unknown"."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: float | None = 0.0

    def __add__(self, other: Usage) -> Usage:
        if self is NO_USAGE:
            return other
        if other is NO_USAGE:
            return self
        unpriced = self.cost_usd is None or other.cost_usd is None
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            cost_usd=None if unpriced else (self.cost_usd or 0.0) + (other.cost_usd or 0.0),
        )


NO_USAGE = Usage()


def tokens_of(usage: Usage) -> int:
    """All its tokens, of both directions, read from the provider's cache or not."""
    return usage.input_tokens + usage.output_tokens + usage.cache_read_tokens + usage.cache_write_tokens
