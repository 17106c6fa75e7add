"""Are the servers understood that speak Chat Completions each in its own way?"""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio

from synth_actors.providers.base import Completion, Fault, ProviderError
from synth_actors.providers.http_provider import HttpProvider
from synth_actors.types import Usage
from tests.providers.dialects import OPENAI, TEXT, Dialect, call, event, openai_events, openai_whole
from tests.providers.server import Received, Reply, Server, json_reply

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
VLLM = {"object": "error", "message": "[{'loc': ('body', 'stream_options'), 'msg': 'Extra inputs are not permitted'}]"}
MISTRAL = {"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]}
UNKNOWN = {"error": {"message": "Unrecognized request argument supplied: stream_options"}}


@pytest.fixture
def dialect() -> Dialect:
    return OPENAI


async def streamed_text(provider: HttpProvider) -> Completion:
    pieces: list[str] = []
    completion = await provider.generate(call(), pieces.append)
    assert "".join(pieces) == completion.text
    return completion


def old(refusal: dict[str, Any], status: int) -> Any:
    """A server from before there was `stream_options`."""
    events = [one for one in openai_events() if b"usage" not in one]

    def answer(request: Received) -> Reply:
        return json_reply(refusal, status) if "stream_options" in request.body else OPENAI.stream(*events)

    return answer


@pytest.mark.parametrize(("refusal", "status"), [(VLLM, 400), (MISTRAL, 422), (UNKNOWN, 400)])
async def test_a_server_that_refuses_stream_options_is_asked_without_from_then_on(
    server: Server, provider: HttpProvider, caplog: pytest.LogCaptureFixture, refusal: dict[str, Any], status: int
) -> None:
    server.answer = old(refusal, status)
    with caplog.at_level(logging.WARNING, logger="synth_actors"):
        for _ in range(3):
            completion = await streamed_text(provider)
            assert completion.text == TEXT
            assert completion.usage == Usage(cost_usd=None)  # unknown, not nothing
    assert ["stream_options" in request.body for request in server.received] == [True, False, False, False]
    assert [record.getMessage() for record in caplog.records] == [
        "under-test: the server refuses stream_options: what its streams use and cost is not known"
    ]


async def test_many_calls_that_meet_such_a_server_at_once_all_succeed_and_it_is_said_once(
    server: Server, provider: HttpProvider, caplog: pytest.LogCaptureFixture
) -> None:
    server.answer = old(UNKNOWN, 400)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(streamed_text, provider)
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


async def test_stream_options_that_the_user_wants_are_not_taken_back(server: Server) -> None:
    provider = OPENAI.provider(server.url, extra_body={"stream_options": {"include_usage": False}})
    server.answer = old(UNKNOWN, 400)
    with pytest.raises(ProviderError) as caught:
        await streamed_text(provider)
    assert (caught.value.fault, len(server.received)) == (Fault.REJECTED, 1)
    await provider.aclose()


async def test_another_400_is_not_taken_for_that(server: Server, provider: HttpProvider) -> None:
    server.answer = lambda _: json_reply({"error": {"message": "too many messages"}}, 400)
    with pytest.raises(ProviderError) as caught:
        await streamed_text(provider)
    assert (caught.value.fault, len(server.received)) == (Fault.REJECTED, 1)
    assert server.last.body["stream_options"] == {"include_usage": True}


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    return event({"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more})


USAGE: dict[str, Any] = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
ROUTED = USAGE | {"cost": 0.01, "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 5}}
KNOWN = Usage(input_tokens=11, output_tokens=7)


@pytest.mark.parametrize(
    ("events", "stop", "usage"),
    [
        pytest.param(  # usage in every event, null at first, and a stop that names its string
            [
                chunk({"role": "assistant", "content": ""}, usage=None),
                chunk({"content": "a"}, usage={**USAGE, "completion_tokens": 1}),
                event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": "END"}]}),
                event({"choices": [], "usage": USAGE}),
                event("[DONE]"),
            ],
            "stop",
            KNOWN,
            id="vllm",
        ),
        pytest.param(  # usage beside its own timings, in the last event that has a choice
            [chunk({"content": "a"}), chunk({}, "length", usage=USAGE, timings={"predicted_n": 7}), event("[DONE]")],
            "max_tokens",
            KNOWN,
            id="llama.cpp",
        ),
        pytest.param(  # comments while it waits, a cost of its own, an empty reason to stop until the end
            [
                b": OPENROUTER PROCESSING\n\n" * 3,
                chunk({"content": "", "reasoning": "hm", "reasoning_details": []}, ""),
                chunk({"content": "a"}, "", provider="X"),
                chunk({"content": ""}, "stop", usage=ROUTED),
                event("[DONE]"),
            ],
            "end",
            Usage(input_tokens=2, output_tokens=7, cache_read_tokens=4, cache_write_tokens=5),
            id="openrouter",
        ),
        pytest.param(  # everything in the event that stops, no [DONE]
            [chunk({"role": "assistant", "content": "a"}), chunk({"content": ""}, "stop", usage=USAGE)],
            "end",
            KNOWN,
            id="ollama",
        ),
    ],
)
async def test_every_dialect_of_a_stream_tells_its_text_its_end_and_its_usage(
    server: Server, provider: HttpProvider, events: list[bytes], stop: str, usage: Usage
) -> None:
    server.answer = lambda _: OPENAI.stream(*events)
    completion = await streamed_text(provider)
    assert (completion.text, completion.stop_reason, completion.usage) == ("a", stop, usage)


async def test_a_whole_answer_with_an_empty_reason_to_stop_is_no_success(
    server: Server, provider: HttpProvider
) -> None:
    server.answer = lambda _: json_reply(openai_whole(stop=""))
    with pytest.raises(ProviderError, match="no finish_reason"):
        await provider.generate(call(), None)


async def test_a_schema_goes_as_response_format_and_extras_reach_into_it(server: Server) -> None:
    extra = {"response_format": {"json_schema": {"strict": True}}, "guided_decoding_backend": "xgrammar"}
    provider = OPENAI.provider(server.url, extra_body=extra, extra_headers={"HTTP-Referer": "https://otters.example"})
    server.answer = lambda _: json_reply(openai_whole(text='{"a": 1}'))
    await provider.generate(call(SCHEMA), None)
    schema = {"name": "output", "schema": SCHEMA, "strict": True}
    assert server.last.body["response_format"] == {"type": "json_schema", "json_schema": schema}
    assert server.last.body["guided_decoding_backend"] == "xgrammar"
    assert server.last.headers["http-referer"] == "https://otters.example"
    await provider.aclose()
