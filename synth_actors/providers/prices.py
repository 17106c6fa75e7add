"""What does a token of an endpoint cost?

`Endpoint.price` wins; `local` is free; the models of Anthropic's and OpenAI's own services are looked up in the
kept library `genai_prices`, whose prices were bundled when it was released (nothing is fetched).  A model that it
does not know, and any model behind another address, has no price: None, never 0.

Where a price rises with the length of the prompt, the price of the first tier is taken: the second one begins at
100,000 tokens of prompt or more, which making data does not need.  Give `Endpoint.price` for prompts as long as
that.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from synth_actors.config import Price
from synth_actors.providers.access import is_home

if TYPE_CHECKING:
    from synth_actors.config import Endpoint

_FREE = Price(input_usd_per_mtok=0.0, output_usd_per_mtok=0.0)


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
    listed = known.get_prices(datetime.now(tz=UTC))
    tokens_in, tokens_out = _first(listed, "input_mtok"), _first(listed, "output_mtok")
    if tokens_in is None or tokens_out is None:
        return None
    read, written = _first(listed, "cache_read_mtok"), _first(listed, "cache_write_mtok")
    return Price(
        input_usd_per_mtok=tokens_in,
        output_usd_per_mtok=tokens_out,
        cache_read_usd_per_mtok=tokens_in if read is None else read,
        cache_write_usd_per_mtok=tokens_in if written is None else written,
    )


def _first(listed: Any, field: str) -> float | None:
    price = getattr(listed, field, None)
    return None if price is None else float(getattr(price, "base", price))
