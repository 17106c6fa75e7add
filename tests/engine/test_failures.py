"""Again, elsewhere, or give up: what callers see of it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio

from synth_actors import (
    Endpoint,
    Engine,
    EngineConfig,
    GenerationError,
    OutputInvalidError,
    RateLimitedError,
    Request,
    open_engine,
)
from synth_actors.providers.base import Call, Fault
from synth_actors.testing import ScriptedProvider, Step
from tests.engine.support import ONE_DOLLAR, assert_idle, dollar_endpoint, spent_usd

PERSON = {"type": "object", "required": ["name"]}


def limited(retry_after_s: float | None = None) -> Step:
    return Step(fault=Fault.RATE_LIMITED, retry_after_s=retry_after_s, message="429")


async def test_a_429_is_waited_out_as_long_as_the_server_says(autojump_clock: Any) -> None:
    provider = ScriptedProvider([limited(7.0), Step(text="yes")])
    async with open_engine(provider) as engine:
        response = await engine.generate("p")
        assert (response.text, response.attempts, trio.current_time()) == ("yes", 2, 7.0)
        assert response.timings.queue_s == 7.0
        await assert_idle(engine)


async def test_a_429_without_a_wish_is_waited_out_ever_longer(autojump_clock: Any) -> None:
    provider = ScriptedProvider([limited()] * 4)
    async with open_engine(provider) as engine:
        assert (await engine.generate("p")).attempts == 5
        assert (0.5 + 1 + 2 + 4) / 2 <= trio.current_time() <= 0.5 + 1 + 2 + 4, "with jitter"


async def test_a_429_spends_no_attempt(autojump_clock: Any) -> None:
    provider = ScriptedProvider([limited(1.0)] * 10)
    async with open_engine(provider, EngineConfig(max_attempts=1)) as engine:
        assert (await engine.generate("p")).attempts == 11


async def test_a_pause_holds_back_everybody_and_not_only_the_one_that_was_refused(autojump_clock: Any) -> None:
    provider = ScriptedProvider([limited(5.0)])
    async with open_engine(provider, EngineConfig(max_concurrency=1)) as engine:
        outcomes = await engine.generate_batch([str(number) for number in range(20)])
        assert all(outcome.response for outcome in outcomes)
        assert (len(provider.calls), trio.current_time()) == (21, 5.0)


async def test_five_server_errors_and_then_an_answer_are_six_attempts(autojump_clock: Any) -> None:
    provider = ScriptedProvider([Step(fault=Fault.FAILED, message="500")] * 5)
    async with open_engine(provider) as engine:
        assert (await engine.generate("p")).attempts == 6
        await assert_idle(engine)


async def test_when_everything_fails_the_last_failure_is_raised(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: Step(fault=Fault.FAILED, message="500 again", fault_usage=ONE_DOLLAR))
    async with open_engine(dollar_endpoint(provider)) as engine:
        with pytest.raises(GenerationError, match="scripted: 500 again") as caught:
            await engine.generate("p")
        error = caught.value
        assert (error.attempts, error.retryable, error.endpoint) == (6, True, "scripted")
        assert error.usage is not None
        assert error.usage.cost_usd == spent_usd(engine) == 6.0
        await assert_idle(engine)


@pytest.mark.parametrize("callers", [1, 50])
async def test_a_wrong_key_ends_with_one_message_after_at_most_max_concurrency_calls(
    callers: int, autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    provider = ScriptedProvider(lambda call: Step(fault=Fault.FATAL, message="invalid x-api-key", delay_s=1.0))
    async with open_engine(provider, EngineConfig(max_concurrency=8)) as engine:
        with caplog.at_level(logging.ERROR, "synth_actors"):
            outcomes = await engine.generate_batch([str(number) for number in range(callers)])
        assert len(provider.calls) == min(callers, 8)
        assert len(caplog.records) == 1
        for outcome in outcomes:
            assert isinstance(outcome.error, GenerationError)
            assert not outcome.error.retryable
            assert "invalid x-api-key" in str(outcome.error)
        with pytest.raises(GenerationError, match="invalid x-api-key"):
            await engine.generate("later")
        assert len(provider.calls) == min(callers, 8)
        assert (await engine.metrics()).router.endpoints["scripted"].state == "fatal"
        await assert_idle(engine)


async def test_a_dead_endpoint_is_left_for_the_next_one(autojump_clock: Any) -> None:
    dead = ScriptedProvider(lambda call: Step(fault=Fault.FATAL), name="dead")
    alive = ScriptedProvider(name="alive")
    async with open_engine([dead, alive], EngineConfig(max_concurrency=1)) as engine:
        outcomes = await engine.generate_batch([str(number) for number in range(10)])
        assert {outcome.response.endpoint for outcome in outcomes if outcome.response} == {"alive"}
        assert (len(dead.calls), len(alive.calls)) == (1, 10)


@pytest.mark.parametrize("fault", [Fault.RATE_LIMITED, Fault.OVERLOADED, Fault.UNREACHABLE])
async def test_when_every_endpoint_stays_closed_patience_ends(fault: Fault, autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: Step(fault=fault, message="closed"))
    async with open_engine(provider, EngineConfig(outage_patience_s=20.0)) as engine:
        with pytest.raises(RateLimitedError, match="closed") as caught:
            await engine.generate("p")
        assert caught.value.retryable
        assert 10.0 < trio.current_time() <= 20.0
        await assert_idle(engine)


async def test_a_wait_that_a_rate_limit_names_tries_nobodys_patience(autojump_clock: Any) -> None:
    provider = ScriptedProvider([limited(100.0)] * 2)
    async with open_engine(provider, EngineConfig(outage_patience_s=20.0, max_concurrency=1)) as engine:
        outcomes = await engine.generate_batch([str(number) for number in range(5)])
        assert [outcome.error for outcome in outcomes] == [None] * 5
        assert trio.current_time() == 100.0
        assert len(provider.calls) == 7


async def test_a_rate_limit_that_refuses_after_ten_waits_that_it_named_tries_patience(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: limited(100.0))

    async def wait(engine: Engine, prompt: str) -> None:
        with pytest.raises(RateLimitedError):
            await engine.generate(prompt)

    async with open_engine(provider, EngineConfig(outage_patience_s=20.0, max_concurrency=1)) as engine:
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(wait, engine, str(number))
        assert 1000.0 <= trio.current_time() <= 1100.0, "ten waits that it named, and the patience"
        assert len(provider.calls) <= 15
        await assert_idle(engine)


async def test_a_wait_beyond_all_measure_is_a_clear_error_at_once(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: limited(49 * 86_400.0))
    too_long = r"asks to wait 4\.2336e\+06 s, and no request waits longer than 600 s"
    async with open_engine(provider) as engine:
        with pytest.raises(RateLimitedError, match=too_long):
            await engine.generate("p")
        assert trio.current_time() == 0.0


async def test_those_who_wait_behind_a_pause_are_told_when_it_ends(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: Step(fault=Fault.OVERLOADED, retry_after_s=100.0, message="529"))
    errors: list[RateLimitedError] = []

    async def wait(engine: Engine, prompt: str) -> None:
        with pytest.raises(RateLimitedError) as caught:
            await engine.generate(prompt)
        errors.append(caught.value)

    config = EngineConfig(outage_patience_s=20.0, max_concurrency=1)
    async with open_engine(provider, config) as engine:
        async with trio.open_nursery() as nursery:
            for number in range(9):
                nursery.start_soon(wait, engine, str(number))
        assert trio.current_time() == 20.0
        assert sorted(error.retry_after_s or 0.0 for error in errors) == [80.0] * 4 + [100.0] * 5
        assert sorted(error.attempts for error in errors) == [0] * 4 + [1] * 5, "five in a row say that it is down"
        assert "it asks to wait 100 s, and no request waits longer than 20 s for that" in str(errors[0])
        assert len(provider.calls) == 5
        await assert_idle(engine)


async def test_patience_with_an_endpoint_that_fails_after_acceptance_ends_too(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: Step(fault=Fault.FAILED, message="500", delay_s=1.0))
    config = EngineConfig(outage_patience_s=3.0, max_attempts=100, max_concurrency=1)
    async with open_engine(provider, config) as engine:
        with pytest.raises(RateLimitedError, match="outage_patience_s=3"):
            await engine.generate("p")
        await assert_idle(engine)


async def test_patience_counts_from_the_closing_and_not_from_the_submission(autojump_clock: Any) -> None:
    provider = ScriptedProvider([Step(delay_s=100.0), limited(15.0), Step(text="yes")])
    async with open_engine(provider, EngineConfig(outage_patience_s=20.0, max_concurrency=1)) as engine:
        outcomes = await engine.generate_batch(["a", "b"])
        assert [outcome.response is not None for outcome in outcomes] == [True, True]
        assert trio.current_time() == 115.0


async def test_a_failover_shows_in_the_response(autojump_clock: Any) -> None:
    first = ScriptedProvider(lambda call: Step(fault=Fault.FAILED), name="first")
    second = ScriptedProvider(lambda call: Step(text="here"), name="second", model="m2")
    async with open_engine([first, second]) as engine:
        response = await engine.generate("p")
        assert (response.endpoint, response.model, response.attempts, response.text) == ("second", "m2", 2, "here")
        assert trio.current_time() == 0.0
        router = (await engine.metrics()).router
        assert (router.failovers, router.retries) == (1, 1)


async def test_a_request_only_goes_where_it_may(autojump_clock: Any) -> None:
    first = ScriptedProvider(name="first")
    second = ScriptedProvider([Step(fault=Fault.FAILED)], name="second")
    async with open_engine([first, second]) as engine:
        response = await engine.generate("p", endpoints=("second",))
        assert (response.endpoint, response.attempts) == ("second", 2)
        assert first.calls == []


async def test_one_failure_does_not_bind_a_request_to_a_closed_endpoint(autojump_clock: Any) -> None:
    first = ScriptedProvider([Step(), Step(fault=Fault.FAILED)], name="first")
    second = ScriptedProvider(lambda call: limited(1000.0), name="second")
    async with open_engine([first, second]) as engine:
        with pytest.raises(RateLimitedError):
            await engine.generate("p", endpoints=("second",))
        await engine.generate("warm up")
        response = await engine.generate("q")  # fails at `first`, and `second` is closed for long
        assert (response.endpoint, response.attempts) == ("first", 2)
        assert trio.current_time() < 5.0


async def test_a_rejected_request_waits_for_the_endpoint_that_may_take_it(autojump_clock: Any) -> None:
    small = ScriptedProvider(lambda call: Step(fault=Fault.REJECTED, message="too long"), name="small")
    large = ScriptedProvider([limited(5.0), limited(5.0)], name="large")
    async with open_engine([small, large]) as engine:
        response = await engine.generate("long")
        assert (response.endpoint, response.attempts, trio.current_time()) == ("large", 4, 10.0)
        assert len(small.calls) == 1


async def test_a_rejected_request_is_not_repeated_at_the_same_endpoint() -> None:
    provider = ScriptedProvider(lambda call: Step(fault=Fault.REJECTED, message="400"))
    async with open_engine(provider) as engine:
        with pytest.raises(GenerationError, match="400") as caught:
            await engine.generate("p")
        assert (caught.value.attempts, caught.value.retryable) == (1, False)


async def test_a_refused_schema_is_asked_for_once_more(autojump_clock: Any) -> None:
    refused = Step(fault=Fault.SCHEMA_REFUSED)
    provider = ScriptedProvider([refused, Step(text='{"name": "a"}')])
    async with open_engine(provider) as engine:
        response = await engine.generate("p", output_schema=PERSON)
        assert (response.data, response.attempts) == ({"name": "a"}, 2)
        assert (await engine.metrics()).router.endpoints["scripted"].schema_in_prompt
    provider = ScriptedProvider(lambda call: refused)
    async with open_engine(provider) as engine:
        with pytest.raises(GenerationError):
            await engine.generate("p", output_schema=PERSON)
        assert len(provider.calls) == 2


async def test_an_invalid_output_is_asked_for_at_most_three_times() -> None:
    provider = ScriptedProvider(lambda call: Step(text="{}"))
    async with open_engine(dollar_endpoint(provider)) as engine:
        with pytest.raises(OutputInvalidError, match="name") as caught:
            await engine.generate("p", output_schema=PERSON)
        assert (caught.value.attempts, caught.value.partial, len(provider.calls)) == (3, "{}", 3)
        assert caught.value.usage is not None
        assert caught.value.usage.cost_usd == spent_usd(engine) == 3.0
        assert (await engine.metrics()).cache.entries == 0
        await assert_idle(engine)


async def test_an_output_cut_at_max_tokens_is_not_asked_for_again() -> None:
    provider = ScriptedProvider(lambda call: Step(text='{"name"', stop_reason="max_tokens"))
    async with open_engine(provider) as engine:
        with pytest.raises(OutputInvalidError, match="max_tokens"):
            await engine.generate("p", output_schema=PERSON)
        assert len(provider.calls) == 1


async def test_a_retry_goes_before_those_who_came_later(autojump_clock: Any) -> None:
    def script(call: Call) -> Step:
        first_time = sum(c.request.prompt == call.request.prompt for c in provider.calls) == 1
        return limited(1.0) if call.request.prompt == "0" and first_time else Step(delay_s=1.0)

    provider = ScriptedProvider(script)
    async with open_engine(provider, EngineConfig(max_concurrency=1)) as engine:
        await engine.generate_batch([str(number) for number in range(3)])
        assert [call.request.prompt for call in provider.calls] == ["0", "1", "0", "2"]


async def test_an_open_endpoint_is_not_held_up_by_requests_for_a_full_one(autojump_clock: Any) -> None:
    slow = ScriptedProvider(lambda call: Step(delay_s=100.0), name="slow")
    fast = ScriptedProvider(lambda call: Step(delay_s=1.0), name="fast")
    endpoints = [Endpoint(provider=slow, name="slow", max_concurrency=1), Endpoint(provider=fast, name="fast")]
    async with open_engine(endpoints, EngineConfig(max_concurrency=10)) as engine, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(engine.generate, Request(prompt=f"s{number}", endpoints=("slow",)))
        await trio.testing.wait_all_tasks_blocked()
        for number in range(9):
            await engine.generate(Request(prompt=f"f{number}", endpoints=("fast",)))
        assert trio.current_time() == 9.0
        nursery.cancel_scope.cancel()


async def test_an_answer_beyond_the_bound_fails_once_whoever_made_it(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: Step(text="x" * 101))
    async with open_engine(dollar_endpoint(provider), EngineConfig(max_response_bytes=100)) as engine:
        with pytest.raises(GenerationError, match="longer than max_response_bytes=100") as caught:
            await engine.generate("p")
        assert (caught.value.attempts, caught.value.retryable, caught.value.partial) == (1, False, "x" * 100)
        assert caught.value.usage is not None
        assert caught.value.usage.cost_usd == spent_usd(engine) == 1.0
        assert (await engine.metrics()).cache.entries == 0
        await assert_idle(engine)


async def test_a_provider_that_has_seen_a_useless_answer_is_shown_to_ask_for_the_schema_in_the_prompt() -> None:
    provider = ScriptedProvider()
    async with open_engine(provider) as engine:
        assert not (await engine.metrics()).router.endpoints["scripted"].schema_in_prompt
        provider.schema_in_prompt = True  # type: ignore[attr-defined]  # as `HttpProvider` does
        assert (await engine.metrics()).router.endpoints["scripted"].schema_in_prompt
