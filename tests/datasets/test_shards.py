"""Is a folder of shards whole or absent, and is nothing deleted that is not ours?"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synth_actors.datasets.outputs.destinations import FileInfo
from synth_actors.datasets.outputs.sinks import Sink, open_sink
from synth_actors.datasets.row_schema import RowSchema
from synth_actors.errors import ConfigError

SCHEMA = RowSchema({"type": "object", "properties": {"a": {"type": "integer"}}})


def shards_in(folder: Path | str, *, overwrite: bool = False, rows_per_shard: int = 2) -> Sink:
    return open_sink(f"{folder}/", SCHEMA, overwrite=overwrite, rows_per_shard=rows_per_shard)


def fill(sink: Sink, *numbers: int) -> Sink:
    for number in numbers:
        sink.write({"a": number})
    return sink


def left(folder: Path) -> dict[str, str]:
    """Every file below `folder`, and every empty folder."""
    paths = sorted(folder.rglob("*"))
    files = {path.relative_to(folder).as_posix(): path.read_text() for path in paths if path.is_file()}
    return files | {path.name + "/": "" for path in paths if path.is_dir() and not any(path.iterdir())}


def test_a_folder_appears_with_all_its_shards(tmp_path: Path) -> None:
    sink = fill(shards_in(tmp_path / "rows"), 1, 2, 3)
    sink.flush()
    shards = {"part-00000.jsonl": '{"a":1}\n{"a":2}\n', "part-00001.jsonl": '{"a":3}\n'}
    assert left(tmp_path) == {f"rows.partial/{name}": text for name, text in shards.items()}
    sink.finish()
    assert left(tmp_path) == {f"rows/{name}": text for name, text in shards.items()}


@pytest.mark.parametrize(
    ("name", "suffix"), [("rows", "jsonl"), ("v1.2", "jsonl"), ("r.csv", "csv"), ("R.JSONL", "jsonl")]
)
def test_the_name_of_the_folder_says_the_format_of_its_shards(tmp_path: Path, name: str, suffix: str) -> None:
    fill(shards_in(tmp_path / name), 1).finish()
    assert left(tmp_path) == {f"{name}/part-00000.{suffix}": "a\n1\n" if suffix == "csv" else '{"a":1}\n'}


def test_each_shard_is_a_file_of_its_own(tmp_path: Path) -> None:
    for suffix in ("csv", "parquet"):
        fill(shards_in(tmp_path / f"rows.{suffix}"), *range(5)).finish()
    tables, columns = (sorted((tmp_path / f"rows.{suffix}").iterdir()) for suffix in ("csv", "parquet"))
    assert [path.read_text() for path in tables] == ["a\n0\n1\n", "a\n2\n3\n", "a\n4\n"]
    assert [pq.read_table(path)["a"].to_pylist() for path in columns] == [[0, 1], [2, 3], [4]]


def test_a_full_last_shard_is_not_followed_by_an_empty_one(tmp_path: Path) -> None:
    fill(shards_in(tmp_path / "rows"), 1, 2).finish()
    assert list(left(tmp_path)) == ["rows/part-00000.jsonl"]


def test_no_rows_are_one_shard_without_rows(tmp_path: Path) -> None:
    shards_in(tmp_path / "rows.csv").finish()
    assert left(tmp_path) == {"rows.csv/part-00000.csv": "a\n"}


def test_an_incomplete_run_keeps_its_shards_and_says_where(tmp_path: Path) -> None:
    assert fill(shards_in(tmp_path / "rows"), 1, 2, 3).keep() == tmp_path / "rows.partial"
    assert list(left(tmp_path)) == ["rows.partial/part-00000.jsonl", "rows.partial/part-00001.jsonl"]
    with pytest.raises(ConfigError, match=r"rows/: .*rows\.partial holds rows of an earlier run; move it.*--overwrite"):
        shards_in(tmp_path / "rows")


def test_a_run_without_a_row_leaves_nothing_behind(tmp_path: Path) -> None:
    assert shards_in(tmp_path / "rows").keep() is None
    assert left(tmp_path) == {}


def test_overwriting_keeps_the_old_rows_until_there_are_new_ones(tmp_path: Path) -> None:
    fill(shards_in(tmp_path / "rows"), *range(10)).finish()
    fill(shards_in(tmp_path / "rows", overwrite=True), *range(20, 26)).keep()
    before = left(tmp_path)
    assert len(before) == 5 + 3
    assert shards_in(tmp_path / "rows", overwrite=True).keep() is None
    assert left(tmp_path) == before
    sink = fill(shards_in(tmp_path / "rows", overwrite=True), 7)
    sink.flush()
    assert [name for name in left(tmp_path) if "partial" in name] == ["rows.partial/part-00000.jsonl"]
    sink.finish()
    assert left(tmp_path) == {"rows/part-00000.jsonl": '{"a":7}\n'}


def test_an_earlier_folder_is_refused_by_name_and_an_empty_one_is_filled(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    fill(shards_in(tmp_path / "rows"), 1).finish()
    with pytest.raises(ConfigError, match=r"rows/: exists; choose another name, or add --overwrite"):
        shards_in(tmp_path / "rows")
    assert left(tmp_path) == {"rows/part-00000.jsonl": '{"a":1}\n'}


@pytest.mark.parametrize("folder", ["rows", "rows.partial"])
@pytest.mark.parametrize("name", ["notes.txt", "part-1.jsonl", "part-00000.jsonl/deeper"])
def test_a_folder_with_anything_else_in_it_is_never_replaced(tmp_path: Path, folder: str, name: str) -> None:
    (path := tmp_path / folder / name).parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(ConfigError, match=rf"-o .*rows/: .*{folder}/[^/]* is no shard, so it is not replaced; move it"):
        shards_in(tmp_path / "rows", overwrite=True)
    assert left(tmp_path) == {f"{folder}/{name}": "mine"}


def test_what_is_put_into_the_folder_during_the_run_is_set_aside(tmp_path: Path) -> None:
    fill(shards_in(tmp_path / "rows"), 1).finish()
    sink = fill(shards_in(tmp_path / "rows", overwrite=True), 2)
    (tmp_path / "rows" / "notes.txt").write_text("mine")
    sink.finish()
    assert left(tmp_path) == {"rows/part-00000.jsonl": '{"a":2}\n', "rows.replaced/notes.txt": "mine"}
    with pytest.raises(ConfigError, match=r"rows\.replaced/notes.txt is no shard, so it is not replaced; move it"):
        shards_in(tmp_path / "rows", overwrite=True)


@pytest.mark.parametrize("left_behind", [("rows.replaced",), ("rows.replaced", "rows")])
def test_a_run_that_was_killed_while_it_replaced_a_folder_is_in_nobodys_way(
    tmp_path: Path, left_behind: tuple[str, ...]
) -> None:
    for folder in left_behind:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "part-00000.jsonl").write_text('{"a":1}\n')
    fill(shards_in(tmp_path / "rows", overwrite=True), 3).finish()
    assert left(tmp_path) == {"rows/part-00000.jsonl": '{"a":3}\n'}


def test_a_folder_that_cannot_get_its_name_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(shards_in(tmp_path / "rows"), 1).finish()
    sink = fill(shards_in(tmp_path / "rows", overwrite=True), 2)
    sink.seal()
    real = os.rename

    def refuse(source: Any, target: Any) -> None:
        if Path(source).name == "rows.partial":
            raise OSError(5, "Input/output error")
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", refuse)
        with pytest.raises(OSError, match="Input/output"):
            sink.publish()
    assert left(tmp_path) == {"rows/part-00000.jsonl": '{"a":1}\n', "rows.partial/part-00000.jsonl": '{"a":2}\n'}


def test_a_second_run_on_the_same_folder_is_refused_while_the_first_one_writes(tmp_path: Path) -> None:
    first = shards_in(tmp_path / "rows")
    with pytest.raises(ConfigError, match=r"another run writes .*rows\.partial now; wait for it"):
        shards_in(tmp_path / "rows")
    fill(first, 1).finish()
    fill(shards_in(tmp_path / "rows", overwrite=True), 2).finish()
    assert left(tmp_path) == {"rows/part-00000.jsonl": '{"a":2}\n'}


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real" / "data").mkdir(parents=True)
    (tmp_path / "rows").symlink_to(tmp_path / "real" / "data")
    fill(shards_in(tmp_path / "rows"), 1).finish()
    assert (tmp_path / "rows").is_symlink()
    assert left(tmp_path / "real") == {"data/part-00000.jsonl": '{"a":1}\n'}


def test_a_full_disk_leaves_whole_rows_and_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = fill(shards_in(tmp_path / "rows"), 1)
    sink.flush()
    real = os.write

    def half_then_full(file: int, data: Any) -> int:
        if len(data) > 3:
            return real(file, data[:3])
        raise OSError(28, "No space left on device")

    fill(sink, 2, 3, 4, 5)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half_then_full)
        with pytest.raises(OSError, match="No space left"):
            sink.flush()
        assert left(tmp_path) == {"rows.partial/part-00000.jsonl": '{"a":1}\n'}
    fill(sink, 6)
    assert sink.keep() == tmp_path / "rows.partial"
    assert "".join(left(tmp_path).values()) == "".join(f'{{"a":{n}}}\n' for n in range(1, 7)), "there is room again"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/", "names no folder of its own; name one in it, as in /rows/"),
        ("../", "names no folder of its own"),
        ("none/rows/", "there is no folder none"),
        ("file/", "is a file; leave out the trailing /"),
        ("/proc/rows/", "cannot be written"),
    ],
)
def test_a_folder_that_cannot_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=words):
        open_sink(target, SCHEMA, overwrite=False)
    assert left(tmp_path) == {"file": ""}


def test_a_shard_holds_at_least_one_row(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rows_per_shard: 0 is too few; give 1 or more"):
        shards_in(tmp_path / "rows", rows_per_shard=0)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 12), st.integers(1, 5), st.sets(st.integers(0, 12)), st.sampled_from(["", ".csv", ".parquet"]))
def test_the_shards_are_what_the_rows_say_whenever_they_are_flushed(
    tmp_path_factory: pytest.TempPathFactory, count: int, per_shard: int, flush_after: set[int], suffix: str
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    written: list[tuple[dict[str, bytes], tuple[FileInfo, ...]]] = []
    for name, flushes in (("one", set[int]()), ("two", flush_after)):
        sink = shards_in(folder / f"{name}{suffix}", rows_per_shard=per_shard)
        for number in range(count):
            fill(sink, number)
            if number in flushes:
                sink.flush()
        sink.finish()
        written.append(({path.name: path.read_bytes() for path in (folder / f"{name}{suffix}").iterdir()}, sink.files))
    assert written[0] == written[1]
    found, files = written[0]
    assert [(file.name, file.bytes, file.sha256) for file in files] == [
        (name, len(data), hashlib.sha256(data).hexdigest()) for name, data in sorted(found.items())
    ]
    assert [file.rows for file in files] == [min(per_shard, count - at) for at in range(0, max(count, 1), per_shard)]
