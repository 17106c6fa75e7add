"""What do the tests of the kernel tell and ask?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Any

import trio

from synth_actors.actors.actor import Actor, Decider, Worker
from synth_actors.actors.mailbox import Mailbox
from synth_actors.reply import Reply


class BugError(Exception):
    """What nobody foresaw."""


@dataclass(slots=True, eq=False)
class Note:
    """Something told, of which nobody expects an answer."""

    text: str


@dataclass(slots=True, eq=False)
class Question:
    """Something asked; "boom" crashes whoever handles it."""

    text: str
    reply: Reply[str] = field(default_factory=Reply)


class Echo(Decider[Any]):
    """Answers in capitals, keeps "later" for later, and remembers everything in `log`."""

    def __init__(self, name: str = "echo", capacity: float = inf) -> None:
        super().__init__(Mailbox(name, capacity))
        self.log: list[str] = []
        self.owed: list[Question] = []

    def handle(self, message: Note | Question) -> None:
        self.log.append(message.text)
        if message.text == "boom":
            raise BugError(message.text)
        if not isinstance(message, Question):
            return
        if message.text == "later":
            self.owed.append(message)
        else:
            message.reply.send(message.text.upper())

    def on_stop(self, unread: list[Any], cause: BaseException | None) -> None:
        owed, self.owed = self.owed, []
        super().on_stop(owed + unread, cause)


class Clerk(Worker[Any]):
    """Answers in capitals after `work_s` seconds, one question after the other."""

    def __init__(self, mailbox: Mailbox[Any] | None = None, work_s: float = 0.0) -> None:
        super().__init__(mailbox or Mailbox("clerk", inf))
        self.work_s = work_s
        self.log: list[str] = []

    async def handle(self, message: Note | Question) -> None:
        await trio.sleep(self.work_s)
        self.log.append(message.text)
        if message.text == "boom":
            raise BugError(message.text)
        if isinstance(message, Question):
            message.reply.send(message.text.upper())


@asynccontextmanager
async def running(*actors: Actor[Any]) -> AsyncIterator[trio.Nursery]:
    """The actors run and are parked; at the end they are cancelled and then stopped."""
    async with trio.open_nursery() as nursery:
        for actor in actors:
            nursery.start_soon(actor.run)
        await trio.testing.wait_all_tasks_blocked()
        yield nursery
        nursery.cancel_scope.cancel()
    for actor in actors:
        actor.stop(None)
