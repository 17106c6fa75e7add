"""How is the body of an answer read, and how much of it?

Everything comes through httpx2's streaming interface and is counted as it arrives, decoded, so that a body beyond its
bound is given up there: nothing holds more of it than the bound and one piece from the network.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import httpx2
import orjson
import trio

from synth_actors.providers.base import Fault, ProviderError
from synth_actors.types import Usage
from synth_actors.wire.sse import Event, EventParser

if TYPE_CHECKING:
    from synth_actors.providers.http_errors import Reporter

ERROR_BYTES = 64 * 1024
"""So much of the body of an error is read: its status says what went wrong, its beginning says why."""

ERROR_WITHIN_S = 5.0
"""So long its body may take: a server that stalls there has said what counts."""

UNKNOWN_USAGE = Usage(cost_usd=None)
"""Of an answer that is charged, when its server has not said what was used: neither tokens nor cost are known."""

LINGER_S = 0.5
"""How long the end of a body may follow its terminal event, so that the connection can be used again."""

TRANSPORT_ERRORS: tuple[type[Exception], ...] = (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL)


def parse_json(text: bytes, report: Reporter) -> dict[str, Any]:
    """One JSON object.

    Raises:
        ProviderError: it is something else (FAILED).
    """
    value, problem = None, ""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        problem = str(exc)
    if problem:  # not from it: it holds the whole text, with whatever secret is in there
        raise report.failed(f"the answer is no JSON ({problem}): {report.shown(text)}")
    if not isinstance(value, dict):
        raise report.failed(f"the answer is no JSON object: {report.shown(text)}")
    return value


async def read_whole(response: httpx2.Response, most_bytes: int, report: Reporter) -> bytes:
    """The whole body; the connection can be used again.

    Raises:
        ProviderError: it is longer than `most_bytes` (TOO_LARGE).
    """
    parts: list[bytes] = []
    held = 0
    async with _chunks_of(response) as chunks:
        async for chunk in chunks:
            held += len(chunk)
            if held > most_bytes:
                raise _too_large(most_bytes, report)
            parts.append(chunk)
    return b"".join(parts)


async def read_events(
    response: httpx2.Response, most_bytes: int, report: Reporter, take: Callable[[Event], bool]
) -> None:
    """Give `take` the events of a streamed body, until it says True, that this was the last, or the body ends.

    Raises:
        ProviderError: the body is longer than `most_bytes` (TOO_LARGE), or no stream (FAILED, or what it says).
    """
    kind = response.headers.get("content-type", "")
    if "json" in kind or "html" in kind:  # an error page; a whole answer never comes here
        raise _no_stream(kind, await read_whole(response, most_bytes, report), report)
    parser = EventParser(max_event_bytes=most_bytes)  # which the count below never lets come true
    held = 0
    async with _chunks_of(response) as chunks:
        async for chunk in chunks:
            held += len(chunk)
            for event in parser.feed(chunk if held <= most_bytes else chunk[: most_bytes - held]):
                if take(event):
                    await _take_the_rest(chunks)
                    return
            if held > most_bytes:
                raise _too_large(most_bytes, report)


async def read_error_body(response: httpx2.Response) -> object:
    """What an error status came with, parsed if it is JSON; as much of it as came, also if it breaks off or stalls."""
    held = bytearray()
    async with _chunks_of(response) as chunks:
        with trio.move_on_after(ERROR_WITHIN_S), suppress(*TRANSPORT_ERRORS):
            async for chunk in chunks:
                held += chunk[:ERROR_BYTES]
                if len(held) >= ERROR_BYTES:
                    break
    body = bytes(held)
    if body[:1] in (b"{", b"["):
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(body)
    return body


def _too_large(most_bytes: int, report: Reporter) -> ProviderError:
    what = f"the answer is longer than max_response_bytes={most_bytes}"
    return report.failed(what, UNKNOWN_USAGE, Fault.TOO_LARGE)


def _no_stream(kind: str, body: bytes, report: Reporter) -> ProviderError:
    with suppress(orjson.JSONDecodeError):
        value = orjson.loads(body)
        if isinstance(value, dict) and "error" in value:
            return report.of_body(value)
    return report.failed(f"a stream was asked for, {kind} came: {report.shown(body)}")


@asynccontextmanager
async def _chunks_of(response: httpx2.Response) -> AsyncIterator[AsyncIterator[bytes]]:
    """The pieces of a body, decoded; closes the connection if they are not read to their end.

    What is not encoded is taken as it comes: each of the three generators that httpx2 (2.16) has between costs as much
    as the parsing.  It does not pass `aclose` on to its innermost one either, which would be left to the garbage
    collector: they come to their end by themselves once the connection is closed.
    """
    encoded = "content-encoding" in response.headers
    chunks = response.aiter_bytes() if encoded else aiter(response.stream)  # type: ignore[arg-type]
    try:
        yield chunks
    finally:
        await response.aclose()
        with suppress(*TRANSPORT_ERRORS):
            async for _ in chunks:
                pass


async def _take_the_rest(chunks: AsyncIterator[bytes]) -> None:
    """Take what may follow the terminal event, briefly: only a body read to its end leaves a usable connection."""
    with trio.move_on_after(LINGER_S), suppress(*TRANSPORT_ERRORS):
        async for _ in chunks:
            pass
