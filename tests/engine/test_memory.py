from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from random import randbytes
from sys import getsizeof
from typing import Any

import pytest
import trio
import trio.testing

from synth_actors import CacheConfig, ConfigError, Endpoint, Engine, EngineConfig, Price, Usage, machine, open_engine
from synth_actors.actors.cache import ENTRIES_PER_TURN
from synth_actors.errors import GenerationError
from synth_actors.messages import SetMemoryLimit, Shrink
from synth_actors.providers.base import Fault
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


@pytest.mark.parametrize(
    ("policy", "is_priced", "goes"), [("lru", True, "first"), ("cost", True, "wordy"), ("cost", False, "dear")]
)
async def test_what_goes_when_the_cache_is_full_is_what_the_policy_says(
    policy: Any, is_priced: bool, goes: str
) -> None:
    """A dear answer cost a dollar and 15 tokens, a wordy one a tenth of that and 1,010 tokens."""
    usages = {"dear": Usage(input_tokens=10, output_tokens=5), "wordy": Usage(input_tokens=10, output_tokens=1000)}
    usd_per_mtok = {"dear": 200_000.0, "wordy": 100.0}
    endpoints = [
        Endpoint(
            provider=ScriptedProvider(lambda call, usage=usage: Step(usage=usage), name=name, identity=name),  # type: ignore[misc]
            name=name,
            model="m",
            price=Price(input_usd_per_mtok=0.0, output_usd_per_mtok=usd_per_mtok[name]) if is_priced else None,
        )
        for name, usage in usages.items()
    ]
    for order in (["dear", "wordy"], ["wordy", "dear"]):
        config = EngineConfig(cache=CacheConfig(policy=policy, max_entries=2))
        async with open_engine(endpoints, config) as engine:
            for name in order:
                await engine.generate("first", endpoints=(name,))
            await engine.generate("another", endpoints=("dear",))  # and one of them must go
            gone = order[0] if goes == "first" else goes
            stays = order[1] if gone == order[0] else order[0]
            for name in (stays, gone):
                assert (await engine.generate("first", endpoints=(name,))).cached == (name == stays)


@pytest.mark.parametrize("policy", ["lru", "cost"])
async def test_an_engine_that_has_closed_holds_no_answers_whoever_holds_the_engine(policy: Any) -> None:
    async with open_engine(ScriptedProvider(), EngineConfig(cache=CacheConfig(policy=policy))) as engine:
        await engine.generate_batch([f"prompt {number}" for number in range(10)])
        assert engine._wiring._cache.footprint_bytes > 0
    assert engine._wiring._cache.footprint_bytes == engine._wiring._cache.pages_bytes == 0


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


async def no_trim() -> None:
    await trio.lowlevel.checkpoint()


def watch(engine: Engine, rss_bytes: Callable[[], int]) -> None:
    """Let the watchdog of `engine` see this resident memory, and whatever the engine really counts."""
    watchdog = engine._wiring._watchdog
    watchdog._sources = replace(watchdog._sources, rss_bytes=rss_bytes, container=None, trim=no_trim)


async def test_pressure_lowers_the_concurrency_and_its_end_brings_it_back(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Any
) -> None:
    """Memory that grows with the calls under way and not with the cache: slowing helps, shrinking does not."""
    provider = ScriptedProvider(lambda call: Step(delay_s=5.0))
    monkeypatch.setattr(machine, "rss_bytes", lambda: 100 * MIB)
    config = EngineConfig(max_concurrency=32, memory_limit_bytes=200 * MIB, cache=CacheConfig(enabled=False))
    async with open_engine(Endpoint(provider=provider, name="e"), config) as engine:
        watch(engine, lambda: 100 * MIB + 4 * MIB * provider.active)
        caps: list[int] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.generate_batch, [f"p{number}" for number in range(400)])
            for _ in range(60):
                await trio.sleep(1)
                caps.append((await engine.metrics()).router.concurrency_cap)
            assert 1 <= min(caps) < 32, "lowered"
            assert provider.active < 32
        await trio.sleep(200)
        memory = (await engine.metrics()).memory
        assert memory.slowdowns >= 1
        assert memory.bytes_per_call == pytest.approx(4 * MIB, rel=0.01)
        assert (await engine.metrics()).router.concurrency_cap == 32, "and recovered"
        assert (await engine.metrics()).counters.succeeded == 400
        await assert_idle(engine)


