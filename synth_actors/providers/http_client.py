"""Which HTTP client does an endpoint get, and how is its answer read?

The one place that makes an `httpx2.AsyncClient`: another transport goes in here.  It reads proxies and
`SSL_CERT_FILE` from the environment as httpx2 does, follows no redirects (a key is sent only where the user said),
and bounds only the connecting: every other deadline is the engine's, which cancels.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import httpx2
import orjson
import trio

from synth_actors.errors import ConfigError
from synth_actors.providers.base import ProviderError
from synth_actors.providers.connections import Connector
from synth_actors.wire.sse import Event, EventParser, EventTooLongError

if TYPE_CHECKING:
    from synth_actors.config import Endpoint
    from synth_actors.providers.http_errors import Reporter

KEEPALIVE_S = 4.0
"""Idle connections are dropped before the 5 s after which uvicorn, Node and llama.cpp drop them: no race to lose."""

LINGER_S = 0.5
"""How long the end of a body may follow its terminal event, so that the connection can be used again."""


def open_client(endpoint: Endpoint) -> httpx2.AsyncClient:
    """A client for one endpoint, whose pool never limits: the engine does.

    Raises:
        ConfigError: `verify` names no certificate file, or the environment names a proxy that cannot be used.
    """
    try:
        client = httpx2.AsyncClient(
            verify=_certificates(endpoint),
            timeout=httpx2.Timeout(connect=endpoint.connect_timeout_s, read=None, write=None, pool=None),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=KEEPALIVE_S),
            follow_redirects=False,
        )
    except (ImportError, ValueError, httpx2.InvalidURL) as exc:
        raise ConfigError(f"endpoint {endpoint.name!r}: the proxy in the environment cannot be used: {exc}") from exc
    _use_connector(client)
    return client


def _use_connector(client: httpx2.AsyncClient) -> None:
    """Have direct connections opened by `Connector`.

    Only httpcore2, below, takes it as an argument.  To make its pool here, and a transport of it, would mean to map all
    its errors and to choose among proxies as httpx2 does: more of what is not ours than these names.
    """
    direct = client._transport
    assert isinstance(direct, httpx2.AsyncHTTPTransport)
    direct._pool._network_backend = Connector()


def _certificates(endpoint: Endpoint) -> ssl.SSLContext:
    environment = (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    try:
        return _context(endpoint.verify, environment)
    except OSError as exc:  # ssl.SSLError is one
        where = (
            f"verify={endpoint.verify!r}" if isinstance(endpoint.verify, str) else f"SSL_CERT_FILE={environment[0]!r}"
        )
        raise ConfigError(
            f"endpoint {endpoint.name!r}: {where}: no certificates there ({exc}); give a PEM file, a folder or True"
        ) from exc


@lru_cache(maxsize=16)
def _context(verify: bool | str, _environment: tuple[str | None, str | None]) -> ssl.SSLContext:
    """Reading all certificates takes 50 ms: endpoints with the same ones share a context."""
    if isinstance(verify, bool):
        return httpx2.create_ssl_context(verify)  # which reads the environment itself
    folder = os.path.isdir(verify)
    return ssl.create_default_context(cafile=None if folder else verify, capath=verify if folder else None)


def parse_json(text: bytes | str, report: Reporter) -> dict[str, Any]:
    """One JSON object.

    Raises:
        ProviderError: it is something else (FAILED).
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        shown = text[:80]
        raise report.failed(f"the answer is no JSON ({exc}): {shown!r}") from exc
    if not isinstance(value, dict):
        raise report.failed(f"the answer is no JSON object: {text[:80]!r}")
    return value


@asynccontextmanager
async def events_of(response: httpx2.Response, report: Reporter) -> AsyncIterator[AsyncGenerator[Event, None]]:
    """The events of a streamed answer, which the caller closes."""
    kind = response.headers.get("content-type", "")
    if "json" in kind or "html" in kind:  # an error page; a whole answer never comes here
        raise _no_stream(kind, await response.aread(), report)
    async with aclosing(_events(response, report)) as events:
        yield events


def _no_stream(kind: str, body: bytes, report: Reporter) -> ProviderError:
    with suppress(orjson.JSONDecodeError):
        value = orjson.loads(body)
        if isinstance(value, dict) and "error" in value:
            return report.of_body(value)
    return report.failed(f"a stream was asked for, {kind} came: {body[:80]!r}")


async def _events(response: httpx2.Response, report: Reporter) -> AsyncGenerator[Event, None]:
    parser = EventParser()
    chunks = response.aiter_bytes()
    try:
        async for chunk in chunks:
            for event in parser.feed(chunk):
                yield event
    except EventTooLongError as exc:
        raise report.failed(str(exc)) from exc
    finally:
        await _run_dry(response, chunks)


async def _run_dry(response: httpx2.Response, chunks: AsyncGenerator[bytes, None]) -> None:
    """Close the connection and let the generators over it come to their end by themselves.

    httpx2 2.16 does not pass `aclose` on to its innermost generator, which would be left to the garbage collector.
    """
    await response.aclose()
    with suppress(httpx2.HTTPError, httpx2.StreamError):
        async for _ in chunks:
            pass


async def read_to_the_end(events: AsyncGenerator[Event, None]) -> None:
    """Take what may follow the terminal event, briefly: only a body read to its end leaves a usable connection."""
    with trio.move_on_after(LINGER_S), suppress(httpx2.HTTPError, ProviderError):
        async for _ in events:
            pass
