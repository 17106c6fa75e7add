"""Ctrl-C at any moment: it leaves the program, the engine ends whole, and nobody who waits hangs."""

from __future__ import annotations

import contextlib
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import trio
import trio.testing
from trio.lowlevel import Task

import synth_actors
from synth_actors import Engine, EngineClosedError, EngineConfig, open_engine
from synth_actors.providers.base import Call
from synth_actors.testing import ScriptedProvider, Step
from tests.engine.support import idle_problems

PACKAGE = str(Path(synth_actors.__file__).parent)


class Program:
    """A program that uses everything at once, from its main task and from others that no cancellation reaches."""

    def __init__(self, script: Callable[[Call], Step]) -> None:
        self.provider = ScriptedProvider(script)
        self.engine: Engine | None = None
        self.ended: list[str] = []
        self.started = 0

    def run(self, instrument: trio.abc.Instrument | None = None) -> bool:
        """Run it; whether it was interrupted."""
        clock = trio.testing.MockClock(autojump_threshold=0)
        try:
            trio.run(self.main, clock=clock, instruments=() if instrument is None else (instrument,))
        except KeyboardInterrupt:
            return True
        except BaseExceptionGroup as group:
            if (rest := group.split(KeyboardInterrupt)[1]) is not None:
                raise rest from None
            return True
        return False

    async def main(self) -> None:
        config = EngineConfig(max_concurrency=3)
        async with trio.open_nursery() as others, open_engine(self.provider, config) as engine:
            self.engine = engine
            for prompt in ("same", "same", "x", "y", "z"):
                self.started += 1
                others.start_soon(self.other, prompt)
            await engine.generate("same")
            async with engine.stream("read") as stream:
                async for _chunk in stream:
                    pass
                await stream.response()
            await engine.generate_batch(["a", "b", "same"])
            await engine.metrics()

    async def other(self, prompt: str) -> None:
        """Nobody cancels this one, so it ends only if the engine answers."""
        assert self.engine is not None
        with trio.CancelScope(shield=True), trio.move_on_after(60) as scope:
            try:
                await self.engine.generate(prompt)
                self.ended.append("answered")
            except EngineClosedError:
                self.ended.append("closed")
            except KeyboardInterrupt:  # trio raises it in whichever task is at work, if it is not in the engine
                self.ended.append("interrupted")
                raise
        if scope.cancelled_caught:
            self.ended.append("hung")

    def check(self) -> None:
        assert "hung" not in self.ended
        assert len(self.ended) == self.started or self.engine is None
        if self.engine is not None:
            assert idle_problems(self.engine) == []
            assert self.provider.active == 0


def scripted(call: Call) -> Step:
    return Step(delay_s=1.0, chunks=2, gap_s=0.5)


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("nth", range(1, 9))
def test_in_a_provider(nth: int) -> None:
    program: Program

    def script(call: Call) -> Step:
        if len(program.provider.calls) == nth:
            press_ctrl_c()
        return scripted(call)

    program = Program(script)
    assert program.run() == (len(program.provider.calls) >= nth)
    program.check()


class AtStep(trio.abc.Instrument):
    """Presses Ctrl-C after the step `number` of whatever task."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.seen = 0

    def after_task_step(self, task: Task) -> None:
        self.seen += 1
        if self.seen == self.number:
            press_ctrl_c()


@pytest.mark.parametrize("first", [1, 2])
def test_after_any_step_of_any_task(first: int) -> None:
    number = first
    while True:
        program = Program(scripted)
        instrument = AtStep(number)
        interrupted = program.run(instrument)
        program.check()
        if instrument.seen < number:
            assert not interrupted
            break
        number += 4
    assert number > 50


class AtLine:
    """Presses Ctrl-C before the line `number` that is executed in the package; 0 counts only."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.seen = 0

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        if not frame.f_code.co_filename.startswith((PACKAGE, contextlib.__file__)):
            return None
        if event == "line":
            self.seen += 1
            if self.seen == self.number:
                press_ctrl_c()
        return self


def traced(program: Program, tracer: AtLine) -> bool:
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        return program.run()
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("seed", range(2))
def test_at_any_line_of_the_engine(seed: int) -> None:
    counting = AtLine(0)
    assert not traced(Program(scripted), counting)
    assert counting.seen > 1000
    chance = random.Random(seed)
    for number in sorted(chance.sample(range(1, counting.seen), 20)):
        program = Program(scripted)
        traced(program, AtLine(number))
        program.check()
