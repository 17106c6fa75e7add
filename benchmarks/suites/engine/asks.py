"""What does it cost to ask an actor?

The bare loop is the leanest that public trio offers: `send_nowait` into a memory channel, an `Event` in the message for
the answer, a task that receives in a loop.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import trio

from benchmarks.case import Load, Measured
from benchmarks.timing import Loop, Spent, side_by_side, timed_callers, us_each
from synth_actors.actors.actor import Decider
from synth_actors.actors.mailbox import Mailbox
from synth_actors.reply import Reply


@dataclass(slots=True, eq=False)
class _Question:
    reply: Reply[int] = field(default_factory=Reply)


class _Answerer(Decider[_Question]):
    """Answers at once, so that only the way there and back is measured."""

    def handle(self, message: _Question) -> None:
        message.reply.send(1)


@dataclass(slots=True, eq=False)
class _BareQuestion:
    answered: trio.Event = field(default_factory=trio.Event)
    answer: int = 0


def by_mailbox(callers: int, load: Load) -> Measured:
    """An ask that goes through the mailbox, as it does whenever the actor has something to do."""
    operations = max(load.operations, callers)
    pair = side_by_side(
        load.repeat, partial(_by_mailbox, callers, operations), partial(_by_channel, callers, operations)
    )
    return Measured(
        value=us_each(pair.engine.cpu_s, callers, operations), bare=us_each(pair.bare.cpu_s, callers, operations)
    )


def inline(load: Load) -> Measured:
    """An ask of an actor that is idle: its handler runs in the caller's turn."""
    pair = side_by_side(load.repeat, partial(_inline, load.operations), partial(_by_channel, 1, load.operations))
    return Measured(
        value=us_each(pair.engine.cpu_s, 1, load.operations), bare=us_each(pair.bare.cpu_s, 1, load.operations)
    )


async def _by_mailbox(callers: int, operations: int) -> Spent:
    box: Mailbox[_Question] = Mailbox("answerer", callers)

    async def loop(count: int) -> None:
        for _ in range(count):  # what `ask` does when it may not be inline
            question = _Question()
            await box.breathe()
            box.tell(question)
            await question.reply.wait()

    return await _with_answerer(box, callers, operations, loop)


async def _inline(operations: int) -> Spent:
    box: Mailbox[_Question] = Mailbox("answerer", 1)

    async def loop(count: int) -> None:
        for _ in range(count):
            await box.ask(_Question())

    spent = await _with_answerer(box, 1, operations, loop)
    if box.statistics().inline_asks != operations:
        raise RuntimeError("not every ask was inline: this measures something else than it says")
    return spent


async def _with_answerer(box: Mailbox[_Question], callers: int, operations: int, loop: Loop) -> Spent:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_Answerer(box).run)
        spent = await timed_callers(callers, operations, loop)
        nursery.cancel_scope.cancel()
    return spent


async def _by_channel(callers: int, operations: int) -> Spent:
    send, receive = trio.open_memory_channel[_BareQuestion](callers)

    async def answer() -> None:
        async for question in receive:
            question.answer = 1
            question.answered.set()

    async def loop(count: int) -> None:
        for _ in range(count):
            question = _BareQuestion()
            send.send_nowait(question)
            await question.answered.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        spent = await timed_callers(callers, operations, loop)
        nursery.cancel_scope.cancel()
    return spent
