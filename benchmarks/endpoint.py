"""May this endpoint be measured?"""

from __future__ import annotations

import trio

from benchmarks.case import Budget
from synth_actors import EngineConfig, open_engine
from synth_actors.config import Endpoint, as_endpoint
from synth_actors.errors import ConfigError
from synth_actors.providers.prices import price_of


def check_endpoint(text: str, budget_usd: float | None) -> Budget | None:
    """What its calls may cost together; None where they cost nothing that anybody knows of.

    Raises:
        ConfigError: it is no endpoint, or has no key; or it costs money, and nobody said how much it may.
    """
    try:
        endpoint = as_endpoint(text)
        costs = _is_paid(endpoint)
        if costs and budget_usd is None:
            raise ConfigError(f"{text}: its calls cost money; say how much it may be, such as --budget-usd 0.50")
        if not costs and budget_usd is not None:
            raise ConfigError(f"{text}: nobody knows what its calls cost; leave out --budget-usd {budget_usd:g}")
        trio.run(_open_and_close, endpoint)
    except ConfigError as exc:
        raise ConfigError(f"--endpoint {exc}") from None
    return None if budget_usd is None else Budget(budget_usd)


def _is_paid(endpoint: Endpoint) -> bool:
    price = price_of(endpoint)
    return price is not None and (price.input_usd_per_mtok > 0 or price.output_usd_per_mtok > 0)


async def _open_and_close(endpoint: Endpoint) -> None:
    """What is wrong is found when the engine opens; no call is made."""
    async with open_engine(endpoint, EngineConfig()):
        pass
