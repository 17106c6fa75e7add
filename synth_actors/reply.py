"""How does an answer reach the one who waits for it?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import trio
from trio.lowlevel import Abort, Task, enable_ki_protection

from synth_actors.errors import EngineClosedError, text_of
from synth_actors.usage import Usage

R = TypeVar("R")


class _Empty:
    """The value of a reply that was not answered yet."""


_EMPTY = _Empty()


class Failed:
    """A failure travels as a value: every waiter makes its own exception from `make`, so that none is shared."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], Exception]) -> None:
        self.make = make


class Reply(Generic[R]):
    """A slot for one answer and at most one parked task.

    The abort function only clears the slot: rescheduling a task that was cancelled would end the whole trio run.
    """

    __slots__ = ("_task", "_value", "is_leaving")

    def __init__(self) -> None:
        self.is_leaving = False  # the wait was aborted: most likely nobody takes the answer
        self._value: R | Failed | _Empty = _EMPTY
        self._task: Task | None = None

    @property
    def answered(self) -> bool:
        """Whether `send` or `fail` was called."""
        return self._value is not _EMPTY

    @enable_ki_protection
    def send(self, value: R | Failed) -> None:
        """Answer.  Raises `RuntimeError` if it was answered before: a reply is answered exactly once."""
        if self._value is not _EMPTY:
            raise RuntimeError("this reply was answered before")
        self._value = value
        self.nudge()

    def fail(self, make: Callable[[], Exception]) -> None:
        """Answer with a failure; the waiter raises its own `make()`."""
        self.send(Failed(make))

    @enable_ki_protection
    def nudge(self) -> None:
        """Wake whoever is parked in `park`, answered or not."""
        task = self._task
        if task is not None:
            self._task = None
            trio.lowlevel.reschedule(task)

    async def park(self) -> None:
        """Wait for the next `send`, `fail` or `nudge`.  Cancellation leaves the reply as it is."""
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    async def wait(self) -> R | Failed:
        """The answer or the failure, as a value.  No checkpoint when it is there already."""
        while self._value is _EMPTY:
            await self.park()
        return self._value  # type: ignore[return-value]

    def take(self) -> R | Failed | None:
        """The answer or the failure if it is there, else None."""
        return None if self._value is _EMPTY else self._value  # type: ignore[return-value]

    def _abort(self, _raise_cancel: Callable[[], Any]) -> Abort:
        self._task = None
        self.is_leaving = True
        return Abort.SUCCEEDED

    def __repr__(self) -> str:
        state = "answered" if self.answered else "awaited" if self._task else "open"
        return f"<Reply {state}>"


class ReplyThen(Reply[R]):
    """A reply that calls `then` when it is answered, whether anybody waits for it or not; None for nothing."""

    __slots__ = ("then",)

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__()
        self.then: Callable[[], None] | None = then

    @enable_ki_protection
    def send(self, value: R | Failed) -> None:
        """Answer, and say so."""
        super().send(value)
        then, self.then = self.then, None
        if then is not None:
            then()


def closed_error(who: str, cause: BaseException | None, usage: Usage | None = None) -> EngineClosedError:
    """A fresh `EngineClosedError` of one waiter, from the shared cause."""
    reason = f" by {type(cause).__name__}: {text_of(cause)}" if cause is not None else ""
    error = EngineClosedError(f"{who} was closed{reason}", usage=usage)
    error.__cause__ = cause
    return error
