"""What comes over the wire is broken, late, or something else: a failure that is tried again, never a success.

The sockets are real, the clock runs twenty times as fast as theirs: waits cost nothing, and every timeout is real.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, assert_never

import pytest
import trio
import trio.testing

from synth_actors import EngineConfig, GenerationError, RateLimitedError
from synth_actors.providers.base import Fault
from tests.faults.guarantees import PRICE, guaranteed, requests
from tests.providers.dialects import ANTHROPIC, DIALECTS, OPENAI, TEXT, Dialect, event
from tests.providers.server import Received, Reply, Server, json_reply

RATE = 20.0
SLACK_S = 30.0
CONNECT_S = 400.0
"""20 seconds of real time: on a busy machine a connection to it took more than the half second of the default."""
"""Half a second of real time: these machines stand still now and then."""
COUNT = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset(Reply):
    """The connection is reset after `cut` bytes of the answer, head included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow(Reply):
    """`piece` bytes every `gap_s` seconds, from the first byte of the head on; then `for_ever`, as often."""

    gap_s: float
    for_ever: bytes = b""


class Faulty(Server):
    """A scripted server that can also be slow, and break a connection instead of closing it."""

    async def _reply(self, stream: trio.SocketStream, reply: Reply | None) -> bool:
        match reply:
            case Reset():
                await stream.send_all(_whole(reply)[: reply.cut])
                stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            case Slow():
                await self._drip(stream, reply)
                return False
            case Reply() | None:
                return await super()._reply(stream, reply)
            case _:
                assert_never(reply)

    async def _drip(self, stream: trio.SocketStream, reply: Slow) -> None:
        everything, step = _whole(reply), reply.piece or len(_whole(reply))
        for start in range(0, len(everything), step):
            await stream.send_all(everything[start : start + step])
            await trio.sleep(reply.gap_s)
        while reply.for_ever:
            await stream.send_all(reply.for_ever)
            await trio.sleep(reply.gap_s)


def _whole(reply: Reply) -> bytes:
    lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in reply.headers.items()), "connection: close"]
    return "\r\n".join([*lines, "", ""]).encode() + reply.body


@asynccontextmanager
async def faulty() -> AsyncIterator[Faulty]:
    """Such a server on a free port of this machine, until the block ends."""
    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server = Faulty(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}")
        nursery.start_soon(trio.serve_listeners, server.handle, listeners)
        yield server
        nursery.cancel_scope.cancel()


@pytest.fixture(params=DIALECTS, ids=lambda dialect: dialect.name)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    made: Dialect = request.param
    return made


@pytest.fixture
def fast(mock_clock: trio.testing.MockClock) -> trio.testing.MockClock:
    mock_clock.rate = RATE
    return mock_clock


def good(dialect: Dialect, request: Received) -> Reply:
    return dialect.stream() if request.body.get("stream") else json_reply(dialect.whole())


def prompt_of(request: Received) -> str:
    return str(request.body["messages"][-1]["content"])


def once(dialect: Dialect, faults: Mapping[str, Reply]) -> Callable[[Received], Reply]:
    """The fault of a prompt the first time, a good answer from then on."""
    left = dict(faults)
    return lambda request: left.pop(prompt_of(request), None) or good(dialect, request)


def as_prompts(replies: list[Reply]) -> dict[str, Reply]:
    return {f"p{number}": reply for number, reply in enumerate(replies)}


async def check_all_are_mended(
    dialect: Dialect,
    replies: list[Reply],
    fault: Fault = Fault.FAILED,
    *,
    stream: str,
    count: int = COUNT,
    **fields: Any,
) -> None:
    """Each of `replies` must be seen as a failure of that kind, and every request be answered all the same."""
    async with faulty() as server:
        server.answer = once(dialect, as_prompts(replies))
        patient = {"connect_timeout_s": CONNECT_S, **fields}
        endpoint = dialect.endpoint(server.url, price=PRICE, stream=stream, **patient)
        async with guaranteed(endpoint, EngineConfig(timeout_s=500.0), slack_s=SLACK_S) as run:
            await run.ask_all(requests(count), hangs_after_s=800.0)
        assert run.lost == []
        assert {response.text for response in run.responses} == {TEXT}
        assert run.failures == {fault.value: len(replies)}
        assert len(server.received) == run.attempts == count + len(replies)


STREAMING = pytest.mark.parametrize("stream", ["never", "always"])


def answer_of(dialect: Dialect, stream: str) -> Reply:
    return dialect.stream() if stream == "always" else json_reply(dialect.whole())


# The connection.


