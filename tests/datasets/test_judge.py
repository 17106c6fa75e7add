"""Does the judge let the same rows through, whenever the answers come that replace duplicates?"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from random import Random
from typing import Any

import orjson
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_actors.datasets.answers.salvage import rows_in
from synth_actors.datasets.block import DUPLICATE, Block
from synth_actors.datasets.jobs import judge
from synth_actors.datasets.jobs.judge import Dedup, Judge, Judged
from synth_actors.datasets.row_schema import Valid
from synth_actors.types import StopReason

EXACT = Dedup(exact=True, near=None, max_attempts=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Blocks of `size` rows; a value is one of `variety`, drawn from `seed` for each row and sample."""

    seed: int
    total: int
    size: int
    lag: int
    variety: int
    dedup: Dedup = EXACT

    def value(self, row: int, sample: int) -> Any:
        return {"v": Random(f"{self.seed}/{row}/{sample}").randrange(self.variety)}

    def rows(self, number: int) -> range:
        return range(number * self.size, (number + 1) * self.size)

    def answer(self, rows: tuple[int, ...], sample: int) -> str:
        return orjson.dumps({"rows": [self.value(row, sample) for row in rows]}).decode()


CASES = st.builds(
    Case,
    seed=st.integers(0, 10**6),
    total=st.integers(1, 12),
    size=st.integers(1, 4),
    lag=st.integers(1, 5),
    variety=st.integers(1, 60),
    dedup=st.sampled_from([EXACT, Dedup(exact=True, near=None, max_attempts=0)]),
)


def naive(case: Case) -> dict[int, Any]:
    """The rows that come through, by number: judged in order, and what replaces them `lag` blocks later."""
    accepted: dict[int, Any] = {}
    due: defaultdict[int, list[tuple[int, list[int], int]]] = defaultdict(list)
    for step in range(case.total + case.lag * (case.dedup.max_attempts + 1)):
        new = [(step, list(case.rows(step)), 0)] if step < case.total else []
        for number, rows, sample in new + sorted(due[step]):
            again = []
            for row in rows:
                value = case.value(row, sample)
                if value not in accepted.values():
                    accepted[row] = value
                elif sample < case.dedup.max_attempts:
                    again.append(row)
            if again:
                due[number + (sample + 1) * case.lag].append((number, again, sample + 1))
    return accepted


@dataclass(frozen=True, slots=True)
class Told:
    """An answer as a journal keeps it."""

    rows: tuple[int, ...]
    sample: int
    text: str
    stop_reason: StopReason = "end"


class Court:
    """Lets the blocks of a case through; the replacements take as long as `slow` draws."""

    def __init__(self, case: Case, slow: Random, told: list[Told]) -> None:
        self.case, self.slow, self.told = case, slow, told
        self.asked: list[Told] = []
        self.passed: list[Judged] = []

    def answer(self, block: Block) -> None:
        while (ask := block.wanted()) is not None:
            self.asked.append(told := Told(ask.rows, ask.sample, self.case.answer(ask.rows, ask.sample)))
            block.take(rows_in(told.text), "end")

    async def block_of(self, number: int) -> Block:
        await trio.lowlevel.checkpoint()
        rows, most = self.case.rows(number), self.case.dedup.max_attempts
        block = Block(rows, lambda row, value: Valid(value), max_attempts=1, replacements=most)
        block.recall(each for each in self.told if each.rows[0] in rows)
        self.answer(block)
        return block

    async def replace(self, judged: Judged) -> None:
        for _ in range(self.slow.randrange(20)):
            await trio.lowlevel.checkpoint()
        self.answer(judged.block)
        assert judged.replaced is not None
        judged.replaced.set()

    async def run(self) -> dict[int, Any]:
        judge = Judge(self.case.total, self.case.size, self.case.dedup)
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                async for judged in judge.let_through(
                    self.block_of, lambda judged: nursery.start_soon(self.replace, judged)
                ):
                    self.passed.append(judged)
        judge.close()
        return {row: value for judged in self.passed for row, value in judged.block.made.items()}


