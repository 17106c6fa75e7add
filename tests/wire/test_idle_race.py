"""Is a request lost, or sent twice, when the server closes the idle connection that it was written on?

A thousand requests of fifty tasks to a server, a process of its own, that closes each connection a random moment after
an answer (`closing_server.py`).  Some closes cross a request on its way; what a client may do about them is exact: one
that the server cannot have read is sent again, one that had reached the server is not, since it may be paid for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import trio

from tests.conftest import Soak
from tests.servers import first_line, running
from tests.wire.certificates import Certificates
from tests.wire.transports import PATIENCE_S, Wire

TASKS = 50


@pytest.fixture
def closing_url(wire: Wire, soak: Soak, certificates: Certificates, tmp_path: Path) -> Iterator[str]:
    command = [sys.executable, str(Path(__file__).with_name("closing_server.py")), str(soak.seed)]
    if wire.tls:
        pem = tmp_path / "server.pem"
        certificates.right.private_key_and_cert_chain_pem.write_to_path(pem)
        command.append(str(pem))
    with running(command, tmp_path) as process:
        yield first_line(process, tmp_path)


async def ask_all(client: httpx2.AsyncClient, url: str, per_task: int) -> dict[str, httpx2.TransportError]:
    """Those that failed, by their path."""
    failed: dict[str, httpx2.TransportError] = {}

    async def ask(task: int) -> None:
        for number in range(per_task):
            path = f"/{task}/{number}"
            try:
                assert (await client.post(url + path)).text == path
            except httpx2.TransportError as exc:
                failed[path] = exc

    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.deadline = trio.current_time() + PATIENCE_S * (1 + per_task // 100)
        for task in range(TASKS):
            nursery.start_soon(ask, task)
    assert not nursery.cancel_scope.cancelled_caught, "a request had no end"
    return failed


async def test_a_request_that_crossed_the_end_of_its_connection_is_sent_again_unless_the_server_had_it(
    wire: Wire, closing_url: str, soak: Soak
) -> None:
    per_task = soak.count // 250  # 20 in `make test`
    async with wire.client(timeout=None) as client:  # as the engine has it
        failed = await ask_all(client, closing_url, per_task)
        report = (await client.get(f"{closing_url}/report")).json()
    answered, swallowed = report["answered"], report["swallowed"]
    assert min(report["closed_idle"], report["used_again"]) > TASKS, "there was a race"
    assert {*answered.values()} == {1}, "none was answered twice"
    assert {*swallowed.values()} <= {1}
    assert not answered.keys() & swallowed.keys(), "none that had reached the server was sent again"
    assert not failed.keys() & answered.keys()
    assert failed.keys() | answered.keys() == {
        f"/{task}/{number}" for task in range(TASKS) for number in range(per_task)
    }
    if wire.name == "httpx2":  # it never sends again: whatever crossed is lost, about one in eight here
        assert failed.keys() > swallowed.keys()
    else:
        assert failed.keys() == swallowed.keys()
