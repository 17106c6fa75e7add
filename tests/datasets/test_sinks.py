"""Is the file whole or absent, and is nothing lost that was written?"""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from synth_actors.datasets.row_schema import RowSchema
from synth_actors.datasets.sinks import Csv, Sink, open_sink
from synth_actors.errors import ConfigError

SCHEMA = RowSchema({"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}})


def sink_for(path: Path, *, overwrite: bool = False) -> Sink:
    return open_sink(str(path), SCHEMA, overwrite=overwrite)


def left(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_second_run_on_the_same_file_is_refused_while_the_first_one_writes(tmp_path: Path) -> None:
    first = sink_for(tmp_path / "rows.jsonl")
    with pytest.raises(ConfigError, match=r"another run writes .*rows\.jsonl\.partial now; wait for it"):
        sink_for(tmp_path / "rows.jsonl", overwrite=True)
    first.write({"a": 1})
    first.finish()
    second = sink_for(tmp_path / "rows.jsonl", overwrite=True)
    second.write({"a": 2})
    second.finish()
    assert left(tmp_path) == {"rows.jsonl": '{"a":2}\n'}


def test_the_file_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    sink = sink_for(tmp_path / "rows.jsonl")
    sink.write({"a": 1})
    sink.flush()
    assert left(tmp_path) == {"rows.jsonl.partial": '{"a":1}\n'}
    sink.write({"a": 2})
    sink.finish()
    assert left(tmp_path) == {"rows.jsonl": '{"a":1}\n{"a":2}\n'}


def test_an_incomplete_run_keeps_its_rows_and_says_where(tmp_path: Path) -> None:
    sink = sink_for(tmp_path / "rows.csv")
    sink.write({"a": 1, "b": "x"})
    assert sink.keep() == tmp_path / "rows.csv.partial"
    assert left(tmp_path) == {"rows.csv.partial": "a,b\n1,x\n"}


def test_a_run_without_a_row_leaves_nothing_behind(tmp_path: Path) -> None:
    assert sink_for(tmp_path / "rows.jsonl").keep() is None
    assert left(tmp_path) == {}


def test_an_earlier_file_and_its_partial_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl.partial").write_text("paid\n")
    with pytest.raises(ConfigError, match=r"rows.jsonl.partial holds rows of an earlier run; move it.*--overwrite"):
        sink_for(tmp_path / "rows.jsonl")
    (tmp_path / "rows.jsonl").write_text("old\n")
    with pytest.raises(ConfigError, match=r"rows.jsonl: exists.*--overwrite"):
        sink_for(tmp_path / "rows.jsonl")
    assert left(tmp_path) == {"rows.jsonl": "old\n", "rows.jsonl.partial": "paid\n"}


def test_overwriting_keeps_the_old_rows_until_there_are_new_ones(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("old\n")
    (tmp_path / "rows.jsonl.partial").write_text("paid, and longer than what comes\n")
    assert sink_for(tmp_path / "rows.jsonl", overwrite=True).keep() is None
    assert left(tmp_path) == {"rows.jsonl": "old\n", "rows.jsonl.partial": "paid, and longer than what comes\n"}
    sink = sink_for(tmp_path / "rows.jsonl", overwrite=True)
    sink.write({"a": 1})
    sink.flush()
    assert left(tmp_path) == {"rows.jsonl": "old\n", "rows.jsonl.partial": '{"a":1}\n'}
    sink.finish()
    assert left(tmp_path) == {"rows.jsonl": '{"a":1}\n'}


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "rows.jsonl").symlink_to(tmp_path / "real" / "data.jsonl")
    sink = sink_for(tmp_path / "rows.jsonl")
    sink.write({"a": 1})
    sink.finish()
    assert (tmp_path / "rows.jsonl").is_symlink()
    assert left(tmp_path / "real") == {"data.jsonl": '{"a":1}\n'}


def test_a_full_disk_leaves_whole_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = sink_for(tmp_path / "rows.jsonl")
    sink.write({"a": 1})
    sink.flush()
    real = os.write

    def half_then_full(file: int, data: Any) -> int:
        if len(data) > 3:
            return real(file, data[:3])
        raise OSError(28, "No space left on device")

    sink.write({"a": 2})
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half_then_full)
        with pytest.raises(OSError, match="No space left"):
            sink.flush()
        assert left(tmp_path) == {"rows.jsonl.partial": '{"a":1}\n'}
    sink.keep()
    assert left(tmp_path) == {"rows.jsonl.partial": '{"a":1}\n{"a":2}\n'}, "there is room again"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rows.xlsx", "'.xlsx' is no format; give .jsonl, .csv, .parquet, or a"),
        ("rows", "'' is no format"),
        ("none/rows.csv", "there is no folder"),
    ],
)
def test_a_place_that_cannot_be_is_refused(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        sink_for(tmp_path / name)
    assert left(tmp_path) == {}


def test_a_folder_and_a_place_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
        sink_for(tmp_path / "rows.csv")
    with pytest.raises(ConfigError, match="cannot be written"):
        sink_for(Path("/proc/rows.csv"))


def test_csv_needs_columns() -> None:
    with pytest.raises(ConfigError, match="properties"):
        Csv(RowSchema({"type": "array"}))


class Order(BaseModel):
    number: int = Field(alias="orderNumber")
    tags: list[str]
    note: str | None = None


def test_a_model_is_a_line_of_csv_by_its_aliases() -> None:
    encoder = Csv(RowSchema(Order))
    order = Order(orderNumber=3, tags=["a", "b"], note=None)
    assert encoder.head() + encoder.row(order) == b'orderNumber,tags,note\n3,"[""a"",""b""]",\n'


def test_columns_of_alternatives_stand_side_by_side() -> None:
    cat, dog = ({"type": "object", "properties": {"name": {}, own: {}}} for own in ("lives", "bones"))
    assert Csv(RowSchema({"oneOf": [cat, dog]})).columns == ("name", "lives", "bones")


def test_a_key_without_a_column_is_counted() -> None:
    encoder = Csv(SCHEMA)
    assert encoder.row({"a": 1, "other": 2}) == b"1,\n"
    assert encoder.left_out == 1


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.lists(st.integers())
)


@given(st.lists(st.fixed_dictionaries({"a": st.one_of(st.text(), VALUES), "b": VALUES}), max_size=5))
def test_csv_is_read_back_by_another_reader(rows: list[dict[str, Any]]) -> None:
    encoder = Csv(SCHEMA)
    text = (encoder.head() + b"".join(map(encoder.row, rows))).decode()
    found = list(csv.reader(io.StringIO(text, newline="")))
    assert found[0] == ["a", "b"]

    def read(cell: str, value: Any) -> Any:
        if value is None:
            return None if cell == "" else cell
        return cell if isinstance(value, str) else json.loads(cell)

    values = [[row["a"], row["b"]] for row in rows]
    assert [list(map(read, line, row)) for line, row in zip(found[1:], values, strict=True)] == values


def test_null_and_the_empty_text_look_different() -> None:
    assert Csv(SCHEMA).row({"a": None, "b": ""}) == b',""\n'


def test_standard_output_gets_rows_at_each_flush(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    sink = open_sink("-", SCHEMA, overwrite=False)
    sink.write({"a": 1})
    assert capfdbinary.readouterr().out == b""
    sink.flush()
    assert capfdbinary.readouterr().out == b'{"a":1}\n'
    sink.write({"a": 2})
    assert sink.keep() is None
    assert capfdbinary.readouterr().out == b'{"a":2}\n'