async def test_a_program_that_grows_by_gigabytes_keeps_its_full_concurrency(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    held = {"bytes": 2000 * MIB}
    provider = ScriptedProvider(lambda call: Step(delay_s=1.0))
    monkeypatch.setattr(machine, "rss_bytes", lambda: held["bytes"])
    monkeypatch.setattr(machine, "usable_memory_bytes", lambda: 20_000 * MIB)
    with caplog.at_level(logging.WARNING, logger="synth_actors"):
        async with open_engine(provider, EngineConfig(max_concurrency=32)) as engine:
            watch(engine, lambda: held["bytes"])
            assert (await engine.metrics()).memory.rss_at_open_bytes == 2000 * MIB
            async with trio.open_nursery() as nursery:
                nursery.start_soon(engine.generate_batch, [f"p{number}" for number in range(32 * 30)])
                await trio.sleep(5)
                held["bytes"] += 3000 * MIB
                for _ in range(20):
                    await trio.sleep(1.01)
                    snapshot = await engine.metrics()
                    assert snapshot.router.concurrency_cap == provider.active == 32
            memory = (await engine.metrics()).memory
            assert (memory.state, memory.not_reclaimable) == ("not_reclaimable", 1)
            assert memory.slowdowns == memory.shrinks == 0
            assert (await engine.metrics()).cache.entries == 32 * 30
    assert sum("not reclaimable" in record.message for record in caplog.records) == 1


async def test_what_waits_and_what_is_under_way_is_counted_to_the_byte(autojump_clock: Any) -> None:
    prompts = [f"{number} " + "x" * 100 * number for number in range(10)]
    sizes = [getsizeof(prompt) + getsizeof("") for prompt in prompts]
    provider = ScriptedProvider(lambda call: Step(delay_s=1.0))
    async with open_engine(provider, EngineConfig(max_concurrency=3)) as engine:
        async with trio.open_nursery() as nursery:
            for prompt in prompts:
                nursery.start_soon(engine.generate, prompt)
                await trio.testing.wait_all_tasks_blocked()
            memory = (await engine.metrics()).memory
            assert (memory.calls_bytes, memory.queued_bytes) == (sum(sizes[:3]), sum(sizes[3:]))
            assert memory.accounted_bytes == memory.cache_bytes + sum(sizes)
        memory = (await engine.metrics()).memory
        assert (memory.calls_bytes, memory.queued_bytes) == (0, 0)
        assert memory.cache_bytes > 0


async def test_texts_of_an_attempt_are_held_until_it_is_over(autojump_clock: Any) -> None:
    text = "y" * 4000
    provider = ScriptedProvider([Step(text=text, chunks=4, gap_s=1.0)])
    piece = getsizeof("y" * 1000)
    async with open_engine(provider) as engine:
        held = engine._wiring._router.held
        async with engine.stream("tell") as stream:
            for pieces in range(1, 5):
                await stream.receive()
                assert held.texts_bytes == pieces * piece
            assert (await stream.response()).text == text
        assert held.texts_bytes == held.requests_bytes == 0


async def test_nothing_is_held_after_failures_retries_and_callers_that_left(autojump_clock: Any) -> None:
    def script(call: Any) -> Step:
        number = len(provider.calls)
        fault = (None, Fault.OVERLOADED, Fault.FAILED, Fault.FATAL if number > 300 else None)[number % 4]
        return Step(delay_s=0.3, chunks=3, gap_s=0.1, text="z" * 90, fault=fault, chunks_before_fault=2)

    provider = ScriptedProvider(script)
    async with open_engine(provider, EngineConfig(max_concurrency=8, max_attempts=3)) as engine:

        async def one(number: int) -> None:
            with suppress(GenerationError), trio.move_on_after(0.1 + number % 7):
                async with engine.stream(f"p{number}") as stream:
                    await stream.response()

        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(one, number)
        await trio.sleep(60)
        await assert_idle(engine)
        held = engine._wiring._router.held
        assert (held.requests_bytes, held.sent_bytes, held.texts_bytes) == (0, 0, 0)
    assert len(provider.calls) > 20


async def test_optimize_drops_what_has_expired_and_says_what_that_freed(autojump_clock: Any) -> None:
    """Of this process: no figure is made up."""
    config = EngineConfig(cache=CacheConfig(max_entries=2000, ttl_s=10.0))
    provider = ScriptedProvider(lambda call: Step(text=randbytes(10_000).hex()))
    async with open_engine(provider, config) as engine:
        await trio.sleep(0.3)
        await engine.generate_batch([f"p{number}" for number in range(2000)])
        pages = engine._wiring._cache.pages_bytes
        assert pages > 30 * MIB
        await trio.sleep(10.5)  # now they have expired, and the cache drops them by itself at 11.0
        assert engine._wiring._cache.pages_bytes == pages
        before = machine.rss_bytes()
        freed = await engine.optimize()
        assert freed > 0.8 * pages
        assert before - machine.rss_bytes() > 0.8 * freed
        cache = (await engine.metrics()).cache
        assert (cache.entries, cache.expired, cache.accounted_bytes, cache.footprint_bytes) == (0, 2000, 0, 0)


async def test_a_lower_limit_takes_the_coldest_and_gives_their_pages_back(autojump_clock: Any) -> None:
    config = EngineConfig(cache=CacheConfig(max_entries=4000, max_bytes=200 * MIB), memory_limit_bytes=2**40)
    provider = ScriptedProvider(lambda call: Step(text=randbytes(5_000).hex()))
    async with open_engine(provider, config) as engine:
        await engine.generate_batch([f"p{number}" for number in range(4000)])
        before = (await engine.metrics()).memory
        watch(engine, lambda: before.rss_at_open_bytes + engine._wiring._cache.footprint_bytes)
        wanted = int(0.8 * before.cache_bytes / 0.85)
        await engine._wiring.watchdog.ask(SetMemoryLimit(before.rss_at_open_bytes + wanted))
        await trio.sleep(1)
        memory, cache = (await engine.metrics()).memory, (await engine.metrics()).cache
        assert memory.state == "ok"
        assert memory.cache_bytes <= 0.8 * before.cache_bytes
        assert cache.entries >= 0.7 * 4000
        assert memory.released_bytes > 0.15 * before.cache_bytes
        assert (await engine.generate("p3999")).cached
        assert not (await engine.generate("p0")).cached


@pytest.mark.parametrize("policy", ["lru", "cost"])
async def test_however_fast_answers_come_the_cache_stays_within_the_limit(
    policy: Any, monkeypatch: pytest.MonkeyPatch, autojump_clock: Any
) -> None:
    """Answers of 40 kB come, 24 MB of them at each moment of the clock; the watchdog looks every 0.25 s."""
    monkeypatch.setattr(machine, "rss_bytes", lambda: 100 * MIB)
    provider = ScriptedProvider(lambda call: Step(text="x" * 40_000))
    cache = CacheConfig(max_bytes=2**30, policy=policy)
    async with open_engine(provider, EngineConfig(memory_limit_bytes=150 * MIB, cache=cache)) as engine:
        footprint = engine._wiring._cache

        def resident() -> int:
            return 100 * MIB + footprint.footprint_bytes + 4 * MIB

        watch(engine, resident)
        for burst in range(10):
            async with engine.batch(f"{burst} {number}" for number in range(600)) as outcomes:
                async for _ in outcomes:
                    assert resident() < 150 * MIB
            await trio.sleep(0.3)
        snapshot = await engine.metrics()
        assert (snapshot.memory.state, snapshot.memory.shrinks) == ("ok", 0), "what may be full is no pressure"
        assert snapshot.cache.accounted_bytes > 35 * MIB, "nor is it emptied"
        assert snapshot.cache.evicted_for_memory == 6_000 - snapshot.cache.entries
        assert snapshot.cache.evicted_out_of_order == 0
        assert (await engine.generate("9 599")).cached
        assert not (await engine.generate("0 0")).cached


async def test_answers_that_come_while_it_shrinks_do_not_fill_it_again(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Any
) -> None:
    monkeypatch.setattr(machine, "rss_bytes", lambda: 100 * MIB)
    provider = ScriptedProvider(lambda call: Step(text="x" * 40_000))
    foreign = {"bytes": 0}
    config = EngineConfig(memory_limit_bytes=150 * MIB, cache=CacheConfig(max_bytes=2**30))
    async with open_engine(provider, config) as engine:
        cache = engine._wiring._cache
        watch(engine, lambda: 100 * MIB + cache.footprint_bytes + foreign["bytes"])
        for burst in range(8):
            await engine.generate_batch([f"{burst} {number}" for number in range(400)])
            await trio.sleep(0.3)
        foreign["bytes"] = 15 * MIB
        for burst in range(8, 20):
            await engine.generate_batch([f"{burst} {number}" for number in range(300)])
            await trio.sleep(0.3)
        memory = (await engine.metrics()).memory
        assert (memory.state, memory.slowdowns, memory.not_reclaimable) == ("ok", 0, 0)
        assert memory.shrinks == 2, "each gives up a quarter at most"
        assert 25 * MIB < cache.footprint_bytes < 31 * MIB
