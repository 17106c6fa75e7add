from __future__ import annotations

from hashlib import blake2b

import pytest
import trio
import trio.testing

from synth_actors import CacheConfig, EngineConfig, open_engine
from synth_actors.policy.curves import Curves
from synth_actors.providers.base import Call, Fault
from synth_actors.snapshot import CacheSnapshot, Snapshot
from synth_actors.testing import ScriptedProvider, Step
from synth_actors.types import Request


def key(number: int) -> bytes:
    return blake2b(number.to_bytes(8, "big"), digest_size=16).digest()


def rate_at(snapshot: CacheSnapshot, entries: int) -> float:
    return next(point.hit_rate for point in snapshot.curves.size if point.max_entries == entries)


def test_formats_are_not_compared_where_they_make_no_difference() -> None:
    for normalise, checked in ((False, 2), (True, 0)):
        curves = Curves(CacheConfig(normalise_prompts=normalise))
        curves.led(key(1), Request(prompt="a  b"), 0.0)
        curves.led(key(2), Request(prompt="a b"), 0.0)
        assert curves.snapshot().format_checked == checked


async def asked(prompts: list[str], cache: CacheConfig, *, metrics: bool = True) -> Snapshot:
    def script(call: Call) -> Step:
        prompt = call.request.prompt or ""
        if prompt == "bad":
            return Step(fault=Fault.REJECTED)
        return Step(delay_s=0.5, stop_reason="max_tokens") if prompt == "cut" else Step(delay_s=0.5)

    async with open_engine(ScriptedProvider(script), EngineConfig(cache=cache, metrics=metrics)) as engine:
        begin = trio.current_time()
        for second, prompt in enumerate(prompts):
            await trio.sleep_until(begin + second)
            await engine.generate_batch([prompt])
        return await engine.metrics()


LOOP = [f"prompt {n % 20}" for n in range(200)]


async def test_an_engine_knows_what_a_larger_cache_would_have_hit(autojump_clock: trio.testing.MockClock) -> None:
    small = (await asked(LOOP, CacheConfig(max_entries=16))).cache
    large = (await asked(LOOP, CacheConfig(max_entries=32))).cache
    assert small.hit_rate == rate_at(small, 16) == 0.0
    assert rate_at(small, 32) == large.hit_rate == rate_at(large, 32) == pytest.approx(0.9)
    assert small.curves.lookups == 200
    assert small.curves.rate == 1.0


async def test_an_engine_knows_what_a_longer_life_would_have_hit(autojump_clock: trio.testing.MockClock) -> None:
    prompts = [f"prompt {n % 4}" if n % 2 else f"other {n}" for n in range(100)]
    short = (await asked(prompts, CacheConfig(ttl_s=2.5))).cache
    longer = (await asked(prompts, CacheConfig(ttl_s=10.0))).cache
    curve = {point.ttl_s: point.hit_rate for point in short.curves.ttl}
    assert curve[2.5] == pytest.approx(short.hit_rate)
    assert curve[10.0] == pytest.approx(longer.hit_rate, abs=0.02)
    assert longer.hit_rate > short.hit_rate + 0.1


async def test_what_failed_or_was_cut_is_no_hit_at_any_size(autojump_clock: trio.testing.MockClock) -> None:
    snapshot = (await asked(["bad", "cut"] * 20, CacheConfig())).cache
    assert snapshot.hit_rate == 0.0
    assert [point.hit_rate for point in snapshot.curves.size] == [0.0] * len(snapshot.curves.size)


async def test_who_joins_a_flight_is_no_hit(autojump_clock: trio.testing.MockClock) -> None:
    async with open_engine(ScriptedProvider(lambda _: Step(delay_s=1.0))) as engine:
        await engine.generate_batch(["same"] * 10)
        snapshot = (await engine.metrics()).cache
    assert (snapshot.follows, snapshot.hits) == (9, 0)
    assert snapshot.curves.lookups == 10
    assert rate_at(snapshot, 10_000) == 0.0


async def test_requests_that_read_no_entry_are_not_in_the_curves(autojump_clock: trio.testing.MockClock) -> None:
    async with open_engine(ScriptedProvider(lambda _: Step(delay_s=1.0))) as engine:
        for mode in ("refresh", "bypass", "use"):
            await engine.generate("same", cache=mode)
        assert (await engine.metrics()).cache.curves.lookups == 1


@pytest.mark.parametrize("off", ["cache", "metrics"])
async def test_without_a_cache_or_without_metrics_there_are_no_curves(
    off: str, autojump_clock: trio.testing.MockClock
) -> None:
    if off == "cache":
        snapshot = await asked(["a", "a"], CacheConfig(enabled=False))
    else:
        snapshot = await asked(["a", "a"], CacheConfig(), metrics=False)
    assert snapshot.cache.curves.lookups == 0
    assert snapshot.cache.curves.size == ()