@STREAMING
async def test_a_connection_that_is_reset_anywhere_is_a_failure(dialect: Dialect, stream: str, fast: Any) -> None:
    answer = answer_of(dialect, stream)
    length = len(_whole(Reply(body=answer.body, headers=answer.headers)))
    cuts = [0, 1, 16, length // 3, length // 2, length - 20]
    replies: list[Reply] = [Reset(body=answer.body, headers=answer.headers, cut=cut) for cut in cuts]
    await check_all_are_mended(dialect, replies, stream=stream)


@STREAMING
async def test_a_connection_that_ends_anywhere_is_a_failure(dialect: Dialect, stream: str, fast: Any) -> None:
    answer = answer_of(dialect, stream)
    replies = [
        Reply(body=answer.body, headers=answer.headers, framing="length", cut=0),
        Reply(body=answer.body, headers=answer.headers, framing="length", cut=len(answer.body) // 2),
        Reply(body=answer.body, headers=answer.headers, framing="chunked", cut=len(answer.body) // 2),
        Reply(body=answer.body, headers=answer.headers, framing="eof", cut=len(answer.body) // 2),
    ]
    await check_all_are_mended(dialect, replies, stream=stream)


async def test_a_server_that_nobody_runs_is_waited_for_as_long_as_the_patience(dialect: Dialect, fast: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = dialect.endpoint(f"http://127.0.0.1:{taken.getsockname()[1]}", price=PRICE)
        async with guaranteed(endpoint, EngineConfig(outage_patience_s=5.0), slack_s=SLACK_S) as run:
            await run.ask_all(requests(100), hangs_after_s=100.0)
    assert len(run.lost) == 100
    assert {type(error) for error in run.lost} == {RateLimitedError}
    assert run.attempts <= 40
    assert set(run.failures) == {"unreachable"}


class NoSuchName(trio.abc.HostnameResolver):
    """Knows no name, and is asked instead of the network."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    async def getaddrinfo(self, host: Any, *args: Any, **fields: Any) -> Any:
        self.asked.add(host.decode() if isinstance(host, bytes) else str(host))
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def getnameinfo(self, *args: Any) -> Any:
        raise NotImplementedError


async def test_a_name_that_cannot_be_resolved_is_no_connection_and_the_next_endpoint_takes_over(
    dialect: Dialect, fast: Any
) -> None:
    resolver = NoSuchName()
    trio.socket.set_custom_hostname_resolver(resolver)
    lost = dialect.endpoint("http://nowhere.invalid", price=PRICE)
    async with faulty() as server:
        server.answer = lambda request: good(dialect, request)
        found = dialect.endpoint(server.url, price=PRICE, name="found")
        async with guaranteed(lost, EngineConfig(outage_patience_s=5.0), slack_s=SLACK_S) as run:
            await run.ask_all(requests(50), hangs_after_s=100.0)
        assert len(run.lost) == 50
        assert all("no connection" in str(error) or "outage_patience_s" in str(error) for error in run.lost)
        assert any("Name or service not known" in str(error) for error in run.lost)
        async with guaranteed([lost, found], slack_s=SLACK_S) as run:
            await run.ask_all(requests(50), hangs_after_s=100.0)
        assert run.lost == []
        assert run.attempts_at("found") == 50
    assert resolver.asked == {"nowhere.invalid"}


# Time.


async def test_a_stalled_body_with_pings_is_no_life(dialect: Dialect, fast: Any) -> None:
    ping = event({"type": "ping"}, "ping") if dialect is ANTHROPIC else b": keep-alive\n\n"
    begun = b"".join(dialect.events()[:4])
    kind = {"content-type": "text/event-stream"}
    replies: list[Reply] = [
        Slow(body=begun, headers=kind, gap_s=0.05, for_ever=ping),
        Slow(body=b"", headers=kind, gap_s=0.05, for_ever=ping),
    ]
    fields = {"idle_timeout_s": 12.0, "first_token_timeout_s": 14.0}
    await check_all_are_mended(dialect, replies, Fault.TIMED_OUT, stream="always", count=4, **fields)


async def test_the_error_of_a_stall_names_the_timeout_and_keeps_what_was_said(dialect: Dialect, fast: Any) -> None:
    async with faulty() as server:
        body = b"".join(dialect.events()[:6])
        server.answer = lambda request: dialect.stream(body, stall=len(body))
        fields = {"idle_timeout_s": 4.0, "first_token_timeout_s": 40.0}
        endpoint = dialect.endpoint(server.url, price=PRICE, stream="always", **fields)
        async with guaranteed(endpoint, EngineConfig(max_attempts=1), slack_s=SLACK_S) as run:
            await run.ask_all(requests(4), hangs_after_s=100.0)
        assert {type(error) for error in run.lost} == {GenerationError}
        for error in run.lost:
            assert isinstance(error, GenerationError)
            assert "no answer within idle_timeout_s=4" in str(error)
            assert TEXT.startswith(error.partial)
            assert error.partial


@STREAMING
async def test_a_byte_now_and_then_is_ended_by_the_timeout_of_the_attempt(
    dialect: Dialect, stream: str, fast: Any
) -> None:
    answer = answer_of(dialect, stream)
    replies: list[Reply] = [Slow(body=answer.body, headers=answer.headers, piece=1, gap_s=0.2)] * 3
    fields = {"attempt_timeout_s": 12.0, "first_token_timeout_s": 100.0, "idle_timeout_s": 100.0}
    await check_all_are_mended(dialect, replies, Fault.TIMED_OUT, stream=stream, count=6, **fields)


async def test_a_slow_answer_within_its_timeouts_is_an_answer(dialect: Dialect, fast: Any) -> None:
    answer = dialect.stream()
    async with faulty() as server:
        server.answer = lambda request: Slow(body=answer.body, headers=answer.headers, piece=50, gap_s=0.5)
        fields = {"attempt_timeout_s": 100.0, "first_token_timeout_s": 50.0, "idle_timeout_s": 25.0}
        endpoint = dialect.endpoint(server.url, price=PRICE, stream="always", **fields)
        async with guaranteed(endpoint, slack_s=SLACK_S) as run:
            await run.ask_all(requests(8), hangs_after_s=200.0)
        assert (run.lost, run.attempts) == ([], 8)


# Nonsense.

NONSENSE = [
    b"",
    b"null",
    b"[]",
    b"42",
    b'"Otters swim."',
    b"<html>Bad gateway</html>",
    b'{"content": [{"type": "text", "text": "Ott',
    b"\x00\xff\xfe\x80",
    b"{}",
    b'{"error": {"message": "internal"}}',
]
"""For neither wire format an answer."""

WRONG: Mapping[str, list[Any]] = {
    "anthropic": [
        OPENAI.whole(),
        {"content": None, "stop_reason": "end_turn"},
        {"content": "An otter", "stop_reason": "end_turn"},
        {"content": {"type": "text", "text": "An otter"}, "stop_reason": "end_turn"},
        {"content": [{"type": "text", "text": None}], "stop_reason": "end_turn"},
        {"content": [{"type": "text", "text": 7}], "stop_reason": "end_turn"},
        {"content": [{"type": "text"}], "stop_reason": "end_turn"},
        ANTHROPIC.whole(stop=None),
        {**ANTHROPIC.whole(), "stop_reason": 7},
        {**ANTHROPIC.whole(), "stop_reason": ["end_turn"]},
        {**ANTHROPIC.whole(), "stop_reason": "because"},
    ],
    "openai": [
        ANTHROPIC.whole(),
        {"choices": None},
        {"choices": []},
        {"choices": {}},
        {"choices": [None]},
        {"choices": ["An otter"]},
        {"choices": [{"finish_reason": "stop"}]},
        {"choices": [{"message": None, "finish_reason": "stop"}]},
        {"choices": [{"message": "An otter", "finish_reason": "stop"}]},
        {"choices": [{"message": {"content": 7}, "finish_reason": "stop"}]},
        {"choices": [{"message": {"content": {"text": 7}}, "finish_reason": "stop"}]},
        OPENAI.whole(stop=None),
        {"choices": [{"message": {"content": "x"}, "finish_reason": "because"}]},
    ],
}


async def test_a_200_that_is_no_answer_is_a_failure(dialect: Dialect, fast: Any) -> None:
    bodies = [*NONSENSE, *(json.dumps(shape).encode() for shape in WRONG[dialect.name])]
    replies = [Reply(body=body, headers={"content-type": "application/json"}) for body in bodies]
    await check_all_are_mended(dialect, replies[::2], stream="never")
    await check_all_are_mended(dialect, replies[1::2], stream="never")


def broken_streams(dialect: Dialect) -> list[bytes]:
    events = dialect.events()
    half = b"".join(events[:4])
    return [
        b"",
        b": nothing but a comment\n\n",
        half,
        half + b'data: {"type": "content_block_delta", "delta": \n\n',
        half + b"data: \xff\xfe\n\n",
        half + event([1, 2]),
        half + event({"type": "content_block_delta", "delta": 7, "choices": 7}),
        half + event({"type": "content_block_delta", "delta": {"type": "text_delta", "text": 7}, "choices": [7]}),
        half + dialect.error_event("api_error", "internal"),
        b"".join((OPENAI if dialect is ANTHROPIC else ANTHROPIC).events()).replace(b"[DONE]", b"{}"),
    ]


async def test_a_stream_that_is_no_answer_is_a_failure(dialect: Dialect, fast: Any) -> None:
    kind = {"content-type": "text/event-stream"}
    replies = [Reply(body=body, headers=kind, framing="chunked") for body in broken_streams(dialect)]
    await check_all_are_mended(dialect, replies, stream="always")


# The key.


async def test_a_server_that_repeats_the_key_in_its_complaints_is_not_quoted(dialect: Dialect, fast: Any) -> None:
    def complain(request: Received) -> Reply:
        key = request.headers.get("x-api-key") or request.headers["authorization"]
        return json_reply({"error": {"type": "api_error", "message": f"cannot serve {key}"}}, 500)

    async with faulty() as server:
        server.answer = complain
        endpoint = dialect.endpoint(server.url, price=PRICE)
        async with guaranteed(endpoint, EngineConfig(max_attempts=2), slack_s=SLACK_S) as run:
            await run.ask_all(requests(4), hangs_after_s=300.0)
        assert len(run.lost) == 4
        assert any("[key]" in str(error) for error in run.lost)
