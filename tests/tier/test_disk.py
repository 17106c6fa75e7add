"""Do requests go on being answered when the disk is full, read-only, locked or gone, and does the tier come back?"""

from __future__ import annotations

import errno
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from synth_actors.tier import open_tier, opening, writer
from tests.tier.support import ENOUGH_BYTES, Broken, Clock, again, child, fill, fill_up, found, kept, names, rows_in

Log = pytest.LogCaptureFixture


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Somebody else is writing all the time."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


# ------------------------------------------------------------------------------------------------------------ the disk


async def test_on_a_full_disk_answers_are_served_none_kept_and_the_tier_comes_back(
    small_disk: Path, mock_clock: MockClock, caplog: Log
) -> None:
    async with open_tier(small_disk / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        fill(tier, range(300))
        await tier.flush()
        fill_up(small_disk / "others")
        fill(tier, range(300, 4000))
        await tier.flush()
        statistics = tier.statistics()
        assert statistics.state == "read_only"
        assert "database or disk is full; make room on the disk" in str(statistics.reason)
        assert statistics.written + statistics.dropped == 4000
        assert statistics.dropped > 0
        assert await found(tier, range(4000)) == list(range(statistics.written))
        for pause_s in (30.0, 60.0, 120.0):  # still full: once a trouble, once an event
            await again(tier, mock_clock, pause_s)
            fill(tier, range(4000, 4100))
            await tier.flush()
            assert tier.statistics().state == "read_only"
        assert len(caplog.messages) == 1
        (small_disk / "others").unlink()
        await again(tier, mock_clock, 600.0)
        assert tier.statistics().state == "open"
        assert tier.statistics().reason is None
        assert len(caplog.messages) == 1  # that it could be opened is no proof
        fill(tier, [5000])
        await tier.flush()
        assert await found(tier, [0, 5000]) == [0, 5000]
        assert caplog.messages[1:] == [f"durable cache {small_disk / 'c'}: works again"]
        assert caplog.records[1].levelname == "WARNING"
        for trouble in (2, 3):  # each that comes after it has worked is a new one
            fill_up(small_disk / "others")
            fill(tier, range(6000, 9000))
            await tier.flush()
            assert tier.statistics().state == "read_only"
            assert len(caplog.messages) == 2 * trouble - 1
            assert "make room on the disk" in caplog.messages[-1]
            (small_disk / "others").unlink()
            await again(tier, mock_clock, 600.0)
            fill(tier, [5000])
            await tier.flush()
            assert len(caplog.messages) == 2 * trouble
            assert caplog.messages[-1].endswith(": works again")


async def test_a_disk_that_is_full_at_the_opening_is_an_event(
    small_disk: Path, mock_clock: MockClock, caplog: Log
) -> None:
    fill_up(small_disk / "others")
    async with open_tier(small_disk / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        assert tier.statistics().state == "off"
        fill(tier, [1])
        assert await found(tier, [1]) == []
        assert (tier.statistics().dropped, tier.statistics().unread) == (1, 1)
        assert "make room on the disk" in caplog.text
        (small_disk / "others").unlink()
        await again(tier, mock_clock, 30.0)
        assert tier.statistics().state == "open"


async def test_pauses_double_to_ten_minutes(small_disk: Path, mock_clock: MockClock) -> None:
    fill_up(small_disk / "others")
    async with open_tier(small_disk / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        opened = 0
        for _ in range(3600):
            before = tier._disk._pause
            await again(tier, mock_clock, 1.0)
            opened += tier._disk._pause is not before
        assert opened == 9  # after 30, 60, 120, 240, 480 s; then every 600 s


@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "INSERT", "PRAGMA page_count", "COMMIT"])
async def test_a_disk_that_fails_at_any_step_of_writing_goes_on_serving(
    tmp_path: Path, mock_clock: MockClock, broken: type[Broken], statement: str, caplog: Log
) -> None:
    async with open_tier(tmp_path / "c", ttl_s=1e6, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        fill(tier, [1])
        await tier.flush()
        broken.failing = (statement, sqlite3.SQLITE_IOERR_WRITE)
        fill(tier, [2])
        await tier.flush()
        assert tier.statistics().state == "read_only"
        assert await found(tier, [1, 2]) == [1]
        assert tier.statistics().dropped == 1
        broken.failing = None
        await again(tier, mock_clock, 30.0)
        fill(tier, [3])
        await tier.flush()
        assert await found(tier, [1, 2, 3]) == [1, 3]
        assert tier.statistics().state == "open"
    trouble, over = caplog.messages
    assert trouble.startswith(f"durable cache {tmp_path / 'c'}: disk I/O error; look at the disk")
    assert over == f"durable cache {tmp_path / 'c'}: works again"


async def test_a_disk_that_fails_reading_is_off_and_comes_back(
    tmp_path: Path, mock_clock: MockClock, broken: type[Broken], caplog: Log
) -> None:
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        fill(tier, [1])
        await tier.flush()
        broken.failing = ("SELECT id, identity", sqlite3.SQLITE_IOERR_READ)
        assert await found(tier, [1]) == []
        assert tier.statistics().state == "off"
        fill(tier, [2])
        assert (tier.statistics().unread, tier.statistics().dropped) == (1, 1)
        broken.failing = None
        await again(tier, mock_clock, 30.0)
        assert await found(tier, [1]) == [1]
        assert caplog.messages[1:] == [f"durable cache {tmp_path / 'c'}: works again"]
        broken.failing = ("SELECT id, identity", sqlite3.SQLITE_IOERR_READ)
        assert await found(tier, [1]) == []
    first, _, second = caplog.messages
    assert "what it holds is paid again and nothing is kept; it is tried again in 30 s" in first
    assert "it is tried again in 60 s" in second


async def test_a_disk_that_can_be_opened_and_not_written_is_told_once(
    tmp_path: Path, mock_clock: MockClock, broken: type[Broken], caplog: Log
) -> None:
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        broken.failing = ("INSERT", sqlite3.SQLITE_IOERR_WRITE)
        for pause_s in (30.0, 60.0, 120.0):
            fill(tier, [1])
            await tier.flush()
            assert tier.statistics().state == "read_only"
            await again(tier, mock_clock, pause_s)
            assert tier.statistics().state == "open"
    [message] = caplog.messages
    assert "its answers are served and no new ones kept: those will be paid again; it is tried again" in message


async def test_a_disk_that_became_read_only_while_in_use_is_an_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock, broken: type[Broken], caplog: Log
) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        fill(tier, [1])
        await tier.flush()
        broken.failing = ("BEGIN IMMEDIATE", sqlite3.SQLITE_READONLY)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", refuse)
            fill(tier, [2])
            await tier.flush()
        assert tier.statistics().state == "read_only"
        assert await found(tier, [1, 2]) == [1]
        await again(tier, mock_clock, 30.0)
        assert tier.statistics().state == "read_only"
        broken.failing = None
        await again(tier, mock_clock, 60.0)
        fill(tier, [3])
        await tier.flush()
        assert await found(tier, [1, 2, 3]) == [1, 3]
    trouble, over = caplog.messages
    assert "make it writable, or choose another path; its answers are served and no new ones kept" in trouble
    assert over.endswith(": works again")


# -------------------------------------------------------------------------------------------------------------- rights


async def filled(path: Path) -> None:
    async with open_tier(path, ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        fill(tier, range(3))


WITHOUT_RIGHTS = """
import logging
logging.basicConfig(stream=sys.stdout, format="LOG %(message)s")
os.chdir("/")
if hasattr(os, "setuid") and os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
async def main():
    async with open_tier(path, ttl_s=None, max_file_bytes=2**30, wall=Clock()) as tier:
        print(tier.statistics().state, await found(tier, range(5)))
        fill(tier, [9])
        await tier.flush()
        print(tier.statistics().dropped, tier.statistics().reason)
trio.run(main)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="other rights there")
@pytest.mark.parametrize(
    ("file", "folder", "state", "reason"),
    [
        (0o444, 0o777, "read_only [0, 1, 2]", "may not be written; make it writable"),
        (0o444, 0o555, "read_only [0, 1, 2]", "other files are made beside it; its answers are served and no new"),
        (0o666, 0o555, "read_only [0, 1, 2]", "Permission denied; look at its folder and at your rights"),
        (0o000, 0o777, "off []", "may not be read; make it readable"),
        (0o666, 0o000, "off []", "Permission denied"),
    ],
)
def test_what_may_only_be_read_is_read(file: int, folder: int, state: str, reason: str) -> None:
    with tempfile.TemporaryDirectory() as outer:  # tmp_path is closed to other users
        Path(outer).chmod(0o755)
        place = Path(outer) / "place"
        place.mkdir()
        trio.run(filled, place / "c")
        (place / "c").chmod(file)
        place.chmod(folder)
        with child(WITHOUT_RIGHTS, place / "c") as process:
            assert process.stdout is not None
            event, first, second, *rest = process.stdout.read().splitlines()
        place.chmod(0o777)
        assert event.startswith(f"LOG durable cache {place / 'c'}: ")
        assert reason in event
        assert first == state
        assert second.startswith("1 durable cache ")
        assert rest == []
        assert rows_in(place / "c") == 3


# --------------------------------------------------------------------------------------------------------------- locks


async def test_a_lock_that_lasts_is_told_once_and_what_was_posted_is_written_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Log
) -> None:
    monkeypatch.setattr(writer, "TRIES", 1)
    monkeypatch.setattr(writer, "LOCKED_PAUSE_S", 0.01)
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_MS", 1)
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        fill(tier, [1])
        await tier.flush()
        with locked(tmp_path / "c"):
            fill(tier, range(2, 600))
            await until_told(caplog)
            assert await found(tier, [1, 2, 600]) == [1, 2]  # 2 is on its way
            assert tier.statistics().state == "open"
            assert tier.statistics().queued == 598
        await tier.flush()
        assert await found(tier, range(1, 600)) == list(range(1, 600))
        assert tier.statistics().dropped == 0
    message, over = caplog.messages
    assert over.endswith(": works again")
    assert "database is locked; another process uses it; wait until that one has ended; answers wait" in message


async def until_told(caplog: Log) -> None:
    while not caplog.messages:
        await trio.lowlevel.checkpoint()


async def test_a_lock_that_outlasts_the_run_drops_and_the_end_does_not_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_MS", 1)
    with closing(sqlite3.connect(tmp_path / "c", isolation_level=None)) as connection:
        async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
            connection.execute("BEGIN IMMEDIATE")
            fill(tier, [1])
        assert (tier.statistics().dropped, tier.statistics().written) == (1, 0)
        connection.execute("ROLLBACK")


async def test_a_file_that_hangs_does_not_keep_the_run_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Log
) -> None:
    monkeypatch.setattr("synth_actors.tier.tier.CLOSING_S", 0.05)
    with closing(sqlite3.connect(tmp_path / "c", isolation_level=None)) as connection:
        async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
            connection.execute("BEGIN IMMEDIATE")
            fill(tier, [1])
        assert "1 answers were not written within 0.05 s" in caplog.text
        connection.execute("ROLLBACK")
        await tier.flush()  # the thread ends by itself
        assert rows_in(tmp_path / "c") == 1


# ------------------------------------------------------------------------------------------------------ several of them


async def test_a_file_that_is_removed_while_in_use_is_begun_anew(tmp_path: Path, caplog: Log) -> None:
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        fill(tier, [1])
        await tier.flush()
        (tmp_path / "c").unlink()
        fill(tier, [2])
        await tier.flush()
        assert await found(tier, [1, 2]) == [2]
        assert tier.statistics().state == "open"
    assert rows_in(tmp_path / "c") == 1
    assert names(tmp_path) == ["c"]
    [message] = caplog.messages
    assert "was removed or replaced while in use" in message


WRITE = """
async def main():
    first = int(sys.argv[2])
    async with open_tier(path, ttl_s=None, max_file_bytes=2**30, wall=Clock()) as tier:
        tell("open")
        sys.stdin.readline()
        for n in range(first, first + 3000, 10):
            fill(tier, range(n, n + 10))
            await found(tier, range(n - 50, n))
            await trio.lowlevel.checkpoint()
        await tier.flush()
        assert tier.statistics().state == "open", tier.statistics()
        assert tier.statistics().dropped == 0, tier.statistics()
trio.run(main)
"""


def test_two_processes_write_at_once_and_each_finds_what_the_other_wrote(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with child(WRITE, path, 0) as one, child(WRITE, path, 1500) as other:
        for process in (one, other):
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
        for process in (one, other):
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        assert (one.wait(60), other.wait(60)) == (0, 0)

    async def check() -> None:
        async with open_tier(path, ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
            assert await found(tier, range(4500)) == list(range(4500))

    trio.run(check)
    assert names(tmp_path) == ["c"]


async def test_several_tiers_of_one_process_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "c"
    async with open_tier(path, ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as one:
        async with open_tier(path, ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as other:
            one.post(kept(1))
            await one.flush()
            assert await found(other, [1]) == [1]
        one.post(kept(2))
        await one.flush()
        assert await found(one, [1, 2]) == [1, 2]
