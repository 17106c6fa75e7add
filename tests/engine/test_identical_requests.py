from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing

from synth_actors import CacheConfig, DeadlineExceededError, Engine, EngineConfig, Request, Response, open_engine
from synth_actors.providers.base import Fault
from synth_actors.testing import ScriptedProvider, Step
from tests.engine.support import ONE_DOLLAR, assert_idle, dollar_endpoint, spent_usd

SAME = Request(prompt="the same")


async def ask_many(engine: Engine, requests: list[Request]) -> list[Response]:
    found: list[Response] = []

    async def one(request: Request) -> None:
        found.append(await engine.generate(request))

    async with trio.open_nursery() as nursery:
        for request in requests:
            nursery.start_soon(one, request)
    return found


async def test_a_thousand_identical_requests_make_one_paid_call(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: Step(text="once", delay_s=1.0))
    async with open_engine(dollar_endpoint(provider)) as engine:
        responses = await ask_many(engine, [SAME] * 1000)
        assert len(provider.calls) == 1
        assert [r.source for r in responses].count("call") == 1
        assert [r.source for r in responses].count("shared") == 999
        assert sum(r.usage.cost_usd or 0.0 for r in responses) == spent_usd(engine) == 1.0
        assert {r.text for r in responses} == {"once"}
        assert len({r.request_id for r in responses}) == 1000
        assert (await engine.generate(SAME)).cached
        cache = (await engine.metrics()).cache
        assert (cache.hits, cache.misses, cache.follows, cache.saved_usd) == (1, 1, 999, 1000.0)
        await assert_idle(engine)


async def test_the_call_survives_the_first_caller_who_is_cancelled(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: Step(delay_s=1.0))
    async with open_engine(dollar_endpoint(provider)) as engine, trio.open_nursery() as nursery:
        leader = trio.CancelScope()

        async def lead() -> None:
            with leader:
                await engine.generate(SAME)

        nursery.start_soon(lead)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(cancel_at, leader, 0.5)
        responses = await ask_many(engine, [SAME] * 1000)
        assert leader.cancelled_caught
        assert (len(provider.calls), provider.cancelled) == (1, 0)
        assert [r.source for r in responses].count("call") == 1
        assert sum(r.usage.cost_usd or 0.0 for r in responses) == 1.0
        await assert_idle(engine)


async def cancel_at(scope: trio.CancelScope, time: float) -> None:
    await trio.sleep_until(time)
    scope.cancel()


async def test_leader_and_followers_each_end_at_their_own_deadline(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: Step(delay_s=5.0))
    ended: dict[float | None, float] = {}

    async def one(engine: Engine, timeout_s: float | None) -> None:
        with suppress(DeadlineExceededError):
            await engine.generate("same", timeout_s=timeout_s)
        ended[timeout_s] = trio.current_time()

    async with open_engine(provider) as engine:
        async with trio.open_nursery() as nursery:
            for timeout_s in (2.0, 1.0, 3.5, 7.0, None):
                nursery.start_soon(one, engine, timeout_s)
        assert ended == {1.0: 1.0, 2.0: 2.0, 3.5: 3.5, 7.0: 5.0, None: 5.0}
        assert len(provider.calls) == 1
        await assert_idle(engine)


async def test_the_call_is_cancelled_when_the_last_deadline_is_over(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: Step(delay_s=5.0))
    async with open_engine(provider) as engine:
        async with trio.open_nursery() as nursery:
            for timeout_s in (1.0, 3.0):
                nursery.start_soon(too_slow, engine, timeout_s)
        await assert_idle(engine)
        assert (trio.current_time(), provider.cancelled) == (3.0, 1)


async def too_slow(engine: Engine, timeout_s: float) -> None:
    with pytest.raises(DeadlineExceededError, match="timeout_s") as caught:
        await engine.generate("same", timeout_s=timeout_s)
    assert isinstance(caught.value, trio.TooSlowError)
    assert caught.value.attempts == 1


async def test_the_engines_timeout_is_the_default_of_a_request(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: Step(delay_s=5.0))
    async with open_engine(provider, EngineConfig(timeout_s=2.0)) as engine:
        with pytest.raises(DeadlineExceededError, match="timeout_s=2"):
            await engine.generate("a")
        assert trio.current_time() == 2.0
        await engine.generate("a", timeout_s=6.0)
        assert trio.current_time() == 7.0


