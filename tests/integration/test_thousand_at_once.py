"""Do a thousand calls at once go through each provider without a broken connection?"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import trio

from synth_actors import EngineConfig, Request, open_engine
from synth_actors.config import Endpoint
from synth_actors.providers.anthropic import AnthropicProvider
from synth_actors.providers.base import Call
from synth_actors.providers.openai_compatible import OpenAICompatibleProvider
from tests.integration.support import PLAIN_PATHS, LimitedServer, endpoint

Serve = Callable[..., LimitedServer]

AT_ONCE = 1000
FILES = 2 * AT_ONCE
PROVIDERS = {"anthropic": AnthropicProvider, "openai": OpenAICompatibleProvider}


@pytest.fixture(params=["anthropic", "openai"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _enough_files() -> Iterator[None]:
    """As `ulimit -n` would: many systems allow 1024 or 256 files."""
    resource = pytest.importorskip("resource")
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def endpoint_at(server: LimitedServer, kind: str, *, streamed: bool) -> Endpoint:
    return endpoint(kind, "otter", server.url + PLAIN_PATHS[kind], streamed=streamed)


@pytest.mark.parametrize(("kind", "streamed"), [("anthropic", True), ("openai", False)], ids=["anthropic", "openai"])
async def test_a_thousand_calls_at_once_through_the_engine_all_succeed_at_the_first_attempt(
    kind: str, streamed: bool, serve: Serve
) -> None:
    server = serve("--latency", "0.1", "--chunks", "3")
    with trio.fail_after(60):
        config = EngineConfig(max_concurrency=AT_ONCE)
        async with open_engine([endpoint_at(server, kind, streamed=streamed)], config) as engine:
            outcomes = await engine.generate_batch([f"Otter {number}?" for number in range(2 * AT_ONCE)])
    assert [outcome.error for outcome in outcomes] == [None] * 2 * AT_ONCE
    assert {outcome.response.attempts for outcome in outcomes if outcome.response is not None} == {1}
    assert server.figures()["accepted"] == 2 * AT_ONCE


async def test_a_thousand_calls_that_are_all_at_the_server_before_one_is_answered(kind: str, serve: Serve) -> None:
    server = serve("--hold", str(AT_ONCE))
    provider = PROVIDERS[kind](endpoint_at(server, kind, streamed=False))
    texts: list[str] = []

    async def call(number: int) -> None:
        request = Request(prompt=f"Otter {number}?")
        texts.append((await provider.generate(Call(request=request, json_schema=None), None)).text)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for number in range(AT_ONCE):
                nursery.start_soon(call, number)
        await provider.aclose()
    assert len(texts) == AT_ONCE
    assert all(texts)
    figures = server.figures()
    assert (figures["accepted"], figures["most_in_flight"]) == (AT_ONCE, AT_ONCE)
