"""What does a token of an endpoint cost?"""

from __future__ import annotations

from synth_actors.config import Endpoint
from synth_actors.providers.prices import price_of


def test_the_list_knows_what_long_prompts_cost() -> None:
    price = price_of(Endpoint(provider="anthropic", model="claude-haiku-5-5"))
    assert price is not None
    (long_prompts,) = price.long_prompts
    assert price.at(long_prompts.above_tokens).input_usd_per_mtok == price.input_usd_per_mtok
    assert price.at(long_prompts.above_tokens + 1).input_usd_per_mtok > price.input_usd_per_mtok
