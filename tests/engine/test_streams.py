from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from synth_actors import (
    ConfigError,
    DeadlineExceededError,
    Endpoint,
    Engine,
    EngineClosedError,
    EngineConfig,
    GenerationError,
    OutputInvalidError,
    Request,
    open_engine,
)
from synth_actors.providers.base import Fault
from synth_actors.stream import ResponseStream
from synth_actors.testing import ScriptedProvider, Step
from tests.engine.support import ONE_DOLLAR, assert_idle, dollar_endpoint, spent_usd

SLOW = Step(text="abcd", chunks=4, gap_s=1.0, delay_s=1.0)
"""Chunks at 1, 2, 3 and 4 s, the end at 5 s."""


async def texts_of(stream: ResponseStream) -> list[str]:
    return [chunk.text async for chunk in stream]


async def test_chunks_come_as_they_are_made_and_the_response_after_them(autojump_clock: Any) -> None:
    async with open_engine(dollar_endpoint(ScriptedProvider([SLOW]))) as engine:
        async with engine.stream("p") as stream:
            seen = [(chunk.index, chunk.text, trio.current_time()) async for chunk in stream]
            response = await stream.response()
        assert seen == [(0, "a", 1.0), (1, "b", 2.0), (2, "c", 3.0), (3, "d", 4.0)]
        assert (response.text, response.source, response.usage.cost_usd) == ("abcd", "call", 1.0)
        assert (response.timings.ttft_s, response.timings.total_s) == (1.0, 5.0)
        await assert_idle(engine)


async def test_many_subscribers_read_one_paid_call_each_at_their_own_pace(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: SLOW)
    found: dict[int, list[str]] = {}
    bill: list[float] = []

    async def read(engine: Engine, pace_s: int) -> None:
        async with engine.stream("p") as stream:
            found[pace_s] = []
            async for chunk in stream:
                found[pace_s].append(chunk.text)
                await trio.sleep(pace_s)
            bill.append((await stream.response()).usage.cost_usd or 0.0)

    async with open_engine(dollar_endpoint(provider)) as engine:
        async with trio.open_nursery() as nursery:
            for pace_s in range(20):
                nursery.start_soon(read, engine, pace_s)
        assert found == {pace_s: list("abcd") for pace_s in range(20)}
        assert (len(provider.calls), sum(bill)) == (1, 1.0)
        assert trio.current_time() == 1.0 + 4 * 19.0  # the slowest one sleeps after each chunk, all were there
        await assert_idle(engine)


async def test_who_comes_late_reads_from_the_start(autojump_clock: Any) -> None:
    provider = ScriptedProvider([SLOW])
    async with open_engine(provider) as engine:
        async with engine.stream("p") as first:
            assert [(await first.receive()).text for _ in range(3)] == ["a", "b", "c"]
            async with engine.stream("p") as late:
                assert [(await late.receive()).text for _ in range(3)] == ["a", "b", "c"]
                assert trio.current_time() == 3.0
                assert await texts_of(late) == ["d"]
                assert (await late.response()).source == "shared"
        assert len(provider.calls) == 1


async def test_a_cached_answer_replays_as_a_stream() -> None:
    provider = ScriptedProvider([Step(text="whole")])
    async with open_engine(provider) as engine:
        await engine.generate("p")
        async with engine.stream("p") as stream:
            assert await texts_of(stream) == ["whole"]
            assert (await stream.response()).cached
        await assert_idle(engine)


async def test_an_empty_answer_is_a_stream_without_chunks() -> None:
    async with open_engine(ScriptedProvider(lambda call: Step(text=""))) as engine:
        for _ in range(2):  # called, then cached
            async with engine.stream("p") as stream:
                assert await texts_of(stream) == []
                assert (await stream.response()).text == ""


async def test_an_endpoint_that_never_streams_gives_one_chunk(autojump_clock: Any) -> None:
    provider = ScriptedProvider([SLOW])
    endpoint = Endpoint(provider=provider, name="e", stream="never")
    async with open_engine(endpoint) as engine, engine.stream("p") as stream:
        assert await texts_of(stream) == ["abcd"]
        assert (await stream.response()).timings.ttft_s is None


async def test_calls_are_streamed_when_somebody_subscribes_or_when_they_are_long() -> None:
    streamed: list[bool] = []

    class Noting(ScriptedProvider):
        async def generate(self, call: Any, emit: Any) -> Any:
            streamed.append(emit is not None)
            return await super().generate(call, emit)

    async with open_engine(Noting()) as engine:
        await engine.generate("short", max_tokens=1000)
        await engine.generate("long", max_tokens=1001)
        async with engine.stream("read", max_tokens=10) as stream:
            await stream.response()
    async with open_engine(Endpoint(provider=Noting(), name="e", stream="always")) as engine:
        await engine.generate("short", max_tokens=10)
    assert streamed == [False, True, True, True]


