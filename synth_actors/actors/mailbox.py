"""How does a message reach an actor, and how does the answer come back?

`tell` puts a message into the mailbox and never waits.  `ask` tells a message that carries its own `Reply` and waits for
it.  `offer` hands a message over *inline*: when the actor is parked and nothing is pending, its handler runs in the
caller's turn, which costs no task switch.  Order stays exact, since an inline message can overtake nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any, Generic, Protocol, TypeVar

import trio
from trio.lowlevel import Abort, Task, enable_ki_protection

from synth_actors.errors import EngineClosedError
from synth_actors.snapshot import MailboxSnapshot

M = TypeVar("M")
R = TypeVar("R")

INLINE_RUN = 64
"""Inline asks in a row before a real checkpoint, so that a caller that only gets hits still lets others run."""


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

    __slots__ = ("_task", "_value")

    def __init__(self) -> None:
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
        return Abort.SUCCEEDED

    def __repr__(self) -> str:
        state = "answered" if self.answered else "awaited" if self._task else "open"
        return f"<Reply {state}>"


class Ask(Protocol[R]):
    """A message that wants an answer."""

    reply: Reply[R]


def closed_error(who: str, cause: BaseException | None) -> EngineClosedError:
    """A fresh `EngineClosedError` of one waiter, from the shared cause."""
    reason = f" by {type(cause).__name__}: {cause}" if cause is not None else ""
    error = EngineClosedError(f"{who} was closed{reason}")
    error.__cause__ = cause
    return error


class Mailbox(Generic[M]):
    """The address of an actor: a bounded trio memory channel, and the way around it.

    `pending` counts what was told and not yet taken.  An empty buffer would not be enough to allow inline delivery:
    `send_nowait` hands an item straight to a parked receiver, and then the buffer is empty while the item is under way.
    """

    def __init__(self, name: str, capacity: float) -> None:
        self.name = name
        self.pending = 0
        self.deliver: Callable[[M], None] | None = None  # set by the actor while it is parked and may be run inline
        self._send, self._receive = trio.open_memory_channel[tuple[float, M]](capacity)
        self._closed: Callable[[], Exception] | None = None
        self._peak = self._handled = self._inline = self._dropped = 0
        self._wait_s = self._max_wait_s = self._handling_s = 0.0

    @enable_ki_protection
    def tell(self, message: M) -> None:
        """Put a message into the mailbox, at once.

        After the actor has stopped, a message with a reply is answered with `EngineClosedError`, any other is counted as
        dropped.

        Raises:
            trio.WouldBlock: the mailbox is full.  Capacities are reckoned so that this is a bug, see `engine.py`.
        """
        if self._closed is not None:
            self._refuse(message)
            return
        self._send.send_nowait((perf_counter(), message))
        self.pending += 1
        if self.pending > self._peak:
            self._peak = self.pending

    @enable_ki_protection
    def offer(self, message: M) -> bool:
        """Run the actor's handler for `message` now, in the caller's turn; False when that would break the order.

        Must not be called from inside a handler.
        """
        deliver = self.deliver
        if deliver is None or self.pending:
            return False
        self._inline += 1
        deliver(message)
        return True

    async def ask(self, message: Any) -> Any:
        """Tell `message`, which carries a `reply`, and wait for the answer.

        Raises:
            Exception: whatever the actor failed the reply with, each asker its own instance.
        """
        await self.breathe()
        if not self.offer(message):
            self.tell(message)
        value = await message.reply.wait()
        if isinstance(value, Failed):
            raise value.make()
        return value

    async def breathe(self) -> None:
        """The checkpoint before an inline ask: a cheap one, and a real one every `INLINE_RUN` inline asks."""
        if self._inline % INLINE_RUN == INLINE_RUN - 1:
            self._inline += 1  # so that the next ask is past the mark even if it is not inline
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()

    async def receive(self) -> M:
        """Wait for the next message.  Only the actor itself calls this."""
        sent_at, message = await self._receive.receive()
        self._took(sent_at)
        return message

    def receive_nowait(self) -> M:
        """The next message.  Raises `trio.WouldBlock` when there is none."""
        sent_at, message = self._receive.receive_nowait()
        self._took(sent_at)
        return message

    def handled(self, count: int, elapsed_s: float) -> None:
        """Note that `count` messages took `elapsed_s` in the handler."""
        self._handled += count
        self._handling_s += elapsed_s

    def close(self, make: Callable[[], Exception]) -> list[M]:
        """Close for good and return what was not read; later messages are refused with `make()`."""
        self._closed = make
        self.deliver = None
        unread: list[M] = []
        while True:
            try:
                unread.append(self.receive_nowait())
            except trio.WouldBlock:
                return unread

    def _took(self, sent_at: float) -> None:
        self.pending -= 1
        waited_s = perf_counter() - sent_at
        self._wait_s += waited_s
        if waited_s > self._max_wait_s:
            self._max_wait_s = waited_s

    def _refuse(self, message: M) -> None:
        reply: Reply[Any] | None = getattr(message, "reply", None)
        if reply is not None and self._closed is not None:
            reply.fail(self._closed)
        else:
            self._dropped += 1

    def statistics(self, restarts: int = 0) -> MailboxSnapshot:
        """Depth, peak, waits and handling times so far; inline asks have no wait and are not timed."""
        taken = max(1, self._handled)
        return MailboxSnapshot(
            depth=self.pending,
            peak=self._peak,
            handled=self._handled,
            inline_asks=self._inline,
            mean_wait_s=self._wait_s / taken,
            max_wait_s=self._max_wait_s,
            mean_handling_s=self._handling_s / taken,
            restarts=restarts,
        )

    def __repr__(self) -> str:
        state = "closed" if self._closed else "parked" if self.deliver else "busy"
        return f"<Mailbox {self.name} {state} pending={self.pending} peak={self._peak}>"
