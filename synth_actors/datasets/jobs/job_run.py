"""How does a job go from its journal to its rows?

Makers ask for the blocks that are not settled; one reader takes all blocks in order, lets the judge find duplicates,
and hands the rows on.  What comes out is a function of the job and of the answers in the journal.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import trio

from synth_actors.datasets.asker import DRAINED, Asker
from synth_actors.datasets.block import Block
from synth_actors.datasets.jobs.board import Board
from synth_actors.datasets.jobs.journal import Journal
from synth_actors.datasets.jobs.journal_file import Standing
from synth_actors.datasets.jobs.journal_tables import Recorded
from synth_actors.datasets.jobs.judge import Dedup, Judge, Judged
from synth_actors.datasets.plan import Plan
from synth_actors.datasets.report import RowsReport, RowsTally
from synth_actors.datasets.row_schema import Invalid, RowSchema, Valid
from synth_actors.datasets.rows import LEAST_WINDOW, REQUESTS_PER_PLACE, WINDOW_PER_PLACE
from synth_actors.errors import SynthActorsError

if TYPE_CHECKING:
    from synth_actors.datasets.columns.columns import Columns
    from synth_actors.datasets.jobs.export import Export
    from synth_actors.engine import Engine

STOPPED = "the job was stopped at once; what was answered is in the journal"
ROWS_READ_AT_ONCE = 2048
"""Rows whose answers are read from the journal together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """What a job makes: its plan, what a row must be, which values it is given, what counts as a duplicate.

    `problem` says why a valid row cannot be written to the output, None when it can.
    """

    plan: Plan
    schema: RowSchema
    columns: Columns
    dedup: Dedup
    problem: Callable[[Any], str | None]