async def test_a_subscriber_of_a_call_that_is_not_streamed_gets_it_in_one_chunk(autojump_clock: Any) -> None:
    provider = ScriptedProvider([SLOW])
    async with open_engine(provider) as engine, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: engine.generate("p", max_tokens=10))
        await trio.testing.wait_all_tasks_blocked()
        async with engine.stream("p", max_tokens=10) as stream:
            assert await texts_of(stream) == ["abcd"]
        assert len(provider.calls) == 1


async def test_the_response_can_be_had_without_reading(autojump_clock: Any) -> None:
    async with open_engine(ScriptedProvider([SLOW])) as engine:
        async with engine.stream("p") as stream:
            assert (await stream.response()).text == "abcd"
            assert await texts_of(stream) == list("abcd")
            assert (await stream.response()) is await stream.response()
        await assert_idle(engine)


async def test_a_stream_that_nobody_reads_at_all_is_paid_and_kept(autojump_clock: Any) -> None:
    async with open_engine(dollar_endpoint(ScriptedProvider([SLOW]))) as engine:
        async with engine.stream("p"):
            await trio.sleep(10)
        assert (await engine.generate("p")).cached
        assert engine._wiring._counters().succeeded == 2
        await assert_idle(engine)


async def test_leaving_early_cancels_the_call(autojump_clock: Any) -> None:
    provider = ScriptedProvider([SLOW])
    async with open_engine(provider) as engine:
        async with engine.stream("p") as stream:
            await stream.receive()
        await trio.testing.wait_all_tasks_blocked()
        assert (provider.cancelled, trio.current_time()) == (1, 1.0)
        assert engine._wiring._counters().cancelled == 1
        await assert_idle(engine)


async def test_leaving_early_leaves_the_call_to_the_others(autojump_clock: Any) -> None:
    provider = ScriptedProvider([SLOW])
    async with open_engine(provider) as engine:
        async with engine.stream("p") as other:
            async with engine.stream("p") as stream:
                await stream.receive()
            assert await texts_of(other) == list("abcd")
        assert provider.cancelled == 0


async def test_an_attempt_that_fails_before_anything_was_read_is_followed_by_the_next(autojump_clock: Any) -> None:
    provider = ScriptedProvider([Step(text="xy", fault=Fault.FAILED, chunks=2, chunks_before_fault=2, gap_s=1.0), SLOW])
    async with open_engine(provider) as engine, engine.stream("p") as stream:
        await trio.sleep(2)
        assert await texts_of(stream) == list("abcd")
        assert (await stream.response()).attempts == 2


async def test_after_a_chunk_was_read_a_failure_is_raised_and_no_second_text_follows(autojump_clock: Any) -> None:
    broken = Step(text="xyz", chunks=3, chunks_before_fault=2, gap_s=1.0, fault=Fault.FAILED, fault_usage=ONE_DOLLAR)
    provider = ScriptedProvider([broken, SLOW])
    read: list[str] = []
    async with open_engine(dollar_endpoint(provider)) as engine:
        async with engine.stream("p") as stream:
            with pytest.raises(GenerationError) as caught:
                await read_into(read, stream)
            for call in (stream.receive, stream.response):
                with pytest.raises(GenerationError) as again:
                    await call()
                assert again.value is caught.value
        error = caught.value
        assert (read, error.partial, error.retryable, error.attempts) == (["x", "y"], "xy", True, 1)
        assert error.usage is not None
        assert error.usage.cost_usd == spent_usd(engine) == 1.0
        await assert_idle(engine)


async def read_into(read: list[str], stream: ResponseStream) -> None:
    async for chunk in stream:
        read.append(chunk.text)  # noqa: PERF401  (what came before the exception counts)


@pytest.mark.parametrize("before", [0, 1, 2])
async def test_a_reader_whose_stream_broke_carries_all_attempts_on_its_bill(before: int, autojump_clock: Any) -> None:
    paid = Step(fault=Fault.FAILED, fault_usage=ONE_DOLLAR)
    broken = Step(text="xyz", chunks=3, chunks_before_fault=2, fault=Fault.FAILED, fault_usage=ONE_DOLLAR)
    provider = ScriptedProvider([*[paid] * before, broken])
    for max_attempts in (before + 1, 6):  # the request ends with this attempt, and it does not
        async with open_engine(dollar_endpoint(provider), EngineConfig(max_attempts=max_attempts)) as engine:
            async with engine.stream("p") as stream:
                with pytest.raises(GenerationError) as caught:
                    await read_into([], stream)
            assert caught.value.usage is not None
            assert caught.value.usage.cost_usd == spent_usd(engine) == before + 1
            await assert_idle(engine)
        provider = ScriptedProvider([*[paid] * before, broken])


async def test_the_bill_of_a_flight_whose_leader_saw_it_break_goes_to_one_who_stays(autojump_clock: Any) -> None:
    broken = Step(text="xyz", chunks=3, chunks_before_fault=2, gap_s=1.0, fault=Fault.FAILED, fault_usage=ONE_DOLLAR)
    provider = ScriptedProvider([broken, Step(delay_s=3)])
    bill: list[float] = []

    async def follow(engine: Engine) -> None:
        response = await engine.generate("p")
        bill.append(response.usage.cost_usd or 0.0)

    async with open_engine(dollar_endpoint(provider)) as engine:
        async with engine.stream("p") as stream, trio.open_nursery() as nursery:
            nursery.start_soon(follow, engine)
            with pytest.raises(GenerationError) as caught:
                await read_into([], stream)
            assert caught.value.usage is not None
            bill.append(caught.value.usage.cost_usd or 0.0)
            await trio.sleep(10)  # it stays, though it will get nothing more
        assert sum(bill) == spent_usd(engine) == 2.0
        await assert_idle(engine)


