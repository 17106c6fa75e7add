"""How does a schema become exactly so many valid rows?

Each request asks for some rows by number; every row of the answer is checked by itself, and what is bad or missing is
asked for again.  Rows leave in the order of their numbers.  What cannot be made is reported, never padded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import trio
from pydantic import BaseModel

from synth_actors.datasets.asker import Asker
from synth_actors.datasets.block import TOO_FEW, Block
from synth_actors.datasets.in_order import InOrder
from synth_actors.datasets.plan import Plan, RowsJob
from synth_actors.datasets.report import RowsReport, RowsTally
from synth_actors.datasets.row_schema import Invalid, RowSchema, Valid, identity_of
from synth_actors.scopes import nursery_for_body, whole_context

if TYPE_CHECKING:
    from synth_actors.engine import Engine

Row = TypeVar("Row")
Model = TypeVar("Model", bound=BaseModel)

REQUESTS_PER_PLACE = 2
"""Requests at once per place of the engine: one that waits before it tries again must not leave its place empty."""
WINDOW_PER_PLACE = 4
"""Requests that may be done ahead of a slow one, per place; bounds the rows held in memory."""
LEAST_WINDOW = 8


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
            if self._maker.asker.stopped_by is not None:
                raise self._maker.asker.stopped_by from None
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


class _Maker(Generic[Row]):
    """Makes the rows of one job; `work` runs as several tasks."""

    def __init__(self, engine: Engine, schema: RowSchema, plan: Plan, *, window: int, workers: int) -> None:
        self.order: InOrder[Row] = InOrder(plan.requests, window)
        self.tally = RowsTally(plan.job.count)
        self.asker = Asker(engine, plan, self.tally, workers=workers, on_stop=self._stop)
        self._schema = schema
        self._plan = plan

    async def work(self) -> None:
        """Make the rows of one request after the other."""
        while (number := await self.order.take()) is not None:
            self.order.put(number, await self._make(number))

    async def _make(self, number: int) -> list[Row]:
        rows = self._plan.rows_of(number)
        block = Block(rows, self._check, max_attempts=self._plan.job.max_attempts)
        problem = await self.asker.settle(number, block)
        self.tally.add(block.counts)
        made = [block.made[row] for row in rows if row in block.made]
        for row in made:
            self.tally.made(identity_of(row))
        for reason in block.unmade(problem or TOO_FEW).values():
            self.tally.gave_up(1, reason)
        return made

    def _check(self, _row: int, value: Any) -> Valid | Invalid:
        return self._schema.check(value)

    def _stop(self) -> None:
        """Take no more requests; what runs is awaited, since it may be paid."""
        job = self._plan.job
        never_asked = max(0, job.count - self.order.taken * job.rows_per_request)
        self.order.stop()
        if never_asked:
            self.tally.gave_up(never_asked, str(self.asker.stopped_by))
