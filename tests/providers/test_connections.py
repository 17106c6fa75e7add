"""Is a connection that the server has closed left alone, and are the last files of the process?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import trio
import trio.testing

from synth_actors import Endpoint
from synth_actors.providers.connections import RESERVED_FILES, open_files_limit
from synth_actors.providers.http_client import open_client

AT_ONCE = 50
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Crowded:
    """A server that answers nobody before `AT_ONCE` requests are there, and can close all its connections at once."""

    def __init__(self) -> None:
        self.url = ""
        self.requests = 0
        self._open: set[trio.SocketStream] = set()
        self._all_here = trio.Event()

    async def handle(self, stream: trio.SocketStream) -> None:
        self._open.add(stream)
        try:
            while await stream.receive_some():  # a GET without a body comes in one piece
                self.requests += 1
                if self.requests == AT_ONCE:
                    self._all_here.set()
                await self._all_here.wait()
                await stream.send_all(ANSWER)
        except trio.ClosedResourceError:
            pass

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


def client_for(url: str) -> httpx2.AsyncClient:
    return open_client(Endpoint(provider="openai", model="any", base_url=url))


async def test_no_request_is_written_on_a_connection_that_was_closed_after_the_pool_had_looked_at_it() -> None:
    server = Crowded()
    statuses: list[int] = []

    async def ask(client: httpx2.AsyncClient, url: str) -> None:
        statuses.append((await client.get(url)).status_code)

    async def close_all() -> None:
        server.close_all()

    with trio.fail_after(30):
        async with serving(server.handle) as url, client_for(url) as client:
            async with trio.open_nursery() as nursery:
                for _ in range(AT_ONCE):
                    nursery.start_soon(ask, client, url)
            async with trio.open_nursery() as nursery:  # the order of one turn is random: the closing is among them
                for _ in range(AT_ONCE):
                    nursery.start_soon(ask, client, url)
                nursery.start_soon(close_all)
    assert statuses == [200] * 2 * AT_ONCE
    assert server.requests == 2 * AT_ONCE


async def test_a_server_that_closes_every_new_connection_is_an_error_and_not_tried_for_ever() -> None:
    with trio.fail_after(30):
        async with serving(closing_at_once) as url, client_for(url) as client:
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
    few_files: int,
) -> None:
    refusals: list[str] = []

    async def ask(client: httpx2.AsyncClient, url: str) -> None:
        try:
            await client.get(url)
        except httpx2.ConnectError as exc:
            refusals.append(str(exc))

    assert open_files_limit() == few_files
    with trio.fail_after(30):
        async with serving(Crowded().handle) as url, client_for(url) as client, trio.open_nursery() as nursery:
            for _ in range(AT_ONCE - 1):
                nursery.start_soon(ask, client, url)
            await trio.testing.wait_all_tasks_blocked(0.1)  # those that got a connection are never answered
            nursery.cancel_scope.cancel()
    assert AT_ONCE // 2 <= len(refusals) < AT_ONCE - 1
    assert all(f"may open {few_files} files" in line and "ulimit -n" in line for line in refusals)
    with Path(__file__).open() as another:  # noqa: ASYNC230 - that it can be opened is the point
        assert another.readable()
