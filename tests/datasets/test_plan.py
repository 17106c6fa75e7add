"""Does a plan ask for every row once, whatever else happens?"""

from __future__ import annotations

import re
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from synth_actors.datasets.plan import Plan, RowsJob
from synth_actors.datasets.row_schema import RowSchema
from synth_actors.errors import ConfigError


class Customer(BaseModel):
    full_name: str
    plan: Literal["free", "pro"]
    age: int = Field(ge=18, le=90)


SCHEMA = RowSchema(Customer)


def plan(**fields: Any) -> Plan:
    return Plan(SCHEMA, RowsJob(**fields))


@given(count=st.integers(0, 400), each=st.integers(1, 60))
def test_every_row_is_asked_for_once_and_never_more_than_k_together(count: int, each: int) -> None:
    made = plan(count=count, rows_per_request=each)
    parts = [list(made.rows_of(number)) for number in range(made.requests)]
    assert [row for part in parts for row in part] == list(range(count))
    assert all(1 <= len(part) <= each for part in parts)


@given(number=st.integers(0, 9), seed=st.integers(-5, 5), attempt=st.integers(0, 3), more=st.integers(0, 500))
def test_a_request_depends_on_nothing_but_its_number_seed_and_try(
    number: int, seed: int, attempt: int, more: int
) -> None:
    short, long = (
        plan(count=100, rows_per_request=10, seed=seed),
        plan(count=100 + more, rows_per_request=10, seed=seed),
    )
    for other in (3, 7):
        long.request(long.rows_of(other), 1, {other: "neighbours were asked before"})
    assert short.request(short.rows_of(number), attempt, {}) == long.request(long.rows_of(number), attempt, {})


def test_a_prompt_names_its_rows_and_what_is_drawn_for_them() -> None:
    made = plan(count=45)
    request = made.request(made.rows_of(2), 0, {})
    lines = (request.prompt or "").splitlines()
    assert [line.partition(":")[0] for line in lines[1:]] == ["Row 41", "Row 42", "Row 43", "Row 44", "Row 45"]
    for line in lines[1:]:
        assert re.search(r'full_name starts with "[A-Z][a-z]"; plan = "(free|pro)"; age near \d+$', line), line


def test_the_first_part_of_all_requests_is_the_same_and_holds_instructions_and_schema() -> None:
    made = plan(count=60, instructions="Customers of a bakery.")
    systems = {made.request(made.rows_of(number), number, {}).system for number in range(3)}
    assert len(systems) == 1
    (system,) = systems
    assert system is not None
    assert "Customers of a bakery." in system
    assert '"maximum":90' in system


def test_another_seed_and_another_try_are_other_words_and_another_try_is_another_sample() -> None:
    one, two = plan(count=20, seed=1), plan(count=20, seed=2)
    requests = [one.request(range(20), 0, {}), one.request(range(20), 1, {}), two.request(range(20), 0, {})]
    assert len({request.prompt for request in requests}) == 3
    assert [request.sample_index for request in requests] == [0, 1, 0]


def test_a_row_that_was_refused_is_asked_for_with_the_reason() -> None:
    made = plan(count=20)
    prompt = made.request([3, 9], 1, {9: "age: Input should be less than or equal to 90"}).prompt or ""
    assert prompt.splitlines()[2].endswith("the last one was refused: age: Input should be less than or equal to 90")
    assert "refused" not in prompt.splitlines()[1]


def test_max_tokens_follows_the_rows_unless_it_is_given() -> None:
    many, few = plan(count=100, rows_per_request=100), plan(count=1)
    assert few.request([0], 0, {}).max_tokens == 512
    assert many.request(range(100), 0, {}).max_tokens > 100 * many.row_tokens
    assert plan(count=100, max_tokens=77).request(range(20), 0, {}).max_tokens == 77


@pytest.mark.parametrize("seed", [2**64 - 1, -(2**63)])
def test_the_largest_seeds_make_a_plan(seed: int) -> None:
    assert f"series {seed}" in str(plan(count=1, seed=seed).request([0], 0, {}).prompt)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("count", -5),
        ("count", 1.5),
        ("count", True),
        ("rows_per_request", 0),
        ("max_attempts", 0),
        ("temperature", 9.0),
        ("seed", 1.5),
        ("seed", None),
        ("seed", True),
        ("seed", 2**64),
        ("seed", -(2**63) - 1),
        ("instructions", 5),
    ],
)
def test_a_number_out_of_range_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=field):
        plan(**{"count": 1, field: value})
