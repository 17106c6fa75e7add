"""Is the part of a prompt that stays the same marked for Anthropic's cache, and only by one of us?"""

from __future__ import annotations

from typing import Any

import pytest

from synth_actors.config import Endpoint
from synth_actors.providers.build import build_provider
from synth_actors.providers.http_provider import HttpProvider
from synth_actors.types import Usage
from tests.providers.dialects import ANTHROPIC, TEXT, Dialect, anthropic_events, anthropic_whole, call, event
from tests.providers.server import Server, json_reply

MARK = {"type": "ephemeral"}
MAP: dict[str, Any] = {"type": "object", "additionalProperties": {"type": "integer"}}  # no subset: asked for in words
CACHED = {"input_tokens": 3, "output_tokens": 7, "cache_creation_input_tokens": 2000, "cache_read_input_tokens": 500}
USED = Usage(input_tokens=3, output_tokens=7, cache_read_tokens=500, cache_write_tokens=2000)


@pytest.fixture
def dialect() -> Dialect:
    return ANTHROPIC


async def sent_system(
    server: Server, provider: HttpProvider, schema: dict[str, Any] | None = None, **fields: Any
) -> Any:
    server.answer = lambda _: json_reply(anthropic_whole(text="{}" if schema else TEXT))
    await provider.generate(call(schema, **fields), None)
    return server.last.body.get("system")


async def test_the_system_text_is_marked(server: Server, provider: HttpProvider) -> None:
    assert await sent_system(server, provider, system="Be terse.") == [
        {"type": "text", "text": "Be terse.", "cache_control": MARK}
    ]


async def test_a_schema_in_words_is_marked_with_it(server: Server, provider: HttpProvider) -> None:
    (block,) = await sent_system(server, provider, MAP, system="Be terse.")
    assert block["text"].startswith("Be terse.\n\nAnswer with one JSON value")
    assert block["cache_control"] == MARK


@pytest.mark.parametrize("system", [None, "", " \n"])
async def test_nothing_is_no_text_to_mark(server: Server, provider: HttpProvider, system: str | None) -> None:
    assert await sent_system(server, provider, system=system) in (None, system)
    assert "cache_control" not in str(server.last.body)


@pytest.mark.parametrize("where", ["endpoint", "request"])
async def test_null_turns_it_off_and_is_not_sent(server: Server, where: str) -> None:
    off = {"cache_control": None}
    provider = ANTHROPIC.provider(server.url, extra_body=off if where == "endpoint" else {})
    system = await sent_system(server, provider, system="Be terse.", extra=off if where == "request" else {})
    assert system == "Be terse."
    assert "cache_control" not in server.last.body
    await provider.aclose()


async def test_a_mark_of_the_users_own_is_the_only_one(server: Server) -> None:
    own = {"type": "ephemeral", "ttl": "1h"}
    provider = ANTHROPIC.provider(server.url, extra_body={"cache_control": own})
    assert await sent_system(server, provider, system="Be terse.") == "Be terse."
    assert server.last.body["cache_control"] == own
    blocks = [{"type": "text", "text": "Mine."}]
    assert await sent_system(server, provider, system="Be terse.", extra={"system": blocks}) == blocks
    await provider.aclose()


async def test_what_was_written_and_read_is_counted_apart(
    server: Server, provider: HttpProvider, streamed: bool
) -> None:
    start = {"type": "message_start", "message": {"model": "claude-x-1", "usage": {**CACHED, "output_tokens": 1}}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}}
    events = [event(start), *anthropic_events()[1:-2], event(end), anthropic_events()[-1]]
    whole = {**anthropic_whole(), "usage": CACHED}
    server.answer = lambda _: ANTHROPIC.stream(*events) if streamed else json_reply(whole)
    assert (await provider.generate(call(), (lambda _: None) if streamed else None)).usage == USED


async def test_a_refusal_with_its_details_is_told_from_a_cut(
    server: Server, provider: HttpProvider, streamed: bool
) -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "no"}
    for reason, stop in (("refusal", "refusal"), ("max_tokens", "max_tokens")):
        delta = {"stop_reason": reason, "stop_details": details if reason == "refusal" else None}
        end = event({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 7}})
        events = [*anthropic_events()[:-2], end, anthropic_events()[-1]]
        whole = {**anthropic_whole(), **delta}
        server.answer = lambda _: ANTHROPIC.stream(*events) if streamed else json_reply(whole)  # noqa: B023
        completion = await provider.generate(call(), (lambda _: None) if streamed else None)
        assert (completion.stop_reason, completion.text) == (stop, TEXT)


@pytest.mark.parametrize("path", ["llmock", "llama"])
async def test_other_servers_take_the_mark(path: str, llmock_url: str, llama_server_url: str) -> None:
    url = f"{llmock_url}/anthropic" if path == "llmock" else llama_server_url
    provider = build_provider(Endpoint(provider="anthropic", model="noise", base_url=url))
    for emit in (None, lambda _: None):
        completion = await provider.generate(call(system="Be terse.", max_tokens=8), emit)
        assert completion.text
    await provider.aclose()
