"""Are duplicates, sizes and reasons counted rightly?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from synth_actors.datasets.duplicates.seen import SeenRows
from synth_actors.datasets.report import MAX_REASONS, OTHER_REASONS, RowsTally
from synth_actors.datasets.row_schema import RowSchema
from synth_actors.datasets.size import default_max_tokens, tokens_of_row


class Node(BaseModel):
    name: str
    parent: Node | None = None
    children: list[Node] = []


@given(st.lists(st.integers(0, 50)))
def test_a_row_is_new_exactly_once(numbers: list[int]) -> None:
    seen, model = SeenRows(), set[int]()
    for number in numbers:
        assert seen.add(str(number).encode()) == (number not in model)
        model.add(number)
    assert len(seen) == len(model)


def test_the_table_grows_and_forgets_nothing() -> None:
    seen = SeenRows()
    assert sum(seen.add(str(number % 30_000).encode()) for number in range(60_000)) == 30_000 == len(seen)


def test_a_schema_that_contains_itself_has_a_size() -> None:
    for schema in (RowSchema(Node).json_schema, {"$ref": "#"}, {"properties": {"a": {"$ref": "#"}}}):
        assert 1 <= tokens_of_row(schema) < 200


def test_more_text_takes_more_tokens_and_bounds_hold() -> None:
    def size(**text: object) -> int:
        return tokens_of_row({"properties": {"x": {"type": "string", **text}}})

    assert size(maxLength=4) < size() < size(minLength=400)
    assert tokens_of_row({"enum": ["a" * 400]}) >= 100
    assert default_max_tokens(1, 1) == 512
    assert default_max_tokens(10_000, 1000) == 32_000
    assert default_max_tokens(100, 20) >= 2 * 100 * 20


def test_many_different_reasons_are_kept_short_and_none_is_lost() -> None:
    tally = RowsTally(1000)
    for number in range(100):
        tally.gave_up(2, f"reason {number}")
    reasons = tally.report().missing_reasons
    assert len(reasons) == MAX_REASONS + 1
    assert sum(reasons.values()) == 200 == tally.report().missing
    assert reasons[OTHER_REASONS] == 2 * (100 - MAX_REASONS)


def test_a_report_does_not_change_afterwards() -> None:
    tally = RowsTally(3)
    before = tally.report()
    tally.made(b"1")
    tally.made(b"1")
    after = tally.report()
    assert (before.valid, before.duplicates) == (0, 0)
    assert (after.valid, after.duplicates, after.complete) == (2, 1, False)
