"""Do both transports understand llama.cpp's own server?

Plain and over TLS.  The build that `xllamacpp` brings has no TLS ("the server is built without SSL support"), so a pipe
of our own, on trio, takes TLS off before it: bytes in, bytes out, no HTTP of ours between.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import httpx2
import trio

from tests.wire.transports import Wire

ASKED = {"model": "noise", "max_tokens": 8, "messages": [{"role": "user", "content": "otters"}]}


async def carry(source: trio.abc.ReceiveStream, target: trio.abc.SendStream, scope: trio.CancelScope) -> None:
    with trio.CancelScope(shield=False):
        try:
            async for data in source:
                await target.send_all(data)
        except trio.BrokenResourceError:
            pass
    scope.cancel()


async def pipe(port: int, client: trio.SSLStream[trio.SocketStream]) -> None:
    """Everything from `client` to the server on `port` and back, until one of them leaves."""
    async with client, await trio.open_tcp_stream("127.0.0.1", port) as server, trio.open_nursery() as nursery:
        nursery.start_soon(carry, client, server, nursery.cancel_scope)
        nursery.start_soon(carry, server, client, nursery.cancel_scope)


@asynccontextmanager
async def over_tls(url: str, context: ssl.SSLContext) -> AsyncIterator[str]:
    """The address of a pipe to `url` that speaks TLS."""
    port = httpx2.URL(url).port
    assert port is not None
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(trio.serve_ssl_over_tcp, partial(pipe, port), 0, context, host="127.0.0.1", https_compatible=True)
        )
        yield f"https://127.0.0.1:{listeners[0].transport_listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def served(wire: Wire, url: str) -> AsyncIterator[str]:
    if not wire.tls:
        yield url
        return
    async with over_tls(url, wire.certificates.server()) as address:
        yield address


async def test_llama_cpp_answers_whole_and_as_a_stream(wire: Wire, llama_server_url: str) -> None:
    async with served(wire, llama_server_url) as url, wire.client() as client:
        whole = (await client.post(f"{url}/v1/chat/completions", json=ASKED)).json()
        async with client.stream("POST", f"{url}/v1/chat/completions", json={**ASKED, "stream": True}) as answer:
            lines = [line async for line in answer.aiter_lines() if line]
    assert whole["usage"]["completion_tokens"] == 8
    assert lines[-1] == "data: [DONE]"
    events = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert [event["choices"][0]["finish_reason"] for event in events if event["choices"]][-1] == "length"
