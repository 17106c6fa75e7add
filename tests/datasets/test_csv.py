"""Does every text come back from CSV and JSON Lines, or is it refused by name?"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from synth_actors.datasets.outputs.encoders import Csv, Encoder, JsonLines
from synth_actors.datasets.outputs.row_text import RowRefusedError, shown, text_of_row
from synth_actors.datasets.row_schema import RowSchema
from synth_actors.errors import ConfigError

SCHEMA = RowSchema({"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}})
TEXTS = RowSchema({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}})
ONE = RowSchema({"type": "object", "properties": {"a": {"type": "string"}}})

MARKS = st.sampled_from(
    (*"\0\r\n\",';|\t#\\ =+\ufeff\u200f\u202e\u2028\x1a😀", "\r\n", '""', "NA", "null", "1", "2024-01-01", "true")
)
WELL_FORMED = st.text(st.characters(exclude_categories=["Cs"]))
ANY_TEXT = st.one_of(WELL_FORMED, st.lists(st.one_of(MARKS, WELL_FORMED), max_size=5).map("".join))
CELLS = st.one_of(st.none(), ANY_TEXT)
MANY = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def whole(encoder: Encoder, rows: Iterable[Any]) -> bytes:
    return encoder.head() + b"".join(map(encoder.row, rows)) + encoder.tail()


def test_csv_needs_columns() -> None:
    with pytest.raises(ConfigError, match=r"-o: \.csv needs a schema with properties.*use \.jsonl"):
        Csv(RowSchema({"type": "array"}))


class Order(BaseModel):
    number: int = Field(alias="orderNumber")
    tags: list[str]
    note: str | None = None


def test_a_model_is_a_line_of_csv_by_its_aliases() -> None:
    order = Order(orderNumber=3, tags=["a", "b"], note=None)
    assert whole(Csv(RowSchema(Order)), [order]) == b'orderNumber,tags,note\n3,"[""a"",""b""]",\n'


def test_an_integer_beyond_64_bits_keeps_its_digits_also_in_a_model() -> None:
    assert Csv(RowSchema(Order)).row(Order(orderNumber=2**70, tags=[])) == b"1180591620717411303424,[],\n"


def test_columns_of_alternatives_stand_side_by_side() -> None:
    cat, dog = ({"type": "object", "properties": {"name": {}, own: {}}} for own in ("lives", "bones"))
    assert Csv(RowSchema({"oneOf": [cat, dog]})).columns == ("name", "lives", "bones")


def test_a_key_without_a_column_is_counted() -> None:
    encoder = Csv(SCHEMA)
    assert encoder.row({"a": 1, "other": 2}) == b"1,\n"
    assert encoder.problem({"a": 1, "other": 2}) is None
    assert encoder.left_out == 1


def test_a_row_that_is_no_object_is_refused() -> None:
    with pytest.raises(RowRefusedError, match=r"^the whole: is no object.*; \.jsonl keeps it as it is"):
        Csv(SCHEMA).row([1, 2])
    assert Csv(SCHEMA).problem([1, 2]) == "the whole: is no object, so that it has no columns"
    assert JsonLines().row([1, 2]) == b"[1,2]\n"


def test_null_and_the_empty_text_look_different() -> None:
    assert Csv(SCHEMA).row({"a": None, "b": ""}) == b',""\n'


def test_a_lone_null_is_no_empty_line_which_readers_skip(tmp_path: Path) -> None:
    (path := tmp_path / "rows.csv").write_bytes(whole(Csv(ONE), [{"a": "x"}, {"a": None}, {"a": "y"}]))
    assert path.read_bytes() == b'a\nx\n""\ny\n'
    assert pd.read_csv(path)["a"].isna().tolist() == [False, True, False]
    assert pl.read_csv(path)["a"].to_list() == ["x", "", "y"]
    assert duckdb.read_csv(path).fetchall() == [("x",), (None,), ("y",)]


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.lists(st.integers())
)


@given(st.lists(st.fixed_dictionaries({"a": st.one_of(ANY_TEXT, VALUES), "b": VALUES}), max_size=5))
def test_csv_is_read_back_by_another_reader(rows: list[dict[str, Any]]) -> None:
    text = whole(Csv(SCHEMA), rows).decode()
    found = list(csv.reader(io.StringIO(text, newline="")))
    assert found[0] == ["a", "b"]

    def read(cell: str, value: Any) -> Any:
        if value is None:
            return None if cell == "" else cell
        return cell if isinstance(value, str) else json.loads(cell)

    values = [[row["a"], row["b"]] for row in rows]
    assert [list(map(read, line, row)) for line, row in zip(found[1:], values, strict=True)] == values


@MANY
@given(rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8))
def test_every_text_is_read_back_from_csv_by_every_reader(
    rows: list[tuple[str | None, str | None]], tmp_path: Path
) -> None:
    (path := tmp_path / "rows.csv").write_bytes(whole(Csv(TEXTS), ({"a": a, "b": b} for a, b in rows)))
    with path.open(encoding="utf-8", newline="") as file:
        assert [tuple(row) for row in csv.reader(file)][1:] == [(a or "", b or "") for a, b in rows]
    assert pl.read_csv(path, infer_schema=False).rows() == rows
    read = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert list(read.itertuples(index=False, name=None)) == [(a or "", b or "") for a, b in rows]
    relation = duckdb.read_csv(path, all_varchar=True, header=True, quotechar='"', escapechar='"', delimiter=",")
    assert relation.fetchall() == [(a or None, b or None) for a, b in rows]


@MANY
@given(texts=st.lists(CELLS, min_size=1, max_size=8))
def test_every_text_is_read_back_from_json_lines_by_every_reader(texts: list[str | None], tmp_path: Path) -> None:
    (path := tmp_path / "rows.jsonl").write_bytes(whole(JsonLines(), ({"a": text} for text in texts)))
    lines = path.read_bytes().split(b"\n")
    assert [json.loads(line)["a"] for line in lines[:-1]] == texts
    assert pl.read_ndjson(path, schema={"a": pl.String})["a"].to_list() == texts
    assert duckdb.read_json(str(path), columns={"a": "VARCHAR"}).fetchall() == [(text,) for text in texts]


@given(st.text(), st.sampled_from([JsonLines(), Csv(TEXTS)]))
def test_a_text_is_refused_by_name_exactly_when_it_holds_a_lone_surrogate(text: str, encoder: Encoder) -> None:
    row = {"a": "x", "b": text}
    if any("\ud800" <= mark <= "\udfff" for mark in text):
        assert (encoder.problem(row) or "").startswith("b: holds a lone surrogate (\\ud")
        with pytest.raises(RowRefusedError, match=r"^b: holds a lone surrogate"):
            encoder.row(row)
    else:
        assert encoder.problem(row) is None
        assert encoder.row(row).endswith(b"\n")


class Note(BaseModel):
    score: float | None
    texts: list[str] = []


INF = float("inf")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"a": ["x", {"b": "y\ud83d"}]}, r"a.1.b: holds a lone surrogate (\ud83d), which UTF-8 cannot carry"),
        ({"\udead": 1}, r"\udead: holds a lone surrogate (\udead)"),
        ("\ud800", r"the whole: holds a lone surrogate (\ud800)"),
        ({"a": INF}, "a: is inf, which JSON cannot carry; write a finite number"),
        ({"a": [1.5, -INF]}, "a.1: is -inf, which JSON"),
        ({"a": float("nan")}, "a: is nan, which JSON"),
        (Note.model_construct(score=INF), "score: is inf, which JSON"),
        (Note.model_construct(score=1.0, texts=["\udc00"]), r"texts.0: holds a lone surrogate (\udc00)"),
    ],
)
def test_what_json_cannot_carry_is_refused_by_its_path(row: Any, problem: str) -> None:
    with pytest.raises(RowRefusedError) as caught:
        text_of_row(row)
    assert caught.value.problem.startswith(problem)
    assert JsonLines().problem(row) == caught.value.problem


def test_the_names_of_what_is_not_finite_are_ordinary_texts() -> None:
    assert text_of_row({"NaN": "to Infinity"}) == b'{"NaN":"to Infinity"}'
    assert text_of_row(Note(score=None, texts=["NaN"])) == b'{"score":null,"texts":["NaN"]}'


def test_what_is_no_json_at_all_is_refused_and_not_a_crash() -> None:
    with pytest.raises(RowRefusedError, match="Unable to serialize unknown type"):
        text_of_row({"a": object()})


@given(st.text())
def test_what_is_shown_of_a_value_is_a_short_line_that_can_be_printed(text: str) -> None:
    line = shown(text)
    assert len(line) <= 80
    assert line.isprintable()


def test_types_are_seen_by_the_readers_that_look_for_them(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {name: {} for name in ("day", "n", "x", "yes", "tags")}}
    rows = [
        {"day": "2024-02-29", "n": 1, "x": 0.5, "yes": True, "tags": ["a", 'b"']},
        {"day": "2023-12-31", "n": None, "x": None, "yes": False, "tags": None},
    ]
    (path := tmp_path / "rows.csv").write_bytes(whole(Csv(RowSchema(schema)), rows))
    assert list(map(str, duckdb.read_csv(path).types[:4])) == ["DATE", "BIGINT", "DOUBLE", "BOOLEAN"]
    read = pl.read_csv(path, try_parse_dates=True)
    assert read.dtypes[:4] == [pl.Date, pl.Int64, pl.Float64, pl.Boolean]
    assert read["n"].to_list() == [1, None]
    assert json.loads(read["tags"][0]) == ["a", 'b"']
    frame = pd.read_csv(path, parse_dates=["day"])
    assert [kind.kind for kind in frame.dtypes[:4]] == ["M", "f", "f", "b"]