async def test_a_request_that_ends_in_failure_raises_it_from_receive_and_response() -> None:
    provider = ScriptedProvider(lambda call: Step(fault=Fault.REJECTED, message="too long"))
    async with open_engine(provider) as engine:
        async with engine.stream("p") as stream:
            with pytest.raises(GenerationError, match="too long"):
                await stream.receive()
            with pytest.raises(GenerationError, match="too long"):
                await stream.response()
        assert engine._wiring._counters().failed == 1
        await assert_idle(engine)


async def test_an_invalid_output_is_read_and_then_the_response_is_an_error(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: Step(text="no JSON", chunks=2))
    async with open_engine(provider) as engine:
        async with engine.stream(Request(prompt="p", output_schema={"type": "object"})) as stream:
            with pytest.raises(OutputInvalidError):
                await stream.response()
        await assert_idle(engine)


async def test_the_deadline_ends_a_stream_in_the_middle(autojump_clock: Any) -> None:
    provider = ScriptedProvider([SLOW])
    read: list[str] = []
    async with open_engine(provider) as engine:
        async with engine.stream("p", timeout_s=2.5) as stream:
            with pytest.raises(DeadlineExceededError) as caught:
                await read_into(read, stream)
            assert trio.current_time() == 2.5
        assert (read, caught.value.partial) == (["a", "b"], "ab")
        await assert_idle(engine)
        assert provider.cancelled == 1


async def test_two_tasks_do_not_wait_for_one_stream(autojump_clock: Any) -> None:
    async with open_engine(ScriptedProvider([SLOW])) as engine, engine.stream("p") as stream:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.response)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await stream.receive()
        assert trio.current_time() == 5.0


async def test_a_closed_stream_is_closed(autojump_clock: Any) -> None:
    async with open_engine(ScriptedProvider([SLOW])) as engine:
        async with engine.stream("p") as stream:
            await stream.aclose()
            await stream.aclose()
        for call in (stream.receive, stream.response):
            with pytest.raises(trio.ClosedResourceError):
                await call()
        await assert_idle(engine)


async def test_a_stream_of_an_engine_that_closes_is_told(autojump_clock: Any) -> None:
    provider = ScriptedProvider([SLOW])
    read: list[str] = []

    async def read_it(engine: Engine) -> None:
        async with engine.stream("p") as stream:
            with pytest.raises(EngineClosedError):
                await read_into(read, stream)

    async with trio.open_nursery() as nursery, open_engine(provider, EngineConfig(drain_timeout_s=0.0)) as engine:
        nursery.start_soon(read_it, engine)
        await trio.sleep(1.5)
    assert read == ["a"]
    with pytest.raises(EngineClosedError):
        async with engine.stream("p"):
            pass


async def test_what_is_wrong_with_a_request_is_said_on_entering() -> None:
    async with open_engine(ScriptedProvider()) as engine:
        with pytest.raises(ConfigError, match="nowhere"):
            async with engine.stream("p", endpoints=("nowhere",)):
                pass
        await assert_idle(engine)


@pytest.mark.parametrize(
    ("step", "which", "ends_at"),
    [
        (Step(delay_s=50), "first_token_timeout_s=3", 3.0),
        (Step(text="abcd", chunks=4, delay_s=1, gap_s=10), "idle_timeout_s=5", 6.0),
        (Step(text="abcd" * 10, chunks=40, gap_s=1), "attempt_timeout_s=20", 20.0),
    ],
)
async def test_an_attempt_has_its_own_timeouts(step: Step, which: str, ends_at: float, autojump_clock: Any) -> None:
    endpoint = Endpoint(
        provider=ScriptedProvider([step]),
        name="e",
        first_token_timeout_s=3,
        idle_timeout_s=5,
        attempt_timeout_s=20,
    )
    async with open_engine(endpoint, EngineConfig(max_attempts=1)) as engine:
        async with engine.stream("p") as stream:
            with pytest.raises(GenerationError, match=which) as caught:
                await stream.response()
        assert trio.current_time() == ends_at
        assert caught.value.retryable
        await assert_idle(engine)


async def test_a_call_that_is_not_streamed_has_only_the_timeout_of_the_whole(autojump_clock: Any) -> None:
    provider = ScriptedProvider([Step(delay_s=50), Step(delay_s=11)])
    endpoint = Endpoint(provider=provider, name="e", first_token_timeout_s=3, idle_timeout_s=5, attempt_timeout_s=12)
    async with open_engine(endpoint) as engine:
        response = await engine.generate("p", max_tokens=10)
        assert (response.attempts, round(response.timings.service_s, 6)) == (2, 11.0)
        assert len(provider.calls) == 2
