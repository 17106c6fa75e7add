"""What does a request wait for when endpoints fail, and for how long?"""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from synth_actors import Endpoint, Engine, EngineConfig, GenerationError, Price, Request, Usage, open_engine
from synth_actors.providers.base import Call, Fault
from synth_actors.testing import ScriptedProvider, Step
from tests.engine.support import dollar_endpoint

FREE = Price(input_usd_per_mtok=0.0, output_usd_per_mtok=0.0)


def refusal(retry_after_s: float) -> Step:
    """A 429 with a wish."""
    return Step(fault=Fault.RATE_LIMITED, retry_after_s=retry_after_s)


async def told_at(engine: Engine, prompt: str, ends: dict[str, float], **fields: Any) -> None:
    """Ask, and note when an answer or an error came."""
    try:
        await engine.generate(prompt, **fields)
    except GenerationError:
        prompt = f"{prompt} failed"
    ends[prompt] = trio.current_time()


async def test_while_a_slow_probe_runs_nobody_loses_patience(autojump_clock: Any) -> None:
    steps = [Step(fault=Fault.FAILED, delay_s=0.1)] * 5
    calls = iter(steps)
    provider = ScriptedProvider(lambda _call: next(calls, Step(delay_s=90.0)))
    async with open_(provider, max_concurrency=5) as engine:
        outcomes = await engine.generate_batch([str(number) for number in range(20)])
    assert [outcome.error for outcome in outcomes if outcome.error is not None] == []


async def test_patience_begins_with_the_outage_that_is_and_not_with_one_that_is_over(autojump_clock: Any) -> None:
    refused = iter([refusal(5.0), None, refusal(5.0)])  # the third is refused after 100 s of good service

    def script(_call: Call) -> Step:
        step = next(refused, None)
        return Step(delay_s=100.0) if step is None else step

    provider = ScriptedProvider(script)
    async with open_(provider, outage_patience_s=60.0) as engine:
        await engine.generate("first")
        response = await engine.generate("second")
    assert response.attempts == 2
    assert trio.current_time() == 210.0


async def test_each_waits_as_long_as_the_patience_and_not_longer(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda _call: refusal(1000.0))
    ends: dict[str, float] = {}
    async with open_(provider, outage_patience_s=20.0) as engine, trio.open_nursery() as nursery:
        for name in ("0", "5", "10"):
            nursery.start_soon(told_at, engine, name, ends)
            await trio.sleep(5.0)
    assert ends == {"0 failed": 0.0, "5 failed": 25.0, "10 failed": 30.0}


@pytest.mark.parametrize("fault", [Fault.REJECTED, Fault.FATAL])
async def test_a_fallback_that_will_not_have_it_sends_it_back_to_where_it_may_succeed(
    autojump_clock: Any, fault: Fault
) -> None:
    shaky = ScriptedProvider([Step(fault=Fault.FAILED)], name="shaky")
    strict = ScriptedProvider(lambda _call: Step(fault=fault), name="strict")
    async with open_([shaky, strict]) as engine:
        response = await engine.generate("p")
    assert (response.endpoint, response.attempts) == ("shaky", 3)


async def test_a_fallback_that_is_rate_limited_does_not_end_it_while_another_is_open(autojump_clock: Any) -> None:
    shaky = ScriptedProvider([Step(fault=Fault.FAILED)], name="shaky")
    busy = ScriptedProvider(lambda _call: refusal(3600.0), name="busy")
    async with open_([shaky, busy]) as engine:
        response = await engine.generate("p")
    assert response.endpoint == "shaky"


