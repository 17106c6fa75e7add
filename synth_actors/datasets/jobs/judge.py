"""Which rows repeat others, and when is that decided?

Duplicates are judged in the order of the rows, and what replaces them a fixed number of blocks later: the sequence is a
function of the job and of the answers, whatever came first.  So the same rows are replaced after any interruption, and
replacements are asked for while later blocks are judged.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

import trio

from synth_actors.datasets.block import Block
from synth_actors.datasets.duplicates.distinct import Distinct, Duplicate
from synth_actors.datasets.row_schema import plain_value

LAG_ROWS = 8192
"""How many rows later a replacement is judged.  Another number here is another order for every job."""


@dataclass(slots=True, kw_only=True)
class Judged:
    """A block on its way through the judge; `duplicates` are the rows of it that were found to repeat others."""

    number: int
    block: Block
    duplicates: int = 0
    near_duplicates: int = 0
    refused: int = 0  # the last time
    replacements: int = 0  # that were asked for
    accepted: set[int] = field(default_factory=set)
    counted: int = 0  # valid rows of it in the figures
    rounds: int = 0
    replaced: trio.Event | None = None  # set when the answers that replace its duplicates are there


@dataclass(frozen=True, slots=True, kw_only=True)
class Dedup:
    """What to do about duplicates: with `exact` or `near` off, those are counted and stay."""

    exact: bool
    near: float | None
    max_attempts: int


class Judge:
    """Lets blocks through in order, when all their rows are accepted or given up."""

    def __init__(self, total: int, rows_per_block: int, dedup: Dedup) -> None:
        self._total = total
        self._lag = max(1, LAG_ROWS // rows_per_block)
        self._dedup = dedup
        self._distinct = Distinct(near=dedup.near)
        self._waiting: dict[int, Judged] = {}  # in order
        self._due: dict[int, list[Judged]] = {}  # by the step at which their replacements are judged

    def close(self) -> None:
        """Forget all rows."""
        self._distinct.close()

    async def let_through(
        self, block_of: Callable[[int], Awaitable[Block]], replace: Callable[[Judged], None]
    ) -> AsyncGenerator[Judged, None]:
        """The blocks in order.  `replace` is told of a block with rows to be asked for anew, and sets its event."""
        step = 0
        while step < self._total or self._due:
            if step < self._total:
                block = await block_of(step)
                judged = Judged(number=step, block=block, counted=len(block.made))
                self._waiting[step] = judged
                self._judge(judged, replace)
            for judged in sorted(self._due.pop(step, ()), key=lambda each: each.number):
                assert judged.replaced is not None
                await judged.replaced.wait()
                judged.replaced = None
                self._judge(judged, replace)
            for judged in self._passed():
                yield judged
            step = step + 1 if step + 1 < self._total or not self._due else min(self._due)

    def _judge(self, judged: Judged, replace: Callable[[Judged], None]) -> None:
        block = judged.block
        made = [row for row in block.rows if row in block.made and row not in judged.accepted]
        new = [(row, plain_value(block.made[row])) for row in made]
        duplicates = self._distinct.judge(new)
        judged.duplicates += sum(not each.near for each in duplicates.values())
        judged.near_duplicates += sum(each.near for each in duplicates.values())
        refused = [row for row, duplicate in duplicates.items() if self._refuses(duplicate)]
        judged.accepted.update(set(made).difference(refused))
        judged.refused = len(refused)
        given_up = len(block.missing)
        block.reject(refused)
        judged.replacements += len(refused) - (len(block.missing) - given_up)
        if refused and (block.wanted() is not None or self._is_new(judged)):
            judged.rounds += 1
            judged.replaced = trio.Event()
            self._due.setdefault(judged.number + judged.rounds * self._lag, []).append(judged)
            replace(judged)

    def _is_new(self, judged: Judged) -> bool:
        """Whether recorded answers have replaced rows already: they are judged at their step like all others."""
        return any(row not in judged.accepted for row in judged.block.made)

    def _refuses(self, duplicate: Duplicate) -> bool:
        return self._dedup.near is not None if duplicate.near else self._dedup.exact

    def _passed(self) -> list[Judged]:
        passed = []
        while self._waiting:
            first = next(iter(self._waiting))
            if self._waiting[first].replaced is not None:
                break
            passed.append(self._waiting.pop(first))
        return passed
