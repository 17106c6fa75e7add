"""Hours of trouble in seconds: random callers, cancellations, faults and caps, and the guarantees after each round."""

from __future__ import annotations

import logging
import random
from typing import Any

import pytest
import trio
import trio.testing

from synth_actors import (
    CacheConfig,
    Endpoint,
    Engine,
    EngineConfig,
    Price,
    Request,
    SynthActorsError,
    Usage,
    open_engine,
)
from synth_actors.messages import SetConcurrencyCap, Shrink
from synth_actors.providers.base import Call, Fault
from synth_actors.testing import ScriptedProvider, Step
from tests.conftest import Soak
from tests.engine.support import idle_problems

CALLERS = 50
"""Callers in one round, each with one request."""
PRICE = Price(input_usd_per_mtok=0.0, output_usd_per_mtok=1_000_000 / 1024)
FAULTS = [None] * 12 + [fault for fault in Fault if fault is not Fault.FATAL]


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """The bugs of these providers are on purpose; to write them down takes longer than everything else."""
    caplog.set_level(logging.ERROR, "synth_actors")


def trouble(chance: random.Random) -> Any:
    """A script of random delays and faults; its prices are powers of two, so that sums are exact."""

    def script(call: Call) -> Step:
        fault = chance.choice(FAULTS)
        return Step(
            text=chance.choice(['{"a": 1}', "no JSON", ""]),
            delay_s=chance.choice([0.0, chance.random(), 3 * chance.random()]),
            chunks=chance.randrange(1, 4),
            gap_s=chance.choice([0.0, 0.1]),
            usage=Usage(output_tokens=2 ** chance.randrange(4)),
            stop_reason=chance.choice(["end", "end", "end", "max_tokens", "refusal"]),
            fault=fault,
            fault_usage=Usage(output_tokens=1),
            chunks_before_fault=chance.randrange(3),
            retry_after_s=chance.choice([None, 0.0, 0.7]),
            raises=RuntimeError("bug") if fault is Fault.BUG else None,
        )

    return script


class Bill:
    """What responses and errors carried away, and whether somebody left without one."""

    def __init__(self) -> None:
        self.usd = 0.0
        self.left = False

    def add(self, usage: Usage | None) -> None:
        if usage is not None:
            assert usage.cost_usd is not None
            self.usd += usage.cost_usd


async def caller(engine: Engine, chance: random.Random, bill: Bill, *, may_leave: bool) -> None:
    schema = chance.choice([None, None, {"type": "object"}])
    names = chance.choice([None, None, ("one",), ("two",), ("two", "one")])
    request = Request(
        prompt=str(chance.randrange(20)),
        output_schema=schema,
        endpoints=names,
        cache=chance.choice(["use", "use", "use", "refresh", "bypass"]),
        timeout_s=chance.choice([None, 0.5, 2.0]) if may_leave else None,
        max_tokens=chance.choice([10, 2000]),
    )
    reads = chance.random() < (0.3 if may_leave else 0.1)
    await trio.sleep(chance.random())
    with trio.move_on_after(chance.choice([0.0, chance.random(), 2.0, 1000.0]) if may_leave else 1000.0) as scope:
        try:
            if reads:
                async with engine.stream(request) as stream:
                    async for _chunk in stream:
                        await trio.sleep(chance.random() / 5)
                    bill.add((await stream.response()).usage)
            else:
                bill.add((await engine.generate(request)).usage)
        except SynthActorsError as exc:
            bill.add(getattr(exc, "usage", None))
            bill.left |= reads  # a reader whose stream broke leaves, and the next attempt may be under way already
    assert may_leave or not scope.cancelled_caught, "nobody waits for ever"
    bill.left |= may_leave


async def one_round(engine: Engine, chance: random.Random, bill: Bill) -> None:
    may_leave = chance.random() < 0.5
    bill.left = False
    before_usd, spent_before_usd = bill.usd, engine._wiring._counters().cost_usd or 0.0
    async with trio.open_nursery() as nursery:
        for _ in range(CALLERS):
            nursery.start_soon(lambda: caller(engine, chance, bill, may_leave=may_leave))
        for _ in range(chance.randrange(3)):
            await trio.sleep(chance.random())
            engine._wiring._router_box.tell(SetConcurrencyCap(chance.randrange(1, 12)))
            engine._wiring._cache_box.tell(Shrink(chance.randrange(5000)))
    await trio.testing.wait_all_tasks_blocked()
    assert idle_problems(engine) == []
    spent_usd = engine._wiring._counters().cost_usd
    assert spent_usd is not None
    if bill.left:
        assert bill.usd - before_usd <= spent_usd - spent_before_usd
    else:
        assert bill.usd - before_usd == spent_usd - spent_before_usd


async def test_everybody_is_answered_and_nothing_is_lost(soak: Soak, autojump_clock: Any) -> None:
    chance = soak.random()
    providers = [ScriptedProvider(trouble(chance), name=name) for name in ("one", "two")]
    endpoints = [
        Endpoint(provider=provider, name=provider.name, price=PRICE, max_concurrency=limit)
        for provider, limit in zip(providers, (None, 3), strict=True)
    ]
    config = EngineConfig(
        max_concurrency=8,
        max_waiting=30,
        outage_patience_s=10.0,
        memory_check_interval_s=30.0,
        cache=CacheConfig(max_entries=15, max_bytes=8000, ttl_s=5.0),
    )
    bill = Bill()
    rounds = max(1, soak.count // (4 * CALLERS))  # an operation: ask, try, fail, leave
    async with open_engine(endpoints, config) as engine:
        for _ in range(rounds):
            await one_round(engine, chance, bill)
        snapshot = await engine.metrics()
        assert snapshot.counters.submitted == rounds * CALLERS
        assert snapshot.counters.waiting == 0
        assert min(snapshot.counters.succeeded, snapshot.counters.failed) > 0
        assert snapshot.router.in_flight == snapshot.router.backlog == 0
    assert all(provider.closed and not provider.active for provider in providers)


async def test_engines_that_end_in_the_middle_of_trouble_leave_nobody(soak: Soak, autojump_clock: Any) -> None:
    chance = soak.random()
    for _ in range(max(1, soak.count // (10 * CALLERS))):
        bill = Bill()
        provider = ScriptedProvider(trouble(chance), name="one")
        other = ScriptedProvider(trouble(chance), name="two")
        endpoints = [Endpoint(provider=p, name=p.name, price=PRICE) for p in (provider, other)]
        config = EngineConfig(max_concurrency=8, max_waiting=30, drain_timeout_s=chance.choice([0.0, 1.0]))
        engine: Engine | None = None
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(chance.choice([2 * chance.random(), 100.0])):
                async with open_engine(endpoints, config) as engine:
                    for _ in range(CALLERS):
                        nursery.start_soon(lambda: caller(engine, chance, bill, may_leave=True))  # noqa: B023
                    await trio.sleep(2 * chance.random())
        assert engine is not None
        assert idle_problems(engine) == []
        assert provider.active == other.active == 0
        assert provider.closed
