"""Does a real LLM server stop working when its streams are left, and does it count what the engine counts?

What can be known.  Of a whole answer the server tells its usage, and it must be exact.  Of a stream that was left,
Anthropic's format has told the tokens of the prompt before the first chunk, OpenAI's tells nothing before its end.
What was written of it nobody is told over either: the server's own metrics count it, the engine does not guess.

This server closes the connection after each streamed answer, though its headers promise to keep it.  A request that is
written in that moment never reaches it and is sent again: a failed attempt for the engine, nothing for the server.
"""

from __future__ import annotations

import time
from collections import Counter

import pytest
import trio

from synth_actors import Engine, EngineConfig, Request, Usage, open_engine
from synth_actors.snapshot import Counters, EndpointSnapshot
from tests.engine.support import assert_idle
from tests.integration.support import Llama, llama_endpoint

STREAMS = 200
HALF = STREAMS // 2
SHORT, LONG = 24, 900
"""The model never ends by itself: an answer has exactly as many tokens as it may have."""
IDLE_WITHIN_S = 0.5
UNSENT_SHARE = 0.05


@pytest.fixture(params=["anthropic", "openai"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def llama(llama_server_url: str) -> Llama:
    return Llama(llama_server_url)


async def read(engine: Engine, number: int, usages: list[Usage]) -> None:
    """Read a whole short answer."""
    async with engine.stream(Request(prompt=f"Otter {number}?", max_tokens=SHORT)) as stream:
        text = "".join([chunk.text async for chunk in stream])
        response = await stream.response()
    assert text == response.text
    assert response.stop_reason == "max_tokens"
    usages.append(response.usage)


async def leave(engine: Engine, number: int) -> None:
    """Read the first chunk of a long answer."""
    async with engine.stream(Request(prompt=f"Otter {number}?", max_tokens=LONG)) as stream:
        assert (await stream.receive()).text


async def server_is_idle(llama: Llama) -> None:
    """See its own figures fall to nothing in time."""
    ended_at = time.monotonic()
    while working := await trio.to_thread.run_sync(llama.processing):
        assert time.monotonic() - ended_at < IDLE_WITHIN_S, working


def tokens_in(usages: list[Usage]) -> int:
    return sum(usage.input_tokens + usage.cache_read_tokens for usage in usages)


async def test_half_of_two_hundred_streams_are_left_and_the_server_works_for_nobody(kind: str, llama: Llama) -> None:
    usages: list[Usage] = []
    config = EngineConfig(max_concurrency=STREAMS)
    async with open_engine([llama_endpoint(kind, llama.url, streamed=True)], config) as engine:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for number in range(HALF):
                    nursery.start_soon(read, engine, 2 * number, usages)
                    nursery.start_soon(leave, engine, 2 * number + 1)
        await server_is_idle(llama)
        await assert_idle(engine)
        snapshot = await engine.metrics()
    counters, endpoint = snapshot.counters, snapshot.router.endpoints[f"{kind}:noise"]
    assert (counters.submitted, counters.succeeded, counters.cancelled) == (STREAMS, HALF, HALF)
    assert_attempts(endpoint, succeeded=HALF, abandoned=HALF)
    assert_counted_as_far_as_it_told(kind, llama, usages, counters)


def assert_attempts(endpoint: EndpointSnapshot, *, succeeded: int, abandoned: int) -> None:
    """Each request had one attempt, but for the few that were written on a connection which was just being closed."""
    failures = Counter(endpoint.failures or {})
    unsent = failures["failed"]
    assert (endpoint.successes, failures["abandoned"]) == (succeeded, abandoned)
    assert endpoint.attempts == succeeded + abandoned + unsent == endpoint.successes + failures.total()
    assert unsent <= UNSENT_SHARE * (succeeded + abandoned), endpoint.last_message
    assert not unsent or "disconnected without sending a response" in endpoint.last_message


def assert_counted_as_far_as_it_told(kind: str, llama: Llama, usages: list[Usage], noted: Counters) -> None:
    """`usages` are those of the whole answers, `noted` is what the engine knows of all."""
    server_in, server_out = llama.tokens()
    assert [usage.output_tokens for usage in usages] == [SHORT] * HALF
    assert noted.output_tokens == HALF * SHORT
    left_out = server_out - HALF * SHORT
    assert HALF <= left_out < HALF * LONG / 2  # each was left after a token or more, and long before its end
    told_in = noted.input_tokens + noted.cache_read_tokens
    if kind == "anthropic":
        assert tokens_in(usages) < told_in == server_in
    else:
        assert tokens_in(usages) == told_in < server_in


async def test_of_whole_streams_every_token_is_counted_as_the_server_counts(kind: str, llama: Llama) -> None:
    usages: list[Usage] = []
    async with open_engine([llama_endpoint(kind, llama.url, streamed=True)]) as engine:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for number in range(HALF):
                    nursery.start_soon(read, engine, number, usages)
        await server_is_idle(llama)
        await assert_idle(engine)
        snapshot = await engine.metrics()
    counters = snapshot.counters
    assert counters.submitted == counters.succeeded == HALF
    assert_attempts(snapshot.router.endpoints[f"{kind}:noise"], succeeded=HALF, abandoned=0)
    assert (tokens_in(usages), sum(usage.output_tokens for usage in usages)) == llama.tokens()
    assert counters.output_tokens == HALF * SHORT
