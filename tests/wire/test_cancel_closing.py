"""Whoever closes what another is using, at any moment: the transport, an answer, a body that fails."""

from __future__ import annotations

import httpx2
import trio
import trio.testing

from tests.wire.certificates import Certificates
from tests.wire.counted_server import serving
from tests.wire.stepping import Session, every_moment, generators_end, session
from tests.wire.test_cancel import Scenario, Work, over, scenarios


async def close_when(closing: trio.Event, transport: httpx2.AsyncBaseTransport) -> None:
    await closing.wait()
    await transport.aclose()


async def ending_of(work: Work, at: Session) -> type[Exception] | None:
    """How it ended: with an error of httpx2's, or whole (None)."""
    try:
        await work(at)
    except httpx2.TransportError as exc:
        return type(exc)
    return None


@over
@scenarios
async def test_the_transport_is_closed_at_any_moment_and_no_socket_outlives_it(
    scenario: Scenario, over: str, certificates: Certificates
) -> None:
    verify = certificates.client()
    endings: list[type[Exception] | None] = []
    async with serving(certificates.server() if over == "tls" else None) as server:
        for moment in every_moment(scenario.watch):
            async with session(server, verify, scenario.reuse(server)) as at, trio.open_nursery() as nursery:
                await scenario.before(at)
                nursery.start_soon(close_when, moment.came, at.transport)
                with generators_end(), moment:
                    endings.append(await ending_of(scenario.work, at))
                moment.came.set()
                await trio.testing.wait_all_tasks_blocked()
                assert at.idle == 0
                await at.check()
    assert endings[0] is not None
    assert endings[-1] is None
    servers_own = {httpx2.RemoteProtocolError} if scenario.closes_when_tried else set()
    assert set(endings) <= {None, httpx2.ConnectError, httpx2.ReadError, httpx2.WriteError, *servers_own}
