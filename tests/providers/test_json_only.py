"""Is the JSON found whatever stands around it, and however the answer is cut into pieces?"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_actors.providers.json_only import AnswerText, JsonOnly, plainly_no_json

OBJECT = {"type": "object"}
ARRAY = {"type": "array"}
SCALARS = st.text() | st.integers() | st.booleans() | st.none()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


def through(schema: dict[str, Any], pieces: list[str]) -> tuple[str, list[str]]:
    heard: list[str] = []
    text = AnswerText(heard.append, JsonOnly(schema))
    for piece in pieces:
        text.add(piece)
    return text.whole(), heard


@given(
    value=st.dictionaries(st.text(), VALUES),
    before=st.sampled_from(["", "Sure! ", "```json\n", "\n"]),
    after=st.sampled_from(["", "\n```", "\nDone. {}", "}"]),
    ascii_only=st.booleans(),
    cuts=st.lists(st.integers(min_value=0, max_value=500), max_size=6),
)
def test_the_object_comes_out_of_any_answer_cut_anywhere(
    value: dict[str, Any], before: str, after: str, ascii_only: bool, cuts: list[int]
) -> None:
    document = json.dumps(value, ensure_ascii=ascii_only)
    answer = before + document + after
    marks = [0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]
    text, heard = through(OBJECT, [answer[a:b] for a, b in pairwise(marks)])
    assert text == document
    assert "".join(heard) == text


@pytest.mark.parametrize(
    ("schema", "answer", "text"),
    [
        (ARRAY, "The rows: [1, [2]] and more", "[1, [2]]"),
        (OBJECT, "I cannot [do] that.", "I cannot [do] that."),
        (OBJECT, '{"a": "cut at max_tok', '{"a": "cut at max_tok'),
        ({"type": "string"}, 'Here: "x"', 'Here: "x"'),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"type": "object"}}}, "```\n{}\n```", "{}"),
        ({"anyOf": [OBJECT, ARRAY]}, "x {}", "x {}"),
    ],
)
def test_what_is_no_answer_to_the_schema_is_left_as_it_is(schema: dict[str, Any], answer: str, text: str) -> None:
    whole, heard = through(schema, [answer])
    assert whole == "".join(heard) == text


def test_only_an_answer_that_cannot_be_the_json_proves_that_the_schema_was_ignored() -> None:
    assert plainly_no_json("Otters are nice.", OBJECT)
    assert plainly_no_json("[1]", OBJECT)
    assert not plainly_no_json('  {"a": ', OBJECT)
    assert not plainly_no_json("Otters are nice.", {"type": "string"})