async def test_an_answer_that_comes_at_the_moment_of_the_deadline_is_given_if_it_was_there(autojump_clock: Any) -> None:
    for _ in range(20):  # trio's order within one moment is random
        provider = ScriptedProvider(lambda call: Step(delay_s=1.0))
        async with open_engine(dollar_endpoint(provider)) as engine:
            try:
                response = await engine.generate("a", timeout_s=1.0)
                assert response.usage.cost_usd == spent_usd(engine) == 1.0
            except DeadlineExceededError:
                told = (await engine.metrics()).latency["response"].count
                assert told == 0, "the paid answer was there, and the caller got an error"
            await assert_idle(engine)


async def test_two_identical_requests_that_time_out_together_carry_the_bill_of_an_earlier_attempt_once(
    autojump_clock: Any,
) -> None:
    provider = ScriptedProvider([Step(fault=Fault.FAILED, fault_usage=ONE_DOLLAR), Step(delay_s=9.0)])
    async with open_engine(dollar_endpoint(provider)) as engine:
        errors: list[DeadlineExceededError] = []

        async def one() -> None:
            with pytest.raises(DeadlineExceededError) as caught:
                await engine.generate("a", timeout_s=3.0)
            errors.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            nursery.start_soon(one)
        assert sum(e.usage.cost_usd or 0.0 for e in errors if e.usage) == spent_usd(engine) == 1.0
        await assert_idle(engine)


async def test_two_sample_indexes_are_two_calls() -> None:
    provider = ScriptedProvider()
    async with open_engine(provider) as engine:
        await ask_many(engine, [Request(prompt="p", sample_index=i) for i in (0, 1, 0, 1)])
        assert sorted(call.request.sample_index for call in provider.calls) == [0, 1]


async def test_refresh_leads_and_stores_but_never_reads() -> None:
    texts = iter(("old", "new"))
    provider = ScriptedProvider(lambda call: Step(text=next(texts)))
    async with open_engine(provider) as engine:
        assert (await engine.generate("p")).text == "old"
        fresh = await engine.generate("p", cache="refresh")
        assert (fresh.text, fresh.source) == ("new", "call")
        read = await engine.generate("p")
        assert (read.text, read.source) == ("new", "cache")


async def test_refresh_joins_a_flight(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: Step(delay_s=1.0))
    async with open_engine(provider) as engine:
        use, refresh = Request(prompt="p"), Request(prompt="p", cache="refresh")
        responses = await ask_many(engine, [use, refresh, refresh])
        assert len(provider.calls) == 1
        assert sorted(r.source for r in responses) == ["call", "shared", "shared"]


async def test_bypass_neither_reads_nor_writes_nor_joins(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: Step(delay_s=1.0))
    async with open_engine(provider) as engine:
        bypass = Request(prompt="p", cache="bypass")
        responses = await ask_many(engine, [bypass, bypass, Request(prompt="p")])
        assert [r.source for r in responses] == ["call"] * 3
        assert len(provider.calls) == 3
        assert (await engine.generate(bypass)).source == "call"
        await assert_idle(engine)
    async with open_engine(provider) as engine:
        await engine.generate(bypass)
        assert (await engine.generate("p")).source == "call"


async def test_a_disabled_cache_still_joins_flights_and_keeps_nothing(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: Step(delay_s=1.0))
    async with open_engine(provider, EngineConfig(cache=CacheConfig(enabled=False))) as engine:
        await ask_many(engine, [SAME] * 10)
        assert len(provider.calls) == 1
        await engine.generate(SAME)
        assert len(provider.calls) == 2


async def test_an_entry_expires_after_its_time(autojump_clock: Any) -> None:
    provider = ScriptedProvider()
    async with open_engine(provider, EngineConfig(cache=CacheConfig(ttl_s=10.0))) as engine:
        await engine.generate(SAME)
        await trio.sleep(9.9)
        assert (await engine.generate(SAME)).cached
        await trio.sleep(0.1)
        assert not (await engine.generate(SAME)).cached


async def test_a_text_cut_at_max_tokens_is_a_response_and_is_not_cached() -> None:
    provider = ScriptedProvider(lambda call: Step(text="half", stop_reason="max_tokens"))
    async with open_engine(provider) as engine:
        response = await engine.generate(SAME)
        assert (response.text, response.stop_reason) == ("half", "max_tokens")
        assert (await engine.generate(SAME)).source == "call"
        assert (await engine.metrics()).cache.not_stored == 2
