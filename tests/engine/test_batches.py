from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trio

from synth_actors import ConfigError, EngineConfig, GenerationError, Outcome, Request, open_engine
from synth_actors.providers.base import Call, Fault
from synth_actors.testing import ScriptedProvider, Step
from tests.engine.support import assert_idle

TWO = EngineConfig(max_concurrency=2)


class Counted:
    """Prompts without end, and how many were taken."""

    def __init__(self) -> None:
        self.taken = 0

    def __iter__(self) -> Iterator[str]:
        while True:
            self.taken += 1
            yield f"p{self.taken}"


async def test_outcomes_come_as_they_complete(autojump_clock: Any) -> None:
    provider = ScriptedProvider(
        lambda call: Step(text=call.request.prompt or "", delay_s=float(call.request.prompt or 0))
    )
    async with open_engine(provider) as engine:
        async with engine.batch(["3", "1", "2"]) as outcomes:
            seen = [(o.index, o.response.text if o.response else None) async for o in outcomes]
        assert seen == [(1, "1"), (2, "2"), (0, "3")]
        assert trio.current_time() == 3.0
        await assert_idle(engine)


async def test_a_list_of_outcomes_has_the_order_of_the_input(autojump_clock: Any) -> None:
    provider = ScriptedProvider(
        lambda call: Step(text=call.request.prompt or "", delay_s=float(call.request.prompt or 0))
    )
    async with open_engine(provider) as engine:
        outcomes = await engine.generate_batch(["3", "1", Request(prompt="2"), "1"], max_tokens=7)
        assert [o.response.text if o.response else None for o in outcomes] == ["3", "1", "2", "1"]
        assert [call.request.max_tokens for call in provider.calls] == [7, 7, 1024]


async def test_one_poisoned_request_of_a_hundred_leaves_ninety_nine_answers() -> None:
    def script(call: Call) -> Step:
        return Step(fault=Fault.REJECTED) if call.request.prompt == "p13" else Step()

    async with open_engine(ScriptedProvider(script)) as engine:
        outcomes = await engine.generate_batch([f"p{i}" for i in range(100)])
        assert [o.index for o in outcomes if o.error is not None] == [13]
        assert sum(o.response is not None for o in outcomes) == 99
        await assert_idle(engine)


async def test_invalid_items_become_outcomes() -> None:
    items: Any = ["good", 7, Request(prompt="x", endpoints=("nowhere",)), None, "good too"]
    async with open_engine(ScriptedProvider()) as engine:
        outcomes = await engine.generate_batch(items)
        assert [type(o.error) for o in outcomes] == [type(None), ConfigError, ConfigError, ConfigError, type(None)]
        assert all((o.error is None) != (o.response is None) for o in outcomes)
        assert "nowhere" in str(outcomes[2].error)


async def test_invalid_fields_fail_the_prompts_that_take_them() -> None:
    async with open_engine(ScriptedProvider()) as engine:
        fields: Any = {"max_token": 5}
        outcomes = await engine.generate_batch(["a", Request(prompt="b")], **fields)
        assert "did you mean 'max_tokens'" in str(outcomes[0].error)
        assert outcomes[1].response is not None


async def test_one_prompt_instead_of_many_is_refused_before_its_letters_are_sent() -> None:
    provider = ScriptedProvider()
    async with open_engine(provider) as engine:
        with pytest.raises(ConfigError, match=r"\['one prompt'\]"):
            await engine.generate_batch("one prompt")
        assert provider.calls == []


@pytest.mark.parametrize("kind", ["iterable", "async iterable"])
async def test_a_reader_that_stops_stops_the_puller(kind: str, autojump_clock: Any) -> None:
    source = Counted()

    async def slowly() -> AsyncIterator[str]:
        for prompt in source:
            await trio.lowlevel.checkpoint()
            yield prompt

    async with open_engine(ScriptedProvider(lambda call: Step(delay_s=1)), TWO) as engine:
        async with engine.batch(source if kind == "iterable" else slowly()) as outcomes:
            for read in range(10):
                await trio.sleep(60)
                assert source.taken == read + 2 * 2, "the look-ahead is 2 x max_concurrency"
                await outcomes.receive()
        await assert_idle(engine)


