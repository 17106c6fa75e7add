"""Are connections used again, by many, and are those left alone that the server has closed?"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpcore2
import httpx2
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from synth_actors import Endpoint
from synth_actors.providers.connections import Connection
from synth_actors.providers.http_client import Transport, open_client
from synth_actors.providers.pool import MOST_REQUESTS
from synth_actors.wire.connections import CLOSES_WITHIN_S
from synth_actors.wire.open_files import RESERVED_FILES, open_files_limit
from synth_actors.wire.reuse import FEWEST_CLOSED, Reuse
from synth_actors.wire.transport import KEEPALIVE_S

AT_ONCE = 3 * MOST_REQUESTS + 4
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Crowded:
    """A server that answers nobody before `AT_ONCE` requests are there, and can close all its connections at once."""

    def __init__(self) -> None:
        self.url = ""
        self.requests = 0
        self.connections = 0
        self._open: set[trio.SocketStream] = set()
        self._all_here = trio.Event()

    async def handle(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        self._open.add(stream)
        with suppress(trio.ClosedResourceError):
            while await stream.receive_some():  # a GET without a body comes in one piece
                self.requests += 1
                if self.requests == AT_ONCE:
                    self._all_here.set()
                await self._all_here.wait()
                await stream.send_all(ANSWER)
        self._open.discard(stream)
        await stream.aclose()

    @property
    def open_connections(self) -> int:
        return len(self._open)

    def close_all(self) -> None:
        for stream in self._open:
            stream.socket.close()
        self._open.clear()


async def closing_at_once(stream: trio.SocketStream) -> None:
    await stream.aclose()


@asynccontextmanager
async def serving(handle: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=AT_ONCE)
        nursery.start_soon(trio.serve_listeners, handle, listeners)
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@pytest.fixture(params=["lean", "httpx2"])
def transport(request: pytest.FixtureRequest) -> Transport:
    chosen: Transport = request.param
    return chosen


def client_for(url: str, transport: Transport, reuse: Reuse | None = None) -> httpx2.AsyncClient:
    endpoint = Endpoint(provider="openai", model="any", base_url=url)
    return open_client(endpoint, url, reuse=reuse or Reuse(), transport=transport)


async def ask(client: httpx2.AsyncClient, url: str) -> None:
    assert (await client.get(url)).status_code == 200


async def all_ask(client: httpx2.AsyncClient, url: str) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(ask, client, url)


async def test_no_request_is_written_on_a_connection_that_was_closed_after_the_pool_had_looked_at_it(
    transport: Transport,
) -> None:
    server = Crowded()

    async def close_all() -> None:
        server.close_all()

    with trio.fail_after(30):
        async with serving(server.handle) as url, client_for(url, transport) as client:
            await all_ask(client, url)
            if transport == "lean":  # which looks and writes in the same turn: nothing comes between
                server.close_all()
            async with trio.open_nursery() as nursery:  # the order of one turn is random: the closing is among them
                for _ in range(AT_ONCE):
                    nursery.start_soon(ask, client, url)
                nursery.start_soon(close_all)
    assert server.requests == 2 * AT_ONCE


async def test_the_connections_of_many_are_used_again_by_as_many_and_closed_with_the_client(
    transport: Transport,
) -> None:
    server = Crowded()
    with trio.fail_after(30):
        async with serving(server.handle) as url:
            async with client_for(url, transport) as client:
                for _ in range(3):
                    await all_ask(client, url)
                assert server.connections == server.open_connections == AT_ONCE
            await trio.testing.wait_all_tasks_blocked()
            assert server.open_connections == 0


async def test_connections_that_only_a_crowd_needed_do_not_stay_when_it_has_gone(
    transport: Transport, mock_clock: MockClock
) -> None:
    server = Crowded()
    async with serving(server.handle) as url, client_for(url, transport) as client:
        await all_ask(client, url)
        assert server.open_connections == AT_ONCE
        mock_clock.jump(KEEPALIVE_S + 1)
        for _ in range(AT_ONCE // MOST_REQUESTS):  # each closes one pool
            await ask(client, url)
            mock_clock.jump(1.0)  # longer than a new server is given to close an idle connection
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.open_connections == (MOST_REQUESTS if transport == "httpx2" else 1)


async def test_a_server_that_closes_every_new_connection_is_an_error_and_not_tried_for_ever(
    transport: Transport,
) -> None:
    with trio.fail_after(30):
        async with serving(closing_at_once) as url, client_for(url, transport) as client:
            with pytest.raises(httpx2.RemoteProtocolError, match="Server disconnected"):
                await client.get(url)


@pytest.fixture
def few_files() -> Iterator[int]:
    """This process may open a few files more than are reserved, until the test has ended."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Path(__file__).open() as probe:
        limit = probe.fileno() + RESERVED_FILES + 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    yield limit
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_a_connection_that_would_take_one_of_the_last_files_is_refused_with_the_name_of_the_limit(
    few_files: int, transport: Transport
) -> None:
    refusals: list[str] = []

    async def try_to_ask(client: httpx2.AsyncClient, url: str) -> None:
        try:
            await client.get(url)
        except httpx2.ConnectError as exc:
            refusals.append(str(exc))

    assert open_files_limit() == few_files
    with trio.fail_after(30):
        async with (
            serving(Crowded().handle) as url,
            client_for(url, transport) as client,
            trio.open_nursery() as nursery,
        ):
            for _ in range(AT_ONCE - 1):
                nursery.start_soon(try_to_ask, client, url)
            await trio.testing.wait_all_tasks_blocked(0.1)  # those that got a connection are never answered
            nursery.cancel_scope.cancel()
    assert AT_ONCE // 2 <= len(refusals) < AT_ONCE - 1
    assert all(f"may open {few_files} files" in line and "ulimit -n" in line for line in refusals)
    with Path(__file__).open() as another:  # noqa: ASYNC230 - that it can be opened is the point
        assert another.readable()


