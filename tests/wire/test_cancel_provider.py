"""A call of a provider that is cancelled at any moment: its connection is closed, its place free, nothing is left."""

from __future__ import annotations

import zlib
from pathlib import Path

import orjson
import pytest
import trio

from synth_actors import Endpoint, Request
from synth_actors.providers.base import Call
from synth_actors.providers.http_client import Transport
from synth_actors.providers.openai_compatible import OpenAICompatibleProvider
from synth_actors.wire.transport import LeanTransport
from tests.stepping import Step, every_cancellation
from tests.wire.certificates import Certificates
from tests.wire.counted_server import PATIENCE_S, Answer, CountedServer, chunked, serving, whole
from tests.wire.stepping import generators_end, open_files

CALL = Call(request=Request(prompt="?"), json_schema=None)


def event(**choice: object) -> bytes:
    return b"data: " + orjson.dumps({"model": "m", "choices": [{"index": 0, **choice}]}) + b"\n\n"


EVENTS = [event(delta={"content": "one"}), event(delta={"content": "two"}, finish_reason="stop"), b"data: [DONE]\n\n"]
OBJECT = orjson.dumps({"choices": [{"index": 0, "message": {"content": "onetwo"}, "finish_reason": "stop"}]})


def packed(pieces: list[bytes]) -> list[bytes]:
    """The pieces as they leave a server that packs them, each as soon as it is there."""
    packer = zlib.compressobj(wbits=31)
    return [*(packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in pieces), packer.flush()]


SSE = b"text/event-stream"
JSON = b"application/json"
PACKED = b"content-encoding: gzip\r\n"
ANSWERS = {
    "whole": Answer(pieces=(whole(OBJECT, JSON),)),
    "stream": Answer(pieces=chunked(EVENTS, SSE)),
    "stream-packed": Answer(pieces=chunked(packed(EVENTS), SSE, PACKED)),
}

WAYS = [("lean", "plain"), ("lean", "tls"), ("httpx2", "plain")]
"""Not httpx2's own transport over TLS: cancelled while it shakes hands, it leaves its socket to the garbage collector
(httpcore2 2.16, `start_tls`: `except Exception`)."""


@pytest.mark.parametrize(("transport", "over"), WAYS)
@pytest.mark.parametrize("answer", ANSWERS)
async def test_a_call_is_cancelled_anywhere_and_leaves_nothing(
    transport: Transport, over: str, answer: str, certificates: Certificates, tmp_path: Path
) -> None:
    authority = tmp_path / "authority.pem"
    certificates.authority.cert_pem.write_to_path(str(authority))
    steps = 0
    async with serving(certificates.server() if over == "tls" else None, **ANSWERS) as server:
        endpoint = Endpoint(provider="openai", model="m", base_url=f"{server.url}/{answer}", verify=str(authority))
        for step in every_cancellation("any"):
            await check_step(step, OpenAICompatibleProvider(endpoint, transport), server, streamed="stream" in answer)
            steps += 1
    assert steps >= 12


async def check_step(step: Step, provider: OpenAICompatibleProvider, server: CountedServer, *, streamed: bool) -> None:
    files_before = open_files()
    texts: list[str] = []
    emit = texts.append if streamed else None
    with generators_end(), step:
        assert (await provider.generate(CALL, emit)).text == "onetwo"
        assert texts == (["one", "two"] if streamed else [])
    sockets = open_files() - files_before - len(server.open)
    assert sockets <= (not step.cancelled), "the connection of a call that was cancelled is open"
    if isinstance(lean := provider._http._transport, LeanTransport):
        assert f"0 active, {sockets} idle" in repr(lean)
    await server.until_idle(sockets)
    assert server.whole.total() <= 1
    with trio.fail_after(PATIENCE_S):
        assert (await provider.generate(CALL, emit)).text == "onetwo"
    server.whole.clear()
    await provider.aclose()
    assert open_files() - len(server.open) == files_before
    await server.until_idle(0)
