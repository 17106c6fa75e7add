"""What was spent stands on somebody's bill, and never passes the budget."""

from __future__ import annotations

import random
from types import MappingProxyType
from typing import Any

import pytest
import trio

from synth_actors import (
    BudgetExceededError,
    ConfigError,
    Endpoint,
    Engine,
    EngineConfig,
    GenerationError,
    Price,
    Request,
    Usage,
    open_engine,
)
from synth_actors.providers.base import Call, Completion, Emit, Fault
from synth_actors.testing import ScriptedProvider, Step
from tests.engine.support import ONE_DOLLAR, assert_idle, dollar_endpoint, spent_usd

FAULTS = [Fault.FAILED, Fault.REJECTED, Fault.RATE_LIMITED, Fault.BUG, Fault.OUTPUT_INVALID, Fault.SCHEMA_REFUSED]


@pytest.mark.parametrize("seed", range(5))
async def test_the_bills_add_up_to_what_was_spent(seed: int, autojump_clock: Any) -> None:
    chance = random.Random(seed)

    def script(call: Call) -> Step:
        delay_s = chance.random()
        if chance.random() < 0.6:
            return Step(delay_s=delay_s, usage=ONE_DOLLAR)
        fault = chance.choice(FAULTS)
        raises = RuntimeError("bug") if fault is Fault.BUG else None
        chunks = chance.randrange(3)
        return Step(delay_s=delay_s, fault=fault, raises=raises, fault_usage=ONE_DOLLAR, chunks_before_fault=chunks)

    bill: list[float] = []

    async def ask(engine: Engine, request: Request) -> None:
        await trio.sleep(chance.random() * 5)
        try:
            if chance.random() < 0.3:
                async with engine.stream(request) as stream:
                    async for _ in stream:
                        pass
                    response = await stream.response()
            else:
                response = await engine.generate(request)
            bill.append(response.usage.cost_usd or 0.0)
            assert (response.source == "call") == (response.usage.cost_usd != 0.0)
        except GenerationError as exc:
            bill.append(exc.usage.cost_usd or 0.0 if exc.usage else -1e9)

    providers = [ScriptedProvider(script, name=name) for name in ("one", "two")]
    async with open_engine([dollar_endpoint(p) for p in providers], EngineConfig(max_concurrency=5)) as engine:
        async with trio.open_nursery() as nursery:
            for number in range(120):
                nursery.start_soon(ask, engine, Request(prompt=f"p{number % 40}"))
        counters = (await engine.metrics()).counters
        assert sum(bill) == counters.cost_usd
        assert counters.failed > 0 < counters.succeeded
        await assert_idle(engine)


async def test_an_unpriced_call_costs_none_and_not_nothing() -> None:
    async with open_engine(ScriptedProvider()) as engine:
        assert (await engine.generate("p")).usage.cost_usd is None
        assert (await engine.generate("p")).usage.cost_usd == 0.0
        assert (await engine.metrics()).counters.cost_usd is None


async def test_every_kind_of_token_has_its_price() -> None:
    price = Price(
        input_usd_per_mtok=1.0, output_usd_per_mtok=2.0, cache_read_usd_per_mtok=3.0, cache_write_usd_per_mtok=4.0
    )
    used = Usage(
        input_tokens=1_000_000, output_tokens=1_000_000, cache_read_tokens=1_000_000, cache_write_tokens=1_000_000
    )
    endpoint = Endpoint(provider=ScriptedProvider([Step(usage=used)]), name="e", price=price)
    async with open_engine(endpoint) as engine:
        assert (await engine.generate("p")).usage.cost_usd == 10.0


async def test_a_budget_needs_a_price() -> None:
    with pytest.raises(ConfigError, match=r"budget_usd=5.*'scripted'.*Price"):
        async with open_engine(ScriptedProvider(), EngineConfig(budget_usd=5.0)):
            pass


@pytest.mark.parametrize("max_concurrency", [1, 7, 50])
async def test_the_budget_is_never_passed(max_concurrency: int, autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: Step(delay_s=1.0, usage=Usage(output_tokens=call.request.max_tokens)))
    config = EngineConfig(budget_usd=10.5, max_concurrency=max_concurrency)
    async with open_engine(dollar_endpoint(provider), config) as engine:
        outcomes = await engine.generate_batch([str(number) for number in range(50)], max_tokens=5)
        errors = [outcome.error for outcome in outcomes if outcome.error]
        assert spent_usd(engine) == 10.0
        assert [type(error) for error in errors] == [BudgetExceededError] * 40
        assert all("budget_usd=10.5" in str(error) for error in errors)
        assert len(provider.calls) == 10
        await assert_idle(engine)


