"""Do both HTTP providers keep the contract of `Provider`, whatever a server does?"""

from __future__ import annotations

import logging
import traceback
from dataclasses import replace
from typing import Any

import pytest
import trio
import trio.testing

from synth_actors.config import Endpoint
from synth_actors.providers.base import Completion, Fault, Provider, ProviderError
from synth_actors.providers.http_provider import HttpProvider
from synth_actors.types import Usage
from tests.providers.dialects import CANARY, INPUT_TOKENS, OPENAI, OUTPUT_TOKENS, PIECES, TEXT, Dialect, call
from tests.providers.server import Reply, Server, json_reply, serving

USED = Usage(input_tokens=INPUT_TOKENS, output_tokens=OUTPUT_TOKENS)
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


async def failure(provider: Provider, streamed: bool = False, pieces: list[str] | None = None) -> ProviderError:
    heard: list[str] = [] if pieces is None else pieces
    with pytest.raises(ProviderError) as caught:
        await provider.generate(call(), heard.append if streamed else None)
    everything = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(caught.value.args)
    assert CANARY not in everything
    return caught.value


# A call that goes well.


async def test_a_whole_answer_has_its_text_usage_model_and_reason_to_stop(
    dialect: Dialect, server: Server, provider: HttpProvider
) -> None:
    server.answer = lambda _: json_reply(dialect.whole())
    completion = await provider.generate(call(), None)
    assert completion == Completion(text=TEXT, stop_reason="end", usage=USED, model=dialect.model)
    assert server.last.path == dialect.path
    assert server.last.headers["authorization"] == f"Bearer {CANARY}"
    assert server.last.headers["content-type"] == "application/json"
    assert "stream" not in server.last.body


@pytest.mark.parametrize("piece", [None, 1, 7])
@pytest.mark.parametrize("framing", ["length", "chunked", "eof"])
async def test_a_streamed_answer_is_emitted_piece_by_piece_and_is_the_same_whole(
    dialect: Dialect, server: Server, provider: HttpProvider, framing: Any, piece: int | None
) -> None:
    server.answer = lambda _: dialect.stream(framing=framing, piece=piece)
    pieces: list[str] = []
    completion = await provider.generate(call(), pieces.append)
    assert completion == Completion(text=TEXT, stop_reason="end", usage=USED, model=dialect.model)
    assert tuple(pieces) == PIECES
    assert server.last.body["stream"] is True


async def test_a_whole_answer_where_a_stream_was_asked_for_is_emitted_in_one_piece(
    dialect: Dialect, server: Server, provider: HttpProvider
) -> None:
    server.answer = lambda _: json_reply(dialect.whole())
    pieces: list[str] = []
    completion = await provider.generate(call(), pieces.append)
    assert completion == Completion(text=TEXT, stop_reason="end", usage=USED, model=dialect.model)
    assert pieces == [TEXT]


async def test_the_usage_so_far_is_told_before_a_stream_is_cut_off(
    dialect: Dialect, server: Server, provider: HttpProvider
) -> None:
    noted: list[Usage] = []
    plain = call()
    server.answer = lambda _: dialect.stream()
    await provider.generate(replace(plain, note_usage=noted.append), lambda _: None)
    assert noted[-1] == USED
    assert noted[0].input_tokens == INPUT_TOKENS


async def test_a_server_that_tells_no_usage_leaves_the_cost_unknown(
    dialect: Dialect, server: Server, provider: HttpProvider
) -> None:
    whole = {name: value for name, value in dialect.whole().items() if name != "usage"}
    server.answer = lambda _: json_reply(whole)
    assert (await provider.generate(call(), None)).usage == Usage(cost_usd=None)


async def test_every_reason_to_stop_is_told(dialect: Dialect, server: Server, provider: HttpProvider) -> None:
    for theirs, ours in dialect.names_of_stops.items():
        server.answer = lambda _, stop=theirs: json_reply(dialect.whole(stop=stop))  # type: ignore[misc]
        assert (await provider.generate(call(), None)).stop_reason == ours
        server.answer = lambda _, stop=theirs: dialect.stream(*dialect.events(stop=stop))  # type: ignore[misc]
        assert (await provider.generate(call(), lambda _: None)).stop_reason == ours


