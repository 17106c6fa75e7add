"""A program that blocks the loop, on a real clock: the only one on which that can be seen."""

from __future__ import annotations

import time

import trio

from synth_actors import Engine, open_engine
from synth_actors.testing import ScriptedProvider, Step
from tests.analysis.planted import config, found

BLOCKED_S = 0.06
"""A little above the first level: a machine that is slow only makes it longer."""
CALLERS = 20


async def ask(engine: Engine, caller: int) -> None:
    for number in range(5):
        await engine.generate(f"caller {caller}, number {number}")


async def block(times: int) -> None:
    for _ in range(times):
        time.sleep(BLOCKED_S)  # noqa: ASYNC251  (that is what is planted)
        await trio.lowlevel.checkpoint()


async def test_a_program_that_blocks_the_loop_is_told_so() -> None:
    provider = ScriptedProvider(lambda _call: Step(delay_s=0.005))
    async with open_engine([provider], config()) as engine:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(block, 20)
            for caller in range(CALLERS):
                nursery.start_soon(ask, engine, caller)
        finding = found("loop_is_blocked", await engine.metrics())
    assert finding.evidence["mailbox_wait_max_s"] >= BLOCKED_S
    assert "to_thread" in finding.remedy
