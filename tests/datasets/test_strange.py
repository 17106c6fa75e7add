"""Are the values that nobody meant found, and the ordinary ones left alone?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_actors.datasets.quality import strange
from synth_actors.datasets.quality.sketches import Extremes, Rows
from synth_actors.datasets.quality.strange import (
    Strange,
    centre_and_spread,
    far_out,
    script_of,
    shown,
    strangest,
    suspects,
)

ODD = {
    "bell\x07": strange.DAMAGED,
    "Caf\ufffd": strange.DAMAGED,
    "half \ud83d": strange.DAMAGED,
    "Ã©tÃ©": strange.DAMAGED,
    "donâ€™t": strange.DAMAGED,
    "zero\u200bwidth": strange.DAMAGED,
    "N/A": strange.PLACEHOLDER,
    "John Doe": strange.PLACEHOLDER,
    "TODO": strange.PLACEHOLDER,
    "string": strange.PLACEHOLDER,
    "Lorem ipsum dolor": strange.PLACEHOLDER,
    "Dear {{name}},": strange.PLACEHOLDER,
    "550e8400-e29b-41d4-a716-446655440000": strange.PLACEHOLDER,
    "Pаypal": strange.MIXED,  # noqa: RUF001 - the second letter is Cyrillic
    " lead": strange.SPACE,
    "trail\n": strange.SPACE,
    "trail\u00a0": strange.SPACE,
    "\t": strange.SPACE,
}
ORDINARY = [
    *(
        "Kerstin Esser",
        "kerstin.esser@example.com",
        "+49 341 716840",
        "a, b; c",
        "The string broke.",
        "Example Street 4",
    ),
    *(
        "Doe, John A.",
        "unknown pleasures",
        "Kaiser-Friedrich-Straße 56",
        "Москва",
        "東京都",
        "Ñandú",
        "São João",
        "naïve",
    ),
    *("👩\u200d👩\u200d👧 family", "O\u2019Brien"),
]


@pytest.mark.parametrize(("text", "kind"), ODD.items())
def test_an_odd_text_is_suspected_among_others_and_its_rule_says_why(text: str, kind: int) -> None:
    assert kind in suspects([*ORDINARY[:3], text, *ORDINARY[3:]])
    assert kind in suspects([text])
    assert strange.TEXT_RULES[kind](text)


@pytest.mark.parametrize("text", ORDINARY)
def test_an_ordinary_text_breaks_no_rule(text: str) -> None:
    assert [kind for kind, rule in strange.TEXT_RULES.items() if rule(text)] == []


@given(st.lists(st.sampled_from([*ODD, *ORDINARY, "", "two\nlines"]) | st.text(max_size=5), min_size=1, max_size=5))
def test_no_rule_is_broken_that_was_not_suspected(texts: list[str]) -> None:
    broken = {kind for kind, rule in strange.TEXT_RULES.items() for text in texts if rule(text)}
    assert broken <= set(suspects(texts))


@pytest.mark.parametrize("text", [text for text in ORDINARY if text.isascii()])
def test_plain_texts_cost_no_second_look(text: str) -> None:
    assert suspects([text, text]) == []


@pytest.mark.parametrize(
    ("text", "script"),
    [("Anna", None), ("Straße", None), ("Анна", "Cyrillic"), ("Άννα", "Greek"), ("アンナ", "Kana"), ("安娜", "Han")],
)
def test_scripts_are_told_apart(text: str, script: str | None) -> None:
    assert script_of(text) == script


@given(st.text() | st.integers() | st.floats() | st.none() | st.booleans())
def test_what_is_shown_is_short_and_prints(value: object) -> None:
    text = shown(value)
    assert len(text) <= strange.SHOWN_CHARS
    assert text.isprintable()


def test_a_number_that_python_refuses_to_write_out_is_shown_by_its_size() -> None:
    assert shown(10**5000) == "an integer of 16610 bits"
    assert shown("\x1b[31m") == "\\x1b[31m"


def _ends(values: list[float]) -> Extremes:
    extremes = Extremes(shown)
    extremes.add(values, values, Rows.numbered(range(len(values))))
    return extremes


def test_one_value_far_from_a_hundred_is_found_and_none_where_all_are_near() -> None:
    near = [float(number % 40) for number in range(100)]
    assert far_out(_ends(near), near) == []
    (found,) = far_out(_ends([*near, 900.0]), [*near, 900.0])
    assert (found.row, found.label) == (100, "900.0")
    assert found.distance > strange.FAR


def test_the_smaller_half_of_a_column_with_two_humps_is_not_strange() -> None:
    values = [0.0] * 600 + [1000.0 + number for number in range(400)]
    assert far_out(_ends(values), values) == []


def test_few_values_are_too_few_to_call_one_of_them_strange() -> None:
    values = [1.0] * 10 + [99.0]
    assert far_out(_ends(values), values) == []


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=100))
def test_the_spread_is_zero_only_where_all_values_are_equal(values: list[float]) -> None:
    centre, spread = centre_and_spread(values)
    assert min(values) <= centre <= max(values)
    assert spread >= 0
    if len(set(values)) == 1:
        assert spread == 0


def _found(kind: int, column: str, row: int, distance: float = 0.0) -> Strange:
    return Strange(row=row, column=column, value=f"v{row}", why="", kind=kind, distance=distance)


def test_every_column_and_kind_has_its_first_before_any_has_its_second() -> None:
    many = [_found(strange.PLACEHOLDER, "a", row) for row in range(30)]
    few = [
        _found(strange.OUTLIER, "b", 100, 9.0),
        _found(strange.OUTLIER, "b", 101, 50.0),
        _found(strange.SPACE, "c", 102),
    ]
    assert [one.row for one in strangest([*many, *few], 6)] == [0, 101, 102, 1, 100, 2]
    assert strangest(reversed([*many, *few]), 6) == strangest([*many, *few], 6)


def test_a_value_is_named_once_for_the_worst_that_is_said_of_it() -> None:
    twice = [_found(strange.SPACE, "a", 1), _found(strange.DAMAGED, "a", 1)]
    assert [one.kind for one in strangest(twice, 9)] == [strange.DAMAGED]
