"""Does every span end once, under its own request, when callers, endpoints and the engine's end do as they like?"""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
import trio

from synth_actors import CacheConfig, Engine, EngineConfig, Request, SynthActorsError, open_engine
from synth_actors.providers.base import Call, Fault
from synth_actors.testing import ScriptedProvider, Step
from tests.conftest import Soak
from tests.engine.durable import SlowTier, in_place_of_the_file
from tests.telemetry.otel_spans import Telemetry
from tests.telemetry.trees import from_sdk

FAULTS = (Fault.FAILED, Fault.OVERLOADED, Fault.RATE_LIMITED, Fault.REJECTED, Fault.BUG, Fault.OUTPUT_INVALID)
AT_ONCE = 40


def script(rng: random.Random) -> Any:
    def step(call: Call) -> Step:
        delay_s = rng.choice((0.0, 0.1, 1.0, 30.0))
        if rng.random() < 0.05:
            return Step(delay_s=delay_s, raises=KeyError("x"))
        if rng.random() < 0.3:
            return Step(delay_s=delay_s, fault=rng.choice(FAULTS), chunks=2, chunks_before_fault=rng.choice((0, 1)))
        return Step(text="a b c d", delay_s=delay_s, chunks=rng.choice((1, 4)), gap_s=0.1)

    return step


async def one_caller(engine: Engine, rng: random.Random) -> None:
    request = Request(
        prompt=f"prompt {rng.randrange(30)}",
        cache=rng.choice(("use", "use", "use", "refresh", "bypass")),
        timeout_s=rng.choice((None, 0.05, 5.0)),
        max_tokens=rng.choice((10, 2000)),
    )
    with trio.move_on_after(rng.choice((0.0, 0.01, 0.5, 100.0))), suppress(SynthActorsError):
        if rng.random() < 0.7:
            await engine.generate(request)
            return
        async with engine.stream(request) as stream:
            for _ in range(rng.randrange(4)):
                await stream.receive()
            if rng.random() < 0.5:
                await stream.response()


async def callers(engine: Engine, rng: random.Random, count: int) -> None:
    for _ in range(count):
        with suppress(trio.EndOfChannel):
            await one_caller(engine, rng)
        await trio.sleep(rng.choice((0.0, 0.0, 0.2)))


async def one_engine(telemetry: Telemetry, rng: random.Random, count: int) -> int:
    """Requests of one engine, which is left at a moment of its own; returns how many were submitted."""
    config = EngineConfig(
        max_concurrency=rng.choice((1, 5, 100)),
        max_waiting=rng.choice((3, 1000)),
        on_full=rng.choice(("wait", "refuse")),
        outage_patience_s=rng.choice((0.5, 60.0)),
        drain_timeout_s=rng.choice((0.0, 1.0, 100.0)),
        cache=CacheConfig(max_entries=5, ttl_s=2.0, path=rng.choice((None, "in place of a file"))),
    )
    providers = [ScriptedProvider(script(rng), name=name) for name in ("a", "b")]
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(rng.choice((3.0, 1000.0))):
            async with open_engine(providers, config, tracing=telemetry.tracing) as engine:
                for _ in range(AT_ONCE):
                    nursery.start_soon(callers, engine, rng, count)
                await trio.sleep(rng.choice((0.3, 5.0, 200.0)))
    return engine._front.submitted


async def test_every_span_ends_once_under_its_own_request(
    soak: Soak, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = soak.random()
    in_place_of_the_file(monkeypatch, SlowTier())
    outcomes: Counter[str] = Counter()
    for _ in range(max(1, soak.count // 1000)):
        telemetry = Telemetry()
        submitted = await one_engine(telemetry, rng, count=5)
        telemetry.assert_each_ended_once()
        forest = from_sdk(telemetry.spans)
        assert forest.problems() == []
        requests = forest.roots()
        assert {node.name for node in requests} <= {"synth_actors.generate", "synth_actors.stream"}
        assert len(requests) == submitted
        outcomes.update(node.attributes["synth_actors.outcome"] for node in requests)
        calls = {node.parent for node in forest.named("chat script")}
        assert calls <= {node.id for node in requests}
    assert outcomes.keys() == {"succeeded", "failed", "cancelled"}
