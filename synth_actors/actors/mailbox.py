"""How does a message reach an actor, and how does the answer come back?

`tell` puts a message into the mailbox and never waits.  `offer` hands one over *inline*: when the actor is parked and
nothing is pending, its handler runs in the caller's turn, which costs no task switch.  Order stays exact, since an
inline message can overtake nothing, and a handler stays atomic, since an actor in the middle of one is not parked.
`send` is `offer`, else `tell`.  `ask` sends a message that carries its own `Reply` and waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any, Generic, TypeVar

import trio
from trio.lowlevel import enable_ki_protection

from synth_actors.reply import Failed, Reply
from synth_actors.snapshot import MailboxSnapshot

M = TypeVar("M")

MOST_WAITS = 8192
INLINE_RUN = 64
"""Inline asks in a row before a real checkpoint, so that a caller that only gets hits still lets others run."""


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
        self._peak = self._handled = self._inline = self._rested_at = self._dropped = 0
        self._wait_s = self._max_wait_s = self._handling_s = 0.0
        self.waits_dropped = 0
        self._waits: list[float] | None = None  # since they were asked for last; None: nobody asks

    @enable_ki_protection
    def tell(self, message: M) -> None:
        """Put a message into the mailbox, at once.

        After the actor has stopped, a message with a reply is answered with `EngineClosedError`, any other is counted
        as dropped.

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

        It would when something is pending, when the actor is in the middle of a turn, and when it is itself the caller.
        """
        deliver = self.deliver
        if deliver is None or self.pending:
            return False
        self._inline += 1
        deliver(message)
        return True

    @enable_ki_protection
    def send(self, message: M) -> None:
        """Inline if the order allows it, else into the mailbox.  Saves a task switch wherever an actor is idle."""
        deliver = self.deliver
        if deliver is None or self.pending:
            self.tell(message)
            return
        self._inline += 1  # as in `offer`, which would be one call more on the way of everything
        deliver(message)

    async def ask(self, message: Any) -> Any:
        """Tell `message`, which carries a `reply`, and wait for the answer.

        Raises:
            Exception: whatever the actor failed the reply with, each asker its own instance.
        """
        await self.breathe()
        self.send(message)
        value = await message.reply.wait()
        if isinstance(value, Failed):
            raise value.make()
        return value

    async def breathe(self) -> None:
        """The checkpoint before an inline ask: a cheap one, and a real one every `INLINE_RUN` inline asks."""
        if self._inline - self._rested_at >= INLINE_RUN:
            self._rested_at = self._inline
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

    def check_open(self) -> None:
        """Raise what later messages are refused with, once the actor has stopped."""
        if self._closed is not None:
            raise self._closed()

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
        if (waits := self._waits) is not None:
            if len(waits) < MOST_WAITS:
                waits.append(waited_s)
            else:
                self.waits_dropped += 1

    def take_waits(self) -> list[float]:
        """Seconds from tell to take, of the messages taken since this was last called, at most `MOST_WAITS` of them."""
        waits, self._waits = self._waits or [], []
        return waits

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
            dropped=self._dropped,
            mean_wait_s=self._wait_s / taken,
            max_wait_s=self._max_wait_s,
            mean_handling_s=self._handling_s / taken,
            restarts=restarts,
        )

    def __repr__(self) -> str:
        state = "closed" if self._closed else "parked" if self.deliver else "busy"
        return f"<Mailbox {self.name} {state} pending={self.pending} peak={self._peak}>"