@pytest.mark.parametrize("stop", ["tool_use", "pause_turn", "tool_calls", "function_call", "error", "something_new"])
async def test_a_stop_that_is_no_end_is_no_success(
    dialect: Dialect, server: Server, provider: HttpProvider, streamed: bool, stop: str
) -> None:
    events = dialect.events(stop=stop)
    server.answer = lambda _: dialect.stream(*events) if streamed else json_reply(dialect.whole(stop=stop))
    error = await failure(provider, streamed)
    assert error.fault in (Fault.REJECTED, Fault.FAILED)
    assert stop in str(error)
    if not (streamed and dialect is OPENAI):  # which tells the usage after the stop
        assert error.usage.input_tokens == INPUT_TOKENS


async def test_only_what_is_set_is_sent(dialect: Dialect, server: Server, provider: HttpProvider) -> None:
    server.answer = lambda _: json_reply(dialect.whole())
    await provider.generate(call(), None)
    assert server.last.body == {
        "model": "x",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "Otters?"}],
    }


async def test_extras_are_merged_into_the_body_and_those_of_the_request_win(dialect: Dialect, server: Server) -> None:
    server.answer = lambda _: json_reply(dialect.whole())
    extra_body = {"top_p": 0.5, "deep": {"a": 1, "b": {"c": 2}}, "top_k": 4}
    provider = dialect.provider(server.url, extra_body=extra_body, extra_headers={"x-team": "otters"})
    await provider.generate(call(extra={"top_p": 0.9, "deep": {"b": {"d": 3}}}, temperature=0.0), None)
    body = server.last.body
    assert (body["top_p"], body["top_k"], body["temperature"]) == (0.9, 4, 0.0)
    assert body["deep"] == {"a": 1, "b": {"c": 2, "d": 3}}
    assert server.last.headers["x-team"] == "otters"
    await provider.aclose()


async def test_an_extra_that_takes_over_what_the_engine_decides_is_refused_unsent(
    server: Server, provider: HttpProvider
) -> None:
    with pytest.raises(ProviderError, match="'stream' is set by the engine") as caught:
        await provider.generate(call(extra={"stream": True}), None)
    assert caught.value.fault is Fault.REJECTED
    assert not server.received


async def test_an_extra_that_is_no_json_is_refused_unsent(server: Server, provider: HttpProvider) -> None:
    with pytest.raises(ProviderError, match="extra: cannot be written as JSON") as caught:
        await provider.generate(call(extra={"x": {1, 2}}), None)
    assert caught.value.fault is Fault.REJECTED
    assert not server.received


async def test_a_hundred_calls_run_at_once(
    dialect: Dialect, server: Server, provider: HttpProvider, streamed: bool
) -> None:
    server.answer = lambda _: dialect.stream() if streamed else json_reply(dialect.whole())
    texts: list[str] = []

    async def one() -> None:
        completion = await provider.generate(call(), (lambda _: None) if streamed else None)
        texts.append(completion.text)

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(one)
    assert texts == [TEXT] * 100


async def test_connections_are_used_again_also_after_streams(
    dialect: Dialect, server: Server, provider: HttpProvider, streamed: bool
) -> None:
    server.answer = lambda _: dialect.stream() if streamed else json_reply(dialect.whole())
    for _ in range(5):
        await provider.generate(call(), (lambda _: None) if streamed else None)
    assert server.open_connections == 1


# Errors that the server names.

STATUSES = {
    301: Fault.FATAL, 400: Fault.REJECTED, 401: Fault.FATAL, 402: Fault.FATAL, 403: Fault.FATAL, 404: Fault.FATAL,
    408: Fault.FAILED, 409: Fault.FAILED, 413: Fault.REJECTED, 418: Fault.REJECTED, 422: Fault.REJECTED,
    429: Fault.RATE_LIMITED, 500: Fault.FAILED, 502: Fault.FAILED, 503: Fault.OVERLOADED, 504: Fault.FAILED,
    520: Fault.FAILED, 529: Fault.OVERLOADED,
}  # fmt: skip


@pytest.mark.parametrize("status", STATUSES)
async def test_every_status_has_its_fault(
    dialect: Dialect, server: Server, provider: HttpProvider, streamed: bool, status: int
) -> None:
    said = {"error": {"message": f"no, says {CANARY}", "type": "some_error"}}
    server.answer = lambda _: json_reply(said, status, {"retry-after": "7"})
    error = await failure(provider, streamed)
    assert (error.fault, error.status, error.retry_after_s) == (STATUSES[status], status, 7.0)
    assert "no, says [key]" in str(error)
    assert error.usage == Usage()


