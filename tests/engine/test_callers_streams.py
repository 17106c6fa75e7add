from __future__ import annotations

from typing import Any

import pytest
import trio

from synth_actors import DeadlineExceededError, GenerationError, OutputInvalidError, Request, open_engine
from synth_actors.providers.base import Fault
from synth_actors.testing import ScriptedProvider, Step
from tests.engine.support import ONE_DOLLAR, assert_idle, dollar_endpoint, spent_usd

BROKEN = Step(text="xyz", chunks=3, chunks_before_fault=2, gap_s=1.0, fault=Fault.FAILED, fault_usage=ONE_DOLLAR)


@pytest.mark.parametrize("method", ["receive", "response"])
async def test_closing_a_stream_wakes_whoever_waits_for_it(method: str, autojump_clock: Any) -> None:
    told: list[float] = []
    async with open_engine(ScriptedProvider(lambda _call: Step(delay_s=10.0))) as engine:
        async with engine.stream("p") as stream, trio.open_nursery() as nursery:

            async def read() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await getattr(stream, method)()
                told.append(trio.current_time())

            nursery.start_soon(read)
            await trio.sleep(1)
            await stream.aclose()
        assert told == [1.0]
        await assert_idle(engine)


async def test_a_reader_whose_time_is_over_ends_the_call_also_if_its_block_goes_on(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda _call: Step(delay_s=10.0))
    async with open_engine(dollar_endpoint(provider)) as engine:
        async with engine.stream("p", timeout_s=1) as stream:
            with pytest.raises(DeadlineExceededError):
                await stream.receive()
            await trio.sleep(100)
        assert (provider.cancelled, spent_usd(engine)) == (1, 0.0)
        await assert_idle(engine)


async def test_a_reader_whose_text_broke_off_ends_the_call_also_if_its_block_goes_on(autojump_clock: Any) -> None:
    provider = ScriptedProvider([BROKEN, Step(delay_s=50.0)])
    async with open_engine(dollar_endpoint(provider)) as engine:
        async with engine.stream("p") as stream:
            with pytest.raises(GenerationError) as caught:
                [chunk async for chunk in stream]
            await trio.sleep(100)
        assert caught.value.usage is not None
        assert caught.value.usage.cost_usd == spent_usd(engine) == 1.0
        await assert_idle(engine)


async def test_a_reader_of_a_broken_text_who_has_the_response_already_carries_no_second_bill(
    autojump_clock: Any,
) -> None:
    async with open_engine(dollar_endpoint(ScriptedProvider([BROKEN, Step(delay_s=3)]))) as engine:
        async with engine.stream("p") as stream:
            await stream.receive()
            response = await stream.response()
            with pytest.raises(GenerationError) as caught:
                [chunk async for chunk in stream]
            assert await stream.response() is response
        assert caught.value.usage is not None
        assert (response.usage.cost_usd, caught.value.usage.cost_usd) == (2.0, 0.0)
        counters = (await engine.metrics()).counters
        assert (counters.succeeded, counters.failed) == (1, 0)
        assert engine._front.claimed.cost_usd == spent_usd(engine) == 2.0


@pytest.mark.parametrize(
    "step", [Step(text="no JSON", chunks=2), Step(text='{"a"', stop_reason="max_tokens", chunks=2)]
)
async def test_a_reader_of_an_invalid_output_gets_the_error_that_response_gives(
    step: Step, autojump_clock: Any
) -> None:
    async with open_engine(ScriptedProvider(lambda _call: step)) as engine:
        request = Request(prompt="p", output_schema={"type": "object"}, max_tokens=2000)
        async with engine.stream(request) as stream:
            await stream.receive()
            await trio.sleep(60)
            with pytest.raises(OutputInvalidError) as caught:
                [chunk async for chunk in stream]
            assert not caught.value.retryable
            assert caught.value.partial == step.text


class OddFormat:
    """Parses once, where the answer is made, and then fails."""

    tag = "odd"

    def __init__(self) -> None:
        self.parsed = 0

    def json_schema(self) -> dict[str, Any]:
        return {"type": "object"}

    def parse(self, text: str) -> str:
        self.parsed += 1
        if self.parsed > 1:
            raise KeyError("second time")
        return text


async def test_an_answer_that_the_callers_own_parse_refuses_is_an_output_error_with_its_bill() -> None:
    async with open_engine(dollar_endpoint(ScriptedProvider())) as engine:
        with pytest.raises(OutputInvalidError, match="second time") as caught:
            await engine.generate("p", output_schema=OddFormat())
        assert caught.value.usage is not None
        assert caught.value.usage.cost_usd == spent_usd(engine) == engine._front.claimed.cost_usd == 1.0
        outcomes = await engine.generate_batch([Request(prompt="q", output_schema=OddFormat()), "r"])
        assert type(outcomes[0].error) is OutputInvalidError
        assert outcomes[1].response is not None
        await assert_idle(engine)


async def test_leaving_an_unread_stream_whose_parse_fails_does_not_replace_what_the_body_raised(
    autojump_clock: Any,
) -> None:
    async with open_engine(dollar_endpoint(ScriptedProvider())) as engine:
        with pytest.raises(ZeroDivisionError):  # noqa: PT012
            async with engine.stream("q", output_schema=OddFormat()):
                await trio.sleep(1)
                raise ZeroDivisionError
        assert engine._front.claimed.cost_usd == spent_usd(engine) == 1.0
        await assert_idle(engine)


async def test_an_output_format_that_cannot_give_its_schema_is_wrong_input_and_loses_no_other_request() -> None:
    class Broken(OddFormat):
        def json_schema(self) -> dict[str, Any]:
            raise KeyError("no schema")

    async with open_engine(ScriptedProvider()) as engine:
        outcomes = await engine.generate_batch([Request(prompt="q", output_schema=Broken()), "r"])
        assert "output_schema: Broken: KeyError: 'no schema'" in str(outcomes[0].error)
        assert outcomes[1].response is not None


@pytest.mark.parametrize("method", ["receive", "response"])
async def test_a_reader_that_was_busy_when_its_time_ended_is_told_when_it_reads_on(
    method: str, autojump_clock: Any
) -> None:
    provider = ScriptedProvider(lambda _call: Step(text="abcdefgh", chunks=8, gap_s=1.0))
    async with open_engine(provider) as engine:
        async with engine.stream("p", timeout_s=2.5) as stream:
            await stream.receive()
            await trio.sleep(5)
            with pytest.raises(DeadlineExceededError) as caught:
                await getattr(stream, method)()
            assert caught.value.partial.startswith("abcde")
        await assert_idle(engine)
        assert provider.cancelled == 1
