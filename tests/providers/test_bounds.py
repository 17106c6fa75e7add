"""How much of an answer is read, how fast, and what do its headers tell?"""

from __future__ import annotations

import gzip
import json
import time
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
import trio.testing

from synth_actors.providers.base import Allowance, Call, Fault, ProviderError, RateLimits, RemoteProvider
from synth_actors.providers.http_body import ERROR_BYTES, ERROR_WITHIN_S
from synth_actors.providers.http_provider import HttpProvider
from synth_actors.types import Usage
from tests.providers.dialects import INPUT_TOKENS, OPENAI, PIECES, TEXT, Dialect, call, event
from tests.providers.server import Reply, Server, json_reply

MOST = 20_000
LIMITS = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-requests": "59",
    "x-ratelimit-reset-requests": "1s",
}
READ = RateLimits(requests=Allowance(limit=60.0, remaining=59.0, reset_s=1.0))


def bounded(most: int = MOST) -> Call:
    return replace(call(), max_response_bytes=most)


async def too_large(provider: HttpProvider, asked: Call, streamed: bool = False) -> ProviderError:
    with pytest.raises(ProviderError, match=f"max_response_bytes={asked.max_response_bytes}$") as caught:
        await provider.generate(asked, (lambda _: None) if streamed else None)
    assert caught.value.fault is Fault.TOO_LARGE
    return caught.value


