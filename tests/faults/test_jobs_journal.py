"""The journal is damaged, gone, somebody else's or not writable: the user is told what to do, and then it works."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.jobs.scripted_job import Asked, Fails, JobFolder, Ran, Said, Server, all_right, assert_whole, serving

PAGE = 4096

Damage = Callable[[bytes], bytes]
DAMAGES: dict[str, Damage] = {
    "text": lambda _data: b"these are my notes\n" * 500,
    "its first half": lambda data: data[: len(data) // 2],
    "its first bytes": lambda data: data[:50],
    "noise at its head": lambda data: random.Random(1).randbytes(200) + data[200:],
    "noise in its middle": lambda data: data[:PAGE] + random.Random(2).randbytes(len(data) - 2 * PAGE) + data[-PAGE:],
    "another program's": lambda data: data[:68] + b"abcd" + data[72:],
    "of a later release": lambda data: data[:60] + (99).to_bytes(4, "big") + data[64:],
}


class Stops:
    """A script that answers some questions, and then has had enough."""

    def __init__(self, answers: int) -> None:
        self._left = answers

    def __call__(self, asked: Asked) -> Said | Fails:
        self._left -= 1
        return all_right(asked) if self._left >= 0 else Fails(401, "no such key")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def half(tmp_path: Path, server: Server) -> JobFolder:
    """A job that stopped after 7 of its 12 answers."""
    folder = JobFolder(tmp_path, server.url)
    server.script = Stops(7)
    assert folder.run().status == 1
    server.script = all_right
    server.asked.clear()
    return folder


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_journal_is_told_with_the_way_out_and_kept(half: JobFolder, server: Server, damage: Damage) -> None:
    damaged = damage(half.journal.read_bytes())
    rows = (half.folder / "rows.jsonl.partial").read_bytes()
    half.journal.write_bytes(damaged)
    for flags in ((), ("--resume",), ("--overwrite",)):
        ran = half.run(*flags)
        assert ran.status == 1
        assert len(ran.err.splitlines()) == 1
        assert str(half.journal) in ran.err
        assert "add --fork, which sets it aside and begins anew" in ran.err
    assert "add --fork" in half.run(command="status").err
    assert half.journal.read_bytes() == damaged
    assert server.asked == []

    ran = half.run("--fork")
    assert ran.status == 0
    assert "rows.jsonl.journal.1" in ran.err
    assert (half.folder / "rows.jsonl.journal.1").read_bytes() == damaged
    assert (half.folder / "rows.jsonl.partial.1").read_bytes() == rows
    assert_whole(half.output, 60)
    assert len(server.asked) == 12


def test_a_second_fork_keeps_the_first_ones_files(half: JobFolder, server: Server) -> None:
    server.script = Stops(3)
    assert half.run("--fork").status == 1
    server.script = all_right
    assert half.run("--fork").status == 0
    assert half.files() == {
        *("rows.jsonl", "manifest.json", "rows.jsonl.journal"),
        *("rows.jsonl.journal.1", "rows.jsonl.partial.1", "rows.jsonl.journal.2", "rows.jsonl.partial.2"),
    }


def test_a_fork_of_a_complete_job_touches_nothing_before_it_may_replace_the_output(half: JobFolder) -> None:
    assert half.run("--resume").status == 0
    half.output.write_text("somebody's")
    before = half.files()
    ran = half.run("--fork")
    assert ran.status == 2
    assert "rows.jsonl: exists; give another output, or add --overwrite" in ran.err
    assert half.files() == before
    assert half.run("--fork", "--overwrite").status == 0
    assert half.files() == before | {"rows.jsonl.journal.1"}


@pytest.mark.parametrize("settled", [True, False], ids=["of a settled block", "of a block that wants more"])
def test_one_answer_that_cannot_be_read_is_damage(tmp_path: Path, server: Server, settled: bool) -> None:
    job = JobFolder(tmp_path, server.url)
    too_few = Said('{"rows": []}')

    def stops_at_11(asked: Asked) -> Said | Fails:
        if asked.sample or asked.rows[0] > 10:
            return Fails(401, "no such key")
        return all_right(asked) if settled or asked.rows[0] != 6 else too_few

    job.write(concurrency=1)
    server.script = stops_at_11
    assert job.run().status == 1
    server.script = all_right
    with closing(sqlite3.connect(job.journal)) as connection, connection:
        assert connection.execute("UPDATE answers SET text = x'00112233' WHERE rows = '6-10'").rowcount == 1
    ran = job.run("--resume")
    assert ran.status == 1
    assert f"journal {job.journal}: an answer in it cannot be read" in ran.last
    assert "add --fork" in ran.last
    assert job.run("--fork").status == 0
    assert_whole(job.output, 60)


@pytest.mark.parametrize("left", ["nothing", "an empty file", "one page"])
def test_a_run_that_was_killed_at_its_start_is_in_nobodys_way(tmp_path: Path, server: Server, left: str) -> None:
    folder = JobFolder(tmp_path, server.url)
    (tmp_path / "rows.jsonl.partial").touch()
    if left == "an empty file":
        folder.journal.touch()
    elif left == "one page":
        with closing(sqlite3.connect(folder.journal)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("VACUUM")
    ran = folder.run("--resume")
    assert ran.status == 0
    assert "the job starts afresh" in ran.err
    assert_whole(folder.output, 60)


def test_an_empty_journal_costs_nobody_the_rows_that_stand_beside_it(half: JobFolder) -> None:
    half.journal.write_bytes(b"")
    rows = (half.folder / "rows.jsonl.partial").read_bytes()
    ran = half.run("--resume")
    assert ran.status == 2
    assert "rows.jsonl.partial holds rows of an earlier run; move it, or add --overwrite to replace it" in ran.err
    assert half.run("--fork").status == 0
    assert (half.folder / "rows.jsonl.partial.1").read_bytes() == rows


def test_a_folder_in_the_place_of_the_journal_is_told(half: JobFolder) -> None:
    half.journal.unlink()
    half.journal.mkdir()
    ran = half.run("--resume")
    assert (ran.status, len(ran.err.splitlines())) == (1, 1)
    assert "rows.jsonl.journal: is a folder" in ran.err


def test_a_journal_that_was_deleted_is_missed(half: JobFolder) -> None:
    half.journal.unlink()
    ran = half.run("--resume")
    assert ran.status == 2
    assert "rows.jsonl.partial holds rows of an earlier run" in ran.err
    ran = half.run("--resume", "--overwrite")
    assert ran.status == 0
    assert "there is no such journal, so the job starts afresh" in ran.err


# Rights, which bind root only without its capabilities.

BOUND = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def bound_by_rights(folder: JobFolder, *flags: str) -> Ran:
    """Run the job in a process that may do only what the modes of files say."""
    if not hasattr(os, "geteuid") or (os.geteuid() == 0 and shutil.which("setpriv") is None):
        pytest.skip("nothing binds this user")
    command = [sys.executable, "-m", "synth_actors", "run", str(folder.file), *flags]
    if os.geteuid() == 0:
        command = [*BOUND, *command]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "setpriv" in ran.stderr:
        pytest.skip(ran.stderr)
    return Ran(ran.returncode, ran.stderr)


@pytest.mark.parametrize("what", ["journal", "folder", "rows"])
def test_a_journal_that_may_not_be_written_is_told_before_anything_is_asked(
    half: JobFolder, server: Server, what: str
) -> None:
    partial = half.folder / "rows.jsonl.partial"
    path, mode = {"journal": (half.journal, 0o444), "folder": (half.folder, 0o555), "rows": (partial, 0o444)}[what]
    before = path.stat().st_mode
    path.chmod(mode)
    ran = bound_by_rights(half, "--resume")
    path.chmod(before)
    assert ran.status in (1, 2)
    assert len(ran.err.splitlines()) == 1
    assert str(half.folder) in ran.err
    assert any(remedy in ran.err for remedy in ("make it writable", "choose", "look at its folder"))
    assert server.asked == []
    assert half.run("--resume").status == 0
    assert_whole(half.output, 60)
    assert len(server.asked) == 5


def test_a_fork_in_a_folder_that_may_not_be_written_is_told(half: JobFolder) -> None:
    half.folder.chmod(0o555)
    ran = bound_by_rights(half, "--fork")
    half.folder.chmod(0o755)
    assert ran.status == 1
    assert len(ran.err.splitlines()) == 1
    assert f"journal {half.journal}: Permission denied; look at its folder and at your rights" in ran.err
    assert half.run("--resume").status == 0


# Two runs at once.


def test_a_second_run_of_a_job_is_refused_at_once_and_the_first_goes_on(half: JobFolder, server: Server) -> None:
    second: list[tuple[int, str]] = []

    def ask_while_it_runs(asked: Asked) -> Said | Fails:
        if not second:
            for flags in (["--resume"], ["--fork"], ["--overwrite"], []):
                command = [sys.executable, "-m", "synth_actors", "run", str(half.file), *flags]
                ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
                second.append((ran.returncode, ran.stderr))
        return all_right(asked)

    server.script = ask_while_it_runs
    ran = half.run("--resume")
    assert ran.status == 0, ran.err
    assert_whole(half.output, 60)
    assert len(server.asked) == 5
    for status, err in second:
        assert status == 1
        said = f"synth-actors: journal {half.journal}: another run of this job uses it now; wait for it, or stop it\n"
        assert err == said