@pytest.mark.parametrize("body", [b"", b"<html>gateway</html>", b'"text"', b"[]", b'{"error": "plain"}', b"{nonsense"])
async def test_an_error_body_of_any_shape_is_told(
    server: Server, provider: HttpProvider, streamed: bool, body: bytes
) -> None:
    server.answer = lambda _: Reply(body=body, status=502)
    error = await failure(provider, streamed)
    assert (error.fault, error.status) == (Fault.FAILED, 502)


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("overloaded_error", Fault.OVERLOADED),
        ("rate_limit_error", Fault.RATE_LIMITED),
        ("api_error", Fault.FAILED),
        ("never_heard_of", Fault.FAILED),
        ("authentication_error", Fault.FATAL),
    ],
)
async def test_an_error_inside_a_stream_is_told_by_its_type_with_the_usage_so_far(
    dialect: Dialect, server: Server, provider: HttpProvider, kind: str, fault: Fault
) -> None:
    events = dialect.events()[:6]
    server.answer = lambda _: dialect.stream(*events, dialect.error_event(kind, f"sorry {CANARY}"))
    pieces: list[str] = []
    error = await failure(provider, streamed=True, pieces=pieces)
    assert error.fault is fault
    assert "sorry [key]" in str(error)
    assert pieces
    assert "".join(pieces) == TEXT[: len("".join(pieces))]
    if dialect is not OPENAI:  # which tells the usage only at the end
        assert error.usage.input_tokens == INPUT_TOKENS


async def test_an_error_object_inside_a_200_is_an_error(
    dialect: Dialect, server: Server, provider: HttpProvider, streamed: bool
) -> None:
    server.answer = lambda _: json_reply({"error": {"code": 429, "message": "slow down", "type": "rate_limit_error"}})
    assert (await failure(provider, streamed)).fault is Fault.RATE_LIMITED


# Nonsense.


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{}", b"[]", b"null", b'"text"', b"{nonsense", b"\xff\xfe"),
        *(b'{"choices": []}', b'{"choices": [{}]}', b'{"choices": {"a": 1}}', b'{"choices": [{"message": 5}]}'),
        *(b'{"choices": [{"message": {"content": "x"}}]}', b'{"choices": [{"message": {"content": 5}}]}'),
        *(b'{"content": null}', b'{"content": [], "usage": 7}', b'{"content": [], "stop_reason": null}'),
        b'{"content": [{"type": "text", "text": 5}], "stop_reason": "end_turn"}',
    ],
)
async def test_a_200_of_the_wrong_shape_is_a_failure(
    server: Server, provider: HttpProvider, streamed: bool, body: bytes
) -> None:
    server.answer = lambda _: Reply(body=body, headers={"content-type": "application/json"})
    assert (await failure(provider, streamed)).fault is Fault.FAILED


@pytest.mark.parametrize("data", ["{nonsense", "[]", "5", "\x00", '{"type": "content_block_delta", "choices": 5}'])
async def test_nonsense_in_a_stream_is_a_failure(
    dialect: Dialect, server: Server, provider: HttpProvider, data: str
) -> None:
    events = dialect.events()
    server.answer = lambda _: dialect.stream(*events[:5], f"data: {data}\n\n".encode())
    assert (await failure(provider, streamed=True)).fault is Fault.FAILED


async def test_a_page_instead_of_a_stream_is_a_failure(server: Server, provider: HttpProvider) -> None:
    server.answer = lambda _: Reply(body=b"<html>Sign in</html>", headers={"content-type": "text/html"})
    error = await failure(provider, streamed=True)
    assert error.fault is Fault.FAILED
    assert "Sign in" in str(error)


# Connections that break.


