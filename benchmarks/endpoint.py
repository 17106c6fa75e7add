"""May this endpoint be measured?"""

from __future__ import annotations

import trio

from benchmarks.case import Budget
from synth_actors import EngineConfig, open_engine
from synth_actors.config import Endpoint, as_endpoint
from synth_actors.errors import ConfigError, SynthActorsError
from synth_actors.providers.prices import price_of

PATIENCE_S, OUTAGE_PATIENCE_S = 120.0, 5.0


def check_endpoint(text: str, budget_usd: float | None) -> Budget | None:
    """What its calls may cost together; None where they cost nothing that anybody knows of.

    A first call is made.

    Raises:
        ConfigError: it is no endpoint, has no key, or does not answer; or it costs money, and nobody said how much may
            be spent.
    """
    try:
        endpoint = as_endpoint(text)
        costs = _is_paid(endpoint)
        if costs and budget_usd is None:
            raise ConfigError(f"{text}: its calls cost money; say how much it may be, such as --budget-usd 0.50")
        if not costs and budget_usd is not None:
            raise ConfigError(f"{text}: nobody knows what its calls cost; leave out --budget-usd {budget_usd:g}")
        budget = None if budget_usd is None else Budget(budget_usd)
        trio.run(_call_once, endpoint, budget)
    except SynthActorsError as exc:
        raise ConfigError(f"--endpoint {exc}") from None
    return budget


def _is_paid(endpoint: Endpoint) -> bool:
    price = price_of(endpoint)
    return price is not None and (price.input_usd_per_mtok > 0 or price.output_usd_per_mtok > 0)


async def _call_once(endpoint: Endpoint, budget: Budget | None) -> None:
    """What is wrong is found before hundreds of calls find it, each after all its retries."""
    config = EngineConfig(
        max_attempts=1, outage_patience_s=OUTAGE_PATIENCE_S, budget_usd=None if budget is None else budget.left_usd
    )
    async with open_engine(endpoint, config) as engine:
        try:
            await engine.generate("Say yes.", max_tokens=16, timeout_s=PATIENCE_S)
        except SynthActorsError as exc:
            raise ConfigError(f"{endpoint.name}: a first call failed: {exc}") from exc
        if budget is not None:
            budget.spent_usd += engine.metrics_now().router.budget_spent_usd or 0.0
