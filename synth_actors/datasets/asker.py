"""How are the questions of a block put to the engine, and what ends the whole job?

What an answer holds is for the block to say, what a failure means for the others is decided here: a single request
that fails for good leaves only its own rows missing, and whatever would fail all the next ones, too, stops the job.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import trio

from synth_actors.datasets.answers.salvage import Found, rows_in
from synth_actors.datasets.block import Ask, Block
from synth_actors.datasets.plan import Plan
from synth_actors.datasets.report import RowsTally
from synth_actors.errors import (
    ConfigError,
    EngineClosedError,
    GenerationError,
    OutputInvalidError,
    RateLimitedError,
    SynthActorsError,
)
from synth_actors.policy.cache_key import key_of
from synth_actors.providers.base import Fault, ProviderError

if TYPE_CHECKING:
    from synth_actors.engine import Engine
    from synth_actors.types import Request, Response, StopReason, Usage

FRUITLESS_TO_STOP = 10
"""Requests without a valid row while there was never one, beside two per place, after which the rest is not tried."""
NOT_COMPLETE = "the journal calls the job complete, but answers are missing in it; begin anew with --fork"
DRAINED = "the job was stopped before it was asked for"


@dataclass(frozen=True, slots=True)
class _Failed:
    """No answer came; `final` says that asking again is no use now."""

    problem: str
    final: bool
    error: SynthActorsError | None = None


_WITHDRAWN = _Failed(DRAINED, final=True)


@dataclass(frozen=True, slots=True)
class _Came:
    """A whole answer."""

    found: Found
    stop_reason: StopReason


class Record(Protocol):
    """What is written down of the questions: the journal of a job.  A `key` is that of the question's request."""

    when_ended: Callable[[bytes], None]

    @property
    def broken(self) -> SynthActorsError | None:
        """Why nothing new may begin; None while all is well."""
        ...

    def expect(self, key: bytes, block: int, ask: Ask, request: Request) -> None:
        """The engine is about to be asked."""
        ...

    def forget(self, key: bytes) -> None:
        """The asker has what it wants."""
        ...

    def withdraw(self, key: bytes) -> bool:
        """Let no call be made any more; False, and nothing, when a paid one is under way."""
        ...

    def answer_of(self, key: bytes) -> tuple[str, StopReason, Usage] | None:
        """The answer that was written down, whatever the engine made of it."""
        ...

    async def make_sure(self, key: bytes, response: Response) -> None:
        """Write a response down that had no call of its own."""
        ...


def _nothing() -> None:
    """Nobody wants to know."""


