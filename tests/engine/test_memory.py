from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing

from synth_actors import CacheConfig, ConfigError, Endpoint, EngineConfig, machine, open_engine
from synth_actors.actors.cache import ENTRIES_PER_TURN
from synth_actors.messages import Shrink
from synth_actors.testing import ScriptedProvider, Step
from tests.engine.support import assert_idle

MIB = 2**20


async def test_the_default_limit_leaves_room_above_what_is_resident(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "rss_bytes", lambda: 100 * MIB)
    for usable, limit in ((10_000 * MIB, 612 * MIB), (500 * MIB, 400 * MIB)):
        monkeypatch.setattr(machine, "usable_memory_bytes", lambda usable=usable: usable)
        async with open_engine(ScriptedProvider()) as engine:
            memory = (await engine.metrics()).memory
            assert (memory.limit_bytes, memory.rss_at_open_bytes) == (limit, 100 * MIB)


async def test_a_limit_that_is_reached_already_is_refused_with_both_numbers() -> None:
    with pytest.raises(ConfigError, match=r"memory_limit_bytes.*MiB.*MiB"):
        async with open_engine(ScriptedProvider(), EngineConfig(memory_limit_bytes=5 * MIB)):
            pass


async def test_a_limit_of_one_s_own_is_shown() -> None:
    limit = machine.rss_bytes() + 200 * MIB
    async with open_engine(ScriptedProvider(), EngineConfig(memory_limit_bytes=limit)) as engine:
        assert (await engine.metrics()).memory.limit_bytes == limit


async def test_a_shrink_is_done_in_bounded_turns(autojump_clock: Any) -> None:
    entries = 5 * ENTRIES_PER_TURN
    async with open_engine(ScriptedProvider()) as engine:
        await engine.generate_batch([f"p{number}" for number in range(entries)])
        cache = engine._wiring._cache
        assert len(cache._index) == entries
        seen: list[int] = []

        wanted = cache.footprint_bytes - 100_000
        engine._wiring._cache_box.tell(Shrink(wanted))
        for _ in range(100):
            await trio.lowlevel.checkpoint()
            seen.append(len(cache._index))
        assert cache.next_wakeup() > trio.current_time(), "it is done"
        drops = [before - after for before, after in pairwise([entries, *seen])]
        assert 0 < max(drops) <= 2 * ENTRIES_PER_TURN  # two turns, if trio runs us before it and then after it
        assert 50_000 <= cache.footprint_bytes <= 100_000
        assert (await engine.metrics()).cache.evicted_for_memory == entries - len(cache._index)
        assert (await engine.generate(f"p{entries - 1}")).cached, "the coldest go first"
        await assert_idle(engine)


async def test_the_cache_never_holds_more_than_it_may(autojump_clock: Any) -> None:
    config = EngineConfig(cache=CacheConfig(max_entries=10, max_bytes=3000))
    provider = ScriptedProvider(lambda call: Step(text="x" * (int(call.request.prompt or 0) * 37 % 900)))
    async with open_engine(provider, config) as engine:
        for number in range(200):
            await engine.generate(str(number))
            cache = (await engine.metrics()).cache
            assert cache.entries <= 10
            assert cache.accounted_bytes <= 3000
        await assert_idle(engine)


async def test_pressure_lowers_the_concurrency_and_its_end_brings_it_back(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Any
) -> None:
    """Memory that grows with the calls under way and not with the cache: slowing helps, shrinking does not."""
    rss = {"foreign": 0}
    provider = ScriptedProvider(lambda call: Step(delay_s=5.0))
    monkeypatch.setattr(machine, "rss_bytes", lambda: 100 * MIB)
    config = EngineConfig(max_concurrency=32, memory_limit_bytes=200 * MIB, cache=CacheConfig(enabled=False))

    async def trim() -> None:
        await trio.lowlevel.checkpoint()

    async with open_engine(Endpoint(provider=provider, name="e"), config) as engine:
        from synth_actors.actors.watchdog import WatchdogSources

        engine._wiring._watchdog._sources = WatchdogSources(
            cache_bytes=lambda: 0,
            in_flight=lambda: provider.active,
            held=engine._wiring._router.held,
            rss_bytes=lambda: 100 * MIB + rss["foreign"] + 4 * MIB * provider.active,
            trim=trim,
        )
        caps: list[int] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.generate_batch, [f"p{number}" for number in range(400)])
            for _ in range(60):
                await trio.sleep(1)
                caps.append((await engine.metrics()).router.concurrency_cap)
            assert 1 <= min(caps) < 32, "lowered"
            assert provider.active < 32
        await trio.sleep(200)
        assert (await engine.metrics()).router.concurrency_cap == 32, "and recovered"
        assert (await engine.metrics()).counters.succeeded == 400
        await assert_idle(engine)


async def test_optimize_drops_what_has_expired_and_says_what_that_freed(autojump_clock: Any) -> None:
    config = EngineConfig(cache=CacheConfig(ttl_s=10.0))
    async with open_engine(ScriptedProvider(), config) as engine:
        await engine.generate_batch([f"p{number}" for number in range(50)])
        await trio.sleep(10.5)  # before the cache's own second
        assert await engine.optimize() >= 0
        cache = (await engine.metrics()).cache
        assert (cache.entries, cache.expired, cache.accounted_bytes) == (0, 50, 0)
