"""Is a slip of the pen in a schema found, and nothing else taken for one?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from synth_actors.datasets.schema_typos import slips

EXAMPLES = sorted(Path(__file__).resolve().parents[2].glob("examples/*.schema.json"))


def of(text: str) -> list[str]:
    return list(slips(text, json.loads(text)))


def test_a_misspelt_keyword_is_named_with_its_place_and_the_right_one() -> None:
    assert of('{"properties": {"a": {"minLenght": 5}}, "propertees": {}}') == [
        "unknown keyword 'minLenght' at #/properties/a: did you mean 'minLength'? it is taken for an annotation",
        "unknown keyword 'propertees' at #: did you mean 'properties'? it is taken for an annotation",
    ]


@pytest.mark.parametrize("keyword", ["items", "not", "additionalProperties", "if"])
def test_parts_are_looked_at_wherever_they_stand(keyword: str) -> None:
    assert of(f'{{"{keyword}": {{"anyOf": [true, {{"nullable": true}}]}}}}') == [
        f"unknown keyword 'nullable' at #/{keyword}/anyOf/1: it is taken for an annotation"
    ]


def test_an_unknown_format_is_named() -> None:
    assert of('{"format": "dat-time"}') == [
        "unknown format 'dat-time' at #: did you mean 'date-time'? no value is checked for it"
    ]


def test_a_key_that_stands_twice_is_named() -> None:
    assert of('{"type": "object", "type": "array"}') == [
        "the key 'type' stands twice in one object: the last one holds"
    ]


@pytest.mark.parametrize(
    "text",
    [
        '{"properties": {"minLenght": {}}, "patternProperties": {"^a": {}}, "$defs": {"Nmae": {}}}',
        '{"enum": [{"minLenght": 5}], "const": {"a": 1}, "default": {"b": 2}, "examples": [{"c": 3}]}',
        '{"x-order": 3, "format": "ipvanyaddress", "items": false, "dependencies": {"a": ["b"]}}',
    ],
)
def test_names_data_and_extensions_are_no_slips(text: str) -> None:
    assert of(text) == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_have_none(path: Path) -> None:
    assert of(path.read_text()) == []


def test_there_are_examples() -> None:
    assert EXAMPLES