@pytest.mark.parametrize("framing", ["length", "chunked", "eof"])
async def test_a_stream_cut_at_any_byte_never_passes_for_a_success(
    dialect: Dialect, server: Server, provider: HttpProvider, framing: Any
) -> None:
    body = b"".join(dialect.events())
    last_needed = body.index(b"message_stop") if dialect is not OPENAI else body.index(b'"finish_reason": "stop"')
    for cut in range(0, len(body), 1 if framing == "chunked" else 13):
        server.answer = lambda _, cut=cut: dialect.stream(cut=cut, framing=framing)  # type: ignore[misc]
        pieces: list[str] = []
        try:
            completion = await provider.generate(call(), pieces.append)
        except ProviderError as error:
            known = (error.fault, TEXT.startswith("".join(pieces)), error.usage.output_tokens in (0, 1, OUTPUT_TOKENS))
        else:
            known = (Fault.FAILED, cut > last_needed, completion.text == TEXT)
        assert known == (Fault.FAILED, True, True), cut


async def test_a_whole_answer_cut_at_any_byte_is_a_failure(
    dialect: Dialect, server: Server, provider: HttpProvider
) -> None:
    whole = json_reply(dialect.whole())
    for cut in range(0, len(whole.body), 7):
        server.answer = lambda _, cut=cut: Reply(body=whole.body, headers=whole.headers, cut=cut)  # type: ignore[misc]
        assert (await failure(provider)).fault is Fault.FAILED


async def test_a_server_that_nobody_runs_is_unreachable(dialect: Dialect, streamed: bool) -> None:
    async with serving() as gone:
        url = gone.url
    provider = dialect.provider(url)
    error = await failure(provider, streamed)
    assert error.fault is Fault.UNREACHABLE
    assert "refused" in str(error)
    await provider.aclose()


async def test_a_name_that_nobody_has_is_unreachable(dialect: Dialect) -> None:
    provider = dialect.provider("http://otter.invalid")
    assert (await failure(provider)).fault is Fault.UNREACHABLE
    await provider.aclose()


async def test_a_server_without_tls_is_unreachable_by_https(dialect: Dialect) -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, hang_up, listeners)
        provider = dialect.provider(f"https://127.0.0.1:{listeners[0].socket.getsockname()[1]}")
        assert (await failure(provider)).fault is Fault.UNREACHABLE
        await provider.aclose()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("stall", [None, 0, 150])
async def test_cancelling_closes_the_connection(
    dialect: Dialect, server: Server, provider: HttpProvider, streamed: bool, stall: int | None
) -> None:
    server.answer = lambda _: None if stall is None else dialect.stream(stall=stall)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(provider.generate, call(), (lambda _: None) if streamed else None)
        with trio.fail_after(10):
            await server.busy.wait()
        nursery.cancel_scope.cancel()
    with trio.fail_after(10):
        await server.closed.wait()
    await trio.testing.wait_all_tasks_blocked()
    assert server.open_connections == 0
    server.answer = lambda _: json_reply(dialect.whole())
    assert (await provider.generate(call(), None)).text == TEXT


# Schemas.


async def test_a_schema_is_sent_as_the_apis_own_structured_output(
    dialect: Dialect, server: Server, provider: HttpProvider
) -> None:
    server.answer = lambda _: json_reply(dialect.whole(text='{"a": 1}'))
    assert (await provider.generate(call(SCHEMA), None)).text == '{"a": 1}'
    sent = server.last.body[dialect.schema_key]
    assert "json_schema" in str(sent)
    assert "integer" in str(sent)
    assert "integer" not in str(server.last.body["messages"])
    assert not provider.schema_in_prompt


@pytest.mark.parametrize("said", ["output_config: Extra inputs are not permitted", "json_schema is not supported"])
async def test_an_endpoint_that_refuses_schemas_gets_them_in_the_prompt_from_then_on(
    dialect: Dialect, server: Server, provider: HttpProvider, streamed: bool, said: str
) -> None:
    server.answer = lambda _: json_reply({"error": {"message": said, "type": "invalid_request_error"}}, 400)
    with pytest.raises(ProviderError) as caught:
        await provider.generate(call(SCHEMA), (lambda _: None) if streamed else None)
    assert caught.value.fault is Fault.SCHEMA_REFUSED
    assert provider.schema_in_prompt
    pieces = ("Sure:\n```js", 'on\n{"a"', ': "}\\"{"', "}\n``", "`\nAnything else?")
    events = dialect.events(pieces=pieces)
    server.answer = lambda _: dialect.stream(*events) if streamed else json_reply(dialect.whole(text="".join(pieces)))
    heard: list[str] = []
    completion = await provider.generate(call(SCHEMA, system="Be terse."), heard.append if streamed else None)
    assert completion.text == '{"a": "}\\"{"}'
    assert "".join(heard) == (completion.text if streamed else "")
    assert dialect.schema_key not in server.last.body
    assert '"integer"' in str(server.last.body).replace("\\", "")
    assert "Be terse." in str(server.last.body)


