"""Who waits for what, when endpoints have limits, prices and ends of their own?"""

from __future__ import annotations

from typing import Any

import pytest
import trio

from synth_actors import CacheConfig, Endpoint, EngineConfig, GenerationError, Price, Usage, open_engine
from synth_actors.messages import Attempt
from synth_actors.providers.base import Call, Fault
from synth_actors.testing import ScriptedProvider, Step
from tests.engine.support import assert_idle, dollar_endpoint, spent_usd

NO_CACHE = CacheConfig(enabled=False)


def per_mtok(usd: float) -> Price:
    return Price(input_usd_per_mtok=usd, output_usd_per_mtok=usd)


async def test_a_request_that_only_a_cheaper_endpoint_can_pay_for_waits_for_it(autojump_clock: Any) -> None:
    dear = Endpoint(provider=ScriptedProvider(name="dear"), price=per_mtok(1000.0))
    cheap = Endpoint(provider=ScriptedProvider(name="cheap"), price=per_mtok(0.1), requests_per_minute=1)
    async with open_engine([dear, cheap], EngineConfig(budget_usd=0.5, cache=NO_CACHE)) as engine:
        for number in range(3):
            response = await engine.generate(f"p{number}", max_tokens=1000)
            assert (response.endpoint, trio.current_time()) == ("cheap", 60.0 * number)
        await assert_idle(engine)


async def test_a_long_prompt_gets_its_tokens_though_short_ones_of_others_keep_coming(autojump_clock: Any) -> None:
    def script(call: Call) -> Step:
        return Step(delay_s=0.1, usage=Usage(input_tokens=len(call.request.prompt or "") // 4, output_tokens=5))

    limited = Endpoint(provider=ScriptedProvider(script, name="limited"), input_tokens_per_minute=60_000)
    free = ScriptedProvider(script, name="free")
    async with open_engine([limited, free], EngineConfig(cache=NO_CACHE)) as engine:
        async with trio.open_nursery() as nursery:

            async def short(number: int) -> None:
                await engine.generate(f"{number:04}" + "x" * 3996)

            for number in range(70):
                nursery.start_soon(short, number)
            await trio.sleep(1.0)

            async def keep_coming() -> None:
                for number in range(70, 10_000):
                    nursery.start_soon(short, number)
                    await trio.sleep(0.5)

            nursery.start_soon(keep_coming)
            began = trio.current_time()
            await engine.generate("y" * 160_000, endpoints=("limited",))
            nursery.cancel_scope.cancel()
        assert trio.current_time() - began < 50.0, "38 s are needed when nobody else is there"


async def test_when_the_last_endpoint_dies_those_who_wait_for_a_time_are_told_at_once(autojump_clock: Any) -> None:
    steps = [Step(fault=Fault.RATE_LIMITED, retry_after_s=300.0), Step(fault=Fault.FATAL, message="wrong key")]
    provider = ScriptedProvider(steps)
    told_at: dict[str, float] = {}

    async def ask(name: str) -> None:
        with pytest.raises(GenerationError, match="wrong key"):
            await engine.generate(name)
        told_at[name] = trio.current_time()

    async with open_engine(provider) as engine:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "refused")
            await trio.sleep(1.0)
            nursery.start_soon(ask, "rejected")
        assert told_at == {"refused": 1.0, "rejected": 1.0}
        await assert_idle(engine)


async def test_an_attempt_that_is_cancelled_before_it_is_sent_costs_nothing(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = ScriptedProvider()
    pool = "synth_actors.actors.generator.GeneratorPool.generate"
    taken: list[Attempt] = []
    async with open_engine(dollar_endpoint(provider), EngineConfig(budget_usd=300.0)) as engine:
        router = engine._wiring._router
        made = router._pool.generate

        def generate(attempt: Attempt) -> None:
            made(attempt)
            taken.append(attempt)
            if len(taken) == 1:
                attempt.abandon()  # in the moment between dispatch and call

        monkeypatch.setattr(pool, lambda _self, attempt: generate(attempt))
        with pytest.raises(GenerationError, match="nobody waited"):
            await engine.generate("left")
        assert (await engine.generate("stayed", max_tokens=5)).usage.cost_usd == 1.0
        snapshot = await engine.metrics()
        assert provider.calls[0].request.prompt == "stayed"
        assert (snapshot.counters.paid_calls, len(provider.calls)) == (1, 1)
        assert spent_usd(engine) == router._budget.spent_usd == 1.0


async def test_a_busy_endpoint_is_waited_for_and_not_the_retry_after_of_another(autojump_clock: Any) -> None:
    limited = ScriptedProvider(
        lambda call: Step(fault=Fault.RATE_LIMITED, retry_after_s=300.0) if call.request.prompt == "q" else Step(),
        name="limited",
    )
    busy = ScriptedProvider(lambda call: Step(delay_s=1.0), name="busy")
    async with open_engine([limited, Endpoint(provider=busy, max_concurrency=1)]) as engine:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: engine.generate("holds the place", endpoints=("busy",)))
            await trio.sleep(0.1)
            response = await engine.generate("q")
        assert (response.endpoint, response.attempts, trio.current_time()) == ("busy", 2, 2.0)
