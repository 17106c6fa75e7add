"""Do both transports understand the servers that are really out there?

uvicorn and hypercorn (and llama.cpp's own server, which speaks to the models that people run at home), plain and over
TLS: what a request says arrives, what the server says is understood, and connections are kept.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
import trio

from tests.servers import first_line, running
from tests.wire import real_servers
from tests.wire.certificates import Certificates
from tests.wire.transports import Wire

BODY = bytes(range(256)) * 4096  # 1 MiB: more than the buffers of both kernels together


@pytest.fixture(scope="module")
def addresses(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("real")
    pem = folder / "server.pem"
    certificates.right.private_key_and_cert_chain_pem.write_to_path(pem)
    with running([sys.executable, real_servers.__file__, str(pem)], folder) as process:
        yield json.loads(first_line(process, folder))


@pytest.fixture(params=["uvicorn", "hypercorn"])
def server_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(server_name: str, wire: Wire, addresses: dict[str, str]) -> str:
    return addresses[f"{server_name}-{'tls' if wire.tls else 'plain'}"]


async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 100_000):
        yield body[start : start + 100_000]


async def test_what_a_request_says_arrives_as_it_was_said(wire: Wire, url: str) -> None:
    async with wire.client() as client:
        answer = await client.put(f"{url}/echo?a=b%20c&d", content=BODY, headers={b"X-Own": "caf\xe9".encode()})
    came = answer.json()
    assert (came["method"], came["query"], came["body_bytes"]) == ("PUT", "a=b%20c&d", len(BODY))
    assert came["body_sha256"] == hashlib.sha256(BODY).hexdigest()
    headers = dict(came["headers"])
    assert (headers["host"], headers["content-length"]) == (url.split("/")[-1], str(len(BODY)))
    assert headers["x-own"].encode("latin-1").decode() == "caf\xe9"


async def test_a_body_of_unknown_length_arrives_in_chunks(wire: Wire, url: str) -> None:
    async with wire.client() as client:
        came = (await client.post(f"{url}/echo", content=in_pieces(BODY))).json()
    assert came["body_sha256"] == hashlib.sha256(BODY).hexdigest()
    assert dict(came["headers"])["transfer-encoding"] == "chunked"


async def test_one_connection_serves_request_after_request(wire: Wire, url: str) -> None:
    async with wire.client() as client:
        ports = {(await client.post(f"{url}/echo", content=b"x")).json()["client_port"] for _ in range(10)}
    assert len(ports) == 1


async def test_an_answer_in_pieces_is_whole_read_at_once_or_as_a_stream(wire: Wire, url: str) -> None:
    async with wire.client() as client:
        at_once = await client.get(f"{url}/pieces")
        async with client.stream("GET", f"{url}/pieces") as answer:
            streamed = b"".join([piece async for piece in answer.aiter_bytes()])
    assert at_once.content == streamed == b"".join(real_servers.PIECES)
    assert at_once.headers["transfer-encoding"] == "chunked"


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])  # httpx2 decodes br and zstd only with packages of their own
async def test_an_encoded_answer_is_decoded(wire: Wire, url: str, encoding: str) -> None:
    async with wire.client() as client:
        answer = await client.get(f"{url}/encoded/{encoding}")
    assert (answer.headers["content-encoding"], answer.content) == (encoding, real_servers.TEXT)


async def test_a_connection_that_the_server_closes_after_its_answer_is_not_used_again(wire: Wire, url: str) -> None:
    async with wire.client() as client:
        for _ in range(5):
            assert (await client.post(f"{url}/closing", content=b"x")).content == real_servers.TEXT


@pytest.mark.parametrize(("method", "status", "body"), [
    ("HEAD", 200, b""), ("POST", 204, b""), ("GET", 304, b""), ("POST", 500, real_servers.TEXT),
])  # fmt: skip
async def test_answers_without_a_body_leave_the_connection_as_it_was(
    wire: Wire, url: str, method: str, status: int, body: bytes
) -> None:
    async with wire.client() as client:
        before = (await client.get(f"{url}/echo")).json()["client_port"]
        answer = await client.request(method, f"{url}/status/{status}")
        after = (await client.get(f"{url}/echo")).json()["client_port"]
    assert (answer.status_code, answer.content) == (status, body)
    kept = not (wire.name == "lean" and method == "HEAD")  # as in test_conformance_framings.py
    assert (after == before) == kept


async def test_a_request_that_expects_100_continue_is_answered_once_its_body_came(wire: Wire, url: str) -> None:
    async with wire.client() as client:
        answer = await client.post(f"{url}/echo", content=BODY, headers={"Expect": "100-continue"})
    assert (answer.status_code, answer.json()["body_bytes"]) == (200, len(BODY))


async def test_forty_requests_at_once_get_each_its_own_answer(wire: Wire, url: str) -> None:
    answers: dict[int, dict[str, Any]] = {}

    async with wire.client() as client:

        async def ask(number: int) -> None:
            answers[number] = (await client.post(f"{url}/echo?{number}", content=b"x" * number)).json()

        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(ask, number)
    assert {number: (came["query"], came["body_bytes"]) for number, came in answers.items()} == {
        number: (str(number), number) for number in range(40)
    }


async def test_an_early_413_of_a_real_server_is_heard(wire: Wire, url: str, server_name: str) -> None:
    async with wire.client() as client:
        if (wire.name, wire.tls, server_name) == ("httpx2", True, "hypercorn"):  # it closes, and a write that failed
            with pytest.raises(httpx2.ReadError):  # leaves trio's SSLStream unreadable
                await client.post(f"{url}/refused", content=BODY * 4)
        else:
            answer = await client.post(f"{url}/refused", content=BODY * 4)
            assert (answer.status_code, answer.content) == (413, b"too large")
        assert (await client.post(f"{url}/echo", content=b"x")).status_code == 200
