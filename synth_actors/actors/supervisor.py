"""In which order do actors start and stop, and what happens when one crashes?

An actor with a restart budget is started again after a backoff; one without, or with none left, ends the engine: every
actor is stopped in order, so that everybody who waits is answered, and then the nursery is cancelled.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import trio
from trio.lowlevel import enable_ki_protection

from synth_actors.actors.actor import Actor
from synth_actors.policy.restart import RestartBudget
from synth_actors.snapshot import MailboxSnapshot

logger = logging.getLogger("synth_actors")


class _Child:
    """A supervised actor: its scope, its budget, and whether it has ended."""

    __slots__ = ("actor", "budget", "ended", "scope")

    def __init__(self, actor: Actor[Any], budget: RestartBudget | None) -> None:
        self.actor = actor
        self.budget = budget
        self.scope = trio.CancelScope(shield=True)  # actors end in their order, also when the engine is cancelled
        self.ended = trio.Event()


class Supervisor:
    """Runs actors in one nursery.  Actors that share a mailbox, such as a pool, have one name and stop together.

    `on_end` hears of the bug that ends the engine before anybody else does.
    """

    def __init__(self, nursery: trio.Nursery, on_end: Callable[[BaseException], None] | None = None) -> None:
        self.cause: BaseException | None = None  # the bug that ended the engine
        self._nursery = nursery
        self._on_end = on_end
        self._children: dict[str, list[_Child]] = {}

    def start(self, actor: Actor[Any], budget: RestartBudget | None = None) -> None:
        """Start an actor; with a `budget` it is started again when it crashes."""
        child = _Child(actor, budget)
        self._children.setdefault(actor.name, []).append(child)
        self._nursery.start_soon(self._supervise, child, name=f"synth_actors.{actor.name}")

    async def stop(self, name: str) -> None:
        """End the actors of that name and wait until they have; then answer what they left unread."""
        children = self._children.get(name, [])
        for child in children:
            child.scope.cancel()
        with trio.CancelScope(shield=True):  # they end at their next checkpoint, so this is short
            for child in children:
                await child.ended.wait()
        for child in children:
            self._stop(child)

    def statistics(self) -> dict[str, MailboxSnapshot]:
        """The mailboxes by actor name."""
        return {name: self._statistics(children) for name, children in self._children.items()}

    def take_waits(self) -> dict[str, list[float]]:
        """How long messages waited in the mailboxes since this was last called, in seconds, by actor name."""
        return {name: children[0].actor.mailbox.take_waits() for name, children in self._children.items()}

    @property
    def waits_dropped(self) -> int:
        """Waits that nobody asked for in time."""
        return sum(children[0].actor.mailbox.waits_dropped for children in self._children.values())

    @staticmethod
    def _statistics(children: list[_Child]) -> MailboxSnapshot:
        restarts = sum(child.budget.spent for child in children if child.budget)
        return children[0].actor.mailbox.statistics(restarts)

    @enable_ki_protection
    async def _supervise(self, child: _Child) -> None:
        try:
            with child.scope:
                await self._run(child)
        except trio.Cancelled:
            raise
        except BaseException as exc:  # noqa: BLE001  (the one place that catches what nobody foresaw, a SystemExit too)
            self._end(_without_cancelled(exc))
        finally:
            child.ended.set()
            if self.cause is not None:  # what it still took after `_end` had stopped it is answered too
                self._stop(child)

    async def _run(self, child: _Child) -> None:
        while True:
            try:
                return await child.actor.run()
            except Exception as exc:  # likewise: a crash is judged here and nowhere else
                delay_s = child.budget.spend(trio.current_time()) if child.budget else None
                if delay_s is None:
                    raise
                child.actor.give_up_in_hand(exc)
                logger.warning("%s crashed and starts again in %.2f s", child.actor.name, delay_s, exc_info=exc)
            await trio.sleep(delay_s)

    def _end(self, cause: BaseException) -> None:
        """A bug ends the engine: answer everybody, then cancel everything."""
        if self.cause is None:
            self.cause = cause
        if self._on_end is not None:
            self._on_end(self.cause)
        self.kill()
        self._nursery.cancel_scope.cancel()

    @enable_ki_protection
    def kill(self) -> None:
        """Answer everybody and cancel every actor, at once and in no order; those that were stopped already stay so."""
        for children in self._children.values():
            for child in children:
                self._stop(child)
                child.scope.cancel()

    def _stop(self, child: _Child) -> None:
        try:
            child.actor.stop(self.cause)
        except Exception as exc:  # a bug in one `on_stop` must not keep the other actors from being stopped
            logger.error("%s could not answer everybody when it was stopped", child.actor.name, exc_info=exc)
            if self.cause is None:
                self.cause = exc

    def __repr__(self) -> str:
        state = "ended" if self.cause else "running"
        return f"<Supervisor {state} actors={sum(map(len, self._children.values()))}>"


def _without_cancelled(exc: BaseException) -> BaseException:
    """What was really raised: the cancellations beside it are answered by the end of the engine."""
    if not isinstance(exc, BaseExceptionGroup):
        return exc
    rest = exc.split(trio.Cancelled)[1]
    return exc if rest is None else rest
