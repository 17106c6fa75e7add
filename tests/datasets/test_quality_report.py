"""Can a reader see in the text what the figures say?"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from synth_actors.datasets.quality.quality import Quality
from synth_actors.datasets.quality.quality_report import SHOWN_COLUMNS, QualityReport

SCHEMA = {
    "properties": {
        "name": {"type": "string"},
        "plan": {"enum": ["free", "team", "gold", None]},
        "born": {"type": ["string", "null"], "format": "date"},
        "address": {"properties": {"city": {"type": "string"}}},
        "tags": {"type": "array", "items": {"enum": ["new", "old"]}},
    }
}


def _report(rows: Iterable[Any], schema: Mapping[str, Any] | None = None) -> QualityReport:
    quality = Quality(schema or {})
    for number, row in enumerate(rows):
        quality.add(row, number)
    return quality.report()


def test_the_text_names_columns_diversity_and_strange_values() -> None:
    rows = [
        {"name": f"Name {n}", "plan": "free", "born": "2000-01-01", "address": {"city": "Ulm"}, "tags": []}
        for n in range(100)
    ]
    rows[3]["name"] = "N/A"
    lines = _report(rows, SCHEMA).lines()
    text = "\n".join(lines)
    assert lines[0].split() == ["column", "empty", "distinct", "values"]
    assert "nearly constant  plan = free; born = 2000-01-01; address.city = Ulm" in text
    assert "never occurred  plan: team, gold, null; tags[]: new, old" in text
    assert "row 3  name  'N/A': a placeholder" in text
    assert len(lines) <= 60


def test_fifteen_strange_columns_stay_within_a_screen() -> None:
    rows = [{f"c{column}": f"{n} \x00{'a' * (n % 90)}" for column in range(15)} for n in range(100)]
    assert len(_report(rows).lines()) <= 60


def test_no_rows_are_a_report_too() -> None:
    report = Quality(SCHEMA).report()
    assert report.rows == 0
    assert any(line.startswith("name") and "never" in line for line in report.lines())
    json.dumps(report.as_dict(), allow_nan=False)


def _line(value_rows: list[Any], name: str = "it") -> str:
    lines = _report([{name: value} for value in value_rows]).lines()
    return next(line for line in lines if line.startswith(name[:5]))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a"] * 3 + ["b"], "it 0 % 2 a 75 %, b 25 %"),
        ([1, 2, 3, None], "it 25 % 3 1 .. 3, median 2, mean 2"),
        ([0.5, 2500.75], "it 0 % 2 0.5 .. 2,501, median 0.5, mean 1,251"),
        ([True, True, False], "it 0 % 2 67 % true"),
        (["x1", "x2", "x34"], "it 0 % 3 2 .. 3 characters, mean 2.333"),
        ([[1], [1, 2]], "it 0 % 1 .. 2 items, mean 1.5"),
        (["2024-05-01", "2023-01-31"], "it 0 % 2 2023-01-31 .. 2024-05-01"),
        ([None] * 2, "it 100 % 0"),
        ([1e300, 1e300], "it 0 % 0"),
    ],
)
def test_a_line_says_what_is_typical_of_its_kind_of_values(values: list[Any], expected: str) -> None:
    assert " ".join(_line(values).split()) == expected


def test_an_estimate_is_marked_as_one() -> None:
    assert "≈" in _line([f"value {number}" for number in range(5000)])
    assert "≈" not in _line([f"value {number}" for number in range(1000)])


def test_long_names_and_values_are_cut_to_the_width_of_a_terminal() -> None:
    line = _line(["v" * 200, "w" * 200] * 2, "n" * 100)
    assert len(line) <= 120
    assert line.count("…") == 3


def test_columns_beyond_a_screen_are_counted_and_all_are_in_the_dict() -> None:
    report = _report([{f"c{column}": 1 for column in range(50)}])
    assert f"and {50 - SHOWN_COLUMNS} further columns" in report.lines()
    assert len(report.as_dict()["columns"]) == 50


def test_the_dict_says_what_is_exact_and_leaves_out_what_does_not_apply() -> None:
    report = _report([{"it": "a", "n": 1}] * 30)
    text, number = report.as_dict()["columns"]
    assert (text["distinct"], text["distinct_exact"], text["top"]) == (1, True, [{"value": "a", "count": 30}])
    assert "numbers" not in text
    assert "texts" not in number
    assert report.as_dict()["near_constant"] == {"it": "a", "n": "1"}


@pytest.mark.parametrize(("rows", "is_estimated"), [(200, False), (5000, True)])
def test_an_estimate_says_how_far_it_may_be_off(rows: int, is_estimated: bool) -> None:
    lines = _report({"id": f"{number:08}"} for number in range(rows)).lines()
    assert ("≈ is an estimate, with a standard error of 3.1%" in lines) == is_estimated
    assert ("≈" in lines[1]) == is_estimated
