"""What if it is cancelled right here?  And here?  And here?

    for step in every_cancellation():
        async with open_engine(...) as engine:
            with step:
                await engine.generate("...")
            # now look: are all tokens back, does nobody wait?

The body is run again and again.  The first time what stands under `with step` is cancelled before it begins, then at
the first moment it can be, then at the second, ... until it completes without being cancelled: then the loop ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from types import TracebackType
from typing import Literal

import trio
from trio.lowlevel import Task

MOST_STEPS = 5_000
"""More than any work in these tests takes: beyond it the work does not end."""


class Step(trio.abc.Instrument):
    """A cancel scope that is cancelled at the moment `number`.

    The moments are two for each checkpoint of the task: when it has just parked, and when it is about to go on with
    what it waited for, so that only its next checkpoint, or `checkpoint_if_cancelled`, will notice.  With `watch="any"`
    the moments after each step of every other task count too: while an answer is under way in somebody's mailbox.
    """

    def __init__(self, number: int, watch: Literal["own", "any"]) -> None:
        self.number = number
        self.fired = False
        self.entered = False
        self.scope = trio.CancelScope()
        self._any = watch == "any"
        self._seen = 0
        self._task: Task | None = None

    @property
    def cancelled(self) -> bool:
        """Whether the work was ended by the cancellation; False when it completed all the same."""
        return self.scope.cancelled_caught

    def __enter__(self) -> Step:
        self.entered = True
        self._task = trio.lowlevel.current_task()
        self.scope.__enter__()
        if self.number == 0:
            self._fire()
        else:
            trio.lowlevel.add_instrument(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self.number:
            trio.lowlevel.remove_instrument(self)
        return bool(self.scope.__exit__(kind, exc, trace))

    def after_task_step(self, task: Task) -> None:
        """Called by trio when a task has yielded."""
        if self._any or task is self._task:
            self._tick()

    def before_task_step(self, task: Task) -> None:
        """Called by trio when a task is about to go on."""
        if task is self._task:
            self._tick()

    def _tick(self) -> None:
        self._seen += 1
        if self._seen == self.number:
            self._fire()

    def _fire(self) -> None:
        self.fired = True
        self.scope.cancel(reason=f"step {self.number}")


def every_cancellation(watch: Literal["own", "any"] = "own") -> Iterator[Step]:
    """One `Step` for every moment at which the work can be cancelled; the last one is never cancelled."""
    for number in count():
        step = Step(number, watch)
        yield step
        assert step.entered, "the body of the loop did not enter the step: it would run for ever"
        assert number < MOST_STEPS, "the work takes more steps every time, or never completes"
        if not step.fired:
            return
