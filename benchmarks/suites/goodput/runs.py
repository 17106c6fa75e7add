"""How is a scenario run, by the engine and by hand?

    figures = run_engine(SCENARIOS[0])      # no trio run around it
    print(figures)

Each run is a trio run of its own in simulated time, with a server of its own; the requests are the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import trio

from benchmarks.suites.goodput.clients import Aimd, Fixed
from benchmarks.suites.goodput.figures import Figures, figures_of
from benchmarks.suites.goodput.scenarios import Scenario
from synth_actors import CacheConfig, Endpoint, EngineConfig, Request, open_engine
from synth_actors.testing import SimulatedProvider, simulate

PROMPT_CHARS = 100
MOST_ATTEMPTS = 50_000
"""Nothing new comes of more refusals: a client by hand is stopped then, and judged by what was allowed until then."""
BY_HAND: dict[str, Callable[[SimulatedProvider, Iterator[Request]], Fixed | Aimd]] = {
    "fixed 32": lambda provider, requests: Fixed(provider, requests, 32),
    "fixed 128": lambda provider, requests: Fixed(provider, requests, 128),
    "fixed 512": lambda provider, requests: Fixed(provider, requests, 512),
    "AIMD": lambda provider, requests: Aimd(provider, requests, 512),
}


def run_engine(scenario: Scenario, seed: int = 0) -> Figures:
    """The engine, through `open_engine` and `engine.batch`."""
    return simulate(_engine, scenario, seed, seed=seed)


def run_by_hand(client: str, scenario: Scenario, seed: int = 0) -> Figures:
    """One of `BY_HAND`."""

    async def run(scenario: Scenario, seed: int) -> Figures:
        provider = scenario.provider(seed)
        loop = BY_HAND[client](provider, _requests(scenario))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(loop.run)
            for second in range(1, int(scenario.duration_s) + 1):
                await trio.sleep_until(second)
                if provider.counts.attempts >= MOST_ATTEMPTS:
                    break
            figures = figures_of(client, provider, slots=scenario.pace.slots)
            nursery.cancel_scope.cancel()
        return figures

    return simulate(run, scenario, seed, seed=seed)


async def _engine(scenario: Scenario, seed: int) -> Figures:
    provider = scenario.provider(seed)
    endpoint = Endpoint(
        provider=provider,
        model=provider.model,
        stream=scenario.stream,
        requests_per_minute=scenario.requests_per_minute,
    )
    lost = 0

    async def send() -> None:
        nonlocal lost
        async with engine.batch(_requests(scenario)) as outcomes:
            async for outcome in outcomes:
                lost += outcome.error is not None

    async with open_engine(endpoint, _config(scenario)) as engine, trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.sleep(scenario.duration_s)
        figures = figures_of("engine", provider, slots=scenario.pace.slots, lost=lost)
        nursery.cancel_scope.cancel()
    return figures


def _config(scenario: Scenario) -> EngineConfig:
    return EngineConfig(
        max_concurrency=scenario.max_concurrency,
        cache=CacheConfig(enabled=False),
        outage_patience_s=10 * scenario.duration_s,  # nobody gives up: what counts is what gets through
        memory_check_interval_s=10.0,
    )


def _requests(scenario: Scenario) -> Iterator[Request]:
    """Never ends."""
    for number in count():
        prompt = f"Sentence {number} about otters.".ljust(PROMPT_CHARS)
        yield Request(prompt=prompt, max_tokens=scenario.max_tokens)
