"""A program that blocks the loop, on a real clock: the only one on which that can be seen."""

from __future__ import annotations

import time

import trio

from synth_actors import Engine, Snapshot, analyze, open_engine
from synth_actors.testing import ScriptedProvider, Step, simulate
from tests.analysis.planted import config, found

BLOCKED_S = 0.11
"""The timer of 0.25 s is then late by 0.08 s each time; a machine that is slow only makes it longer."""
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
            nursery.start_soon(block, 16)
            for caller in range(CALLERS):
                nursery.start_soon(ask, engine, caller)
        finding = found("loop_is_blocked", await engine.metrics())
    assert finding.evidence["mailbox_wait_max_s"] >= BLOCKED_S
    assert finding.evidence["late_mean_s"] >= 0.05
    assert "to_thread" in finding.remedy


async def test_a_reader_that_blocks_is_not_sold_more_places() -> None:
    provider = ScriptedProvider(lambda _call: Step(delay_s=0.02))
    async with open_engine([provider], config(max_concurrency=20)) as engine:
        async with engine.batch(f"row {number}" for number in range(120)) as outcomes:
            async for outcome in outcomes:
                if outcome.index % 20 == 0:
                    time.sleep(0.3)  # noqa: ASYNC251  (that is what is planted)
        report = analyze(await engine.metrics())
    assert [finding.rule for finding in report.bottlenecks] == ["loop_is_blocked"]


def test_under_a_simulated_clock_nothing_is_late_whatever_blocks() -> None:
    async def run() -> Snapshot:
        async with open_engine([ScriptedProvider(lambda _call: Step(delay_s=0.1))], config()) as engine:
            async with trio.open_nursery() as nursery:
                for caller in range(CALLERS):
                    nursery.start_soon(ask, engine, caller)
                time.sleep(BLOCKED_S)  # noqa: ASYNC251  (messages lie in mailboxes for so long, in real time)
            await trio.sleep(10.0)
            return await engine.metrics()

    snapshot = simulate(run)
    assert snapshot.loop.looks >= 30
    assert snapshot.loop.late == 0
    assert snapshot.loop.elapsed_s < snapshot.taken_at_s
    assert analyze(snapshot).bottlenecks == ()