async def court_of(case: Case, seed: int = 0, told: list[Told] | None = None) -> Court:
    court = Court(case, Random(seed), told or [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "LAG_ROWS", case.lag * case.size)
        made = await court.run()
    assert [judged.number for judged in court.passed] == list(range(case.total))
    assert made == naive(case)
    for judged in court.passed:
        assert judged.block.made.keys() | judged.block.missing.keys() == set(case.rows(judged.number))
        assert set(judged.block.missing.values()) <= {DUPLICATE}
    return court


@given(CASES, st.integers(0, 10**6))
@settings(max_examples=150)
async def test_the_same_rows_come_through_as_by_judging_one_after_the_other(case: Case, slow: int) -> None:
    court = await court_of(case, slow)
    replaced = sum(judged.replacements for judged in court.passed)
    assert replaced == sum(len(each.rows) for each in court.asked if each.sample > 0)
    missing = sum(len(judged.block.missing) for judged in court.passed)
    assert sum(judged.duplicates for judged in court.passed) == replaced + missing
    assert sum(judged.near_duplicates for judged in court.passed) == 0


@given(CASES, st.integers(0, 10**6), st.data())
@settings(max_examples=100)
async def test_recorded_replacements_lead_to_the_same_and_are_not_asked_for_again(
    case: Case, slow: int, data: st.DataObject
) -> None:
    first = await court_of(case)
    known = data.draw(st.lists(st.sampled_from(first.asked), unique=True))
    second = await court_of(case, slow, known)
    assert {(each.rows, each.sample) for each in second.asked}.isdisjoint((each.rows, each.sample) for each in known)
    assert len(second.asked) + len(known) == len(first.asked)
    for one, other in zip(first.passed, second.passed, strict=True):
        assert (one.duplicates, one.replacements) == (other.duplicates, other.replacements)


TEXTS = [
    "The parcel from Lyon arrived on Tuesday morning with a broken seal and a wet box, so she sent it back at once.",
    "The parcel from Lyon arrived on Tuesday morning with a broken seal and a wet box, so she sent it back at last.",
    "Nobody had told the new night porter that the lift stops between the floors whenever it rains in the valley.",
]


async def counts_of(dedup: Dedup, texts: list[str]) -> tuple[int, int, list[str]]:
    """Exact and near duplicates found, and the texts that came through, of blocks of one row."""
    judging = Judge(len(texts), 1, dedup)

    async def block_of(number: int) -> Block:
        await trio.lowlevel.checkpoint()
        block = Block([number], lambda row, value: Valid(value), max_attempts=1)
        block.take(rows_in(orjson.dumps({"rows": [{"text": texts[number]}]}).decode()), "end")
        return block

    passed = [judged async for judged in judging.let_through(block_of, lambda judged: None)]
    judging.close()
    made = [row["text"] for judged in passed for row in judged.block.made.values()]
    return sum(each.duplicates for each in passed), sum(each.near_duplicates for each in passed), made


@pytest.mark.parametrize(
    ("exact", "near", "kept"),
    [(True, 0.8, [0, 2]), (False, 0.8, [0, 2, 0]), (True, None, [0, 1, 2]), (False, None, [0, 1, 2, 0])],
)
async def test_what_is_switched_off_is_counted_and_stays(exact: bool, near: float | None, kept: list[int]) -> None:
    dedup = Dedup(exact=exact, near=near, max_attempts=0)
    duplicates, near_duplicates, made = await counts_of(dedup, [*TEXTS, TEXTS[0]])
    assert made == [TEXTS[number] for number in kept]
    assert duplicates == 1
    assert near_duplicates == (0 if near is None else 1)


async def test_a_block_waits_for_its_replacements_and_holds_back_those_after_it() -> None:
    case = Case(seed=0, total=4, size=1, lag=2, variety=1)
    court = Court(case, Random(0), [])
    waiting: list[Judged] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "LAG_ROWS", 2)
        judging = Judge(4, 1, case.dedup)
    blocks = judging.let_through(court.block_of, waiting.append)
    assert (await anext(blocks)).number == 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(anext, blocks)
        await trio.testing.wait_all_tasks_blocked()
        assert [judged.number for judged in waiting] == [1, 2, 3], "block 1 is judged again at the step of block 3"
        nursery.cancel_scope.cancel()
    await blocks.aclose()
    judging.close()
