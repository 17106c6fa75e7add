"""Does every case of the wire suite run, against a server that answers as a server should?"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from importlib import import_module
from urllib.parse import urlsplit

import pytest

from benchmarks.__main__ import make_report
from benchmarks.arguments import parse
from benchmarks.case import Load, NotMeasured
from benchmarks.suites import SUITES
from benchmarks.suites.wire import engine, streams
from benchmarks.suites.wire import serving as serving_module
from benchmarks.suites.wire.serving import SCHEMES, Scheme, Target, serving
from benchmarks.wire_server import MOST_HEAD_BYTES, RefusedError, Rules, next_request
from synth_actors.wire.response import ResponseParser
from synth_actors.wire.sse import EventParser

TINY = Load(concurrency=1, operations=10)
BODY = b'{"messages": []}'
STREAMED_BODY = b'{"stream": true}'
PATHS = ("/v1/messages", "/v1/chat/completions")


def request_of(path: str = PATHS[0], body: bytes = BODY) -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (path.encode(), len(body), body)


@pytest.fixture(params=SCHEMES)
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    with serving(request.param, Rules(chunks=3), connections=10) as target:
        yield target


def connected(target: Target) -> socket.socket:
    parts = urlsplit(target.url)
    client = socket.create_connection((parts.hostname, parts.port), timeout=30)
    return client if target.context is None else target.context.wrap_socket(client, server_hostname="127.0.0.1")


class Answers:
    """The answers on a connection, one after another."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self._rest = b""

    def next(self) -> tuple[int, bytes]:
        """Status and body; nothing of what follows is lost, since it is fed byte by byte."""
        parser, body = ResponseParser(), b""
        while not parser.is_complete:
            if not self._rest:
                self._rest = self._client.recv(65_536)
                assert self._rest, "the server closed the connection in the middle of an answer"
            body += b"".join(parser.feed(self._rest[:1]))
            self._rest = self._rest[1:]
        assert parser.head is not None
        return parser.head.status, body


# An SDK that reads a stream on trio leaves httpx2's generators to the garbage collector; our own providers do not.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_every_case_of_the_wire_suite_runs_at_a_tiny_size_and_no_call_fails_or_is_made_twice(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LATENCY_S", 0.01)
    monkeypatch.setattr(streams, "SLOW", replace(streams.SLOW, gap_s=0.001))
    for sdk in ("anthropic", "openai"):
        import_module(sdk)
    request.getfixturevalue("frozen_heap")  # with what the SDKs bring
    arguments = parse(["--suite", "wire", "--iterations", "1", "--warmup", "0", "--concurrency", "1"])
    report = make_report(arguments, TINY, "")
    assert report.missing == ()
    assert [row.name for row in report.rows] == [case.name for case in SUITES["wire"](1)]
    failed = [row for row in report.rows if row.name.endswith("failed")]
    assert len(failed) == 2 * 3
    for row in failed:
        assert row.bare is not None
        assert (row.value.max, row.bare.max, row.beside["more than asked for"].max) == (0, 0, 0)
    assert all(row.value.min > 0 for row in report.rows if not row.name.endswith("failed"))


def test_the_aims_are_stated_for_the_sizes_they_were_set_for() -> None:
    stated = [(case.unit, aim.of, aim.at, aim.limit) for case in SUITES["wire"](100) if (aim := case.aim) is not None]
    assert stated.count(("calls/s", "ratio", "least", 5.0)) == 2 * 2, "the transport alone, and httpx2's client"
    assert stated.count(("calls/s", "ratio", "least", 2.2)) == 2
    assert stated.count(("chunks/s", "ratio", "least", 2.5)) == 2
    assert stated.count(("x", "value", "most", 2)) == 6
    assert stated.count(("calls", "value", "most", 0)) == 2 * 4
    assert [(unit, limit) for unit, of, _, limit in stated if unit == "s"] == [("s", 2.5), ("s", 2.9)]
    assert [limit for unit, of, at, limit in stated if (unit, of, at) == ("calls/s", "ratio", "least")][-2:] == [4, 2]
    assert {case.unit for case in SUITES["wire"](7) if case.aim is not None} == {"calls"}


def test_with_another_endpoint_nothing_of_it_is_measured_and_it_says_why() -> None:
    for case in SUITES["wire"](1):
        with pytest.raises(NotMeasured, match="leave out --endpoint"):
            case.measure(Load(concurrency=1, operations=10, endpoint="local"))


def test_without_trustme_only_what_needs_tls_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    serving_module.trust.cache_clear()
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(NotMeasured, match="needs the package trustme"), serving("TLS", Rules(), connections=1):
        pass
    with serving("plain", Rules(), connections=1) as target:
        assert target.context is None


def test_more_connections_than_there_may_be_files_are_not_measured() -> None:
    with (
        pytest.raises(NotMeasured, match=r"1,000,000 connections .*ulimit -n"),
        serving("plain", Rules(), connections=1_000_000),
    ):
        pass


# The server.


