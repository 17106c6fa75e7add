"""How does a schema become exactly so many valid rows?

Each request asks for some rows by number; every row of the answer is checked by itself, and what is bad or missing is
asked for again.  Rows leave in the order of their numbers.  What cannot be made is reported, never padded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import trio
from pydantic import BaseModel

from synth_actors.datasets.in_order import InOrder
from synth_actors.datasets.plan import Plan, RowsJob
from synth_actors.datasets.report import RowsReport, RowsTally
from synth_actors.datasets.row_schema import Invalid, RowSchema, Valid, identity_of, whole_rows
from synth_actors.errors import (
    EngineClosedError,
    GenerationError,
    OutputInvalidError,
    RateLimitedError,
    SynthActorsError,
)
from synth_actors.providers.base import Fault, ProviderError
from synth_actors.scopes import nursery_for_body, whole_context
from synth_actors.types import Request

if TYPE_CHECKING:
    from synth_actors.engine import Engine

Row = TypeVar("Row")
Model = TypeVar("Model", bound=BaseModel)

REQUESTS_PER_PLACE = 2
"""Requests at once per place of the engine: one that waits before it tries again must not leave its place empty."""
WINDOW_PER_PLACE = 4
"""Requests that may be done ahead of a slow one, per place; bounds the rows held in memory."""
LEAST_WINDOW = 8
FRUITLESS_TO_STOP = 10
"""Requests without a valid row while there was never one, beside two per place, after which the rest is not tried."""

TOO_FEW = "the answer held too few rows"


class Rows(trio.abc.ReceiveChannel[Row]):
    """The rows of one `generate_rows`, by number.

    After the last row an error that stopped the whole job is raised instead of the end of the channel.
    """

    def __init__(self, maker: _Maker[Row]) -> None:
        self._maker = maker
        self._closed = False

    def __repr__(self) -> str:
        report = self.report
        return f"<Rows {report.valid}/{report.asked} valid, {report.missing} missing>"

    @property
    def report(self) -> RowsReport:
        """What became of the rows so far."""
        return self._maker.tally.report()

    @property
    def ready(self) -> int:
        """Rows that `receive` gives without waiting."""
        return self._maker.order.ready

    async def receive(self) -> Row:
        """The next row.

        Raises:
            trio.EndOfChannel: all rows that could be made were received; `report` says how many are missing, and why.
            BudgetExceededError, ConfigError, EngineClosedError, GenerationError: it stopped the whole job.  Every row
                that was paid has been received before.
        """
        if self._closed:
            raise trio.ClosedResourceError("these rows were closed")
        try:
            return await self._maker.order.receive()
        except trio.EndOfChannel:
            if self._maker.stopped_by is not None:
                raise self._maker.stopped_by from None
            raise

    def take_finished(self) -> list[Row]:
        """For whoever leaves early: the rows that are made but not received, by number, also beyond unfinished ones.

        Nothing more is made or received afterwards.
        """
        return self._maker.order.take_finished()

    async def aclose(self) -> None:
        """Receive no more rows."""
        self._closed = True
        self._maker.order.take_finished()
        await trio.lowlevel.checkpoint()


@overload
def generate_rows(
    engine: Engine,
    schema: type[Model],
    count: int,
    rows_per_request: int = 20,
    seed: int = 0,
    instructions: str | None = None,
    *,
    max_tokens: int | None = None,
    temperature: float | None = None,
    endpoints: Sequence[str] | None = None,
    max_attempts: int = 4,
) -> AbstractAsyncContextManager[Rows[Model]]: ...


@overload
def generate_rows(
    engine: Engine,
    schema: Mapping[str, Any],
    count: int,
    rows_per_request: int = 20,
    seed: int = 0,
    instructions: str | None = None,
    *,
    max_tokens: int | None = None,
    temperature: float | None = None,
    endpoints: Sequence[str] | None = None,
    max_attempts: int = 4,
) -> AbstractAsyncContextManager[Rows[Any]]: ...


def generate_rows(
    engine: Engine,
    schema: type[BaseModel] | Mapping[str, Any],
    count: int,
    rows_per_request: int = 20,
    seed: int = 0,
    instructions: str | None = None,
    *,
    max_tokens: int | None = None,
    temperature: float | None = None,
    endpoints: Sequence[str] | None = None,
    max_attempts: int = 4,
) -> AbstractAsyncContextManager[Rows[Any]]:
    """`count` valid rows that follow `schema`, as a channel: `async with generate_rows(...) as rows`.

    Rows are instances of `schema` when it is a pydantic model class, plain JSON values when it is a JSON Schema.
    Request number i asks for rows i * `rows_per_request` and on; bad or missing rows are asked for again, at most
    `max_attempts` times in all, each time as another sample.  The same seed and a server that answers the same give the
    same rows in the same order.  `max_tokens` is by default twice what the schema is expected to take, 512 to 32,000 a
    request.  `endpoints` names the endpoints to choose from.  Leaving the block early stops what only it awaits.

    Raises:
        ConfigError: the schema or a number is wrong; at the call, before anything is sent.
    """
    job = RowsJob(
        count=count,
        rows_per_request=rows_per_request,
        seed=seed,
        instructions=instructions,
        max_tokens=max_tokens,
        temperature=temperature,
        endpoints=None if endpoints is None else tuple(endpoints),
        max_attempts=max_attempts,
    )
    row_schema = RowSchema(schema)
    return _made(engine, row_schema, Plan(row_schema, job))


@whole_context
async def _made(engine: Engine, schema: RowSchema, plan: Plan) -> AsyncIterator[Rows[Any]]:
    places = engine.config.max_concurrency
    workers = min(plan.requests, REQUESTS_PER_PLACE * places)
    maker: _Maker[Any] = _Maker(
        engine, schema, plan, window=max(LEAST_WINDOW, WINDOW_PER_PLACE * places), workers=workers
    )
    async with nursery_for_body() as nursery:
        for _ in range(workers):
            nursery.start_soon(maker.work)
        yield Rows(maker)


@dataclass(slots=True)
class _Answer:
    """The raw rows of one request; `problem` is why there are not more, `final` says that asking again is no use."""

    values: list[Any]
    problem: str = TOO_FEW
    final: bool = False
    error: GenerationError | None = None


class _Maker(Generic[Row]):
    """Makes the rows of one job; `work` runs as several tasks."""

    def __init__(self, engine: Engine, schema: RowSchema, plan: Plan, *, window: int, workers: int) -> None:
        self.order: InOrder[Row] = InOrder(plan.requests, window)
        self.tally = RowsTally(plan.job.count)
        self.stopped_by: SynthActorsError | None = None
        self._engine = engine
        self._schema = schema
        self._plan = plan
        self._fruitless = 0
        self._fruitless_to_stop = FRUITLESS_TO_STOP + workers

    async def work(self) -> None:
        """Make the rows of one request after the other."""
        while (number := await self.order.take()) is not None:
            self.order.put(number, await self._make(list(self._plan.rows_of(number))))

    async def _make(self, wanted: list[int]) -> list[Row]:
        made: dict[int, Row] = {}
        hints: dict[int, str] = {}
        problems: dict[int, str] = {}
        for attempt in range(self._plan.job.max_attempts):
            missing = [row for row in wanted if row not in made]
            answer = await self._ask(self._plan.request(missing, attempt, hints))
            hints = self._sort(answer.values, missing, made, attempt)
            problems = {row: hints.get(row, answer.problem) for row in missing if row not in made}
            if problems and not self.tally.valid:
                self._count_fruitless(answer, next(iter(problems.values())))
            if not problems or answer.final or self.stopped_by is not None:
                break
        for problem in problems.values():
            self.tally.gave_up(1, problem)
        return [made[row] for row in wanted if row in made]

    def _sort(self, values: list[Any], missing: list[int], made: dict[int, Row], attempt: int) -> dict[int, str]:
        """Put the valid rows into `made`; what is wrong with the others comes back.  Rows not asked for are left."""
        problems: dict[int, str] = {}
        for row, value in zip(missing, values, strict=False):
            match self._schema.check(value):
                case Valid(found):
                    made[row] = found
                    self.tally.made(identity_of(found), repaired=attempt > 0)
                case Invalid(problem):
                    problems[row] = problem
                    self.tally.invalid += 1
        return problems

    async def _ask(self, request: Request) -> _Answer:
        self.tally.requests += 1
        try:
            response = await self._engine.generate(request)
        except OutputInvalidError as exc:
            self._count(exc)
            return _Answer(whole_rows(exc.partial), problem=str(exc), error=exc)
        except GenerationError as exc:
            self._count(exc)
            await self._stop_if_unusable(exc)
            return _Answer([], problem=str(exc), final=not exc.retryable or _has_waited_in_vain(exc), error=exc)
        except SynthActorsError as exc:
            self._count(exc)
            self._stop(exc)
            return _Answer([], problem=str(exc), final=True)
        self.tally.usage = self.tally.usage + response.usage
        return _Answer(response.data)

    def _count(self, exc: SynthActorsError) -> None:
        self.tally.failed_requests += 1
        if isinstance(exc, (GenerationError, EngineClosedError)) and exc.usage is not None:
            self.tally.usage = self.tally.usage + exc.usage

    def _count_fruitless(self, answer: _Answer, problem: str) -> None:
        """Stop when nothing ever came of many requests: the next ones would be paid for nothing."""
        self._fruitless += 1
        if self._fruitless >= self._fruitless_to_stop:
            none_valid = f"none of the first {self._fruitless} answers holds a valid row; the last one: {problem}"
            self._stop(answer.error or OutputInvalidError(none_valid))

    async def _stop_if_unusable(self, exc: GenerationError) -> None:
        """Stop when no endpoint is left that could answer."""
        endpoints = (await self._engine.metrics()).router.endpoints
        allowed = [endpoints[name] for name in self._plan.job.endpoints or endpoints]
        if all(each.state == "fatal" or (each.state != "open" and not each.successes) for each in allowed):
            self._stop(exc)

    def _stop(self, exc: SynthActorsError) -> None:
        """Ask for nothing more; what runs is awaited, since it may be paid."""
        if self.stopped_by is not None:
            return
        self.stopped_by = exc
        job = self._plan.job
        never_asked = max(0, job.count - self.order.taken * job.rows_per_request)
        self.order.stop()
        if never_asked:
            self.tally.gave_up(never_asked, str(exc))


def _has_waited_in_vain(exc: GenerationError) -> bool:
    """Whether the engine's patience with closed endpoints was used up; another try would wait as long again."""
    cause = exc.__cause__
    return isinstance(exc, RateLimitedError) or (isinstance(cause, ProviderError) and cause.fault is Fault.UNREACHABLE)
