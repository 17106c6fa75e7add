"""Does a block of rows end after boundedly many questions, whatever is answered, and also when it is told again?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_actors.datasets.answers.salvage import Found, rows_in
from synth_actors.datasets.block import CUT, DUPLICATE, REFUSED, TOO_FEW, Ask, Block
from synth_actors.datasets.row_schema import Invalid, Valid
from synth_actors.types import StopReason

STOPS: tuple[StopReason, ...] = ("end", "end", "end", "max_tokens", "refusal")


def check(row: int, value: Any) -> Valid | Invalid:
    return Invalid(f"{value} is not valid") if value == "bad" else Valid(value)


def block_of(count: int, *, attempts: int = 4, replacements: int = 0) -> Block:
    return Block(range(count), check, max_attempts=attempts, replacements=replacements)


def found(*values: Any) -> Found:
    return Found(list(values), salvaged=False, problem=None)


def asked(block: Block) -> tuple[tuple[int, ...], int]:
    ask = block.wanted()
    assert ask is not None
    return ask.rows, ask.sample


@dataclass(frozen=True, slots=True)
class Told:
    """An answer as a journal keeps it."""

    rows: tuple[int, ...]
    sample: int
    text: str
    stop_reason: StopReason


def answer_to(ask: Ask, seed: int) -> Told:
    """A function of the question: too few values, too many, invalid ones, cut, refused, or all right."""
    draw = Random(f"{seed}/{ask.rows}/{ask.sample}")
    most = draw.choice([len(ask.rows), len(ask.rows), draw.randint(0, len(ask.rows)), len(ask.rows) + 2])
    values = [draw.choice(["bad", *(f"{row} as {ask.sample}" for _ in range(3))]) for row in range(most)]
    return Told(ask.rows, ask.sample, orjson.dumps({"rows": values}).decode(), draw.choice(STOPS))


def refused_by(seed: int) -> Callable[[Block], list[int]]:
    """Which of the valid rows that were never looked at repeat others."""
    draw, seen = Random(seed), set[tuple[int, str]]()

    def judge(block: Block) -> list[int]:
        new = sorted((row, value) for row, value in block.made.items() if (row, value) not in seen)
        seen.update(new)
        return [row for row, _ in new if draw.random() < 0.4]

    return judge


def run(block: Block, seed: int, *, told: Sequence[Told] = ()) -> list[Told]:
    """Ask until nothing is wanted, with replacements; what was asked beside what was `told` before."""
    judge = refused_by(seed)
    block.recall(told)
    new = []
    while True:
        while (ask := block.wanted()) is not None:
            new.append(answer := answer_to(ask, seed))
            block.take(rows_in(answer.text), answer.stop_reason)
        if not (refused := judge(block)):
            return new
        block.reject(refused)


def state_of(block: Block) -> Any:
    return block.made, block.missing, block.counts


@given(
    st.integers(0, 10**9),
    st.integers(1, 30),
    st.integers(1, 5),
    st.integers(0, 3),
)
def test_every_row_is_made_or_missing_after_boundedly_many_questions(
    seed: int, rows: int, attempts: int, replacements: int
) -> None:
    block = block_of(rows, attempts=attempts, replacements=replacements)
    answers = run(block, seed)
    assert block.made.keys() | block.missing.keys() == set(range(rows))
    assert not block.made.keys() & block.missing.keys()
    assert block.wanted() is None
    assert block.unmade("?") == block.missing
    questions = [(each.rows, each.sample) for each in answers]
    assert len(questions) == len(set(questions)), "these two name a question within its block"
    assert block.counts.asks == len(questions)
    # A row is in at most `attempts` questions that count as tries, and in a cut one for each time it was halved.
    times = (1 + replacements) * (attempts + rows.bit_length())
    assert all(sum(row in each.rows for each in answers) <= times for row in range(rows))


@given(st.integers(0, 10**9), st.integers(1, 30), st.data())
def test_recorded_answers_in_any_order_lead_to_the_same_as_live_ones(seed: int, rows: int, data: st.DataObject) -> None:
    live = block_of(rows, replacements=2)
    answers = run(live, seed)
    known = data.draw(st.permutations(answers))[: data.draw(st.integers(0, len(answers)))]
    again = block_of(rows, replacements=2)
    new = run(again, seed, told=known)
    assert state_of(again) == state_of(live)
    assert {(each.rows, each.sample) for each in [*known, *new]} == {(each.rows, each.sample) for each in answers}
    assert not {(each.rows, each.sample) for each in known} & {(each.rows, each.sample) for each in new}


@given(st.integers(0, 10**9), st.integers(1, 20), st.integers(1, 3))
def test_more_attempts_than_before_go_on_from_the_recorded_answers(seed: int, rows: int, attempts: int) -> None:
    first = block_of(rows, attempts=attempts)
    answers = run_once(first, seed)
    second = block_of(rows, attempts=2 * attempts)
    new = run_once(second, seed, told=answers)
    assert second.counts.asks == len(answers) + len(new), "no recorded answer is left over, and none was asked again"
    assert second.made.items() >= first.made.items()


def run_once(block: Block, seed: int, *, told: Sequence[Told] = ()) -> list[Told]:
    block.recall(told)
    answers = []
    while (ask := block.wanted()) is not None:
        answers.append(answer := answer_to(ask, seed))
        block.take(rows_in(answer.text), answer.stop_reason)
    return answers


def test_rows_that_did_not_come_right_are_asked_for_again_without_the_others() -> None:
    block = block_of(5)
    problem = block.take(found("a", "bad", "c", "bad"), "end")
    assert problem == "bad is not valid"
    again = block.wanted()
    assert again == Ask((1, 3, 4), 1, {1: "bad is not valid", 3: "bad is not valid"}, 1)
    assert block.take(found("b", "d", "e"), "end") is None
    assert block.made == {0: "a", 1: "b", 2: "c", 3: "d", 4: "e"}
    assert (block.counts.repaired, block.counts.invalid) == (3, 2)


def test_a_cut_answer_leaves_its_whole_rows_and_the_others_are_asked_for_in_halves_with_twice_the_room() -> None:
    block = block_of(8)
    block.take(found("a"), "max_tokens")
    first = block.wanted()
    assert first is not None
    assert (first.rows, first.sample, first.room) == ((1, 2, 3, 4), 1, 2)
    block.take(found(), "max_tokens")
    assert asked(block) == ((5, 6, 7), 1), "the other half comes first: it waits longer"
    block.take(found("f", "g", "h"), "end")
    quarter = block.wanted()
    assert quarter is not None
    assert (quarter.rows, quarter.sample, quarter.room) == ((1, 2), 2, 4)


def test_a_single_row_that_is_always_cut_is_given_up_after_all_its_tries() -> None:
    block = block_of(1, attempts=3)
    rooms = []
    while (ask := block.wanted()) is not None:
        rooms.append(ask.room)
        block.take(found(), "max_tokens")
    assert rooms == [1, 2, 4]
    assert block.missing == {0: CUT}
    assert (block.counts.cut, block.counts.useless) == (3, 3)


@pytest.mark.parametrize(
    ("answer", "stop_reason", "reason"),
    [
        (found(), "end", TOO_FEW),
        (found(), "refusal", REFUSED),
        (found("bad"), "refusal", "bad is not valid"),
        (Found([], salvaged=True, problem="no JSON"), "end", "no JSON"),
    ],
)
def test_a_row_that_is_given_up_says_why(answer: Found, stop_reason: StopReason, reason: str) -> None:
    block = block_of(1, attempts=1)
    assert block.take(answer, stop_reason) == reason
    assert block.missing == {0: reason}


def test_a_row_that_is_refused_is_asked_for_as_another_sample_at_most_as_often_as_is_allowed() -> None:
    block = block_of(2, replacements=2)
    block.take(found("same", "other"), "end")
    for sample in (1, 2):
        block.reject([0])
        again = block.wanted()
        assert again == Ask((0,), sample, {0: DUPLICATE}, 1)
        assert block.unmade("under way") == {0: "under way"}
        block.take(found("same"), "end")
    block.reject([0])
    assert block.wanted() is None
    assert block.missing == {0: DUPLICATE}
    assert block.made == {1: "other"}


def test_values_beyond_the_rows_asked_for_are_left() -> None:
    block = block_of(2)
    assert block.take(found("a", "b", "c", "d"), "end") is None
    assert block.made == {0: "a", 1: "b"}


def test_no_rows_want_nothing() -> None:
    assert block_of(0).wanted() is None
