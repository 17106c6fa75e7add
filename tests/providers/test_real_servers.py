"""Do the HTTP providers speak to servers that we did not write: llmock's and llama.cpp's?"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import trio

from synth_actors.config import Endpoint
from synth_actors.providers.base import Fault, Provider, ProviderError
from synth_actors.providers.build import build_provider
from tests.providers.dialects import call

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"enum": ["x", "y"]}},
    "required": ["a", "b"],
    "additionalProperties": False,
}
LLMOCK_PATHS = {"anthropic": "/anthropic", "openai": "/v1"}
LLAMA_PATHS = {"anthropic": "", "openai": "/v1"}


@pytest.fixture(params=["anthropic", "openai"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["plain", "streamed"])
def streamed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
async def mocked(kind: str, llmock_url: str) -> AsyncIterator[Provider]:
    async with httpx2.AsyncClient(base_url=llmock_url) as control:
        await control.post("/_llmock/reset")
    provider = build_provider(Endpoint(provider=kind, model="mock", base_url=llmock_url + LLMOCK_PATHS[kind]))
    yield provider
    await provider.aclose()


@pytest.fixture
async def llama(kind: str, llama_server_url: str) -> AsyncIterator[Provider]:
    provider = build_provider(Endpoint(provider=kind, model="noise", base_url=llama_server_url + LLAMA_PATHS[kind]))
    yield provider
    await provider.aclose()


async def script(llmock_url: str, *behaviors: dict[str, Any]) -> None:
    async with httpx2.AsyncClient(base_url=llmock_url) as control:
        answer = await control.post("/_llmock/scenario", json={"behaviors": list(behaviors)})
        assert answer.status_code == 201, answer.text


# llmock.


async def test_llmock_answers_and_is_counted(mocked: Provider, streamed: bool, llmock_url: str) -> None:
    await script(llmock_url, {"type": "reply", "text": "Otters hold hands while they sleep."})
    pieces: list[str] = []
    completion = await mocked.generate(call(), pieces.append if streamed else None)
    assert completion.text == "Otters hold hands while they sleep."
    assert completion.stop_reason == "end"
    assert completion.usage.input_tokens > 0
    assert completion.usage.output_tokens > 0
    assert completion.usage.cost_usd == 0.0
    assert ("".join(pieces) == completion.text) is streamed


async def test_llmock_fills_a_schema_over_openai(llmock_url: str) -> None:
    provider = build_provider(Endpoint(provider="openai", model="mock", base_url=f"{llmock_url}/v1"))
    document = json.loads((await provider.generate(call(SCHEMA), None)).text)
    assert document["b"] in ("x", "y")
    await provider.aclose()


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (400, Fault.REJECTED),
        (401, Fault.FATAL),
        (404, Fault.FATAL),
        (429, Fault.RATE_LIMITED),
        (500, Fault.FAILED),
        (503, Fault.OVERLOADED),
        (529, Fault.OVERLOADED),
    ],
)
async def test_llmocks_errors_find_their_fault(
    mocked: Provider, streamed: bool, llmock_url: str, status: int, fault: Fault
) -> None:
    await script(llmock_url, {"type": "fail", "status": status, "retry_after": 0.25})
    with pytest.raises(ProviderError) as caught:
        await mocked.generate(call(), (lambda _: None) if streamed else None)
    assert (caught.value.fault, caught.value.status, caught.value.retry_after_s) == (fault, status, 0.25)


@pytest.mark.parametrize("fault", ["disconnect", "truncate", "malformed"])
@pytest.mark.parametrize("after", [1, 3])
async def test_llmocks_broken_streams_are_failures(mocked: Provider, llmock_url: str, fault: str, after: int) -> None:
    await script(llmock_url, {"type": "stream_fault", "kind": fault, "after_chunks": after})
    with pytest.raises(ProviderError) as caught:
        await mocked.generate(call(), lambda _: None)
    assert caught.value.fault is Fault.FAILED


async def test_a_stalled_stream_of_llmock_can_be_cancelled(mocked: Provider, llmock_url: str) -> None:
    await script(llmock_url, {"type": "stream_fault", "kind": "stall", "after_chunks": 6, "stall_seconds": 60})
    heard = trio.Event()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mocked.generate, call(), lambda _: heard.set())
            await heard.wait()
            nursery.cancel_scope.cancel()


# llama.cpp.


async def test_llama_cpp_answers_and_its_tokens_are_counted(llama: Provider, streamed: bool) -> None:
    pieces: list[str] = []
    completion = await llama.generate(call(max_tokens=12), pieces.append if streamed else None)
    assert completion.text
    assert completion.stop_reason == "max_tokens"
    assert completion.usage.output_tokens == 12
    assert completion.usage.input_tokens + completion.usage.cache_read_tokens > 5
    assert completion.model == "noise"
    assert ("".join(pieces) == completion.text) is streamed


async def test_llama_cpp_follows_a_schema_over_openai(llama_server_url: str, streamed: bool) -> None:
    provider = build_provider(Endpoint(provider="openai", model="noise", base_url=f"{llama_server_url}/v1"))
    completion = await provider.generate(call(SCHEMA, max_tokens=500, seed=1), (lambda _: None) if streamed else None)
    document = json.loads(completion.text)
    assert document["b"] in ("x", "y")
    assert completion.stop_reason == "end"
    await provider.aclose()


async def test_llama_cpp_ignores_anthropics_schemas_and_that_is_noticed(llama_server_url: str) -> None:
    provider = build_provider(Endpoint(provider="anthropic", model="noise", base_url=llama_server_url))
    await provider.generate(call(SCHEMA, max_tokens=20, temperature=0.0), None)
    assert provider.schema_in_prompt  # type: ignore[attr-defined]
    await provider.aclose()


async def test_a_prompt_that_is_too_long_for_llama_cpp_is_rejected(llama: Provider, streamed: bool) -> None:
    with pytest.raises(ProviderError) as caught:
        await llama.generate(call(prompt="z" * 5000), (lambda _: None) if streamed else None)
    assert caught.value.fault is Fault.REJECTED


async def test_the_same_seed_gives_the_same_text(llama_server_url: str) -> None:
    provider = build_provider(Endpoint(provider="openai", model="noise", base_url=f"{llama_server_url}/v1"))
    texts = {(await provider.generate(call(seed=seed), None)).text for seed in (1, 1, 2)}
    assert len(texts) == 2
    await provider.aclose()


async def test_a_hundred_streams_at_once_half_of_them_cancelled(llama: Provider, llama_server_url: str) -> None:
    done: list[int] = []

    async def one(number: int) -> None:
        with trio.CancelScope() as scope:
            heard = 0

            def emit(piece: str) -> None:
                nonlocal heard
                heard += 1
                if number % 2 and heard == 3:
                    scope.cancel()

            completion = await llama.generate(call(max_tokens=40, prompt=f"Otter {number}"), emit)
            done.append(completion.usage.output_tokens)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(one, number)
        assert len(done) >= 50
        assert all(tokens <= 40 for tokens in done)
        async with httpx2.AsyncClient(base_url=llama_server_url) as control:
            while "llamacpp:requests_processing 0" not in (await control.get("/metrics")).text:
                pass  # another process: only its counters tell, and asking takes its time
