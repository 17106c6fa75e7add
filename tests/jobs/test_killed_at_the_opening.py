"""Does a job begin that was killed before it had made its files?  What such a run leaves holds nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from synth_actors.cli.app import run_command

JOB = """
[job]
count = 3
output = "rows.jsonl"
schema = {type = "object", required = ["a"], properties = {a = {type = "integer"}}}
"""


def nothing_yet(journal: Path) -> None:
    """SQLite makes the file before there is anything to write."""
    journal.touch()


def only_a_header(journal: Path) -> None:
    """The file is told to have a log before its tables are made."""
    connection = sqlite3.connect(journal, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()


def only_an_output(journal: Path) -> None:
    """FILE.partial is made before the journal."""
    journal.with_name("rows.jsonl.partial").touch()


@pytest.mark.parametrize("leave", [nothing_yet, only_a_header, only_an_output])
@pytest.mark.parametrize("resume", [[], ["--resume"]])
def test_a_job_that_was_killed_before_its_files_were_made_begins(
    leave: Callable[[Path], None], resume: list[str], tmp_path: Path
) -> None:
    (path := tmp_path / "job.toml").write_text(JOB)
    leave(tmp_path / "rows.jsonl.journal")
    assert run_command(["run", str(path), *resume]) == 0
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 3
    assert json.loads((tmp_path / "manifest.json").read_bytes())["count"] == 3


@pytest.mark.parametrize("leave", [nothing_yet, only_a_header])
def test_the_status_of_a_journal_without_tables_is_incomplete(
    leave: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path := tmp_path / "job.toml").write_text(JOB)
    leave(journal := tmp_path / "rows.jsonl.journal")
    before = journal.read_bytes()
    assert run_command(["status", str(path)]) == 1
    assert "incomplete" in capsys.readouterr().out
    assert (journal.read_bytes(), len(list(tmp_path.iterdir()))) == (before, 2)


def test_rows_of_an_earlier_run_are_still_not_overwritten(tmp_path: Path) -> None:
    (path := tmp_path / "job.toml").write_text(JOB)
    (partial := tmp_path / "rows.jsonl.partial").write_text("{}\n")
    assert (run_command(["run", str(path)]), partial.read_text()) == (2, "{}\n")


def test_an_empty_file_under_the_name_of_the_output_is_still_somebodys(tmp_path: Path) -> None:
    (path := tmp_path / "job.toml").write_text(JOB)
    (tmp_path / "rows.jsonl").touch()
    assert run_command(["run", str(path)]) == 2