@pytest.mark.parametrize("fault", [Fault.FATAL, Fault.RATE_LIMITED])
async def test_who_waits_for_a_fallback_that_closes_goes_back_to_where_it_failed(
    autojump_clock: Any, fault: Fault
) -> None:
    first = iter([Step(fault=Fault.FAILED, delay_s=0.1)])
    shaky = ScriptedProvider(lambda _call: next(first, Step()), name="shaky")
    narrow = ScriptedProvider(lambda _call: Step(fault=fault, delay_s=5.0, retry_after_s=1000.0), name="narrow")
    ends: dict[str, float] = {}
    async with open_([shaky, Endpoint(provider=narrow, max_concurrency=1)]) as engine, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: told_at(engine, "holds the place", ends, endpoints=("narrow",)))
        await trio.sleep(0.01)
        nursery.start_soon(told_at, engine, "q", ends)
    assert ends["q"] <= 6.0


async def test_a_server_that_wishes_for_no_wait_and_goes_on_refusing_is_not_stormed(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda _call: Step(delay_s=0.005, fault=Fault.RATE_LIMITED, retry_after_s=0.0))
    async with open_(provider) as engine:
        with pytest.raises(GenerationError):
            await engine.generate("p")
    assert len(provider.calls) < 15


async def test_who_waits_for_the_budget_holds_up_nobody_who_costs_nothing(autojump_clock: Any) -> None:
    paid = dollar_endpoint(ScriptedProvider(lambda _call: Step(delay_s=100.0), name="paid"))
    free = Endpoint(provider=ScriptedProvider(name="free"), price=FREE)
    ends: dict[str, float] = {}
    async with open_([paid, free], budget_usd=1.5) as engine, trio.open_nursery() as nursery:
        for name in ("one", "two"):
            nursery.start_soon(told_at_paid, engine, name, ends)
            await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(lambda: told_at(engine, "free", ends, endpoints=("free",)))
        await trio.sleep(1.0)
        assert ends == {"free": 0.0}
        nursery.cancel_scope.cancel()


async def told_at_paid(engine: Engine, prompt: str, ends: dict[str, float]) -> None:
    """Ask the endpoint that costs."""
    await told_at(engine, prompt, ends, endpoints=("paid",), max_tokens=5)


async def test_a_call_whose_cost_nobody_knows_counts_as_much_as_it_may_have_cost(autojump_clock: Any) -> None:
    unknown = dollar_endpoint(ScriptedProvider(lambda _call: Step(usage=Usage(cost_usd=None))))
    async with open_(unknown, budget_usd=10.5) as engine:
        outcomes = await engine.generate_batch([str(number) for number in range(200)], max_tokens=5)
    assert sum(outcome.error is None for outcome in outcomes) == 10


async def test_a_call_that_timed_out_counts_as_much_as_it_may_have_cost(autojump_clock: Any) -> None:
    hanging = dollar_endpoint(ScriptedProvider(lambda _call: Step(delay_s=1000.0)), attempt_timeout_s=5.0)
    async with open_(hanging, budget_usd=2.5, max_attempts=1, max_concurrency=1) as engine:
        await engine.generate_batch([str(number) for number in range(10)], max_tokens=5)
        assert engine._wiring._counters().paid_calls == 2


async def test_an_answer_made_longer_by_extra_is_reserved_for(autojump_clock: Any) -> None:
    endpoint = dollar_endpoint(ScriptedProvider())
    async with open_(endpoint, budget_usd=2.0) as engine:
        outcome = await engine.generate_batch([Request(prompt="p", max_tokens=5, extra={"max_tokens": 100})])
    assert "budget_usd" in str(outcome[0].error)


async def test_a_drain_ends_when_the_last_request_does_also_by_a_fatal_failure(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda _call: Step(fault=Fault.FATAL, delay_s=1.0))
    ends: dict[str, float] = {}
    async with trio.open_nursery() as nursery, open_(provider, drain_timeout_s=1000.0, max_concurrency=1) as engine:
        nursery.start_soon(told_at, engine, "a", ends)
        nursery.start_soon(told_at, engine, "b", ends)
        await trio.testing.wait_all_tasks_blocked()
    assert len(ends) == 2
    assert trio.current_time() == 1.0


def open_(endpoints: Any, **fields: Any) -> Any:
    """An engine with these settings."""
    return open_engine(endpoints, EngineConfig(**fields))
