"""What does trio itself cost here, today?"""

from __future__ import annotations

import trio

from benchmarks.case import Load, Measured
from benchmarks.timing import timed, us_each


def checkpoint(load: Load) -> Measured:
    """One `trio.lowlevel.checkpoint()`."""

    async def loop() -> None:
        for _ in range(load.operations):
            await trio.lowlevel.checkpoint()

    spent = trio.run(timed, loop)
    return Measured(value=us_each(spent.cpu_s, 1, load.operations))


def two_switches(load: Load) -> Measured:
    """To another task and back through two memory channels: the floor of an ask by messages with one caller."""
    return Measured(value=trio.run(_ping_pong, load.operations))


async def _ping_pong(rounds: int) -> float:
    ping_send, ping_receive = trio.open_memory_channel[None](1)
    pong_send, pong_receive = trio.open_memory_channel[None](1)

    async def answer() -> None:
        async for _ in ping_receive:
            pong_send.send_nowait(None)

    async def loop() -> None:
        for _ in range(rounds):
            ping_send.send_nowait(None)
            await pong_receive.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        spent = await timed(loop)
        nursery.cancel_scope.cancel()
    return us_each(spent.cpu_s, 1, rounds)
