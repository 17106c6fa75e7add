"""Is the file whole or absent, and is nothing lost that was written?"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from synth_actors.datasets.outputs.sinks import FileInfo, RowRefusedError, Sink, open_sink
from synth_actors.datasets.row_schema import RowSchema
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


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.parquet"])
def test_what_was_written_is_known_before_it_has_its_name(tmp_path: Path, name: str) -> None:
    sink = sink_for(tmp_path / name)
    for number in range(3):
        sink.write({"a": number})
        sink.flush()
    files = sink.seal()
    data = (tmp_path / f"{name}.partial").read_bytes()
    assert files == (FileInfo(name=name, bytes=len(data), rows=3, sha256=hashlib.sha256(data).hexdigest()),)
    assert sink.files == files
    assert not (tmp_path / name).exists()
    with pytest.raises(ConfigError, match="another run writes"):
        sink_for(tmp_path / name, overwrite=True)
    sink.publish()
    assert (tmp_path / name).read_bytes() == data


def test_what_was_sealed_and_not_published_is_kept(tmp_path: Path) -> None:
    sink = sink_for(tmp_path / "rows.jsonl")
    sink.write({"a": 1})
    sink.seal()
    assert sink.keep() == tmp_path / "rows.jsonl.partial"
    assert left(tmp_path) == {"rows.jsonl.partial": '{"a":1}\n'}


@pytest.mark.parametrize(("name", "text"), [("rows.jsonl", ""), ("rows.csv", "a,b\n")])
def test_a_file_without_rows_is_a_file(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / f"{name}.partial").write_text("of an earlier run")
    sink_for(tmp_path / name, overwrite=True).finish()
    assert left(tmp_path) == {name: text}


def test_a_row_that_is_refused_leaves_no_trace_and_says_its_number(tmp_path: Path) -> None:
    sink = sink_for(tmp_path / "rows.csv")
    for number in (1, 2):
        with pytest.raises(RowRefusedError, match=rf"^row {number}: b: holds a lone surrogate \(\\ud83d\)") as caught:
            sink.write({"b": "\ud83d"})
        assert caught.value.row == number
        sink.write({"a": number})
    sink.finish()
    assert left(tmp_path) == {"rows.csv": "a,b\n1,\n2,\n"}


def test_the_partial_file_behind_a_link_is_not_overwritten_unasked(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "rows.jsonl").symlink_to(tmp_path / "real" / "data.jsonl")
    (tmp_path / "real" / "data.jsonl.partial").write_text("paid\n")
    with pytest.raises(ConfigError, match=r"data\.jsonl\.partial holds rows of an earlier run"):
        sink_for(tmp_path / "rows.jsonl")


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


def test_standard_output_gets_rows_at_each_flush(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    sink = open_sink("-", SCHEMA, overwrite=False)
    sink.write({"a": 1})
    assert capfdbinary.readouterr().out == b""
    sink.flush()
    assert capfdbinary.readouterr().out == b'{"a":1}\n'
    sink.write({"a": 2})
    assert sink.keep() is None
    assert capfdbinary.readouterr().out == b'{"a":2}\n'


def test_standard_output_has_no_file_to_tell_of(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    sink = open_sink("-", SCHEMA, overwrite=False)
    sink.write({"a": 1})
    sink.finish()
    assert sink.files == ()
    assert capfdbinary.readouterr().out == b'{"a":1}\n'


def test_an_output_without_a_name_is_told_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"ends in \.jsonl, \.csv, \.parquet, or a folder with a trailing /, or -"):
        open_sink("", SCHEMA, overwrite=False)