@pytest.mark.parametrize("closes", [True, False])
async def test_where_the_server_closes_after_each_answer_connections_are_not_used_again(
    transport: Transport, closes: bool
) -> None:
    connections = requests = 0
    reuse = Reuse()

    async def handle(stream: trio.SocketStream) -> None:
        nonlocal connections, requests
        connections += 1
        while await stream.receive_some():
            requests += 1
            await stream.send_all(ANSWER)
            if closes:  # and has not said so
                break
        await stream.aclose()

    async with serving(handle) as url, client_for(url, transport, reuse) as client:
        for _ in range(12):
            await ask(client, url)
            await trio.testing.wait_all_tasks_blocked(0.005)  # its end has arrived
    assert (requests, connections) == (12, 12 if closes else 1)
    assert reuse.is_vain() is closes


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"


@pytest.mark.parametrize("closes_after_s", [0.01, None])
async def test_a_new_server_gets_a_moment_to_close_a_connection_before_it_is_used_again(
    closes_after_s: float | None, autojump_clock: MockClock
) -> None:
    connections = requests = 0

    async def handle(stream: trio.SocketStream) -> None:
        nonlocal connections, requests
        connections += 1
        while await stream.receive_some():
            requests += 1
            await stream.send_all(CHUNKED)
            if closes_after_s is not None:  # what comes until then is read by nobody
                await trio.sleep(closes_after_s)
                break
        await stream.aclose()

    async with serving(handle) as url, client_for(url, "lean") as client:
        for _ in range(10):
            await ask(client, url)
        took_s = trio.current_time()
    assert (requests, connections) == (10, 1 if closes_after_s is None else 10)
    assert took_s == pytest.approx(CLOSES_WITHIN_S if closes_after_s is None else FEWEST_CLOSED * closes_after_s)


async def test_a_server_that_no_longer_closes_its_connections_has_them_used_again(autojump_clock: MockClock) -> None:
    requests = connections = 0

    async def handle(stream: trio.SocketStream) -> None:
        nonlocal connections, requests
        connections += 1
        while await stream.receive_some():
            requests += 1
            await stream.send_all(CHUNKED)
            if requests <= 12:
                break
        await stream.aclose()

    async with serving(handle) as url, client_for(url, "lean") as client:
        for _ in range(100):
            await ask(client, url)
            await trio.sleep(0.1)
    assert requests == 100
    assert connections == 13


def test_what_a_server_does_after_chunks_says_nothing_of_what_it_does_after_other_answers() -> None:
    reuse = Reuse()
    for _ in range(FEWEST_CLOSED):
        reuse.tried(was_closed=True, in_chunks=True)
        reuse.tried(was_closed=False)
    assert (reuse.is_vain(in_chunks=True), reuse.is_proven(in_chunks=True)) == (True, False)
    assert (reuse.is_vain(), reuse.is_proven()) == (False, True)


def test_a_server_that_restarts_does_not_make_reuse_vain() -> None:
    reuse = Reuse()
    for _ in range(100):
        reuse.tried(was_closed=False)
    for _ in range(50):
        reuse.tried(was_closed=True)
    assert not reuse.is_vain()


class Slow(httpcore2.AsyncNetworkStream):
    """A stream that takes its time for TLS, and no bytes."""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        await trio.lowlevel.checkpoint()

    async def start_tls(self, *_args: object, **_fields: object) -> httpcore2.AsyncNetworkStream:
        await trio.sleep(2.0)
        return self


async def test_opening_lasts_until_the_handshake_is_over_and_is_told_once(autojump_clock: MockClock) -> None:
    told: list[float] = []
    plain = Connection(Slow(), Reuse(told.append), 0.5)
    encrypted = await plain.start_tls(ssl.create_default_context())
    assert told == []
    for _ in range(3):
        await encrypted.write(b"GET / HTTP/1.1")
    assert told == [2.5]
