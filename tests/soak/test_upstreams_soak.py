"""Days in front of bad upstreams in seconds: hidden limits, noise, outages, callers who leave; and it all adds up."""

from __future__ import annotations

import logging
import random
from typing import Any

import pytest
import trio

from synth_actors import EngineConfig, Request
from synth_actors.config import Routing
from synth_actors.providers.base import Fault
from synth_actors.testing import Constant, HiddenLimits, LogNormal, Outage, Pace, SimulatedProvider, Trouble
from tests.conftest import Soak
from tests.faults.guarantees import guaranteed, priced

CALLERS = 250
"""Callers in one round, each with one request."""
ROUTINGS: tuple[Routing, ...] = ("preference", "least_loaded", "fastest", "cheapest", "weighted")


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "synth_actors")


def upstream(chance: random.Random, name: str) -> SimulatedProvider:
    """A server with whatever limits and trouble."""
    reserves = chance.random() < 0.3
    hidden = HiddenLimits(
        requests_per_minute=chance.choice([None, 120.0, 600.0, 3000.0]),
        output_tokens_per_minute=None if reserves else chance.choice([None, 20_000.0, 100_000.0]),
        tokens_per_minute=chance.choice([60_000.0, 300_000.0]) if reserves else None,
        capacity_s=chance.choice([5.0, 60.0]),
        max_concurrency=chance.choice([None, None, 4, 25]),
        neighbour_share=chance.choice([0.0, 0.5]),
        neighbour_from_s=20.0,
        changes=((30.0, chance.choice([0.5, 1.0, 2.0])),),
        headers=chance.random() < 0.7,
        retry_after=chance.random() < 0.7,
    )
    pace = Pace(
        network_s=LogNormal(median=0.02, sigma=0.5),
        ttft_s=LogNormal(median=0.3, sigma=chance.choice([0.2, 0.8])),
        token_s=Constant(value=0.005),
        output_tokens=LogNormal(median=50, sigma=0.5),
        slots=chance.choice([None, 8, 40]),
    )
    fault = chance.choice([Fault.OVERLOADED, Fault.UNREACHABLE, Fault.FAILED])
    trouble = Trouble(
        outages=(Outage(start_s=chance.uniform(5.0, 40.0), length_s=chance.uniform(1.0, 30.0), fault=fault),),
        overloaded_share=chance.choice([0.0, 0.02, 0.15]),
        failed_share=chance.choice([0.0, 0.02]),
        retry_after_s=chance.choice([None, 1.0]),
    )
    return SimulatedProvider(hidden, pace, trouble, seed=chance.randrange(2**32), name=name)


async def test_whatever_upstreams_do_the_guarantees_hold(soak: Soak, autojump_clock: Any) -> None:
    chance = soak.random()
    for _ in range(max(1, soak.count // (10 * CALLERS))):
        names = "abc"[: chance.randrange(1, 4)]
        endpoints = [
            priced(
                upstream(chance, name),
                weight=chance.choice([1.0, 3.0]),
                max_concurrency=chance.choice([None, 5, 50]),
                requests_per_minute=chance.choice([None, None, 900]),
                stream=chance.choice(["always", "never"]),
            )
            for name in names
        ]
        config = EngineConfig(
            max_concurrency=chance.choice([10, 100]),
            routing=chance.choice(ROUTINGS),
            outage_patience_s=chance.choice([5.0, 60.0]),
        )
        async with guaranteed(endpoints, config) as run, trio.open_nursery() as nursery:
            for number in range(CALLERS):
                request = Request(
                    prompt=f"p{number}",
                    max_tokens=100,
                    timeout_s=chance.choice([None, None, 30.0]),
                    endpoints=None if chance.random() < 0.8 else (chance.choice(names),),
                )
                leaves_after_s = 86_400.0 if chance.random() < 0.8 else chance.uniform(0.0, 20.0)
                nursery.start_soon(_ask, run, request, number % 5 == 0, leaves_after_s)
                if number % 10 == 0:
                    nursery.start_soon(_ask, run, request, False, leaves_after_s)
                if chance.random() < 0.3:
                    await trio.sleep(chance.random())


async def _ask(run: Any, request: Request, read: bool, leaves_after_s: float) -> None:
    await run.ask(request, read=read, leaves_after_s=leaves_after_s, is_bystander=leaves_after_s < 86_400.0)
