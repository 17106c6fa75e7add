"""Are the values found that stand in a text, and is what is broken or cut told from what is whole?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_actors.datasets.answers.broken_json import strict_json, tolerant_json
from synth_actors.datasets.answers.json_pieces import MOST_PIECES, Node, pieces_in

TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
CONTAINERS = st.lists(VALUES, max_size=3) | st.dictionaries(TEXTS, VALUES, max_size=3)
NOISE = st.sampled_from(["", " ", "\n", ' // it\'s a "note" }\n', "/* ] , */", "# 'x' [\n"])


def shown(text: str, node: Node) -> Any:
    """A node as the pieces of text that it stands for; "?" where it is cut or broken."""
    inner: Any = [] if node.kind else text[node.start : node.end]
    if node.kind == '"':
        inner = text[node.start : node.end]
    for key, member in node.members if node.kind else ():
        inner.append((key, shown(text, member)) if node.kind == "{" else shown(text, member))
    return inner if node.end is not None and not node.broken else ("?", inner)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("no [brackets] {here}, (not) [even one]", []),
        ('a {"b": 1} c [2, "]"]', [[("b", "1")], ["2", '"]"']]),
        ('{"a": {"b": [1, {}]}}', [[("a", [("b", ["1", []])])]]),
        ("{'a': 'it''s, \"b\"'}", [[("a", "'it''s, \"b\"'")]]),
        ('{"a": "say "no" now"}', [[("a", '"say "no" now"')]]),
        ("[1, 2,]", [["1", "2"]]),
        ("[{} {}]", [[[], []]]),
        ("[1 2]", [[("?", "1 2")]]),
        ('{"a": 1 "b": 2}', [[("a", ("?", '1 "b": 2'))]]),
        ("[1, [2", [("?", ["1", ("?", [("?", "2")])])]),
        ('["a", "b', [("?", ['"a"'])]),
        ('["a", "b"', [("?", ['"a"', '"b"'])]),
        ('{"a": [1}', [[("a", ("?", ["1"]))]]),
        ('[{"a": 1]', [[("?", [("a", "1")])]]),
        ('[{"a": 1}}, 2]', [[[("a", "1")], "2"]]),
        ('[{"a": 1, {"b": 2}]', [[("?", [("a", "1")]), [("b", "2")]]]),
        ("[ // ]\n 1 /* ] */ # ]\n]", [["1"]]),
        ('{"a": 1} </think> {"b": 2}', [[("b", "2")]]),
        ('{"a": "</think>"}', [[("a", '"</think>"')]]),
        ("{ { {x: 1}", [[("x", "1")]]),
    ],
)
def test_what_stands_in_a_text(text: str, pieces: list[Any]) -> None:
    assert [shown(text, piece) for piece in pieces_in(text)] == pieces


@given(
    value=CONTAINERS, before=st.sampled_from(["", "Here's it: ", "[sic] {x} "]), after=st.sampled_from(["", ' "}', "]"])
)
def test_a_json_value_is_one_piece_from_its_first_bracket_to_its_last(value: Any, before: str, after: str) -> None:
    text = json.dumps(value, ensure_ascii=False)
    (piece,) = pieces_in(before + text + after)
    assert (piece.start, piece.end) == (len(before), len(before) + len(text))
    assert piece.sound()
    members = [(before + text)[member.start : member.end] for _, member in piece.members]
    assert [json.loads(member) for member in members] == (list(value.values()) if isinstance(value, dict) else value)


@given(value=CONTAINERS, data=st.data())
def test_a_json_value_that_is_cut_is_not_sound(value: Any, data: st.DataObject) -> None:
    text = json.dumps(value)
    end = data.draw(st.integers(1, len(text) - 1))
    assert not any(piece.sound() for piece in pieces_in(text[:end]))


def test_of_very_many_pieces_the_first_are_given() -> None:
    assert len(pieces_in("{} " * (MOST_PIECES + 5))) == MOST_PIECES


# ------------------------------------------------------------------------------------------------------ almost JSON
@given(value=CONTAINERS, data=st.data())
def test_comments_between_what_is_said_change_nothing(value: Any, data: st.DataObject) -> None:
    pieces = json.JSONEncoder(separators=(", ", ": ")).iterencode(value)
    text = "".join(
        piece + data.draw(NOISE) if piece in {"{", "[", "]", "}"} or piece.startswith(", ") else piece
        for piece in pieces
    )
    assert tolerant_json(text[: max(text.rfind("}"), text.rfind("]")) + 1], repair=False) in (value, None)


@given(value=CONTAINERS, repair=st.booleans())
def test_what_is_json_is_read_as_it_stands(value: Any, repair: bool) -> None:
    text = json.dumps(value)
    assert tolerant_json(text, repair=repair) == strict_json(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{'a': None, 'b': True, 'c': False}", {"a": None, "b": True, "c": False}),
        ("{a: 1, $b: 2, 3: 4}", {"a": 1, "$b": 2, "3": 4}),
        (r"{'a': 'it\'s \x41\u0042\n\"'}", {"a": "it's AB\n\""}),
        (r'{"a": "\d+\_x"}', {"a": r"\d+\_x"}),
        ('{"a": "one\ttab\nand a line"}', {"a": "one\ttab\nand a line"}),
        ("{'a': None,}", {"a": None}),
        ("[1, 2, ]", [1, 2]),
    ],
)
def test_other_notations_are_read_without_repair(text: str, value: Any) -> None:
    assert tolerant_json(text, repair=False) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1 "b": 2}', {"a": 1, "b": 2}),
        ('{"a": "x" "b": 2.50}', {"a": "x", "b": 2.5}),
        ('{"a": 1,, "b": 2}', {"a": 1, "b": 2}),
        ('{"a": [1 2 3]}', {"a": [1, 2, 3]}),
        ('{"a": }', None),
        ('{"a": 1, "b"}', None),
        ('{"a": John}', None),
        ('{"a": NaN}', None),
        ('{"a": 1e999}', None),
        ('{"a": "\\ud800" "b": 1}', None),
        ('{"a": tru}', None),
        ('{"a": 1, ...}', None),
        ('{"a": "x "b": "y"}', None),
    ],
)
def test_a_repair_counts_only_if_it_says_the_same(text: str, value: Any) -> None:
    assert tolerant_json(text, repair=True) == value
    assert tolerant_json(text, repair=False) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "EOF"),
        ("[NaN]", "expected value"),
        ("[1e999]", "not finite"),
        ('{"a": {"b": [-1E400]}}', "not finite"),
        ('["\ud800"]', "surrogate"),
        ('["\\ud800"]', "hex escape"),
        ("[" * 300, "recursion"),
        ("[1] 2", "trailing"),
    ],
)
def test_what_is_not_json_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        strict_json(text)


@pytest.mark.parametrize("value", ["Infinity", ["-Infinity", 1.5], {"Infinity": 2**70}])
def test_the_word_infinity_in_a_string_is_no_number(value: Any) -> None:
    assert strict_json(json.dumps(value)) == value
