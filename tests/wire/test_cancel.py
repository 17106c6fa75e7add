"""A request that is cancelled at any moment: no socket, place, generator or half a request stays behind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import pytest

from synth_actors.wire.reuse import Reuse
from tests.stepping import every_cancellation
from tests.wire.certificates import Certificates
from tests.wire.counted_server import CountedServer, serving
from tests.wire.stepping import ClosesWhenTried, Session, generators_end, session

LARGE = b"x" * (128 * 1024)
"""More than the buffers of both kernels take while nobody reads."""

Work = Callable[[Session], Awaitable[None]]


async def small(at: Session) -> None:
    assert (await at.client.post("/whole/1", content=b"small")).text == "whole"


async def large(at: Session) -> None:
    assert (await at.client.post("/late/1", content=LARGE)).text == "whole"


async def refused(at: Session) -> None:
    assert (await at.client.post("/refused/1", content=LARGE)).status_code == 413


async def streamed(at: Session) -> None:
    async with at.client.stream("GET", "/pieces/1") as response:
        assert [piece async for piece in response.stream] == [b"one", b"two", b"three"]  # type: ignore[union-attr]


async def both(at: Session) -> None:
    assert (await at.client.post("/pieces/1", content=at.body())).text == "onetwothree"


async def nothing(at: Session) -> None:
    """The work is the first request."""


async def first(at: Session) -> None:
    assert (await at.client.get("/whole/first")).text == "whole"
    assert at.idle == 1


async def again(at: Session) -> None:
    """Written on a connection that was closed behind the last look at it, and so once more, on a new one."""
    await small(at)
    assert repr(at.reuse) == "<Reuse 1 of 2 found closed>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is cancelled, and what has happened before; `fewest`: so many moments there are at least.

    `watch`: with "any" also while others take their steps; a server takes many to read a large body, all alike.
    """

    work: Work
    before: Work = nothing
    watch: Literal["own", "any"] = "any"
    fewest: int = 12
    closes_when_tried: bool = False

    def reuse(self, server: CountedServer) -> Reuse:
        """What the transport asks before it uses a connection again."""
        return ClosesWhenTried(server) if self.closes_when_tried else Reuse()


SCENARIOS = {
    "small": Scenario(work=small),
    "large": Scenario(work=large, watch="own"),
    "refused": Scenario(work=refused),
    "streamed": Scenario(work=streamed),
    "both": Scenario(work=both),
    "second": Scenario(work=small, before=first, fewest=6),
    "again": Scenario(work=again, before=first, fewest=15, closes_when_tried=True),
}


over = pytest.mark.parametrize("over", ["plain", "tls"])
scenarios = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)


@over
@scenarios
async def test_a_request_is_cancelled_anywhere_and_leaves_nothing(
    scenario: Scenario, over: str, certificates: Certificates
) -> None:
    verify = certificates.client()
    steps = 0
    async with serving(certificates.server() if over == "tls" else None) as server:
        for step in every_cancellation(scenario.watch):
            async with session(server, verify, scenario.reuse(server)) as at:
                await scenario.before(at)
                with generators_end(), step:
                    await scenario.work(at)
                await at.check()
                await at.check_next()
            steps += 1
    assert steps >= scenario.fewest