def test_the_server_answers_whole_and_streamed_calls_of_both_apis_on_one_connection(target: Target) -> None:
    with closing(connected(target)) as client:
        answers = Answers(client)
        for path in PATHS:
            client.sendall(request_of(path))
            status, body = answers.next()
            document = json.loads(body)
            assert status == 200
            assert "otter otter otter" in body.decode()
            assert document["usage"][{"/v1/messages": "output_tokens"}.get(path, "completion_tokens")] == 3
            client.sendall(request_of(path, STREAMED_BODY))
            status, body = answers.next()
            events = EventParser().feed(body)
            assert status == 200
            assert sum(b'"otter "' in event.data for event in events) == 3
    figures = target.figures()
    assert (figures.requests, figures.answered, figures.left, figures.connections) == (4, 4, 0, 1)


def test_requests_that_come_at_once_are_answered_in_their_order(target: Target) -> None:
    with closing(connected(target)) as client:
        client.sendall(request_of() + request_of(PATHS[1], STREAMED_BODY) + request_of(PATHS[1]))
        answers = Answers(client)
        bodies = [answers.next()[1] for _ in range(3)]
    assert [b'"type": "message"' in body for body in bodies] == [True, False, False]
    assert [body.startswith(b"data: ") for body in bodies] == [False, True, False]
    assert bodies[2].startswith(b"{")


def test_a_request_may_come_in_single_bytes(target: Target) -> None:
    with closing(connected(target)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(len(request := request_of())):
            client.sendall(request[number : number + 1])
        assert Answers(client).next()[0] == 200


@pytest.mark.parametrize("body", [BODY, STREAMED_BODY], ids=["whole", "streamed"])
def test_what_a_slow_reader_leaves_is_sent_later_and_nothing_of_it_is_lost(body: bytes) -> None:
    chunks = 1_000_000 if body == BODY else 50_000
    with serving("plain", Rules(chunks=chunks), connections=10) as target:
        with closing(connected(target)) as client:
            client.sendall(request_of(body=body))
            while target.figures().stalls == 0:
                pass  # it writes until the buffers of both kernels are full
            parser, pieces = ResponseParser(), list[bytes]()
            while not parser.is_complete:
                pieces += parser.feed(client.recv(2**20))
        assert b"".join(pieces).count(b"otter ") == chunks
        assert target.figures().answered == 1


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_answer_comes_as_late_as_it_should_and_its_chunks_one_by_one(scheme: Scheme) -> None:
    with serving(scheme, Rules(latency_s=0.01, chunks=5, gap_s=0.001), connections=10) as target:
        with closing(connected(target)) as client:
            client.sendall(request_of(body=STREAMED_BODY))
            _, body = Answers(client).next()
        assert len(EventParser().feed(body)) == 5 + 5
        assert target.figures().answered == 1


def test_a_client_that_does_not_wait_is_counted() -> None:
    with serving("plain", Rules(latency_s=600), connections=10) as target, closing(connected(target)) as client:
        client.sendall(request_of())
        while target.figures().requests == 0:
            pass
        client.close()
        while target.figures().open:
            pass
        assert (target.figures().left, target.figures().answered) == (1, 0)


def test_who_speaks_without_tls_where_tls_is_spoken_is_left_and_harms_nobody() -> None:
    with serving("TLS", Rules(), connections=10) as target:
        parts = urlsplit(target.url)
        with closing(socket.create_connection((parts.hostname, parts.port), timeout=30)) as client:
            client.sendall(request_of())
            while target.figures().connections == 0 or target.figures().open:
                pass
        with closing(connected(target)) as client:
            client.sendall(request_of())
            assert Answers(client).next()[0] == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /v1/messages HTTP/1.1\r\nhost: x\r\n\r\n", 404),
        (request_of("/elsewhere"), 404),
        (b"POST /v1/messages HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", 411),
        (b"POST /v1/messages HTTP/1.1\r\nx: " + b"x" * MOST_HEAD_BYTES, 431),
    ],
)
def test_what_it_does_not_speak_is_refused_and_the_connection_closed(
    target: Target, request_bytes: bytes, status: int
) -> None:
    with closing(connected(target)) as client:
        client.sendall(request_bytes)
        assert Answers(client).next()[0] == status
    assert target.figures().refused == 1


@pytest.mark.parametrize("cut", range(0, len(request_of()) + 1, 7))
def test_the_first_request_of_a_buffer_is_found_only_when_it_is_whole(cut: int) -> None:
    both = request_of() + request_of(PATHS[1], STREAMED_BODY)
    found = next_request(both[: len(request_of()) + cut])
    assert found is not None
    head, body, rest = found
    assert (head.is_chat, body, rest) == (False, BODY, both[len(request_of()) :][:cut])
    assert (next_request(rest) is None) == (cut < len(request_of(PATHS[1], STREAMED_BODY)))
    assert next_request(both[: cut and cut - 1]) is None


def test_a_length_that_is_no_number_is_refused() -> None:
    with pytest.raises(RefusedError, match="content-length"):
        next_request(b"POST /v1/messages HTTP/1.1\r\ncontent-length: -1\r\n\r\n")


def test_the_server_ends_with_its_stdin() -> None:
    command = [sys.executable, "-m", "benchmarks.wire_server"]
    with subprocess.Popen(
        command, cwd=serving_module.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stdout.readline().startswith("http://127.0.0.1:")
        server.stdin.close()
        assert server.wait(timeout=30) == 0