@asynccontextmanager
async def pouring(head: bytes, begin: bytes, again: bytes) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that never ends an answer, and how many bytes of each it could send before somebody left."""
    sent: list[int] = []

    async def pour(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        number = len(sent)
        sent.append(0)
        try:
            await stream.send_all(b"HTTP/1.1 " + head + b"\r\nconnection: close\r\n\r\n" + begin)
            while True:
                await stream.send_all(again)
                sent[number] += len(again)
        except trio.BrokenResourceError:
            await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, pour, listeners)
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}", sent
        nursery.cancel_scope.cancel()


# What is too long.


async def test_an_answer_as_long_as_its_bound_is_read(
    dialect: Dialect, server: Server, provider: HttpProvider, streamed: bool
) -> None:
    reply = dialect.stream() if streamed else json_reply(dialect.whole())
    server.answer = lambda _: reply
    completion = await provider.generate(bounded(len(reply.body)), (lambda _: None) if streamed else None)
    assert completion.text == TEXT
    await too_large(provider, bounded(len(reply.body) - 1), streamed)


async def test_an_answer_beyond_its_bound_is_given_up_with_what_it_has_used(
    dialect: Dialect, server: Server, provider: HttpProvider
) -> None:
    noted: list[Usage] = []
    asked = replace(bounded(), note_usage=noted.append)
    server.answer = lambda _: dialect.stream(*dialect.events(("x" * 100,) * 1000))
    error = await too_large(provider, asked, streamed=True)
    if dialect is not OPENAI:  # which tells the usage only at the end
        assert error.usage.input_tokens == INPUT_TOKENS
        assert noted[-1] == error.usage
    server.answer = lambda _: json_reply(dialect.whole())
    assert (await provider.generate(asked, None)).text == TEXT


@pytest.mark.parametrize("kind", ["text/event-stream", "application/json", "text/html"])
async def test_an_answer_without_end_closes_the_connection_whatever_it_is(
    dialect: Dialect, streamed: bool, kind: str
) -> None:
    begin = b'data: {"a": "' if kind == "text/event-stream" else b'{"a": "'
    async with pouring(b"200 OK\r\ncontent-type: " + kind.encode(), begin, b"x" * 10_000) as (url, sent):
        provider = dialect.provider(url)
        with trio.fail_after(10):
            await too_large(provider, bounded(), streamed)
        await provider.aclose()
    assert len(sent) == 1


async def test_an_error_without_end_is_told_by_its_status_and_its_beginning(dialect: Dialect, streamed: bool) -> None:
    head = b"429 Slow\r\nretry-after: 3\r\nx-ratelimit-remaining-requests: 0"
    limits: list[RateLimits] = []
    async with pouring(head, b"slow down ", b"x" * 10_000) as (url, _):
        provider = dialect.provider(url)
        with trio.fail_after(10), pytest.raises(ProviderError, match="slow down xxx") as caught:
            await provider.generate(
                replace(bounded(), note_limits=limits.append), (lambda _: None) if streamed else None
            )
        await provider.aclose()
    assert (caught.value.fault, caught.value.status, caught.value.retry_after_s) == (Fault.RATE_LIMITED, 429, 3.0)
    assert limits == [RateLimits(requests=Allowance(remaining=0.0))]


async def test_an_error_whose_body_breaks_off_keeps_its_status(
    server: Server, provider: HttpProvider, streamed: bool
) -> None:
    whole = json_reply({"error": {"message": "slow down"}}, 429, {"retry-after": "3"})
    server.answer = lambda _: replace(whole, cut=5)
    with pytest.raises(ProviderError) as caught:
        await provider.generate(call(), (lambda _: None) if streamed else None)
    assert (caught.value.fault, caught.value.retry_after_s) == (Fault.RATE_LIMITED, 3.0)


async def test_an_error_whose_body_stalls_keeps_its_status(
    mock_clock: trio.testing.MockClock, server: Server, provider: HttpProvider, streamed: bool
) -> None:
    mock_clock.rate = 100.0  # sockets take real time
    server.answer = lambda _: replace(json_reply({"error": {"message": "slow down"}}, 429), stall=5)
    with pytest.raises(ProviderError) as caught:
        await provider.generate(call(), (lambda _: None) if streamed else None)
    assert caught.value.fault is Fault.RATE_LIMITED
    assert trio.current_time() >= ERROR_WITHIN_S


async def test_a_compressed_answer_is_counted_as_what_it_unfolds_to(
    dialect: Dialect, server: Server, provider: HttpProvider, streamed: bool
) -> None:
    text = "x" * 10 * MOST
    body = b"".join(dialect.events((text,))) if streamed else json.dumps(dialect.whole(text=text)).encode()
    kind = "text/event-stream" if streamed else "application/json"
    packed = Reply(body=gzip.compress(body), headers={"content-type": kind, "content-encoding": "gzip"})
    assert len(packed.body) < MOST
    server.answer = lambda _: packed
    await too_large(provider, bounded(), streamed)
    completion = await provider.generate(call(), (lambda _: None) if streamed else None)
    assert completion.text == text


async def test_one_event_may_be_as_long_as_the_whole_answer_may_be(dialect: Dialect, server: Server) -> None:
    provider = dialect.provider(server.url)
    text = "x" * 17 * 2**20  # beyond the usual bound of one event
    server.answer = lambda _: dialect.stream(*dialect.events((text,)))
    assert (await provider.generate(bounded(20 * 2**20), lambda _: None)).text == text
    await provider.aclose()


# What is slow, garbled or comes in dust.


@pytest.mark.parametrize("end", ["\r\n", "\r"])
async def test_lines_may_end_as_they_like_and_be_cut_anywhere(
    dialect: Dialect, server: Server, provider: HttpProvider, end: str
) -> None:
    body = b": hello\n\n" + b"".join(dialect.events())
    server.answer = lambda _: dialect.stream(body.replace(b"\n", end.encode()), piece=1)
    pieces: list[str] = []
    assert (await provider.generate(call(), pieces.append)).text == TEXT == "".join(pieces)


async def test_bytes_that_are_no_utf8_are_a_failure_and_no_text(
    dialect: Dialect, server: Server, provider: HttpProvider, streamed: bool
) -> None:
    whole = json_reply(dialect.whole())
    reply = dialect.stream() if streamed else whole
    otter = "🦦".encode() if streamed else b"\\ud83e\\udda6"
    assert otter in reply.body
    server.answer = lambda _: replace(reply, body=reply.body.replace(otter, b"\xf0\x9f"))
    with pytest.raises(ProviderError, match="no JSON") as caught:
        await provider.generate(call(), (lambda _: None) if streamed else None)
    assert caught.value.fault is Fault.FAILED


async def test_what_is_no_text_is_never_emitted(dialect: Dialect, server: Server, provider: HttpProvider) -> None:
    if dialect is OPENAI:
        empty = {"choices": [{"index": 0, "delta": {"content": "", "reasoning_content": "hm", "reasoning": "hm"}}]}
        idle = [b": OPENROUTER PROCESSING\n\n", event(empty), event({"choices": [], "usage": None})]
    else:
        thought = {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}}
        nothing = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ""}}
        idle = [b": hello\n\n", event({"type": "ping"}, "ping"), event(thought), event(nothing)]
    server.answer = lambda _: dialect.stream(*idle * 3, *dialect.events())
    pieces: list[str] = []
    await provider.generate(call(), pieces.append)
    assert tuple(pieces) == PIECES


async def test_a_long_stream_takes_time_and_memory_by_its_length_only(dialect: Dialect, server: Server) -> None:
    took: list[float] = []
    provider = dialect.provider(server.url)
    for count in (2_000, 20_000):
        reply = dialect.stream(*dialect.events(("word ",) * count))
        server.answer = lambda _, reply=reply: reply  # type: ignore[misc]
        begun = time.process_time()
        assert len((await provider.generate(call(), lambda _: None)).text) == 5 * count
        took.append(time.process_time() - begun)
    assert took[1] < 40 * took[0]  # ten times as long; a square would be a hundred
    await provider.aclose()


async def test_giving_up_holds_little_more_than_the_bound(dialect: Dialect, streamed: bool) -> None:
    kind = b"text/event-stream" if streamed else b"application/json"
    async with pouring(b"200 OK\r\ncontent-type: " + kind, b'data: {"', b"x" * 100_000) as (url, _):
        provider = dialect.provider(url)
        tracemalloc.start()
        try:
            await too_large(provider, bounded(4 * 2**20), streamed)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        await provider.aclose()
    assert peak < 3 * 4 * 2**20


# What the headers tell.


async def test_the_rate_limits_are_told_before_the_body_comes(
    dialect: Dialect, server: Server, provider: HttpProvider, streamed: bool
) -> None:
    reply = dialect.stream() if streamed else json_reply(dialect.whole())
    server.answer = lambda _: replace(reply, headers={**reply.headers, **LIMITS}, stall=3)
    told = trio.Event()
    limits: list[RateLimits] = []

    def note(these: RateLimits) -> None:
        limits.append(these)
        told.set()

    asked = replace(call(), note_limits=note)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(provider.generate, asked, (lambda _: None) if streamed else None)
            await told.wait()
            nursery.cancel_scope.cancel()
    assert limits == [READ]


async def test_the_rate_limits_are_told_with_an_error_and_nothing_is_told_without_them(
    dialect: Dialect, server: Server, provider: HttpProvider, streamed: bool
) -> None:
    limits: list[RateLimits] = []
    asked = replace(call(), note_limits=limits.append)
    server.answer = lambda _: json_reply({"error": {"message": "no"}}, 429, LIMITS)
    with pytest.raises(ProviderError):
        await provider.generate(asked, (lambda _: None) if streamed else None)
    assert limits == [READ]
    server.answer = lambda _: json_reply(dialect.whole())
    await provider.generate(asked, (lambda _: None) if streamed else None)
    assert limits == [READ]


async def test_each_provider_says_how_its_server_counts_output(dialect: Dialect, provider: HttpProvider) -> None:
    assert isinstance(provider, RemoteProvider)
    assert provider.output_metering == ("reserve" if dialect is OPENAI else "meter")


# Connecting.


async def test_a_server_that_never_says_hello_is_unreachable_after_the_connect_timeout(
    dialect: Dialect, server: Server
) -> None:
    provider = dialect.provider(server.url.replace("http:", "https:"), connect_timeout_s=0.05)
    with pytest.raises(ProviderError, match=r"no connection within connect_timeout_s=0\.05$") as caught:
        await provider.generate(call(), None)
    assert caught.value.fault is Fault.UNREACHABLE
    await provider.aclose()


async def test_cancelling_while_it_connects_closes_the_connection(dialect: Dialect) -> None:
    greeted, left = trio.Event(), trio.Event()

    async def say_nothing(stream: trio.SocketStream) -> None:
        async with stream:
            while await stream.receive_some():
                greeted.set()
        left.set()

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, say_nothing, listeners)
        provider = dialect.provider(f"https://127.0.0.1:{listeners[0].socket.getsockname()[1]}")
        with trio.fail_after(10):
            async with trio.open_nursery() as calls:
                calls.start_soon(provider.generate, call(), None)
                await greeted.wait()
                calls.cancel_scope.cancel()
            await left.wait()
        await provider.aclose()
        nursery.cancel_scope.cancel()


async def test_an_error_body_longer_than_is_read_leaves_no_connection_in_use(
    dialect: Dialect, server: Server, provider: HttpProvider
) -> None:
    server.answer = lambda _: Reply(body=b"x" * (ERROR_BYTES + 1), status=500)
    with pytest.raises(ProviderError):
        await provider.generate(call(), None)
    server.answer = lambda _: json_reply(dialect.whole())
    assert (await provider.generate(call(), None)).text == TEXT
