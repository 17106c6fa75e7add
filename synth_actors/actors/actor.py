"""What is an actor?

A `Decider` has a plain `def handle`: atomic, it never waits, and it may be run inline in the turn of whoever asks.  A
`Worker` has an `async def handle`: it does the I/O and reports facts.  Both are started and stopped by the supervisor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import inf
from time import perf_counter
from typing import Generic, TypeVar

import trio
from trio.lowlevel import enable_ki_protection

from synth_actors.actors.mailbox import Mailbox
from synth_actors.reply import Reply, closed_error

M = TypeVar("M")


class Actor(ABC, Generic[M]):
    """A mailbox, and what is done with what comes out of it."""

    def __init__(self, mailbox: Mailbox[M]) -> None:
        self.mailbox = mailbox
        self._in_hand: list[M] = []  # taken and not yet handled to the end

    @property
    def name(self) -> str:
        """The mailbox's name, which is the actor's."""
        return self.mailbox.name

    @abstractmethod
    async def run(self) -> None:
        """Handle messages until cancelled.  May be called again after it raised: the mailbox has kept what was told."""

    @enable_ki_protection
    def stop(self, cause: BaseException | None) -> None:
        """Close the mailbox and answer what was not read, once `run` has ended.  A second call finds nothing to do."""
        unread = self._in_hand + self.mailbox.close(lambda: closed_error("the engine", cause))
        self._in_hand = []
        self.on_stop(unread, cause)

    def on_stop(self, unread: list[M], cause: BaseException | None) -> None:
        """Answer every reply that this actor still owes; `unread` was told and never handled."""
        for message in unread:
            self._fail_reply(message, cause)

    def give_up_in_hand(self, cause: BaseException) -> None:
        """Answer the message whose handling crashed, before this actor starts again."""
        for message in self._in_hand:
            self._fail_reply(message, cause)
        self._in_hand.clear()

    def _fail_reply(self, message: M, cause: BaseException | None) -> None:
        reply = getattr(message, "reply", None)
        if isinstance(reply, Reply) and not reply.answered:
            reply.fail(lambda: closed_error("the engine", cause))


class Decider(Actor[M]):
    """An actor whose handler is atomic.

    Its timer needs no task: one cancel scope stays open across receives and is entered anew only after it fired.  After
    every delivery, inline or not, its deadline follows `next_wakeup()`.
    """

    def __init__(self, mailbox: Mailbox[M]) -> None:
        super().__init__(mailbox)
        self._now = trio.lowlevel.current_clock().current_time  # a third of the price of `trio.current_time`
        self._timer = trio.CancelScope()
        self._deadline = inf
        self._crash: BaseException | None = None

    @abstractmethod
    def handle(self, message: M) -> None:
        """Decide.  An exception here is a bug: it ends the engine, or restarts the actor if it may be restarted."""

    def next_wakeup(self) -> float:
        """When `wake` is due, in trio time; `inf` for never."""
        return inf

    def wake(self) -> None:
        """Do what is due now."""

    @enable_ki_protection
    async def run(self) -> None:
        """Handle messages and wake up on time, until cancelled or until a handler raises."""
        self._crash = None
        while True:
            self._deadline = self.next_wakeup()
            try:
                with trio.CancelScope(deadline=self._deadline) as self._timer:
                    await self._receive_turns()
            except trio.Cancelled:
                if self._crash is None:
                    raise
            if self._crash is not None:  # it happened inline, in the turn of somebody else
                raise self._crash
            self.wake()
            if self.mailbox.pending:  # a timer that is always due must not keep them waiting
                self._turn(self.mailbox.receive_nowait())

    async def _receive_turns(self) -> None:
        box = self.mailbox
        while True:
            box.deliver = self._deliver_inline
            try:
                message = await box.receive()
            finally:
                box.deliver = None
            self._turn(message)

    def _turn(self, message: M) -> None:
        """Handle what was there when the turn began, never more: what comes meanwhile waits for the next turn."""
        box = self.mailbox
        count = box.pending + 1
        began = perf_counter()
        self._in_hand.append(message)
        self.handle(message)
        for _ in range(count - 1):
            self._in_hand[0] = message = box.receive_nowait()
            self.handle(message)
        self._in_hand.clear()
        box.handled(count, perf_counter() - began)
        if (due := self.next_wakeup()) != self._deadline:
            self._arm(due)

    @enable_ki_protection
    def _deliver_inline(self, message: M) -> None:
        box = self.mailbox
        box.deliver = None  # what the handler causes may come back here: it waits for its turn
        try:
            self.handle(message)
            if (due := self.next_wakeup()) != self._deadline:
                self._arm(due)
        except Exception as exc:  # noqa: BLE001  (a bug must end this actor's task, not the caller's)
            self._crash = exc
            self._fail_reply(message, exc)
            self._timer.cancel()
        else:
            box.deliver = self._deliver_inline

    def _arm(self, due: float) -> None:
        self._deadline = self._timer.deadline = due


class Worker(Actor[M]):
    """An actor that waits: one message at a time, handled to its end."""

    @abstractmethod
    async def handle(self, message: M) -> None:
        """Do the work and report it."""

    async def run(self) -> None:
        """Handle messages one by one until cancelled or until the handler raises."""
        while True:
            message = await self.mailbox.receive()
            began = perf_counter()
            self._in_hand.append(message)
            await self.handle(message)
            self._in_hand.clear()
            self.mailbox.handled(1, perf_counter() - began)