class Asker:
    """Asks for many blocks at once; `stopped_by` is the error that ended the job."""

    def __init__(
        self,
        engine: Engine | None,
        plan: Plan,
        tally: RowsTally,
        *,
        workers: int,
        journal: Record | None = None,
        on_stop: Callable[[], None] = _nothing,
    ) -> None:
        self.stopped_by: SynthActorsError | None = None
        self._engine = engine
        self._plan = plan
        self._tally = tally
        self._journal = journal
        self._on_stop = on_stop
        self._any_valid = tally.valid > 0
        self._fruitless = 0
        self._fruitless_to_stop = FRUITLESS_TO_STOP + workers
        self._draining = False
        self._scopes: dict[bytes, trio.CancelScope] = {}
        if journal is not None:
            journal.when_ended = self._call_ended

    @property
    def is_stopping(self) -> bool:
        """Whether nothing new is asked any more."""
        return self._draining or self.stopped_by is not None

    def drain(self) -> None:
        """Ask nothing more; calls that are out come to their end, since they may be paid."""
        self._draining = True
        for key, scope in list(self._scopes.items()):
            self._leave(key, scope)
        self._on_stop()

    def _call_ended(self, key: bytes) -> None:
        """A call brought no answer: while draining, it is not made again."""
        if self._draining and (scope := self._scopes.get(key)) is not None:
            self._leave(key, scope)

    def _leave(self, key: bytes, scope: trio.CancelScope) -> None:
        """Wait for an answer no longer, unless a paid call is out.

        The cancellation is felt only at the next checkpoint: until then the call could still be made.
        """
        if self._journal is None or self._journal.withdraw(key):
            scope.cancel()

    async def settle(self, number: int, block: Block) -> str | None:
        """Ask for what block `number` wants until it wants nothing more; else the reason why not."""
        try:
            return await self._settle(number, block)
        except SynthActorsError as exc:  # a function of the user's that makes a column; an engine that has ended
            self.stop(exc)
            return str(exc)

    async def _settle(self, number: int, block: Block) -> str | None:
        failures = 0
        while (ask := block.wanted()) is not None:
            if self.is_stopping:
                return DRAINED if self.stopped_by is None else str(self.stopped_by)
            failed = await self._put(number, block, ask)
            if failed is None:
                continue
            failures += 1
            if failed.final or failures >= self._plan.job.max_attempts:
                return failed.problem
        return None

    async def _put(self, number: int, block: Block, ask: Ask) -> _Failed | None:
        """Put one question; the block takes the answer."""
        request = self._plan.request(ask.rows, ask.sample, ask.problems, room=ask.room)
        self._tally.requests += 1
        made = len(block.made)
        answer = await self._ask(number, ask, request)
        if answer is _WITHDRAWN:  # it says nothing of the endpoints
            return answer
        if isinstance(answer, _Failed):
            self._tally.failed_requests += 1
            self._count_fruit(0, answer.problem, answer.error)
            return answer
        problem = block.take(answer.found, answer.stop_reason)
        came = len(block.made) - made
        self._tally.failed_requests += not came
        self._count_fruit(came, problem or "", None)
        return None

    async def _ask(self, number: int, ask: Ask, request: Request) -> _Came | _Failed:
        if self._engine is None:
            self.stop(ConfigError(NOT_COMPLETE))
            return _Failed(NOT_COMPLETE, final=True)
        key = key_of(request)
        with trio.CancelScope() as scope:
            self._scopes[key] = scope
            if self._journal is not None:
                self._journal.expect(key, number, ask, request)
            try:
                response = await self._engine.generate(request)
                self._tally.usage = self._tally.usage + response.usage
                if self._journal is not None:
                    await self._journal.make_sure(key, response)
                    came = self._journal.answer_of(key)
                    if came is not None and came[0] != response.text:  # the next run will find this one
                        return _Came(rows_in(came[0]), came[1])
                return _Came(response.data, response.stop_reason)
            except GenerationError as exc:
                self._add_usage(exc)
                if self._journal is not None and (came := self._journal.answer_of(key)) is not None:
                    return _Came(rows_in(came[0]), came[1])  # what is in the journal was answered
                return await self._failed(exc)
            except SynthActorsError as exc:
                self._add_usage(exc)
                self.stop(exc)
                return _Failed(
                    str(self.stopped_by), final=True, error=exc
                )  # the next one may say it with other numbers
            finally:
                del self._scopes[key]
                if self._journal is not None:
                    self._journal.forget(key)
        return _WITHDRAWN

    async def _failed(self, exc: GenerationError) -> _Failed:
        broken = None if self._journal is None else self._journal.broken
        if broken is not None:
            self.stop(broken)
            return _Failed(str(broken), final=True, error=broken)
        if self._journal is not None and _has_waited_in_vain(exc):
            self.stop(exc)  # what was closed to it is closed to all, and the journal lets the job go on later
        else:
            await self._stop_if_unusable(exc)
        return _Failed(str(exc), final=not exc.retryable or _has_waited_in_vain(exc), error=exc)

    def _add_usage(self, exc: SynthActorsError) -> None:
        if isinstance(exc, (GenerationError, EngineClosedError)) and exc.usage is not None:
            self._tally.usage = self._tally.usage + exc.usage

    def _count_fruit(self, rows: int, problem: str, error: SynthActorsError | None) -> None:
        """Stop when nothing ever came of many requests: the next ones would be paid for nothing."""
        self._any_valid = self._any_valid or rows > 0
        if self._any_valid:
            return
        self._fruitless += 1
        if self._fruitless >= self._fruitless_to_stop:
            none_valid = f"none of the first {self._fruitless} answers holds a valid row; the last one: {problem}"
            self.stop(error or OutputInvalidError(none_valid))

    async def _stop_if_unusable(self, exc: GenerationError) -> None:
        """Stop when no endpoint is left that could answer."""
        assert self._engine is not None
        endpoints = (await self._engine.metrics()).router.endpoints
        allowed = [endpoints[name] for name in self._plan.job.endpoints or endpoints]
        if all(each.state == "fatal" or (each.state != "open" and not each.successes) for each in allowed):
            self.stop(exc)

    def stop(self, exc: SynthActorsError) -> None:
        """Ask for nothing more; what runs is awaited, since it may be paid."""
        if self.stopped_by is None:
            self.stopped_by = exc
            self._on_stop()


def _has_waited_in_vain(exc: GenerationError) -> bool:
    """Whether the engine's patience with closed endpoints was used up; another try would wait as long again."""
    cause = exc.__cause__
    return isinstance(exc, RateLimitedError) or (isinstance(cause, ProviderError) and cause.fault is Fault.UNREACHABLE)
