"""What does a server that grades its clients say of the engine?

llmock sees every attempt with its times.  Its verdict passes strictly when it has nothing to say against the client,
not even a warning: it waited as long as `Retry-After` asks, backed off, retried what can be retried and nothing else,
took no cut or garbled stream for an answer and sat through no stall.

Most of the time is waiting.  So the cases of a test run at once over both wire formats, each with an engine and a model
name of its own; a failure carries a note that says which one it was.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
import trio
from pydantic import SecretStr

from synth_actors import Engine, EngineConfig, Response, Usage, open_engine
from synth_actors.config import Endpoint
from synth_actors.errors import GenerationError
from synth_actors.snapshot import EndpointSnapshot, Snapshot
from synth_actors.stream import ResponseStream
from tests.engine.support import assert_idle
from tests.integration.support import LLMOCK_PATHS, LLMock
from tests.servers import _wait_for_port, running

KINDS = ("anthropic", "openai")
CALLS = {"anthropic": "/anthropic/v1/messages", "openai": "/v1/chat/completions"}
TEXT = "one two three four"
HEARD = "one two "
EVENTS_HEARD = {"anthropic": 5, "openai": 3}
"""After so many events `HEARD` was said: three come before the first word at Anthropic, one at OpenAI."""
KEY = "key-of-the-tests"
REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE = 240, 240_000
ENDS_WITHIN_S = 40.0

Behavior = dict[str, Any]


def fail(status: int, times: int = 1, retry_after: float | None = None) -> Behavior:
    return {"type": "fail", "status": status, "times": times, "retry_after": retry_after}


def cut(how: str, after_chunks: int | None = None) -> Behavior:
    """Break a stream after so many events; None: when `HEARD` was said."""
    return {"type": "stream_fault", "kind": how, "after_chunks": after_chunks}


@dataclass(frozen=True, kw_only=True)
class Case:
    """What the server does to a call, and the failed attempts that make of it, by fault; None for any."""

    behaviors: list[Behavior]
    failures: dict[str, int] | None
    fields: dict[str, Any] = field(default_factory=dict)  # of the endpoint


def stall(after_chunks: int | None = None) -> Case:
    fields = {"first_token_timeout_s": 0.5, "idle_timeout_s": 0.5}
    return Case(behaviors=[cut("stall", after_chunks)], failures={"timed_out": 1}, fields=fields)


@dataclass(frozen=True, kw_only=True)
class Side:
    """One case over one wire format, while it runs."""

    kind: str
    name: str  # of the case, and of its model
    case: Case
    engine: Engine

    async def endpoint(self) -> EndpointSnapshot:
        return (await self.engine.metrics()).router.endpoints[self.kind]


@pytest.fixture(scope="module")
def paced_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An llmock that takes its time from chunk to chunk, and that has quotas.

    So each chunk is read before the next is sent.  And a malformed one needs it: llmock says that it was ignored when
    it could send the rest of the stream before the client hung up.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    options = {
        "--port": port,
        "--log-level": "warning",
        "--stream-chunk-delay-ms": 50,
        "--rpm": REQUESTS_PER_MINUTE,
        "--tpm": TOKENS_PER_MINUTE,
    }
    command = [sys.executable, "-c", "from llmock.cli import app; app()", "serve"]
    command += [str(word) for option in options.items() for word in option]
    with running(command, tmp_path_factory.mktemp("paced_llmock")) as process:
        _wait_for_port(process, port)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def paced(paced_url: str) -> Iterator[LLMock]:
    """The same with full quotas, and with no memory of the tests before."""
    with httpx2.Client(base_url=paced_url, timeout=10) as client:
        client.post("/_llmock/reset").raise_for_status()
        yield LLMock(paced_url, client)
        client.post("/_llmock/reset").raise_for_status()


@pytest.fixture(scope="module", autouse=True)
def sdks() -> None:
    """Their import takes a second in which nothing else runs: longer than some of the timeouts here."""
    import anthropic  # noqa: F401
    import openai  # noqa: F401


# How the cases run, and what is asserted of each.


async def run_cases(server: LLMock, cases: Mapping[str, Case], work: Callable[[Side], Awaitable[None]]) -> None:
    """Do `work` for each case over either wire format, all at once.

    After it the engine is idle: what was submitted has ended in one way, and no token, place or message is left.  At
    the end llmock's verdict is strict, and it counts the attempts that the engine counts.
    """
    server.script({"type": "reply", "text": TEXT, "times": None})
    snapshots: dict[tuple[str, str], Snapshot] = {}

    async def run(kind: str, name: str, case: Case) -> None:
        async with open_engine([endpoint(server, kind, name, case)], EngineConfig(max_concurrency=8)) as engine:
            await work(Side(kind=kind, name=name, case=case, engine=engine))
            await assert_idle(engine)
            snapshots[kind, name] = await engine.metrics()

    async def note(kind: str, name: str, case: Case) -> None:
        try:
            await run(kind, name, case)
        except Exception as exc:
            exc.add_note(f"case {name!r}, {kind}")
            raise

    for kind in KINDS:
        for name, case in cases.items():
            if case.behaviors:
                server.script(*(of_one(behavior, kind, name) for behavior in case.behaviors))
    with trio.fail_after(ENDS_WITHIN_S):
        async with trio.open_nursery() as nursery:
            for kind in KINDS:
                for name, case in cases.items():
                    nursery.start_soon(note, kind, name, case)
    assert_strict_pass(server, cases, snapshots)


def endpoint(server: LLMock, kind: str, name: str, case: Case) -> Endpoint:
    return Endpoint(
        provider=kind,
        model=name,
        name=kind,
        base_url=server.url + LLMOCK_PATHS[kind],
        stream="always",
        **{"api_key": SecretStr(KEY), **case.fields},
    )


def of_one(behavior: Behavior, kind: str, name: str) -> Behavior:
    """The behaviour for one case over one wire format."""
    own = {**behavior, "match": {"provider": kind, "model": name}}
    return own | {"after_chunks": EVENTS_HEARD[kind]} if own.get("after_chunks", 0) is None else own


def assert_strict_pass(
    server: LLMock, cases: Mapping[str, Case], snapshots: Mapping[tuple[str, str], Snapshot]
) -> None:
    verdict = httpx2.get(f"{server.url}/_llmock/verdict", timeout=10).json()
    assert verdict["findings"] == []
    assert verdict["passed"]
    requests = server.requests()
    assert verdict["faults_injected"] == sum(request["fault"] is not None for request in requests)
    assert set(snapshots) == {(kind, name) for kind in KINDS for name in cases}
    for (kind, name), snapshot in snapshots.items():
        seen = [request for request in requests if (request["provider"], request["model"]) == (kind, name)]
        faults = sum(request["fault"] is not None for request in seen)
        assert faults > 0, (kind, name)
        assert_guarantees(snapshot, kind, attempts=len(seen))
        counted = {fault: n for fault, n in (snapshot.router.endpoints[kind].failures or {}).items() if n}
        assert sum(counted.values()) == faults, (kind, name)
        assert cases[name].failures in (None, counted), (kind, name)


def assert_guarantees(snapshot: Snapshot, kind: str, *, attempts: int) -> None:
    counters, endpoint = snapshot.counters, snapshot.router.endpoints[kind]
    assert counters.submitted == counters.succeeded + counters.failed + counters.cancelled
    assert counters.waiting == snapshot.router.in_flight == 0
    ended = endpoint.successes + sum((endpoint.failures or {}).values())
    assert attempts == endpoint.attempts == counters.paid_calls == ended


async def assert_ended(side: Side, *, succeeded: int, failed: int, bills: list[Usage | None]) -> None:
    """So many requests ended so, and what they carried away is what the engine has counted."""
    counters = (await side.engine.metrics()).counters
    assert (counters.succeeded, counters.failed, counters.cancelled) == (succeeded, failed, 0)
    usages = [usage for usage in bills if usage is not None]
    assert len(usages) == succeeded + failed
    assert counters.input_tokens == sum(usage.input_tokens for usage in usages)
    assert counters.output_tokens == sum(usage.output_tokens for usage in usages)


# engine.generate


FAULTS = {
    "429 with Retry-After twice": Case(behaviors=[fail(429, 2, retry_after=0.6)], failures={"rate_limited": 2}),
    "529": Case(behaviors=[fail(529)], failures={"overloaded": 1}),
    "500 five times": Case(behaviors=[fail(500, 5)], failures={"failed": 5}),
    "disconnect": Case(behaviors=[cut("disconnect")], failures={"failed": 1}),
    "truncate": Case(behaviors=[cut("truncate")], failures={"failed": 1}),
    "malformed": Case(behaviors=[cut("malformed")], failures={"failed": 1}),
    "stall before the first token": stall(0),
    "stall between two tokens": stall(),
}


async def test_after_any_fault_the_answer_is_whole_and_the_verdict_strict(paced: LLMock) -> None:
    async def ask(side: Side) -> None:
        response = await side.engine.generate("Otter?")
        assert (response.text, response.stop_reason) == (TEXT, "end")
        assert response.attempts == 1 + sum((side.case.failures or {}).values())
        await assert_ended(side, succeeded=1, failed=0, bills=[response.usage])

    await run_cases(paced, FAULTS, ask)


async def test_a_400_is_an_error_after_exactly_one_attempt(llmock: LLMock) -> None:
    async def ask(side: Side) -> None:
        with pytest.raises(GenerationError, match="HTTP 400") as caught:
            await side.engine.generate("Otter?")
        assert (caught.value.attempts, caught.value.retryable, caught.value.partial) == (1, False, "")
        await assert_ended(side, succeeded=0, failed=1, bills=[caught.value.usage])

    await run_cases(llmock, {"400": Case(behaviors=[fail(400)], failures={"rejected": 1})}, ask)
    assert len(llmock.requests()) == len(KINDS)


async def test_an_error_that_names_a_wait_is_retried_only_after_it(llmock: LLMock) -> None:
    async def ask(side: Side) -> None:
        assert (await side.engine.generate("Otter?")).text == TEXT

    await run_cases(
        llmock,
        {
            str(status): Case(behaviors=[fail(status, retry_after=1.0)], failures={"failed": 1})
            for status in (408, 409, 500, 502, 504)
        },
        ask,
    )


async def test_a_long_batch_gets_through_one_fault_after_the_other(llmock: LLMock) -> None:
    refusals = [fail(429, retry_after=0.3), fail(529), fail(503, retry_after=0.4), fail(429, 2, retry_after=0.2)]
    failures = [fail(500), fail(502), cut("disconnect"), cut("truncate"), cut("stall")]
    counts = {"rate_limited": 3, "overloaded": 2, "failed": 4, "timed_out": 1}

    async def ask(side: Side) -> None:
        faults = [*refusals, *failures]
        responses: list[Response] = []
        async with side.engine.batch([f"Otter {number}?" for number in range(120)]) as outcomes:
            async for outcome in outcomes:
                assert outcome.response is not None, outcome.error
                responses.append(outcome.response)
                if faults and len(responses) % 8 == 0:
                    await trio.to_thread.run_sync(llmock.script, of_one(faults.pop(0), side.kind, side.name))
        assert {response.text for response in responses} == {TEXT}
        await assert_ended(side, succeeded=120, failed=0, bills=[response.usage for response in responses])

    await run_cases(llmock, {"batch": Case(behaviors=[], failures=counts, fields=stall().fields)}, ask)


async def test_a_quota_that_somebody_else_has_used_up_costs_time_and_no_answer(paced: LLMock) -> None:
    """Two quotas, of requests and of tokens, for two keys; the bodies that use them up are whole calls and no fault."""

    async def ask(side: Side) -> None:
        await trio.to_thread.run_sync(use_up, paced, side.kind, side.name)
        outcomes = await side.engine.generate_batch([f"Otter {number}?" for number in range(5)], max_tokens=600)
        responses = [outcome.response for outcome in outcomes if outcome.response is not None]
        assert [response.text for response in responses] == [TEXT] * 5
        assert set((await side.endpoint()).failures or {}) == {"rate_limited"}
        await assert_ended(side, succeeded=5, failed=0, bills=[response.usage for response in responses])

    quotas = ("requests", "tokens")
    cases = {name: Case(behaviors=[], failures=None, fields={"api_key": SecretStr(name)}) for name in quotas}
    await run_cases(paced, cases, ask)


def use_up(server: LLMock, kind: str, quota: str) -> None:
    """Leave too little of the quota that the key of its name has there."""
    tokens, enough = (1, 1) if quota == "requests" else (TOKENS_PER_MINUTE - 100, 600)
    body = {"model": "another", "max_tokens": tokens, "messages": [{"role": "user", "content": "x"}]}
    headers = {"authorization": f"Bearer {quota}", "x-api-key": quota}
    with httpx2.Client(base_url=server.url, headers=headers, timeout=10) as client:
        remaining = enough
        while remaining >= enough:
            answer = client.post(CALLS[kind], json=body).raise_for_status()
            (left,) = (value for name, value in answer.headers.items() if {"remaining", quota} <= set(name.split("-")))
            remaining = int(left)


# engine.stream


BREAKS = {
    "disconnect": Case(behaviors=[cut("disconnect")], failures={"failed": 1}),
    "truncate": Case(behaviors=[cut("truncate")], failures={"failed": 1}),
    "malformed": Case(behaviors=[cut("malformed")], failures={"failed": 1}),
    "stall": stall(),
}


async def read_on(stream: ResponseStream, into: list[str]) -> None:
    async for chunk in stream:
        into.append(chunk.text)  # noqa: PERF401  (what was read before an error is wanted, too)


async def read_whole(engine: Engine) -> Response:
    texts: list[str] = []
    async with engine.stream("Otter?") as stream:
        await read_on(stream, texts)
        response = await stream.response()
    assert "".join(texts) == response.text == TEXT
    return response


async def test_once_a_chunk_was_read_a_break_is_an_error_with_the_text_so_far(paced: LLMock) -> None:
    async def read(side: Side) -> None:
        texts: list[str] = []
        async with side.engine.stream("Otter?") as stream:
            with pytest.raises(GenerationError) as caught:
                await read_on(stream, texts)
            with pytest.raises(GenerationError) as whole:
                await stream.response()
        assert whole.value is caught.value
        assert (caught.value.partial, caught.value.retryable, caught.value.attempts) == (HEARD, True, 1)
        assert "".join(texts) == HEARD  # and no second text after it
        await trio.to_thread.run_sync(paced.requests)  # returns when it has noticed that the client hung up
        await assert_idle(side.engine)
        assert (await side.endpoint()).attempts == 1  # nobody wanted another one
        response = await read_whole(side.engine)  # who asks again, as the error says that one can, gets it all
        await assert_ended(side, succeeded=1, failed=1, bills=[caught.value.usage, response.usage])

    await run_cases(paced, BREAKS, read)


async def test_who_has_read_nothing_goes_on_with_the_next_attempt(paced: LLMock) -> None:
    """Of two readers of one call, only the one that has read a chunk is told that the attempt broke."""

    async def read(side: Side) -> None:
        early: list[str] = []
        late: list[str] = []
        async with side.engine.stream("Otter?") as first, side.engine.stream("Otter?") as second:
            with pytest.raises(GenerationError) as caught:
                await read_on(first, early)
            await read_on(second, late)  # begins when the attempt, of which it has read nothing, has failed
            response = await second.response()
        assert "".join(early) == caught.value.partial == HEARD
        assert "".join(late) == response.text == TEXT
        assert (caught.value.attempts, response.attempts) == (1, 2)
        assert (await side.engine.metrics()).cache.follows == 1
        await assert_ended(side, succeeded=1, failed=1, bills=[caught.value.usage, response.usage])

    await run_cases(paced, BREAKS, read)


NOTHING_SENT = {
    "disconnect": Case(behaviors=[cut("disconnect", 0)], failures={"failed": 1}),
    "truncate": Case(behaviors=[cut("truncate", 0)], failures={"failed": 1}),
    "malformed": Case(behaviors=[cut("malformed", 0)], failures={"failed": 1}),
    "stall": stall(0),
    "429": Case(behaviors=[fail(429, retry_after=0.3)], failures={"rate_limited": 1}),
    "529": Case(behaviors=[fail(529, retry_after=0.3)], failures={"overloaded": 1}),
    "500": Case(behaviors=[fail(500)], failures={"failed": 1}),
}


async def test_before_a_chunk_was_sent_a_stream_goes_on_with_the_next_attempt(paced: LLMock) -> None:
    async def read(side: Side) -> None:
        response = await read_whole(side.engine)
        assert response.attempts == 2
        await assert_ended(side, succeeded=1, failed=0, bills=[response.usage])

    await run_cases(paced, NOTHING_SENT, read)
