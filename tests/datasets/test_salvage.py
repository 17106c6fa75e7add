"""Are the rows found that stand whole in an answer, and never anything else?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from synth_actors.datasets.answers.broken_json import MOST_UNCLOSED, tolerant_json
from synth_actors.datasets.answers.json_pieces import MOST_DEPTH, MOST_PIECES
from synth_actors.datasets.answers.salvage import Found, rows_in

ROWS = [
    {"id": 1, "name": "Zoë", "tags": ["a", "b"], "note": None, "active": True, "size": 1.5},
    {"id": 2**70, "name": 'O\'Neill, "Al"', "tags": [], "note": {"x": [{"y": "}] ,"}]}, "active": False, "size": -0.25},
]
CLEAN = json.dumps({"rows": ROWS})

TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [
        '"',
        "}",
        "]},",
        "\\",
        "```",
        '{"rows": [1]}',
        "it's",
        "// no",
        "# 1",
        "/* */",
        "</think>",
        "12",
        "\n",
        ",",
        "'a', 'b'",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=4)
FRAMES = st.sampled_from(["", "```json\n", "Here are the rows:\n\n```\n", "<think>{ [ 1 or 2? </think>\n", "\ufeff"])
DUMPS = st.sampled_from([json.dumps, lambda value: json.dumps(value, indent=2, ensure_ascii=False)])


def values_in(text: str, *, cut: bool = False) -> list[Any]:
    return rows_in(text, cut=cut).values


def with_trailing_commas(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + "".join(f"{json.dumps(key)}: {with_trailing_commas(each)}," for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + "".join(with_trailing_commas(each) + ", " for each in value) + "]"
    return json.dumps(value)


@pytest.mark.parametrize("text", [CLEAN, json.dumps(ROWS), f"\n {CLEAN} ", json.dumps({"rows": ROWS, "count": 2})])
def test_what_was_asked_for_is_not_salvaged(text: str) -> None:
    assert rows_in(text) == Found(ROWS, salvaged=False, problem=None)


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{CLEAN}\n```",
        f"```\n{CLEAN}```",
        f"```json\n{CLEAN}",
        f"Here are your {{two}} rows [as asked]:\n\n```json\n{CLEAN}\n```\nAnything else? ;-}}",
        f"Sure! {CLEAN} I hope that's what you meant [1].",
        f"\ufeff{CLEAN}",
        f'<think>Maybe {{"rows": [{{"id": 7}}]}}? No.</think>\n\n{CLEAN}',
        f'Maybe {{"rows": [{{"id": 7}}]}}? No.\n</think>\n{CLEAN}',
        f"```json\n{json.dumps(ROWS)}\n```",
        "\n".join(json.dumps(row) for row in ROWS),
        ",\n".join(json.dumps(row) for row in ROWS),
        "\n\n".join(f"```json\n{json.dumps(row)}\n```" for row in ROWS),
        "\n".join(f"Part:\n```json\n{json.dumps([row])}\n```" for row in ROWS),
        "\n".join(f"Part:\n```json\n{json.dumps({'rows': [row]})}\n```" for row in ROWS),
        json.dumps({"data": ROWS}),
        json.dumps({"data": ROWS, "count": 2, "columns": ["id"]}),
        json.dumps({"customers": ROWS}),
        json.dumps({"rows": CLEAN}),
        json.dumps({"rows": json.dumps(ROWS)}),
        json.dumps(CLEAN),
        repr({"rows": ROWS}),
        f"rows = {ROWS!r}",
        with_trailing_commas({"rows": ROWS}),
        CLEAN.replace('"rows"', "rows").replace('"id"', "id"),
        CLEAN.replace("}, {", "} {"),
        CLEAN.replace("}, {", "}\n\n{"),
        CLEAN.replace("}, {", "}}, {"),
        CLEAN.replace("[{", "[ // two rows\n {", 1).replace("}, {", "}, /* and */ {  # the second:\n"),
        CLEAN.replace('"tags": [], ', '"tags": []\n'),
        CLEAN.replace('"tags": [], ', '"tags": [],, '),
        CLEAN.replace('\\"Al\\"', '"Al"'),
    ],
)
def test_rows_are_found_in_what_models_answer_instead(text: str) -> None:
    assert rows_in(text) == Found(ROWS, salvaged=True, problem=None)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('{"id": 1}', [{"id": 1}]),
        ('{"rows": {"id": 1}}', [{"id": 1}]),
        ('{"name": "x", "orders": [{"id": 1}, {"id": 2}]}', [{"name": "x", "orders": [{"id": 1}, {"id": 2}]}]),
        ('{"tags": ["a"]}', [{"tags": ["a"]}]),
        ('```json\n["a", "b"]\n```', ["a", "b"]),
        ("['a', 'it\\'s']", []),  # strings alone are read only as JSON
        ("[1, 2,]", [1, 2]),
        ("See [1] and [2].", []),
        ('Like {"id": 0}:\n[{"id": 1}]', [{"id": 1}]),
        ('[{"id": 0}] and {"rows": [{"id": 1}]}', [{"id": 1}]),
        ('{"rows": [{"a": 1, "a": 2}]}', [{"a": 2}]),
        ('{"rows": [{"a": "line\nbreak"}]}', [{"a": "line\nbreak"}]),
        ("{'rows': [{'a': '\\xe9\\d'}]}", [{"a": "é\\d"}]),
        ("{'rows': [{1: 'a \"b\" c', 'd': \"it's\"}]}", [{"1": 'a "b" c', "d": "it's"}]),
        ('{"rows": []}', []),
    ],
)
def test_what_is_meant_by_less_usual_answers(text: str, rows: list[Any]) -> None:
    assert values_in(text) == rows


@pytest.mark.parametrize(
    "broken",
    [
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        '{"a": "\\ud800"}',
        '{"a": "\ud800"}',
        '{"a": }',
        '{"a": tru}',
        '{"a": John}',
        '{"a": 2024-01-02}',
        '{"a": 1,234}',
        '{"a": ...}',
        "{...}",
        '{"a": "x "b": "y"}',
        '{"a": "x", "b": {"c": 1}',
        '{"a": [1, 2}',
        '{"a": [1, {"b": 2]}',
        '{"a": [{"b": {"c": 2]}',
        '{"a": 007}',
        '{"a": 1} 2',
        "...",
        '{"a": 1, ...}',
    ],
)
def test_a_broken_row_is_left_out_and_costs_no_other(broken: str) -> None:
    found = rows_in(f'{{"rows": [{{"id": 1}}, {broken}, {{"id": 2}}, {{"id": 3}}]}}')
    assert found.values == [{"id": 1}, {"id": 2}, {"id": 3}]
    assert found.problem is not None
    assert found.problem.startswith("1 of 4 rows of the answer are no JSON: ")


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('{"rows": [{"a": 1}, {"a": 12', 1),
        ('{"rows": [{"a": 1}, {"a": {"b": 2}', 1),
        ('{"rows": [{"a": 1}, {"a": "x', 1),
        ('{"rows": [{"a": 1}, {"a": tru', 1),
        ('{"rows": [{"a": 1}, {"a": 1}', 2),
        ('{"rows": [{"a": 1}]', 1),
        ('{"rows": [{"a": 1}], "note": "trunca', 1),
        ('{"rows": [1, 2, 12', 2),
        ('{"rows": [1, 2, 12 ', 2),
        ('{"rows": ["a", "b"', 2),
        ('{"rows": ["a", "b', 1),
        ('{"rows": [', 0),
        ("{'rows': [{'a': 'x'}, {'a': 'it", 1),
        ('{"a": 1}\n{"a": 2}\n{"a": 3', 2),
        ('[{"a": 1}, {"a"', 1),
    ],
)
def test_of_a_cut_answer_only_whole_rows_are_taken_and_it_is_said(text: str, rows: int) -> None:
    found = rows_in(text, cut=True)
    assert len(found.values) == rows
    assert found.salvaged
    assert found.problem == f"the answer was cut after {rows} whole rows"


@pytest.mark.parametrize("text", ['{"name": "x", "orders": [{"id": 1}, {"id": 2}', '{"data": [{"id": 1}], "x', '{"ro'])
def test_what_stands_whole_in_the_half_of_a_row_is_no_row(text: str) -> None:
    assert values_in(text, cut=True) == []


def test_a_whole_answer_that_is_said_to_be_cut_tells_so_unless_it_is_just_json() -> None:
    assert rows_in(CLEAN, cut=True) == Found(ROWS, salvaged=False, problem=None)
    assert rows_in(json.dumps(ROWS[0]), cut=True).problem == "the answer was cut after 1 whole rows"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "I cannot do that.",
            "the answer is no JSON (expected value at line 1 column 1); it begins 'I cannot do that.';"
            ' asked for was {"rows": [...]}',
        ),
        ('"sorry"', 'no rows: the answer must be {"rows": [...]}'),
        ("12", 'no rows: the answer must be {"rows": [...]}'),
        ('<think>{"rows": [{"a": 1}]}', "the answer ended before the model's thoughts did"),
    ],
)
def test_why_there_are_no_rows(text: str, problem: str) -> None:
    assert rows_in(text) == Found([], salvaged=True, problem=problem)


@given(rows=st.lists(VALUES, max_size=4), dumps=DUMPS)
def test_any_rows_are_found_as_they_were_written(rows: list[Any], dumps: Any) -> None:
    assert rows_in(dumps({"rows": rows})) == Found(rows, salvaged=False, problem=None)


@settings(max_examples=300)
@given(rows=st.lists(VALUES, max_size=4), dumps=DUMPS, frame=FRAMES, data=st.data())
def test_of_a_cut_answer_the_first_rows_are_found_and_nothing_else(
    rows: list[Any], dumps: Any, frame: str, data: st.DataObject
) -> None:
    text = frame + dumps({"rows": rows})
    end = data.draw(st.integers(len(frame), len(text)))
    values = values_in(text[:end], cut=True)
    assert values == rows[: len(values)]
    if end == len(text):
        assert values == rows


@given(rows=st.lists(OBJECTS, min_size=1, max_size=4), data=st.data())
def test_of_cut_lines_the_first_are_found(rows: list[Any], data: st.DataObject) -> None:
    text = "\n".join(json.dumps(row) for row in rows)
    end = data.draw(st.integers(0, len(text)))
    whole = sum(len("\n".join(json.dumps(row) for row in rows[: number + 1])) <= end for number in range(len(rows)))
    kept = [row for row in rows[:whole] if not any(key in {"rows", "data"} for key in row)]
    if len(kept) == whole and all(_is_no_wrapper(row) for row in rows[:whole]):
        assert values_in(text[:end]) == rows[:whole]


def _is_no_wrapper(row: dict[str, Any]) -> bool:
    return not (len(row) == 1 and all(isinstance(value, list) for value in row.values()))


@given(rows=st.lists(OBJECTS, max_size=4), frame=FRAMES)
def test_trailing_commas_cost_no_row(rows: list[Any], frame: str) -> None:
    assert values_in(frame + with_trailing_commas({"rows": rows})) == rows


@given(
    rows=st.lists(
        st.dictionaries(
            st.text("abc' \"é", max_size=4),
            SCALARS.filter(lambda x: not isinstance(x, str)) | st.text("ab' \"é", max_size=5),
            max_size=4,
        ),
        max_size=3,
    )
)
def test_the_notation_of_python_costs_no_row(rows: list[Any]) -> None:
    values = values_in(repr({"rows": rows}))
    assert all(value in rows for value in values)


@settings(max_examples=300)
@given(st.text(max_size=60) | st.text("{}[]\",:\\'/*#`1a\n NTf-.", max_size=60), st.booleans())
@example("\ud800", False)
@example('{"rows": ["\ud800"]}', False)
@example("[" * (MOST_DEPTH + 1), True)
def test_no_text_raises(text: str, cut: bool) -> None:
    found = rows_in(text, cut=cut)
    assert json.loads(json.dumps(found.values, allow_nan=False)) == found.values


@pytest.mark.parametrize(
    "unit",
    [
        "{",
        "[",
        '{"a":',
        "[1]",
        "{}",
        '"',
        '\\"',
        "'",
        '["\\"',
        "['\\'",
        "[/*",
        '["a"  \n ',
        "<think>",
        "```\n",
        '{"a":1 "b":2,}',
    ],
)
def test_a_megabyte_of_nonsense_is_read_once(unit: str) -> None:
    assert len(values_in(unit * (1_000_000 // len(unit)))) <= MOST_PIECES


@pytest.mark.parametrize("unit", ["\" 'x ", "'x ", '"x '])
def test_many_quotes_that_nothing_ends_are_not_each_sought_to_the_end(unit: str) -> None:
    """400,000 characters of them took a quarter of an hour."""
    assert tolerant_json('{"a": ' + unit * (100_000 // len(unit)) + "}", repair=True) is None
    assert 100_000 // len(unit) > MOST_UNCLOSED
