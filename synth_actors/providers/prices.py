"""What does a token of an endpoint cost?

`Endpoint.price` wins; `local` is free; the models of Anthropic's and OpenAI's own services are looked up in the
kept library `genai_prices`, whose prices were bundled when it was released (nothing is fetched); `Price.source` names
its version and the day.  A model that it does not know, and any model behind another address, has no price: None, never
0.  Where a price rises with the length of the prompt, that is part of it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from synth_actors.config import LongPromptPrices, Price
from synth_actors.providers.access import is_home

if TYPE_CHECKING:
    from synth_actors.config import Endpoint

_FREE = Price(input_usd_per_mtok=0.0, output_usd_per_mtok=0.0)
_FIELDS = {
    "input_usd_per_mtok": "input_mtok",
    "output_usd_per_mtok": "output_mtok",
    "cache_read_usd_per_mtok": "cache_read_mtok",
    "cache_write_usd_per_mtok": "cache_write_mtok",
}
"""What we call a price, and what the list does."""


def price_of(endpoint: Endpoint) -> Price | None:
    """US dollars per million tokens of an endpoint, None when nobody knows."""
    if endpoint.price is not None:
        return endpoint.price
    if endpoint.provider == "local":
        return _FREE
    if not isinstance(endpoint.provider, str) or not is_home(endpoint):
        return None
    return _listed(endpoint.provider, endpoint.model)


def _listed(provider: str, model: str) -> Price | None:
    from genai_prices.data_snapshot import get_snapshot  # 0.4 s: only who pays for tokens pays for the list

    try:
        _, known = get_snapshot().find_provider_model(model, None, provider, None)
    except LookupError:
        return None
    today = datetime.now(tz=UTC)
    listed = known.get_prices(today)
    usual = _prices(listed, 0)
    if usual is None:
        return None
    starts = sorted({tier.start for name in _FIELDS.values() for tier in getattr(getattr(listed, name), "tiers", ())})
    return Price(
        **usual,
        long_prompts=tuple(
            LongPromptPrices(above_tokens=start, **prices) for start in starts if (prices := _prices(listed, start + 1))
        ),
        source=f"genai-prices {version('genai-prices')}, as valid on {today:%Y-%m-%d}",
    )


def _prices(listed: Any, prompt_tokens: int) -> dict[str, float] | None:
    """The prices of a call with a prompt of that length; None when input or output has none."""
    found = {ours: _at(getattr(listed, theirs, None), prompt_tokens) for ours, theirs in _FIELDS.items()}
    if found["input_usd_per_mtok"] is None or found["output_usd_per_mtok"] is None:
        return None
    return {name: price for name, price in found.items() if price is not None}


def _at(price: Any, prompt_tokens: int) -> float | None:
    if price is None:
        return None
    for tier in sorted(getattr(price, "tiers", ()), key=lambda tier: tier.start, reverse=True):
        if prompt_tokens > tier.start:
            return float(tier.price)
    return float(getattr(price, "base", price))
