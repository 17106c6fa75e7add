"""Do a hundred calls at once go through each provider, and do cancelled calls end at the server?"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import trio

from synth_actors import Engine, EngineConfig, Request, open_engine
from synth_actors.config import Endpoint
from tests.integration.support import Llama, LLMock, llama_endpoint, llmock_endpoint

AT_ONCE = 100
GONE_WITHIN_S = 1.5
"""One second is the aim; the rest is for a machine that others use too."""


@pytest.fixture(params=["anthropic", "openai"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["plain", "streamed"])
def streamed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=["llmock", "llama"])
def either(request: pytest.FixtureRequest, kind: str, streamed: bool, llmock: LLMock) -> Endpoint:
    if request.param == "llmock":
        llmock.script({"type": "delay", "seconds": 0.3, "times": None})  # so that all of them are there at once
        return llmock_endpoint(kind, llmock.url, streamed=streamed)
    return llama_endpoint(kind, request.getfixturevalue("llama_server_url"), streamed=streamed)


async def test_a_hundred_calls_at_once_all_succeed(either: Endpoint) -> None:
    async with open_engine([either], EngineConfig(max_concurrency=AT_ONCE)) as engine:
        with trio.fail_after(60):
            outcomes = await engine.generate_batch([f"Otter {n}?" for n in range(AT_ONCE)], max_tokens=8)
        snapshot = await engine.metrics()
    assert [outcome.error for outcome in outcomes] == [None] * AT_ONCE
    responses = [outcome.response for outcome in outcomes if outcome.response is not None]
    assert all(response.text and response.attempts == 1 for response in responses)
    assert snapshot.counters.succeeded == AT_ONCE
    assert snapshot.counters.output_tokens == sum(response.usage.output_tokens for response in responses) > 0
    assert snapshot.router.in_flight == 0


@pytest.fixture
async def llama_engine(kind: str, llama_server_url: str) -> AsyncIterator[Engine]:
    config = EngineConfig(max_concurrency=8)
    async with open_engine([llama_endpoint(kind, llama_server_url, streamed=True)], config) as engine:
        yield engine


async def test_half_of_eight_streams_are_cancelled_and_the_server_stops_working_at_them(
    llama_engine: Engine, llama_server_url: str
) -> None:
    llama = Llama(llama_server_url)
    scopes = [trio.CancelScope() for _ in range(8)]
    heard = [trio.Event() for _ in range(8)]

    async def read(number: int) -> None:
        # 900 tokens: a second of work for the server or more, so that none ends by itself before it is cancelled
        request = Request(prompt=f"Otter {number}?", max_tokens=900)
        with scopes[number]:
            async with llama_engine.stream(request) as stream:
                async for _ in stream:
                    heard[number].set()

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(read, number)
        with trio.fail_after(30):
            for event in heard:
                await event.wait()
        assert await trio.to_thread.run_sync(llama.processing) == 8
        await cancelled(llama, scopes[:4], left=4)
        assert (await llama_engine.metrics()).router.in_flight <= 4
        await cancelled(llama, scopes[4:], left=0)
    assert (await llama_engine.metrics()).router.in_flight == 0
    assert (await llama_engine.metrics()).counters.cancelled == 8


async def cancelled(llama: Llama, scopes: list[trio.CancelScope], *, left: int) -> None:
    """Cancel, and see the server's own figures fall to `left` in time."""
    for scope in scopes:
        scope.cancel()
    cancelled_at = time.monotonic()
    while (working := await trio.to_thread.run_sync(llama.processing)) != left:
        assert time.monotonic() - cancelled_at < GONE_WITHIN_S, working
