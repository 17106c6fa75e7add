"""Who makes the calls that are compared?

The two transports alone, httpx2's client and the Anthropic SDK on each of them and on one that answers from memory,
which says what is left to gain, and raw sockets.  All ask for the same: the first ones with a body that is ready, the
SDK with the arguments that it makes one of.  httpx2's transport
is given as many connections as it needs; the SDK's own default, 1,000, would not do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Protocol

import httpx2
import trio

from benchmarks.suites.upstreams.sdks import MAX_TOKENS, MODEL
from benchmarks.suites.wire.raw import RawSockets
from benchmarks.suites.wire.serving import Target
from synth_actors.wire.sse import EventParser
from tests.integration.limited_server import whole_answer

_TIMEOUT_S = 600.0
"""What the SDK waits: at 5,000 at once a slow transport needs minutes, which is to be seen, and not an error."""
_PATHS: Final = {"anthropic": "/v1/messages", "openai": "/v1/chat/completions"}


class Client(Protocol):
    """What is measured."""

    async def call(self, prompt: str) -> object:
        """Ask, and read the whole answer; whatever is raised, the call was lost."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class Reader(Client, Protocol):
    """The same of streamed answers."""

    async def read_stream(self, prompt: str) -> int:
        """How many pieces of text an answer had."""
        ...


Make = Callable[[Target], Client]
MakeReader = Callable[[Target], Reader]
MakeTransport = Callable[[Target], httpx2.AsyncBaseTransport]


def raw(target: Target, kind: str = "anthropic") -> RawSockets:
    """No client library."""
    return RawSockets(target, _PATHS[kind], _body_of)


def httpx2_transport(target: Target) -> httpx2.AsyncBaseTransport:
    """Httpx2's own, which opens as many connections as are asked for at once and keeps all.

    Without TLS there is no context; the default is one that reads all certificates of the system, which takes long.
    """
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx2.AsyncHTTPTransport(verify=target.context or False, limits=limits, trust_env=False)


def lean_transport(target: Target) -> httpx2.AsyncBaseTransport:
    """Ours."""
    from synth_actors.wire.transport import LeanTransport

    return LeanTransport(target.context or False, trust_env=False)


class _FromMemory(httpx2.AsyncBaseTransport):
    """The server's answer after a turn of the event loop, without a connection: the least that a transport can cost."""

    def __init__(self, _target: Target) -> None:
        self._body = json.dumps(whole_answer(chat=False, chunks=1)).encode()
        self._headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(self._body))]

    async def handle_async_request(self, _request: httpx2.Request) -> httpx2.Response:
        await trio.lowlevel.checkpoint()
        extensions = {"http_version": b"HTTP/1.1", "reason_phrase": b"OK"}
        return httpx2.Response(200, headers=self._headers, stream=_Once(self._body), extensions=extensions)


class _Once(httpx2.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._left = [body]

    def __aiter__(self) -> _Once:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


def _http(target: Target, transport: MakeTransport) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=transport(target), timeout=httpx2.Timeout(_TIMEOUT_S), trust_env=False, follow_redirects=True
    )


class Alone:
    """A transport, without a client above it; all calls send one request that is ready."""

    def __init__(self, transport: MakeTransport, target: Target) -> None:
        self._transport = transport(target)
        self._request = httpx2.Request(
            "POST",
            target.url + _PATHS["anthropic"],
            content=_body_of("Otters?"),
            headers={"content-type": "application/json"},
            extensions={"timeout": httpx2.Timeout(_TIMEOUT_S).as_dict()},
        )

    async def call(self, _prompt: str) -> None:
        """Ask, and read the whole answer."""
        answer = await self._transport.handle_async_request(self._request)
        try:
            if answer.status_code != 200:
                raise RuntimeError(f"the server answered {answer.status_code}")
            assert isinstance(answer.stream, httpx2.AsyncByteStream)
            async for _ in answer.stream:
                pass
        finally:
            await answer.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


class Bare:
    """httpx2's client on a transport; events are read by our parser."""

    def __init__(self, transport: MakeTransport, target: Target) -> None:
        self._http = _http(target, transport)
        self._url = target.url + _PATHS["anthropic"]
        self._headers = {"content-type": "application/json"}

    async def call(self, prompt: str) -> None:
        """Ask, and read the whole answer."""
        answer = await self._http.post(self._url, content=_body_of(prompt), headers=self._headers)
        answer.raise_for_status()

    async def read_stream(self, prompt: str) -> int:
        """The number of text deltas."""
        pieces, parser = 0, EventParser()
        content = _body_of(prompt, streamed=True)
        async with self._http.stream("POST", self._url, content=content, headers=self._headers) as answer:
            answer.raise_for_status()
            async for chunk in answer.aiter_bytes():
                pieces += sum(event.kind == "content_block_delta" for event in parser.feed(chunk))
        return pieces

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()


class Sdk:
    """The Anthropic SDK on a transport, without its own retries: a call that fails is counted, not hidden."""

    def __init__(self, transport: MakeTransport, target: Target) -> None:
        from anthropic import AsyncAnthropic

        self._client = AsyncAnthropic(
            api_key="none", base_url=target.url, max_retries=0, http_client=_http(target, transport)
        )

    async def call(self, prompt: str) -> None:
        """Ask, and read the whole answer."""
        await self._client.messages.create(
            model=MODEL, max_tokens=MAX_TOKENS, messages=[{"role": "user", "content": prompt}]
        )

    async def read_stream(self, prompt: str) -> int:
        """The number of text deltas."""
        pieces = 0
        async with await self._client.messages.create(
            model=MODEL, max_tokens=MAX_TOKENS, messages=[{"role": "user", "content": prompt}], stream=True
        ) as events:
            async for event in events:
                pieces += event.type == "content_block_delta"
        return pieces

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()


def _body_of(prompt: str, *, streamed: bool = False) -> bytes:
    document = {"model": MODEL, "max_tokens": MAX_TOKENS, "messages": [{"role": "user", "content": prompt}]}
    return json.dumps({**document, "stream": True} if streamed else document).encode()


RAW: Final = "raw sockets"
LEAN: Final = "on ours"
OWN: Final = "on httpx2's"
MEMORY: Final = "from memory"
ALONE_LEAN: Final = "transport, ours"
ALONE_OWN: Final = "transport, httpx2's"
BARE_LEAN: Final = f"httpx2 {LEAN}"
BARE_OWN: Final = f"httpx2 {OWN}"
SDK_LEAN: Final = f"SDK {LEAN}"
SDK_OWN: Final = f"SDK {OWN}"
BARE_MEMORY: Final = f"httpx2 {MEMORY}"
SDK_MEMORY: Final = f"SDK {MEMORY}"

READERS: Final[Mapping[str, MakeReader]] = {
    BARE_LEAN: partial(Bare, lean_transport),
    BARE_OWN: partial(Bare, httpx2_transport),
    SDK_LEAN: partial(Sdk, lean_transport),
    SDK_OWN: partial(Sdk, httpx2_transport),
}
CLIENTS: Final[Mapping[str, Make]] = {
    RAW: raw,
    ALONE_LEAN: partial(Alone, lean_transport),
    ALONE_OWN: partial(Alone, httpx2_transport),
    **READERS,
    BARE_MEMORY: partial(Bare, _FromMemory),
    SDK_MEMORY: partial(Sdk, _FromMemory),
}