async def test_if_the_input_raises_the_outcomes_come_first_then_its_exception(autojump_clock: Any) -> None:
    raised = RuntimeError("no more")

    def broken() -> Iterator[str]:
        yield from ("a", "b", "c")
        raise raised

    async with open_engine(ScriptedProvider(lambda call: Step(delay_s=1))) as engine:
        seen: list[Outcome] = []
        async with engine.batch(broken()) as outcomes:
            with pytest.raises(RuntimeError) as caught:  # noqa: PT012
                async for outcome in outcomes:
                    seen.append(outcome)  # noqa: PERF401  (what came before the exception counts)
        assert caught.value is raised
        assert sorted(o.index for o in seen if o.response is not None) == [0, 1, 2]
        with pytest.raises(RuntimeError) as caught:
            await engine.generate_batch(broken())
        await assert_idle(engine)


async def test_something_that_cannot_be_iterated_is_an_error() -> None:
    items: Any = 5
    async with open_engine(ScriptedProvider()) as engine:
        with pytest.raises(TypeError, match="not iterable"):
            await engine.generate_batch(items)


async def test_an_empty_input_has_no_outcomes() -> None:
    async with open_engine(ScriptedProvider()) as engine:
        assert await engine.generate_batch([]) == []


@pytest.mark.parametrize("how", ["end", "break", "raise"])
async def test_an_async_generator_is_closed(how: str, autojump_clock: Any) -> None:
    closed: list[float] = []

    async def numbers() -> AsyncIterator[str]:
        try:
            for number in range(20):
                yield str(number)
        finally:
            closed.append(trio.current_time())

    async with open_engine(ScriptedProvider(lambda call: Step(delay_s=1)), TWO) as engine:
        try:
            async with engine.batch(numbers()) as outcomes:
                async for _ in outcomes:
                    if how == "break":
                        break
                    if how == "raise":
                        raise ZeroDivisionError
        except ZeroDivisionError:
            assert how == "raise"
        assert len(closed) == 1
        await assert_idle(engine)


async def test_break_stops_what_only_this_batch_awaits(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: Step(delay_s=1 if call.request.prompt == "quick" else 100))
    async with open_engine(provider) as engine, trio.open_nursery() as nursery:

        async def other() -> None:
            assert (await engine.generate("shared")).text == "ok"

        nursery.start_soon(other)
        async with engine.batch(["quick", "own", "shared"]) as outcomes:
            async for outcome in outcomes:
                assert outcome.index == 0
                break
        await trio.testing.wait_all_tasks_blocked()
        assert (provider.cancelled, provider.active) == (1, 1)
        assert trio.current_time() == 1.0
    assert idle_after(provider)


def idle_after(provider: ScriptedProvider) -> bool:
    return provider.active == 0 and provider.closed


async def test_what_the_body_raises_leaves_as_itself() -> None:
    async with open_engine(ScriptedProvider()) as engine:
        for raised in (ValueError("mine"), KeyboardInterrupt(), ExceptionGroup("mine too", [OSError()])):
            with pytest.raises(type(raised)) as caught:
                async with engine.batch(["a", "b"]):
                    raise raised
            assert caught.value is raised
        await assert_idle(engine)


async def test_errors_carry_their_own_cost_and_cause() -> None:
    provider = ScriptedProvider(lambda call: Step(raises=OSError("lost")))
    async with open_engine(provider) as engine:
        outcomes = await engine.generate_batch(["a", "b"])
        errors = [outcome.error for outcome in outcomes]
        assert [type(error) for error in errors] == [GenerationError] * 2
        assert [type(error.__cause__) for error in errors if error] == [OSError] * 2
        assert errors[0] is not errors[1]


async def test_a_closed_reader_gets_nothing_more(autojump_clock: Any) -> None:
    async with open_engine(ScriptedProvider(lambda call: Step(delay_s=1))) as engine:
        async with engine.batch(["a"]) as outcomes:
            await outcomes.aclose()
            with pytest.raises(trio.ClosedResourceError):
                await outcomes.receive()
            await trio.sleep(5)
        await assert_idle(engine)


async def test_a_batch_with_slow_calls_takes_its_ideal_time(autojump_clock: Any) -> None:
    def script(call: Call) -> Step:
        return Step(delay_s=0.4 if int(call.request.prompt or 0) % 10 == 0 else 0.02)

    config = EngineConfig(max_concurrency=10)
    async with open_engine(ScriptedProvider(script), config) as engine:
        outcomes = await engine.generate_batch([str(number) for number in range(400)])
        assert all(o.response for o in outcomes)
        ideal_s = (40 * 0.4 + 360 * 0.02) / 10
        assert trio.current_time() <= 1.05 * ideal_s + 0.4  # the last slow one may begin at the end
        assert engine._wiring._counters().succeeded == 400