async def test_a_400_to_a_call_without_a_schema_is_never_taken_for_a_refused_schema(
    server: Server, provider: HttpProvider
) -> None:
    server.answer = lambda _: json_reply({"error": {"message": "schema of messages is wrong"}}, 400)
    assert (await failure(provider)).fault is Fault.REJECTED
    assert not provider.schema_in_prompt


async def test_a_server_that_ignores_the_schema_is_asked_in_the_prompt_the_next_time(
    dialect: Dialect, server: Server, provider: HttpProvider
) -> None:
    server.answer = lambda _: json_reply(dialect.whole(text="Otters are nice."))
    assert (await provider.generate(call(SCHEMA), None)).text == "Otters are nice."
    assert provider.schema_in_prompt
    assert (await provider.generate(call(SCHEMA), None)).text == "Otters are nice."
    assert dialect.schema_key not in server.last.body


async def test_a_schema_without_a_useful_subset_goes_into_the_prompt_of_that_call_only(
    dialect: Dialect, server: Server, provider: HttpProvider
) -> None:
    server.answer = lambda _: json_reply(dialect.whole(text='{"a": 1}'))
    await provider.generate(call({"type": "object", "additionalProperties": {"type": "integer"}}), None)
    in_prompt = dialect.schema_key not in server.last.body
    assert in_prompt == (dialect is not OPENAI)  # a compatible server gets the whole schema
    await provider.generate(call(SCHEMA), None)
    assert dialect.schema_key in server.last.body


# Secrets.


async def test_no_log_shows_the_key(
    dialect: Dialect, server: Server, provider: HttpProvider, streamed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    server.answer = lambda _: dialect.stream() if streamed else json_reply(dialect.whole())
    with caplog.at_level(logging.DEBUG):
        await provider.generate(call(), (lambda _: None) if streamed else None)
    assert caplog.records
    assert CANARY not in caplog.text


async def test_no_repr_shows_the_key(dialect: Dialect, server: Server, provider: HttpProvider) -> None:
    endpoint: Endpoint = dialect.endpoint(server.url)
    everything = [repr(provider), repr(endpoint), str(endpoint), provider.identity, repr(vars(provider))]
    assert not [text for text in everything if CANARY in text]
    assert provider.identity == f"{dialect.name}|x|{server.url}{dialect.base_path}"
    assert isinstance(provider, Provider)


SHAPELESS: dict[str, list[dict[str, Any]]] = {
    "anthropic": [
        {"content": ["An otter"], "stop_reason": "end_turn"},
        {"content": [{"text": "An otter"}], "stop_reason": "end_turn"},
        {"content": [[]], "stop_reason": "end_turn"},
    ],
    "openai": [
        {"choices": [{"message": {}, "finish_reason": "stop"}]},
        {"choices": [{"message": {"content": {}}, "finish_reason": "stop"}]},
        {"choices": [{"message": {"content": "An otter"}, "finish_reason": ["stop"]}]},
        {"choices": [{"message": {"content": "An otter"}, "finish_reason": {"a": 1}}]},
    ],
}


async def test_an_answer_of_the_wrong_shape_never_passes_for_an_empty_text(
    dialect: Dialect, server: Server, provider: HttpProvider
) -> None:
    for answer in SHAPELESS[dialect.name]:
        server.answer = lambda _, answer=answer: json_reply(answer)  # type: ignore[misc]
        assert (await failure(provider)).fault is Fault.FAILED, answer


@pytest.mark.parametrize("index", [0, None, "0"])
async def test_one_choice_is_one_whatever_its_index_is_written_like(server: Server, index: object) -> None:
    provider = OPENAI.provider(server.url)
    choice = {"index": index, "message": {"content": "An otter"}, "finish_reason": "stop"}
    server.answer = lambda _: json_reply({"choices": [choice]})
    assert (await provider.generate(call(), None)).text == "An otter"
    await provider.aclose()
