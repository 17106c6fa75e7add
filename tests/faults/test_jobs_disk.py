"""The disk is full at any write, of the journal or of the output: nothing paid is lost, and a resume completes it."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.scripted_job import Asked, Fails, JobFolder, Said, Server, all_right, assert_whole, serving

COUNT = 20
REQUESTS = 4


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


class FullDisk:
    """Fails the write number `at` of those that are counted, and with `for_good` all after it; 0: none."""

    def __init__(self, at: int, *, for_good: bool) -> None:
        self.writes = 0
        self._at = at
        self._for_good = for_good

    def is_full(self) -> bool:
        """One more write: whether there is no room for it."""
        self.writes += 1
        return self.writes == self._at or (self._for_good and 0 < self._at < self.writes)


def full_sqlite(disk: FullDisk) -> type[sqlite3.Connection]:
    """A connection to a database on `disk`."""

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if sql.split()[0] in ("INSERT", "UPDATE", "DELETE", "CREATE", "COMMIT") and disk.is_full():
                with suppress(sqlite3.Error):
                    super().execute("ROLLBACK")
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
            return super().execute(sql, *parameters)

    return Connection


def run_on_full_sqlite(job: JobFolder, disk: FullDisk) -> tuple[int, str]:
    """Run the job while its journal is on `disk`."""
    connect = sqlite3.connect

    def connect_to_it(*args: Any, **options: Any) -> sqlite3.Connection:
        return connect(*args, **options, factory=full_sqlite(disk))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", connect_to_it)
        ran = job.run()
    return ran.status, ran.last


def writes_of_a_whole_run(tmp_path: Path, server: Server, run: Callable[[JobFolder, FullDisk], object]) -> int:
    """How many writes there are to fail."""
    disk = FullDisk(0, for_good=False)
    run(job_in(tmp_path / "whole", server), disk)
    assert_whole(tmp_path / "whole/rows.jsonl", COUNT)
    return disk.writes


def job_in(folder: Path, server: Server, **changes: Any) -> JobFolder:
    """A job of 4 requests, 3 at once."""
    folder.mkdir()
    server.asked.clear()
    server.answered.clear()
    job = JobFolder(folder, server.url)
    job.write(**{"count": COUNT, "concurrency": 3, **changes})
    return job


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
def test_a_journal_without_room_at_any_write_loses_at_most_what_was_out(
    tmp_path: Path, server: Server, for_good: bool
) -> None:
    writes = writes_of_a_whole_run(tmp_path, server, run_on_full_sqlite)
    assert writes > 20
    whole = (tmp_path / "whole/rows.jsonl").read_bytes()
    stopped = 0
    for at in range(1, writes + 1, 3 if for_good else 1):
        job = job_in(tmp_path / str(at), server)
        status, last = run_on_full_sqlite(job, FullDisk(at, for_good=for_good))
        assert status in (0, 1)
        if status == 1:
            stopped += 1
            assert f"journal {job.journal}: " in last or "temporary files in " in last
            assert "make room" in last
        ran = job.run("--resume")
        assert ran.status == 0, (at, ran.err)
        assert job.output.read_bytes() == whole
        again = len(server.answered) - len(set(server.answered))
        assert again <= (3 if for_good else 0), at  # without its reserve the journal cannot take what is out
    assert stopped > 5


# The output.


class FullFolder:
    """What `os` and `pathlib` do with what is called .partial, on a `FullDisk`."""

    def __init__(self, disk: FullDisk, patch: pytest.MonkeyPatch) -> None:
        self._disk = disk
        for name in ("write", "fsync"):
            patch.setattr(os, name, self._on_descriptor(getattr(os, name)))
        patch.setattr(os, "replace", self._on_path(os.replace))
        patch.setattr(Path, "write_bytes", self._on_path(Path.write_bytes))

    def _on_descriptor(self, do: Callable[..., Any]) -> Callable[..., Any]:
        def done(file: int, *more: Any) -> Any:
            path = os.readlink(f"/proc/self/fd/{file}")
            if not Path(path).is_dir():  # that a folder cannot be synced is nobody's fault
                self._check(path)
            return do(file, *more)

        return done

    def _on_path(self, do: Callable[..., Any]) -> Callable[..., Any]:
        def done(path: Any, *more: Any) -> Any:
            self._check(os.fspath(path))
            return do(path, *more)

        return done

    def _check(self, path: str) -> None:
        if ".partial" in path and self._disk.is_full():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def run_in_full_folder(job: JobFolder, disk: FullDisk) -> tuple[int, str]:
    """Run the job while what it writes beside its journal is on `disk`."""
    with pytest.MonkeyPatch.context() as patch:
        FullFolder(disk, patch)
        ran = job.run()
    return ran.status, ran.last


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only there one knows which file is written")
@pytest.mark.parametrize(
    ("output", "for_good"),
    [("rows.jsonl", False), ("rows.jsonl", True), ("rows.csv", True), ("rows.parquet", True), ("rows/", False)],
)
def test_an_output_without_room_at_any_write_is_told_and_exported_again_without_a_call(
    tmp_path: Path, server: Server, output: str, for_good: bool
) -> None:
    disk = FullDisk(0, for_good=for_good)
    assert run_in_full_folder(job_in(tmp_path / "whole", server, output=output), disk)[0] == 0
    whole = bytes_of(tmp_path / "whole" / output)
    assert disk.writes >= 3
    for at in range(1, disk.writes + 1):  # of the first run
        job = job_in(tmp_path / str(at), server, output=output)
        disk = FullDisk(at, for_good=for_good)
        status, last = run_in_full_folder(job, disk)
        if disk.writes < at:  # it needed fewer this time, since more rows were there at once
            assert status == 0
            continue
        assert status == 1
        assert os.strerror(errno.ENOSPC) in last
        assert str(job.folder) in last
        assert "make room on the disk" in last
        paid = len(server.answered)
        ran = job.run("--resume")
        assert ran.status == 0, (at, ran.err)
        assert bytes_of(job.folder / output) == whole
        assert (job.folder / "manifest.json").exists()
        assert len(server.answered) == len(set(server.answered)) == REQUESTS >= paid


def bytes_of(output: Path) -> dict[str, bytes]:
    """The file, or the files of the folder."""
    files = sorted(output.iterdir()) if output.is_dir() else [output]
    return {file.name: file.read_bytes() for file in files}


# A real small disk.


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MiB."""
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux mounts a file system in memory")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a small file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("left_kib", [0, 8, 100, 800, 1100, 1400])
def test_on_a_small_disk_every_paid_answer_is_kept_and_the_job_completes_when_there_is_room(
    small_disk: Path, server: Server, left_kib: int
) -> None:
    job = JobFolder(small_disk, server.url)
    job.write(count=2000, rows_per_request=20, dedup={"near": False})
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(free_bytes(small_disk) - left_kib * 1024))
    ran = job.run()
    assert ran.status == 1
    assert str(small_disk) in ran.last
    assert "make room" in ran.last
    assert (len(server.answered) > 0) == (left_kib > 1024)  # nothing is paid for without room for what is out
    ballast.unlink()
    ran = job.run("--resume")
    assert ran.status == 0, ran.err
    assert_whole(job.output, 2000)
    assert len(server.answered) == len(set(server.answered)) == 100


def free_bytes(folder: Path) -> int:
    """What is left on its disk."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_bsize


@pytest.mark.parametrize("answers", [1, 50, 97, 100])
def test_a_disk_that_others_fill_up_in_the_middle_costs_no_answer(
    small_disk: Path, server: Server, answers: int
) -> None:
    def fill_up(asked: Asked) -> Said | Fails:
        if len(server.answered) + 1 == answers:
            with suppress(OSError), (small_disk / "others").open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        return all_right(asked)

    job = JobFolder(small_disk, server.url)
    job.write(count=2000, rows_per_request=20, dedup={"near": False})
    server.script = fill_up
    ran = job.run()
    if ran.status:
        assert "make room" in ran.last
    else:
        assert answers > 90  # the reserve was enough for the rest
    (small_disk / "others").unlink()
    server.script = all_right
    assert job.run("--resume").status == 0
    assert_whole(job.output, 2000)
    assert len(server.answered) == len(set(server.answered)) == 100
    assert json.loads((small_disk / "manifest.json").read_bytes())["uncertain_calls"] == []
