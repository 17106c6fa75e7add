"""A place under `max_connections` that one leaves, at any moment, is the next one's; and there are never more."""

from __future__ import annotations

import socket

import httpx2
import trio
import trio.testing

from synth_actors.wire.reuse import Reuse
from synth_actors.wire.transport import LeanTransport
from tests.stepping import every_cancellation
from tests.wire.certificates import Certificates
from tests.wire.counted_server import PATIENCE_S, serving
from tests.wire.stepping import Session, generators_end, open_files, session
from tests.wire.test_cancel import over


async def hold(at: Session, task_status: trio.TaskStatus[trio.Event]) -> None:
    """Have the only place until the event."""
    done = trio.Event()
    async with at.client.stream("GET", "/pieces/held") as response:
        task_status.started(done)
        await done.wait()
        await response.aread()


async def let_go(done: trio.Event) -> None:
    await trio.testing.wait_all_tasks_blocked()
    done.set()


@over
async def test_one_who_waits_for_a_place_is_cancelled_anywhere(over: str, certificates: Certificates) -> None:
    steps = 0
    async with serving(certificates.server() if over == "tls" else None) as server:
        for step in every_cancellation("any"):
            async with session(server, certificates.client(), Reuse()) as at:
                with generators_end():
                    async with trio.open_nursery() as nursery:
                        done = await nursery.start(hold, at)
                        nursery.start_soon(let_go, done)
                        with step:
                            assert (await at.client.get("/whole/1")).text == "whole"
                await at.check()
                await at.check_next()
            steps += 1
    assert steps >= 12


@over
async def test_one_who_has_the_place_is_cancelled_anywhere_and_who_waits_gets_it(
    over: str, certificates: Certificates
) -> None:
    steps = 0

    async def wait_for_it(at: Session) -> None:
        with trio.fail_after(PATIENCE_S):
            assert (await at.client.get("/whole/waiter")).text == "whole"

    async with serving(certificates.server() if over == "tls" else None) as server:
        for step in every_cancellation("own"):
            async with session(server, certificates.client(), Reuse()) as at:
                with generators_end():
                    async with trio.open_nursery() as nursery:
                        with step:
                            async with at.client.stream("POST", "/pieces/1", content=at.body()) as response:
                                nursery.start_soon(wait_for_it, at)
                                assert await response.aread() == b"onetwothree"
                assert step.cancelled or at.server.whole == {"/pieces/1": 1, "/whole/waiter": 1}
                await at.check()
            steps += 1
    assert steps >= 12


@over
async def test_all_who_wait_leave_or_are_answered_whoever_is_cancelled(over: str, certificates: Certificates) -> None:
    """Ten at one place; every third of them is cancelled, the first one while it has it."""
    async with (
        serving(certificates.server() if over == "tls" else None) as server,
        session(server, certificates.client(), Reuse()) as at,
    ):
        answered = []

        async def ask(number: int, scope: trio.CancelScope) -> None:
            with scope:
                answered.append((number, (await at.client.get(f"/pieces/{number}")).text))

        scopes = [trio.CancelScope() for _ in range(10)]
        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:
                for number, scope in enumerate(scopes):
                    nursery.start_soon(ask, number, scope)
                    await trio.lowlevel.checkpoint()
                for scope in scopes[::3]:
                    scope.cancel()
        await at.check()
        assert answered == [(number, "onetwothree") for number in range(10) if number % 3]


async def test_a_connection_that_is_coming_about_counts_under_max_connections(certificates: Certificates) -> None:
    files_before = open_files()
    limits = httpx2.Limits(max_connections=2, max_keepalive_connections=None, keepalive_expiry=None)
    async with serving(None) as first, serving(None) as second:
        with socket.create_server(("127.0.0.1", 0)) as deaf:  # the kernel connects, and nobody shakes hands
            transport = LeanTransport(certificates.client(), limits=limits)
            async with httpx2.AsyncClient(transport=transport, trust_env=False, timeout=PATIENCE_S) as client:
                await client.get(f"{first.url}/whole/1")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(client.get, f"https://127.0.0.1:{deaf.getsockname()[1]}/")
                    await trio.testing.wait_all_tasks_blocked()
                    await client.get(f"{second.url}/whole/1")
                    others = 3 + len(first.open) + len(second.open)  # three listen
                    assert open_files() - files_before - others <= 2
                    nursery.cancel_scope.cancel()
        await first.until_idle(0)
        await second.until_idle(0)
