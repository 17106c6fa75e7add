"""What does the engine do while it looks for an answer in the durable tier, and with what it finds there?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing

from synth_actors import (
    CacheConfig,
    DeadlineExceededError,
    Engine,
    EngineClosedError,
    EngineConfig,
    Request,
    open_engine,
)
from synth_actors.actors.cache import ENTRIES_PER_TURN
from synth_actors.policy.segments import COPIED_IN_A_TOUCH
from synth_actors.testing import ScriptedProvider, Step
from tests.engine.durable import SlowTier, in_place_of_the_file
from tests.engine.support import assert_idle, dollar_endpoint
from tests.stepping import every_cancellation

CONFIG = EngineConfig(cache=CacheConfig(path="answers.cache"))
SAME = Request(prompt="same")


@pytest.fixture
def tier(monkeypatch: pytest.MonkeyPatch) -> SlowTier:
    tier = SlowTier()
    in_place_of_the_file(monkeypatch, tier)
    return tier


async def filled(tier: SlowTier, *prompts: str) -> None:
    """The tier holds an answer to each prompt, "kept"."""
    async with open_engine(ScriptedProvider(lambda call: Step(text="kept")), CONFIG) as engine:
        for prompt in prompts:
            await engine.generate(prompt)
    assert len(tier.rows) == len(prompts)
    tier.questions.clear()


async def test_what_another_run_has_paid_for_is_served_and_is_a_hit(autojump_clock: Any, tier: SlowTier) -> None:
    await filled(tier, "same")
    provider = ScriptedProvider()
    async with open_engine(provider, CONFIG) as engine:
        response = await engine.generate(SAME)
        assert (response.text, response.source, response.cached, response.attempts) == ("kept", "cache", True, 0)
        assert response.usage.cost_usd == 0.0
        assert response.timings.total_s == 1.0
        again = await engine.generate(SAME)
        assert (again.text, again.timings.total_s) == ("kept", 0.0)  # from memory now
        cache = (await engine.metrics()).cache
        assert (cache.hits, cache.durable_hits, cache.misses, cache.follows) == (2, 1, 0, 0)
        assert cache.hit_rate == 1.0
        assert cache.durable is not None
        assert cache.durable.hits == 1
        await assert_idle(engine)
    assert provider.calls == []


async def test_the_response_names_the_endpoint_as_this_engine_does(autojump_clock: Any, tier: SlowTier) -> None:
    one = ScriptedProvider(lambda call: Step(text="kept"), name="old name", identity="one model")
    async with open_engine(one, CONFIG) as engine:
        assert (await engine.generate(SAME)).endpoint == "old name"
    other = ScriptedProvider(name="new name", identity="one model")
    async with open_engine([ScriptedProvider(name="first"), other], CONFIG) as engine:
        response = await engine.generate(SAME)
        assert (response.text, response.endpoint, response.cached) == ("kept", "new name", True)


async def test_only_what_an_endpoint_made_that_the_request_names_is_served(autojump_clock: Any, tier: SlowTier) -> None:
    """`Request.endpoints` are names, and another run may have given the same name to another model."""
    request = Request(prompt="same", endpoints=("a",))
    async with open_engine(ScriptedProvider(lambda call: Step(text="x's"), name="a", identity="x"), CONFIG) as engine:
        await engine.generate(request)
    here = [ScriptedProvider(lambda call: Step(text="y's"), name="a", identity="y")]
    here.append(ScriptedProvider(name="b", identity="x"))
    async with open_engine(here, CONFIG) as engine:
        response = await engine.generate(request)
        assert (response.text, response.endpoint, response.source) == ("y's", "a", "call")
    there = [ScriptedProvider(name="b", identity="x"), ScriptedProvider(name="a", identity="x")]
    async with open_engine(there, CONFIG) as engine:
        outcomes = await engine.generate_batch([request, Request(prompt="same"), Request(prompt="same", max_tokens=7)])
        assert [outcome.response.source for outcome in outcomes if outcome.response] == ["cache", "call", "call"]


async def test_what_is_not_there_is_called_for_and_kept(autojump_clock: Any, tier: SlowTier) -> None:
    provider = ScriptedProvider(lambda call: Step(text="new", delay_s=2.0))
    async with open_engine(provider, CONFIG) as engine:
        response = await engine.generate(SAME)
        assert (response.text, response.source, response.timings.total_s) == ("new", "call", 3.0)
        cache = (await engine.metrics()).cache
        assert (cache.hits, cache.durable_hits, cache.misses, cache.follows) == (0, 0, 1, 0)
    assert [kept.text for kept in tier.rows.values()] == ["new"]


async def test_lookups_that_come_meanwhile_share_the_next_question(autojump_clock: Any, tier: SlowTier) -> None:
    prompts = [f"prompt {number}" for number in range(100)]
    await filled(tier, *prompts)
    provider = ScriptedProvider()
    async with open_engine(provider, CONFIG) as engine:
        outcomes = await engine.generate_batch(prompts)
        assert {outcome.response.text for outcome in outcomes if outcome.response} == {"kept"}
        await assert_idle(engine)
    assert provider.calls == []
    assert [len(question) for question in tier.questions] == [1, 64, 35]


async def test_large_answers_of_one_question_are_taken_in_over_several_turns(
    autojump_clock: Any, tier: SlowTier
) -> None:
    size = 200_000
    prompts = [f"prompt {number}" for number in range(50)]
    async with open_engine(ScriptedProvider(lambda call: Step(text="x" * size)), CONFIG) as engine:
        await engine.generate_batch(prompts)
    provider = ScriptedProvider()
    async with open_engine(provider, CONFIG) as engine:
        began = trio.current_time()
        cache = engine._wiring._cache
        turns = []

        def counted(work: Callable[..., None]) -> Callable[..., None]:
            def turn(*message: Any) -> None:
                before = cache._index.stored
                work(*message)
                turns.append(cache._index.stored - before)

            return turn

        cache.handle, cache.wake = counted(cache.handle), counted(cache.wake)  # type: ignore[method-assign]
        outcomes = await engine.generate_batch([*prompts, *prompts])
        assert {outcome.response.source for outcome in outcomes if outcome.response} == {"cache"}
        assert trio.current_time() - began == 2.0  # a question of one, and one of the rest
        assert sum(turns) == len(prompts)
        assert max(turns) * size <= ENTRIES_PER_TURN * COPIED_IN_A_TOUCH + size
        await assert_idle(engine)
        assert len(cache._fetches) == 0
    assert provider.calls == []


async def test_identical_requests_are_one_question_and_one_call(autojump_clock: Any, tier: SlowTier) -> None:
    provider = ScriptedProvider(lambda call: Step(delay_s=1.0))
    async with open_engine(provider, CONFIG) as engine:
        outcomes = await engine.generate_batch([SAME] * 50)
        sources = sorted(outcome.response.source for outcome in outcomes if outcome.response)
        assert sources == ["call"] + ["shared"] * 49
        cache = (await engine.metrics()).cache
        assert (cache.hits, cache.misses, cache.follows) == (0, 1, 49)
    assert len(provider.calls) == 1
    assert [len(question) for question in tier.questions] == [1]


async def test_everybody_who_waits_for_one_row_has_a_hit(autojump_clock: Any, tier: SlowTier) -> None:
    await filled(tier, "same")
    async with open_engine(ScriptedProvider(), CONFIG) as engine:
        outcomes = await engine.generate_batch([SAME] * 50)
        assert [outcome.response.source for outcome in outcomes if outcome.response] == ["cache"] * 50
        cache = (await engine.metrics()).cache
        assert (cache.hits, cache.durable_hits, cache.misses, cache.follows) == (50, 50, 0, 0)


async def test_a_refresh_that_joins_makes_everybody_wait_for_a_new_answer(autojump_clock: Any, tier: SlowTier) -> None:
    await filled(tier, "same")
    provider = ScriptedProvider(lambda call: Step(text="new", delay_s=5.0))
    async with open_engine(provider, CONFIG) as engine, trio.open_nursery() as nursery:
        texts: list[str] = []

        async def ask(request: Request) -> None:
            texts.append((await engine.generate(request)).text)

        nursery.start_soon(ask, SAME)
        await trio.sleep(0.5)
        await ask(SAME.model_copy(update={"cache": "refresh"}))
        await trio.lowlevel.checkpoint()
        assert texts == ["new", "new"]
        assert len(provider.calls) == 1
        await assert_idle(engine)
        assert [kept.text for kept in tier.rows.values()] == ["new"]


@pytest.mark.parametrize("mode", ["refresh", "bypass"])
async def test_refresh_and_bypass_ask_the_tier_nothing(autojump_clock: Any, tier: SlowTier, mode: Any) -> None:
    await filled(tier, "same")
    async with open_engine(ScriptedProvider(lambda call: Step(text="new")), CONFIG) as engine:
        assert (await engine.generate("same", cache=mode)).text == "new"
    assert tier.questions == []
    assert [kept.text for kept in tier.rows.values()] == ["new" if mode == "refresh" else "kept"]


@pytest.mark.parametrize("stop_reason", ["max_tokens", "refusal"])
async def test_what_is_not_whole_is_not_kept(autojump_clock: Any, tier: SlowTier, stop_reason: Any) -> None:
    async with open_engine(ScriptedProvider(lambda call: Step(stop_reason=stop_reason)), CONFIG) as engine:
        await engine.generate(SAME)
        assert (await engine.metrics()).cache.not_stored == 1
    assert tier.rows == {}


async def test_what_is_too_large_for_an_entry_is_kept_nowhere_and_counted(autojump_clock: Any, tier: SlowTier) -> None:
    config = EngineConfig(cache=CacheConfig(path="answers.cache", max_entry_bytes=10))
    async with open_engine(ScriptedProvider(lambda call: Step(text="x" * 11)), config) as engine:
        await engine.generate(SAME)
        cache = (await engine.metrics()).cache
        assert (cache.entries, cache.not_stored, cache.too_large) == (0, 1, 1)
    assert tier.rows == {}


async def test_what_memory_has_no_room_for_is_kept_in_the_file(autojump_clock: Any, tier: SlowTier) -> None:
    config = EngineConfig(cache=CacheConfig(path="answers.cache", max_bytes=1000))
    provider = ScriptedProvider(lambda call: Step(text="x" * 1000))
    async with open_engine(provider, config) as engine:
        assert (await engine.generate(SAME)).source == "call"
        assert (await engine.generate(SAME)).source == "cache"
        cache = (await engine.metrics()).cache
        assert (cache.entries, cache.durable_hits, cache.no_room, cache.too_large, cache.not_stored) == (0, 1, 2, 0, 2)
    assert len(provider.calls) == 1


async def test_what_the_system_has_no_memory_for_is_kept_in_the_file(
    autojump_clock: Any, tier: SlowTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def map_pages(size_bytes: int) -> bytearray:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("synth_actors.machine.map_pages", map_pages)
    async with open_engine(ScriptedProvider(), CONFIG) as engine:
        await engine.generate(SAME)
        assert (await engine.generate(SAME)).source == "cache"
    assert len(tier.rows) == 1


@pytest.mark.parametrize("new", [Step(text="x" * 11), Step(text="cut", stop_reason="max_tokens")])
async def test_a_new_answer_that_cannot_be_kept_leaves_the_one_before_in_memory_and_file(
    autojump_clock: Any, tier: SlowTier, new: Step
) -> None:
    await filled(tier, "same")
    for max_entries in (100, 1):  # with 1 memory has let go of it, and the file answers
        config = EngineConfig(cache=CacheConfig(path="answers.cache", max_entry_bytes=10, max_entries=max_entries))
        async with open_engine(ScriptedProvider([new]), config) as engine:
            await engine.generate(SAME)
            assert (await engine.generate("same", cache="refresh")).text == new.text
            if max_entries == 1:
                await engine.generate("other")
            assert (await engine.generate(SAME)).text == "kept"


async def test_a_loaded_answer_lives_in_memory_as_long_as_it_had_left(autojump_clock: Any, tier: SlowTier) -> None:
    await filled(tier, "same")
    tier.remaining_s = 10.0
    async with open_engine(ScriptedProvider(lambda call: Step(text="new")), CONFIG) as engine:
        assert (await engine.generate(SAME)).text == "kept"
        tier.rows.clear()
        await trio.sleep(9.5)
        assert (await engine.generate(SAME)).text == "kept"
        await trio.sleep(0.5)
        assert (await engine.generate(SAME)).text == "new"


async def test_a_stream_replays_what_was_kept(autojump_clock: Any, tier: SlowTier) -> None:
    await filled(tier, "same")
    provider = ScriptedProvider()
    async with open_engine(provider, CONFIG) as engine, engine.stream(SAME) as stream:
        assert [chunk.text async for chunk in stream] == ["kept"]
        assert (await stream.response()).source == "cache"
    assert provider.calls == []


async def test_whoever_leaves_while_it_is_looked_for_causes_no_call(autojump_clock: Any, tier: SlowTier) -> None:
    provider = ScriptedProvider()
    async with open_engine(provider, CONFIG) as engine:
        with trio.move_on_after(0.5) as scope:
            await engine.generate(SAME)
        assert scope.cancelled_caught
        with pytest.raises(DeadlineExceededError) as caught:
            await engine.generate("other", timeout_s=0.25)
        assert caught.value.attempts == 0
        await trio.sleep(10)
        await assert_idle(engine)
        assert len(engine._wiring._cache._fetches) == 0
        assert (await engine.metrics()).cache.misses == 0
    assert provider.calls == []


async def test_what_hits_save_is_what_the_call_had_cost(autojump_clock: Any, tier: SlowTier) -> None:
    async with open_engine(dollar_endpoint(ScriptedProvider()), CONFIG) as engine:
        await engine.generate(SAME)
        cache = (await engine.metrics()).cache
        assert (cache.saved_tokens, cache.saved_usd) == (0, 0.0)
    async with open_engine(dollar_endpoint(ScriptedProvider()), CONFIG) as engine:
        for saved in (1, 2, 3):
            await engine.generate(SAME)
            cache = (await engine.metrics()).cache
            assert (cache.saved_tokens, cache.saved_usd) == (15 * saved, float(saved))


async def test_a_normal_exit_waits_for_what_is_looked_for(autojump_clock: Any, tier: SlowTier) -> None:
    await filled(tier, "same")
    texts: list[str] = []
    provider = ScriptedProvider(lambda call: Step(text="new", delay_s=1.0))

    async def ask(engine: Engine, prompt: str) -> None:
        texts.append((await engine.generate(prompt)).text)

    async with trio.open_nursery() as nursery, open_engine(provider, CONFIG) as engine:
        nursery.start_soon(ask, engine, "same")
        nursery.start_soon(ask, engine, "other")
        await trio.sleep(0.5)
    assert texts == ["kept", "new"]


async def test_a_tier_that_takes_too_long_at_the_end_leaves_nobody_waiting(autojump_clock: Any, tier: SlowTier) -> None:
    tier.delay_s = 1000.0

    async def ask(engine: Engine) -> None:
        with pytest.raises(EngineClosedError):
            await engine.generate(SAME)

    async with trio.open_nursery() as nursery, open_engine(ScriptedProvider(), CONFIG) as engine:
        nursery.start_soon(ask, engine)
        await trio.sleep(0.5)
    assert trio.current_time() - 0.5 <= 10.0 + 4.0


async def test_what_was_paid_while_the_tier_took_too_long_is_kept_at_the_end(
    autojump_clock: Any, tier: SlowTier
) -> None:
    tier.delay_s = 1000.0
    with trio.move_on_after(5.0):
        async with trio.open_nursery() as nursery, open_engine(ScriptedProvider(), CONFIG) as engine:
            nursery.start_soon(engine.generate, SAME)  # asked of the tier, and so is nothing else before it is answered
            await trio.sleep(0.5)
            assert (await engine.generate("other", cache="refresh")).source == "call"
            assert tier.rows == {}
            await trio.sleep_forever()
    assert [kept.text for kept in tier.rows.values()] == ["ok"]


async def test_a_store_that_crashes_sends_them_to_the_endpoints_and_starts_again(
    autojump_clock: Any, tier: SlowTier
) -> None:
    await filled(tier, "same", "other")
    tier.crash = RuntimeError("a bug")
    provider = ScriptedProvider(lambda call: Step(text="new"))
    async with open_engine(provider, CONFIG) as engine:
        assert (await engine.generate("same")).text == "new"
        assert (await engine.generate("other")).text == "kept"
        assert (await engine.metrics()).mailboxes["store"].restarts == 1
        await assert_idle(engine)


async def ask_twice(engine: Engine) -> None:
    await engine.generate_batch(["kept", "kept", "absent"])


async def read(engine: Engine) -> None:
    async with engine.stream("kept") as stream:
        assert [chunk.text async for chunk in stream] == ["kept"]


@pytest.mark.parametrize("work", [ask_twice, read])
@pytest.mark.parametrize("watch", ["own", "any"])
async def test_whoever_is_cancelled_anywhere_leaves_nothing_behind(
    autojump_clock: Any, tier: SlowTier, work: Callable[[Engine], Awaitable[None]], watch: Any
) -> None:
    await filled(tier, "kept")
    tier.delay_s = 0.1
    for step in every_cancellation(watch=watch):
        provider = ScriptedProvider(lambda call: Step(text="new", delay_s=0.1))
        tier.rows = {key: kept for key, kept in tier.rows.items() if kept.text == "kept"}
        async with open_engine(provider, CONFIG) as engine:
            with step:
                await work(engine)
            await trio.sleep(5)
            await assert_idle(engine)
            assert len(engine._wiring._cache._fetches) == 0


async def test_a_thousand_callers_that_cancel_continuously_overflow_nothing(
    autojump_clock: Any, tier: SlowTier
) -> None:
    tier.delay_s = 0.5
    config = EngineConfig(max_waiting=1000, max_concurrency=10, cache=CacheConfig(path="answers.cache"))
    async with open_engine(ScriptedProvider(lambda call: Step(delay_s=0.3)), config) as engine:

        async def come_and_go(number: int) -> None:
            for turn in range(10):
                with trio.move_on_after(0.1 * ((number + turn) % 12)):
                    await engine.generate(f"prompt {(number * 7 + turn) % 300}")

        async with trio.open_nursery() as nursery:
            for number in range(1000):
                nursery.start_soon(come_and_go, number)
        await trio.sleep(100)
        await assert_idle(engine)
        assert len(engine._wiring._cache._fetches) == 0
