"""Does the journal know what was asked, what was answered, and what may be on the bill?"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from synth_actors.datasets.block import Ask
from synth_actors.datasets.jobs.journal import Journal, Tariff
from synth_actors.datasets.jobs.journal_file import (
    JobChangedError,
    Standing,
    journal_of,
    open_journal,
    read_standing,
    remove,
    set_aside,
    standing,
)
from synth_actors.datasets.jobs.journal_tables import Recorded, rows_of_text, rows_text
from synth_actors.errors import EngineClosedError, SynthActorsError
from synth_actors.storage.errors import LockedError
from synth_actors.types import NO_USAGE, Answer, Request, Response, Timings, Usage
from tests.storage.support import names

TARIFF = Tariff(free=frozenset({"local"}), most_usd=lambda request, endpoint: 2.0)
JOB = {"version": 1, "job": {"seed": 0, "count": 10}}
KEY = b"k" * 16
ASK = Ask((0, 1, 2), 0, {}, 1)
REQUEST = Request(prompt="p")
PAID = Usage(input_tokens=3, output_tokens=4, cost_usd=0.5)


def opened(
    path: Path, job: Mapping[str, Any] = JOB, tariff: Tariff = TARIFF
) -> AbstractAsyncContextManager[tuple[Journal, Standing]]:
    return open_journal(path, job, tariff, durability="process")


def answer(text: str = "[]") -> Answer:
    return Answer(text=text, stop_reason="end", endpoint="paid", model="m")


async def ask(
    journal: Journal, key: bytes = KEY, *, block: int = 0, question: Ask = ASK, endpoint: str = "paid", attempt: int = 1
) -> None:
    """A call is out."""
    journal.expect(key, block, question, REQUEST)
    await journal.before_send(key, attempt, endpoint)


async def now(journal: Journal) -> Standing:
    await journal.flush()
    return await journal.read(standing)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return journal_of(tmp_path / "rows.jsonl")


async def test_a_paid_call_is_written_down_before_it_is_made_and_gone_with_its_answer(path: Path) -> None:
    async with opened(path) as (journal, before):
        assert (before.job, before.is_empty, before.runs) == (None, True, 0)
        await ask(journal)
        (call,) = read_standing(path).uncertain
        assert (call.run, call.rows, call.attempt, call.endpoint) == (1, "1-3", 1, "paid")
        assert (call.most_usd, call.ended, call.cost_usd) == (2.0, None, None)
        assert journal.calls_out == 1
        await journal.received(KEY, 1, answer("text"), PAID)
        after = read_standing(path)
        assert (after.answers, after.uncertain, after.usage) == (1, (), PAID)
        assert journal.calls_out == 0
        assert journal.answer_of(KEY) == ("text", "end", PAID)
        assert await journal.answers(0, 1) == {0: [Recorded((0, 1, 2), 0, "text", "end", "paid", "m", PAID)]}
    assert read_standing(path).models == {"paid (m)": 1}


async def test_a_free_call_is_not_written_down_and_its_answer_is(path: Path) -> None:
    async with opened(path) as (journal, _):
        await ask(journal, endpoint="local")
        assert journal.calls_out == 0
        await journal.received(KEY, 1, answer(), NO_USAGE)
        after = await now(journal)
        assert (after.answers, after.uncertain) == (1, ())


@pytest.mark.parametrize(("free", "left"), [(True, 0), (False, 1)])
async def test_a_call_that_failed_stays_on_the_list_unless_it_was_certainly_free(
    path: Path, free: bool, left: int
) -> None:
    heard: list[bytes] = []
    async with opened(path) as (journal, _):
        journal.when_ended = heard.append
        await ask(journal)
        journal.ended(KEY, 1, "500: " + 1000 * "x", Usage(output_tokens=9, cost_usd=0.25), free=free)
        after = await now(journal)
        assert len(after.uncertain) == left
        assert heard == [KEY]
        if left:
            (call,) = after.uncertain
            assert call.ended == ("500: " + 1000 * "x")[:500]
            assert (call.cost_usd, after.usage.cost_usd, after.usage.output_tokens) == (0.25, 0.25, 9)


async def test_what_was_spent_at_most_counts_a_call_once(path: Path) -> None:
    """A call of which a part is known to be used may have cost its most, not both together."""
    async with opened(path) as (journal, _):
        await ask(journal)
        journal.ended(KEY, 1, "broken off", Usage(cost_usd=0.5), free=False)
        await ask(journal, b"other")
        await journal.received(b"other", 1, answer(), Usage(cost_usd=0.125))
        await ask(journal, b"third")
        assert (await now(journal)).spent_usd == 2.0 + 0.125 + 2.0


async def test_a_call_that_was_cancelled_while_its_intent_was_written_is_not_on_the_list(path: Path) -> None:
    async with opened(path) as (journal, _):
        journal.expect(KEY, 0, ASK, REQUEST)
        with trio.CancelScope() as scope:
            scope.cancel()
            await journal.before_send(KEY, 1, "paid")
        assert scope.cancelled_caught
        journal.ended(KEY, 1, "cancelled", NO_USAGE, free=False)
        assert (await now(journal)).uncertain == ()


async def test_an_answer_that_comes_after_its_asker_has_left_is_written_down(path: Path) -> None:
    async with opened(path) as (journal, _):
        await ask(journal)
        journal.forget(KEY)
        await journal.received(KEY, 1, answer("late"), PAID)
        after = await now(journal)
        assert (after.answers, after.uncertain) == (1, ())
        assert "asking=0" in repr(journal), "nothing is left of it in memory"


async def test_a_question_is_withdrawn_only_while_no_paid_call_for_it_is_out(path: Path) -> None:
    async with opened(path) as (journal, _):
        journal.expect(KEY, 0, ASK, REQUEST)
        assert journal.withdraw(KEY)
        with pytest.raises(EngineClosedError, match="it was not made"):
            await journal.before_send(KEY, 1, "paid")
        journal.forget(KEY)
        await ask(journal)
        assert not journal.withdraw(KEY)
        await journal.received(KEY, 1, answer(), PAID)
        assert (await now(journal)).answers == 1


async def test_nothing_is_sent_for_a_question_that_nobody_asks(path: Path) -> None:
    async with opened(path) as (journal, _):
        with pytest.raises(EngineClosedError, match="it was not made"):
            await journal.before_send(KEY, 1, "paid")
        journal.ended(KEY, 1, "never sent", NO_USAGE, free=True)
        assert (await now(journal)).is_empty


async def test_the_same_question_asked_again_after_a_failure_keeps_one_answer_and_the_call_that_failed(
    path: Path,
) -> None:
    async with opened(path) as (journal, _):
        await ask(journal)
        journal.ended(KEY, 1, "broken off", NO_USAGE, free=False)
        await journal.before_send(KEY, 2, "paid")
        await journal.received(KEY, 2, answer("second"), PAID)
        after = await now(journal)
        assert (after.answers, [call.attempt for call in after.uncertain]) == (1, [1])


async def test_an_answer_without_a_call_of_its_own_is_written_down_too(path: Path) -> None:
    async with opened(path) as (journal, _):
        journal.expect(KEY, 0, ASK, REQUEST)
        timings = Timings(queue_s=0.0, ttft_s=None, service_s=0.0, total_s=0.0)
        response = Response(
            answer=answer("cached"), data=None, usage=NO_USAGE, source="cache", attempts=0, number=1, timings=timings
        )
        await journal.make_sure(KEY, response)
        assert [each.text for each in (await journal.answers(0, 1))[0]] == ["cached"]
        await ask(journal)
        await journal.received(KEY, 1, answer("called"), PAID)
        await journal.make_sure(KEY, response)
        assert (await now(journal)).answers == 1


@given(st.lists(st.integers(0, 300), min_size=1, max_size=40, unique=True))
def test_numbers_of_rows_as_a_person_reads_them_can_be_read_back(rows: list[int]) -> None:
    ordered = tuple(sorted(rows))
    assert rows_of_text(rows_text(ordered)) == ordered
    assert rows_of_text(rows_text(rows)) == tuple(rows)


@pytest.mark.parametrize(
    ("rows", "text"),
    [((0,), "1"), ((0, 1), "1-2"), (range(20), "1-20"), ((2, 6, 7, 8), "3,7-9"), ((1, 0), "2,1"), ((4, 6), "5,7")],
)
def test_numbers_of_rows_are_counted_from_one(rows: tuple[int, ...], text: str) -> None:
    assert rows_text(rows) == text


async def test_answers_are_found_by_block_with_their_text_as_it_came(path: Path) -> None:
    texts = ["", "\ud800 half a pair", "\x00", "ש" * 10_000]
    async with opened(path) as (journal, _):
        for block, text in enumerate(texts):
            for sample in (0, 1):
                await ask(journal, b"%d/%d" % (block, sample), block=block, question=Ask((block,), sample, {}, 1))
                await journal.received(b"%d/%d" % (block, sample), 1, answer(text), PAID)
        found = await journal.answers(1, 3)
    assert sorted(found) == [1, 2]
    for block, recorded in found.items():
        assert sorted((each.rows, each.sample, each.text) for each in recorded) == [
            ((block,), sample, texts[block]) for sample in (0, 1)
        ]


async def test_blocks_are_settled_when_no_row_is_missing_and_begun_when_they_want_more(path: Path) -> None:
    async with opened(path) as (journal, _):
        for block in range(4):
            await ask(journal, b"%d" % block, block=block, question=Ask((block,), 0, {}, 1))
            await journal.received(b"%d" % block, 1, answer(), PAID)
        journal.settled(0, valid=20, missing=0)
        journal.settled(1, valid=19, missing=1)
        journal.settled(2, valid=18, missing=2)
        journal.settled(2, valid=20, missing=0)
        after = await now(journal)
    assert (list(after.settled), set(after.begun), after.valid) == ([0, 2], {1, 3}, 40)


async def test_costs_are_unknown_when_one_of_them_is(path: Path) -> None:
    async with opened(path) as (journal, _):
        for number, cost_usd in enumerate([0.5, None]):
            await ask(journal, b"%d" % number, question=Ask((number,), 0, {}, 1))
            await journal.received(b"%d" % number, 1, answer(), Usage(input_tokens=1, cost_usd=cost_usd))
            usage = (await now(journal)).usage
            assert (usage.input_tokens, usage.cost_usd) == (number + 1, 0.5 if cost_usd else None)
        assert (await now(journal)).spent_usd == 0.5 + 2.0, "what has no known cost counts at its most"


async def test_an_endpoint_without_a_price_bounds_nothing(path: Path) -> None:
    tariff = Tariff(free=frozenset(), most_usd=lambda request, endpoint: None)
    async with opened(path, tariff=tariff) as (journal, _):
        await ask(journal)
        (call,) = (await now(journal)).uncertain
        assert call.most_usd is None


async def test_runs_are_numbered_and_calls_of_earlier_ones_stay(path: Path) -> None:
    for run in (1, 2, 3):
        async with opened(path) as (journal, before):
            assert (before.runs, len(before.uncertain)) == (run - 1, run - 1)
            assert before.job == (None if run == 1 else JOB)
            await ask(journal)
            await journal.end_run("incomplete")
    assert [call.run for call in read_standing(path).uncertain] == [1, 2, 3]


async def test_facts_are_remembered_and_may_be_changed(path: Path) -> None:
    async with opened(path) as (journal, _):
        await journal.note(rounds="1", given_up="3")
        await journal.note(rounds="2")
    assert read_standing(path).facts == {"rounds": "2", "given_up": "3"}


async def test_another_job_is_refused_with_the_difference(path: Path) -> None:
    async with opened(path):
        pass
    other = {"version": 1, "job": {"seed": 1, "count": 10}}
    with pytest.raises(JobChangedError, match=r"job\.seed: 0 -> 1"):
        async with opened(path, other):
            pytest.fail("it was opened")
    assert read_standing(path).job == JOB


async def test_a_journal_has_one_owner_at_a_time_and_may_be_read_meanwhile(path: Path) -> None:
    async with opened(path) as (journal, _):
        await ask(journal)
        with pytest.raises(LockedError):
            async with opened(path):
                pytest.fail("it was opened twice")
        assert len(read_standing(path).uncertain) == 1


async def test_journals_are_set_aside_under_the_first_free_number_with_all_that_belongs_to_them(path: Path) -> None:
    for number in (1, 2, 3):
        async with opened(path) as (journal, _):
            await journal.note(number=str(number))
        path.with_name("rows.jsonl.partial").write_text("rows")
        kept = set_aside(path, path.with_name("rows.jsonl.partial"))
        assert [each.name for each in kept] == [f"rows.jsonl.journal.{number}", f"rows.jsonl.partial.{number}"]
        assert path.name not in names(path.parent)
    for number in (1, 2, 3):
        kept_journal = path.with_name(f"rows.jsonl.journal.{number}")
        assert read_standing(kept_journal).facts == {"number": str(number)}
        remove(kept_journal)
    assert names(path.parent) == [f"rows.jsonl.partial.{number}" for number in (1, 2, 3)]


def test_a_journal_that_is_not_there_has_no_standing(path: Path) -> None:
    with pytest.raises(SynthActorsError, match="no such file"):
        read_standing(path)
