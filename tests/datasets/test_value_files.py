"""Is every value of a file found, what its texts mean understood, and every file that is no use refused?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synth_actors.datasets.columns import value_files
from synth_actors.datasets.columns.column_specs import ColumnSpec
from synth_actors.datasets.columns.columns import Columns
from synth_actors.errors import ConfigError

CUSTOMER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 18, "maximum": 90},
        "score": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "any": {},
    },
}


def columns(folder: Path, **specs: dict[str, Any]) -> Columns:
    return Columns({name: ColumnSpec(**fields) for name, fields in specs.items()}, CUSTOMER, seed=0, folder=folder)


def drawn(name: str, fields: dict[str, Any], folder: Path) -> set[Any]:
    made = columns(folder, **{name: fields})
    return {made.fill(row, {})[name] for row in range(200)}


def test_files_give_lines_values_and_columns(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Rome\r\n\n  Oslo \n", encoding="utf-8-sig")
    (tmp_path / "a.jsonl").write_text('"Rome"\n\n"Oslo"')
    (tmp_path / "b.jsonl").write_text('{"city": "Rome", "n": 1}\n{"city": "Oslo"}\n')
    (tmp_path / "a.csv").write_text('n,city\n1,Rome\n2,"Oslo"\n')
    for fields in (
        {"file": "a.txt"},
        {"file": "a.jsonl"},
        *({"file": f, "field": "city"} for f in ("b.jsonl", "a.csv")),
    ):
        assert drawn("name", fields, tmp_path) == {"Rome", "Oslo"}
    assert drawn("name", {"file": tmp_path / "a.csv"}, Path()) == {"1", "2"}


def test_a_line_is_a_text_unless_the_schema_wants_what_it_spells(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("20\n30\n")
    assert drawn("name", {"file": "a.txt"}, tmp_path) == {"20", "30"}
    assert drawn("age", {"file": "a.txt"}, tmp_path) == {20, 30}
    assert drawn("age", {"values": {"20": 1, "30": 2}}, tmp_path) == {20, 30}


def test_a_text_that_spells_nothing_is_no_null(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1\nnull\n")
    (tmp_path / "b.txt").write_text("one\n")
    assert drawn("score", {"file": "a.txt"}, tmp_path) == {1, None}
    assert drawn("any", {"file": "a.txt"}, tmp_path) == {"1", "null"}
    with pytest.raises(ConfigError, match=r'columns.score: "one" is not valid'):
        columns(tmp_path, score={"file": "b.txt"})


def test_examples_of_a_table_are_whole_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n,city\n1,Rome\n")
    made = columns(tmp_path, like={"examples": "a.csv"}, only={"examples": "a.csv", "field": "city"})
    assert made.words(0) == ['like like {"n": "1", "city": "Rome"}', 'only like "Rome"']


@pytest.mark.parametrize(
    ("file", "content", "fields", "words"),
    [
        ("a.txt", b"\n \n", {}, "it holds no value"),
        ("a.txt", b"\xff", {}, "it is no UTF-8 text"),
        ("a.txt", b"x", {"field": "a"}, "it has no fields"),
        ("a.jsonl", b"1\n{nope", {}, "line 2 is no JSON"),
        ("a.jsonl", b'{"a": 1}\n{"b": 1}', {"field": "a"}, "line 2 has no field 'a'; it has b"),
        ("a.jsonl", b"5", {"field": "a"}, "line 1 has no field 'a'; give objects"),
        ("a.csv", b"", {}, "it holds no value"),
        ("a.csv", b"a,b\n1", {}, "line 2 has 1 cells, the first one 2"),
        ("a.csv", b"a,b\n1,2", {"field": "c"}, "there is no column 'c'; its columns are a, b"),
        ("a.csv", b'a\n"1', {}, "a.csv: "),
        ("a.txt", b"1\n2\n3\n4", {}, "it holds more than 3 values"),
        ("a.txt", b"x" * 50, {}, "it has more than 0 MiB"),
    ],
)
def test_a_file_that_is_no_use_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: bytes, fields: dict[str, Any], words: str
) -> None:
    monkeypatch.setattr(value_files, "MOST_VALUES", 3)
    monkeypatch.setattr(value_files, "MOST_BYTES", 40)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        columns(tmp_path, name={"file": file, **fields})
    assert str(caught.value).startswith("columns.name: ")
    assert words in str(caught.value)


def test_the_identity_of_a_file_is_what_stands_in_it(tmp_path: Path) -> None:
    def identity(file: str) -> Any:
        return columns(tmp_path, name={"file": file}, like={"examples": file}).identity()

    for file, content in (("a.txt", "x\ny"), ("b.txt", "x\ny"), ("c.txt", "x\nz")):
        (tmp_path / file).write_text(content)
    assert identity("a.txt") == identity("b.txt")
    assert identity("a.txt")["name"] != identity("c.txt")["name"]
    assert identity("a.txt")["like"] != identity("c.txt")["like"]