async def test_the_snapshot_shows_what_is_left_of_a_budget_that_was_begun_before(autojump_clock: Any) -> None:
    endpoint = dollar_endpoint(ScriptedProvider(lambda _: Step(usage=ONE_DOLLAR)))
    async with open_engine(endpoint, EngineConfig(budget_usd=10.0), spent_usd=3.0) as engine:
        await engine.generate("a", max_tokens=1)
        router = (await engine.metrics()).router
    assert router.budget_usd == 10.0
    assert router.budget_spent_usd == pytest.approx(4.0)
    async with open_engine(endpoint) as engine:
        router = (await engine.metrics()).router
    assert router.budget_usd is None
    assert router.budget_spent_usd is None


async def test_what_a_call_did_not_use_of_its_reserve_is_there_for_the_next(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: Step(delay_s=1.0, usage=Usage(output_tokens=5)))
    config = EngineConfig(budget_usd=30.0, max_concurrency=50)
    async with open_engine(dollar_endpoint(provider), config) as engine:
        outcomes = await engine.generate_batch([str(number) for number in range(50)], max_tokens=50)  # 10 dollars each
        assert 20.0 < spent_usd(engine) <= 30.0
        assert sum(outcome.response is not None for outcome in outcomes) == spent_usd(engine)


async def test_a_budget_that_ends_between_two_attempts_loses_no_bill(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: Step(fault=Fault.FAILED, fault_usage=ONE_DOLLAR))
    async with open_engine(dollar_endpoint(provider), EngineConfig(budget_usd=1.5)) as engine:
        with pytest.raises(GenerationError, match=r"budget_usd=1\.5") as caught:
            await engine.generate("p", max_tokens=5)
        assert caught.value.usage is not None
        assert caught.value.usage.cost_usd == spent_usd(engine) == 1.0
        assert caught.value.attempts == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "lone \ud800 surrogate"},
        {"prompt": "p", "extra": {"thinking": MappingProxyType({"type": "on"})}},
        {"prompt": "p", "extra": {"stop": "\udfff", "n": 10**30}},
    ],
)
async def test_no_request_ends_an_engine_with_a_budget(fields: dict[str, Any]) -> None:
    provider = ScriptedProvider()
    async with open_engine(dollar_endpoint(provider), EngineConfig(budget_usd=1000.0)) as engine:
        outcomes = await engine.generate_batch([Request(**fields), Request(prompt="good")])
        assert outcomes[1].response is not None
        await assert_idle(engine)


async def test_a_schema_that_its_owner_breaks_while_it_waits_fails_that_request_alone(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: Step(text="{}", delay_s=1.0))
    schema: dict[str, Any] = {"type": "object"}
    async with open_engine(provider, EngineConfig(max_concurrency=1)) as engine:
        outcomes: list[object] = []

        async def ask(request: Request) -> None:
            try:
                outcomes.append(await engine.generate(request))
            except (ConfigError, GenerationError) as exc:
                outcomes.append(type(exc))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, Request(prompt="first"))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(ask, Request(prompt="second", output_schema=schema))
            await trio.testing.wait_all_tasks_blocked()
            schema["type"] = "no such type"
        assert len(outcomes) == 2
        assert (await engine.generate("third")).text == "{}"
        await assert_idle(engine)


class Punctual(ScriptedProvider):
    """Answers after exactly a second, with no step in between."""

    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        await trio.sleep(1.0)
        return Completion(text="ok", stop_reason="end", usage=ONE_DOLLAR)


async def test_who_leaves_as_the_answer_comes_leaves_the_bill_to_one_who_stays(autojump_clock: Any) -> None:
    for _ in range(30):  # trio decides by chance who is first in that moment
        bills: list[float | None] = []
        async with open_engine(dollar_endpoint(Punctual())) as engine:

            async def lead(engine: Engine = engine, bills: list[float | None] = bills) -> None:
                with trio.move_on_after(1.0):
                    bills.append((await engine.generate("p")).usage.cost_usd)

            async def follow(engine: Engine = engine, bills: list[float | None] = bills) -> None:
                bills.append((await engine.generate("p")).usage.cost_usd)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(lead)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(follow)
            assert sum(bill or 0.0 for bill in bills) == spent_usd(engine)