class JobRun:
    """One run of a job; `live` counts while rows are made, `tally` what was handed on, in order."""

    def __init__(
        self, making: Making, journal: Journal, before: Standing, *, engine: Engine | None, places: int, rounds: int
    ) -> None:
        plan = making.plan
        self.gave_up = False  # whether rows were tried as often as they may be
        self.live = RowsTally(plan.job.count, valid=before.valid)
        self.tally = RowsTally(plan.job.count)
        self._making = making
        self._plan = plan
        self._journal = journal
        self._begun = before.begun
        self._rounds = rounds
        self._workers = min(plan.requests, REQUESTS_PER_PLACE * places)
        self._board = Board(plan.requests, before.settled, max(LEAST_WINDOW, WINDOW_PER_PLACE * places))
        self._problems: dict[int, str] = {}  # why blocks are not settled
        self._chunk: dict[int, list[Recorded]] = {}
        self._chunk_end = 0
        self.asker = Asker(engine, plan, self.live, workers=self._workers, journal=journal, on_stop=self._board.stop)

    async def run(self, export: Export) -> None:
        """Make what is missing, and hand all blocks on in order.

        What `export` raises leaves after the calls that are out have ended, since they may be paid; only when nobody
        reads the rows any more, nobody waits for these.
        """
        judge = Judge(self._plan.requests, self._plan.job.rows_per_request, self._making.dedup)
        failed: OSError | SynthActorsError | None = None
        try:
            async with trio.open_nursery() as nursery:
                for _ in range(self._workers):
                    nursery.start_soon(self._make)

                def replace(judged: Judged) -> None:
                    nursery.start_soon(self._replace, judged)

                try:
                    await self._read(judge, replace, export)
                except (OSError, SynthActorsError) as exc:
                    failed = exc
                    self.asker.drain()
                    if isinstance(exc, BrokenPipeError):
                        nursery.cancel_scope.cancel()
        finally:
            judge.close()
        if failed is not None:
            raise failed

    async def _read(self, judge: Judge, replace: Callable[[Judged], None], export: Export) -> None:
        async def block_of(number: int) -> Block:
            if not self._board.is_ready(number):
                await export.idle()
            return await self._block(number)

        async with aclosing(judge.let_through(block_of, replace)) as blocks:
            async for judged in blocks:
                self._count(judged)
                await export.hand_on(judged)

    async def _make(self) -> None:
        while (number := await self._board.take()) is not None:
            block = self._new_block(number)
            problem = await self._settle(number, block)
            self.live.add(block.counts)
            self.live.valid += len(block.made)
            if problem is None:
                self._journal.settled(number, valid=len(block.made), missing=len(block.missing))
            else:
                self._problems[number] = problem
            self._board.put(number, block, settled=problem is None)

    async def _settle(self, number: int, block: Block) -> str | None:
        """Let the block ask all that it wants after its recorded answers; else the reason why not."""
        try:
            if number in self._begun:
                block.recall((await self._journal.answers(number, number + 1)).get(number, ()))
        except SynthActorsError as exc:  # the journal cannot be read
            self.asker.stop(exc)
            return str(exc)
        return await self.asker.settle(number, block)

    async def _replace(self, judged: Judged) -> None:
        assert judged.replaced is not None
        self._recount(judged)
        self.live.replaced += judged.refused
        if (problem := await self.asker.settle(judged.number, judged.block)) is not None:
            self._problems[judged.number] = problem
        self._recount(judged)
        judged.replaced.set()

    def _recount(self, judged: Judged) -> None:
        """Rows were refused, or have come, since this block was counted."""
        made = len(judged.block.made)
        self.live.valid += made - judged.counted
        judged.counted = made

    def _new_block(self, number: int) -> Block:
        return Block(
            self._plan.rows_of(number),
            self._check,
            max_attempts=self._rounds * self._plan.job.max_attempts,
            replacements=self._rounds * self._making.dedup.max_attempts,
        )

    def _check(self, row: int, value: Any) -> Valid | Invalid:
        verdict = self._making.schema.check(self._making.columns.fill(row, value))
        if isinstance(verdict, Valid) and (problem := self._making.problem(verdict.row)) is not None:
            return Invalid(problem)
        return verdict

    async def _block(self, number: int) -> Block:
        """Block `number`, as far as it comes in this run."""
        block = await self._board.get(number)
        if block is not None:
            return block
        block = self._new_block(number)
        block.recall(await self._recorded(number))
        if block.wanted() is not None and (problem := await self.asker.settle(number, block)) is not None:
            self._problems[number] = problem
        if not self._board.is_settled(number):
            self.live.valid += len(block.made)  # no maker has counted it
        return block

    async def _recorded(self, number: int) -> list[Recorded]:
        if not self._board.is_settled(number):
            return (await self._journal.answers(number, number + 1)).get(number, []) if number in self._begun else []
        if number >= self._chunk_end:
            most = max(1, ROWS_READ_AT_ONCE // self._plan.job.rows_per_request)
            self._chunk_end = self._board.settled_run(number, most)
            self._chunk = await self._journal.answers(number, self._chunk_end)
        return self._chunk.pop(number, [])

    def report(self) -> RowsReport:
        """What became of the rows that were handed on; when the job was stopped at once, of those that were made."""
        report = self.tally.report()
        if report.valid + report.missing == report.asked:
            return report
        live = self.live.report()
        missing = live.asked - live.valid
        return replace(live, missing=missing, missing_reasons={STOPPED: missing} if missing else {})

    def _count(self, judged: Judged) -> None:
        block, tally = judged.block, self.tally
        self._recount(judged)
        tally.add(block.counts)
        tally.valid += len(block.made)
        tally.duplicates += judged.duplicates
        tally.near_duplicates += judged.near_duplicates
        tally.kept_duplicates += 0 if self._making.dedup.exact else judged.duplicates
        tally.replaced += judged.replacements
        tally.requests += block.counts.asks
        tally.failed_requests += block.counts.useless
        self.gave_up = self.gave_up or bool(block.missing)
        for reason in block.unmade(self._problems.pop(judged.number, DRAINED)).values():
            tally.gave_up(1, reason)
