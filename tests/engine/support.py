"""What do the tests of the whole engine share?  A priced endpoint, and the check that nothing was left behind."""

from __future__ import annotations

from typing import Any

import trio.testing

from synth_actors import Endpoint, Engine, Price, Usage
from synth_actors.testing import ScriptedProvider

ONE_DOLLAR = Usage(input_tokens=10, output_tokens=5)
"""What every step of a script uses unless it says otherwise; at the price of `dollar_endpoint` it costs 1 dollar."""


def dollar_endpoint(provider: ScriptedProvider, **fields: Any) -> Endpoint:
    """An endpoint on which a call of `ONE_DOLLAR` costs 1 dollar: output tokens cost 20 cents each."""
    price = Price(input_usd_per_mtok=0.0, output_usd_per_mtok=200_000.0)
    return Endpoint(provider=provider, model=provider.model, name=provider.name, price=price, **fields)


def idle_problems(engine: Engine) -> list[str]:
    """What an engine for which nobody waits still holds; nothing, if all is well."""
    wiring = engine._wiring
    cache, router, counters = wiring._cache, wiring._router, wiring._counters()
    ended = counters.succeeded + counters.failed + counters.cancelled
    should_be_zero = {
        "tokens borrowed": wiring._limiter.borrowed_tokens,
        "places at the door taken": wiring._door.waiting,
        "callers parked at the door": len(wiring._door._lot),
        "flights": len(cache._flights),
        "flights under way": len(cache._under_way),
        "jobs": len(router._jobs),
        "jobs in the backlog": len(router._waiting),
        "attempts in flight": router.in_flight,
        "attempts in flight by endpoint": sum(endpoint.in_flight for endpoint in router.endpoints),
        "messages for the cache": wiring._cache_box.pending,
        "messages for the router": wiring._router_box.pending,
        "messages for generators": wiring._generator_box.pending,
        "dollars reserved": router._budget.reserved_usd,
        "requests submitted that ended in no way or in two": counters.submitted - ended,
        "requests waiting": counters.waiting,
        "accounted bytes that no entry has": _unaccounted_bytes(engine),
    }
    return [f"{count} {what}" for what, count in should_be_zero.items() if count]


def _unaccounted_bytes(engine: Engine) -> int:
    index = engine._wiring._cache._index
    assert index.accounted_bytes <= index.max_bytes
    return index.accounted_bytes - sum(entry.size_bytes for entry in index._entries.values())


async def assert_idle(engine: Engine) -> None:
    """Let what is under way arrive, then nothing must be held."""
    await trio.testing.wait_all_tasks_blocked()
    assert idle_problems(engine) == []


def spent_usd(engine: Engine) -> float:
    """The dollars of the engine's own count."""
    cost_usd = engine._wiring._counters().cost_usd
    assert cost_usd is not None
    return cost_usd
