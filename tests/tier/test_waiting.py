"""Who waits for what in the tier?  A slow writer, a replacement, others that begin the file in the same moment."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from math import inf
from pathlib import Path

import pytest
import trio

from synth_actors.storage.errors import LockedError
from synth_actors.tier import Tier, open_tier, opening, writer
from synth_actors.tier.opening import open_files
from tests.tier.support import ENOUGH_BYTES, IDENTITY, NOON, Broken, Clock, Gate, fill, found, kept, key, names, rows_in

SHORT_S = 0.02


@pytest.fixture
def writing(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch, "write")


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch, "read")


# ------------------------------------------------------------------------------------------------------ a slow writer


async def test_what_is_posted_and_not_written_yet_is_found(tmp_path: Path, writing: Gate) -> None:
    clock = Clock()
    async with open_tier(tmp_path / "c", ttl_s=100.0, max_file_bytes=ENOUGH_BYTES, wall=clock) as tier:
        with writing.closed():
            fill(tier, range(600))
            tier.post(kept(600, stored_at=NOON - 100.0))
            tier.post(kept(601, stored_at=NOON + 1.0))
            assert await found(tier, range(700)) == list(range(600))
            assert (tier.statistics().hits, tier.statistics().stale, tier.statistics().misses) == (600, 2, 98)
            assert tier.statistics().written == 0
        await tier.flush()
        assert await found(tier, range(700)) == list(range(600))
        assert len(tier._posted) == 0
        assert tier._posted._latest == {}


async def test_the_latest_that_was_posted_is_found_before_what_the_file_has(tmp_path: Path, writing: Gate) -> None:
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        tier.post(kept(1, size=10))
        tier.post(kept(2, identity="second", size=10))
        await tier.flush()
        with writing.closed():
            tier.post(kept(1, size=20))
            tier.post(kept(1, size=30))
            tier.post(kept(2, identity="third", size=20))
            [one] = await tier.fetch([key(1)], [IDENTITY])
            assert one is not None
            assert one.kept == kept(1, size=30)
            [two] = await tier.fetch([key(2)], ["first", "second", "third"])
            assert two is not None
            assert two.kept == kept(2, identity="second", size=10)
        await tier.flush()
        assert await found(tier, [1], size=30) == [1]


async def test_what_the_writer_has_dropped_is_found_no_more(
    tmp_path: Path, writing: Gate, broken: type[Broken]
) -> None:
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        with writing.closed():
            fill(tier, range(10))
            tier.post(kept(10, size=10))
            await trio.to_thread.run_sync(writing.reached.wait)
            assert await found(tier, range(10)) == list(range(10))
            broken.failing = ("INSERT", sqlite3.SQLITE_FULL)
        await tier.flush()
        assert await found(tier, range(10)) == []
        assert (tier.statistics().state, tier.statistics().dropped, len(tier._posted)) == ("read_only", 11, 0)


async def test_an_answer_that_cannot_be_written_does_not_hide_those_that_were_posted_before_it(
    tmp_path: Path, writing: Gate
) -> None:
    """Answers are settled in their order: the refused one used to count at once, in the place of the first."""
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=10_000_000, wall=Clock()) as tier:
        with writing.closed():
            fill(tier, [1])
            await trio.to_thread.run_sync(writing.reached.wait)
            fill(tier, [2])
            tier.post(kept(3, size=3_000_000))
            fill(tier, [4])
            writing.let_through(1)
            await trio.to_thread.run_sync(writing.reached.wait)
            assert tier.statistics().queued == 3
            assert await found(tier, [1, 2, 4]) == [1, 2, 4]
        await tier.flush()
        assert await found(tier, [1, 2, 4]) == [1, 2, 4]
        assert (tier.statistics().queued, tier.statistics().dropped) == (0, 1)


async def test_what_is_on_its_way_is_served_while_the_file_cannot_be_read(
    tmp_path: Path, writing: Gate, broken: type[Broken]
) -> None:
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        with writing.closed():
            fill(tier, [1])
            await trio.to_thread.run_sync(writing.reached.wait)
            broken.failing = ("SELECT id, identity", sqlite3.SQLITE_IOERR_READ)
            assert await found(tier, [1, 2]) == [1]
            assert tier.statistics().state == "off"
            assert await found(tier, [1, 2]) == [1]
            assert (tier.statistics().hits, tier.statistics().unread) == (2, 2)


# ------------------------------------------------------------------------------------------------------------- the end


def test_what_is_posted_while_the_last_portion_is_written_is_written_too(tmp_path: Path, writing: Gate) -> None:
    """Whether there is more was looked up before the writing, and believed after it."""

    async def run() -> None:
        async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
            ends = tier._writer.end
            tier._writer._ending = True  # the end has begun, and the thread is to look at it after this portion
            writing.let_through(0)
            fill(tier, [0])
            await trio.to_thread.run_sync(writing.reached.wait)
            fill(tier, range(1, 700))
            writing.let_through(inf)
            assert ends(60.0)

    trio.run(run)
    assert rows_in(tmp_path / "c") == 700


async def test_what_is_posted_after_the_end_has_begun_is_dropped_and_counted(tmp_path: Path, writing: Gate) -> None:
    async with trio.open_nursery() as nursery:
        with writing.closed():
            tier = await nursery.start(until_told, tmp_path / "c")
            fill(tier, [1])
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                while not tier._is_ending:
                    await trio.lowlevel.checkpoint()
            fill(tier, [2])
            assert (tier.statistics().queued, tier.statistics().dropped) == (1, 1)
    assert (tier.statistics().queued, tier.statistics().written) == (0, 1)


async def until_told(path: Path, *, task_status: trio.TaskStatus[Tier]) -> None:
    async with open_tier(path, ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        task_status.started(tier)
        await trio.sleep_forever()


async def test_what_was_written_into_a_file_that_was_just_removed_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writing: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether the path still leads to the file is looked up before the writing, which may wait for seconds."""
    monkeypatch.setattr(writer, "LOCKED_PAUSE_S", 0.01)
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        with writing.closed():
            fill(tier, range(10))
            await trio.to_thread.run_sync(writing.reached.wait)
            (tmp_path / "c").unlink()
        await tier.flush()
        assert await found(tier, range(10)) == list(range(10))
        assert tier.statistics().written == 10
    assert rows_in(tmp_path / "c") == 10
    assert len(caplog.messages) == 1


async def test_a_lock_while_only_uses_are_noted_does_not_hold_up_a_flush_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: type[Broken]
) -> None:
    monkeypatch.setattr(writer, "TRIES", 1)
    monkeypatch.setattr(writer, "LOCKED_PAUSE_S", 0.01)
    clock = Clock()
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=clock) as tier:
        fill(tier, range(10))
        await tier.flush()
        clock.now += 3600.0
        await found(tier, range(10))
        broken.failing, broken.times = ("BEGIN IMMEDIATE", sqlite3.SQLITE_BUSY), 1
        assert await trio.to_thread.run_sync(tier._writer.wake().wait, 30.0)


# ------------------------------------------------------------------------------------------------------ taking turns


async def test_a_look_waits_for_a_replacement_of_the_connections(tmp_path: Path) -> None:
    """It used to say "not there", and what was there was paid again."""
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        fill(tier, [1])
        await tier.flush()
        async with trio.open_nursery() as nursery:
            with tier._disk._turn:
                nursery.start_soon(see, tier)
                while not tier._reader._open:
                    await trio.lowlevel.checkpoint()
                await trio.sleep(SHORT_S)


async def see(tier: Tier) -> None:
    assert await found(tier, [1]) == [1]


async def test_a_look_does_not_wait_for_a_file_that_is_looked_through(tmp_path: Path) -> None:
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        fill(tier, [1])
        await tier.flush()
        with tier._disk._turn:
            tier._disk._is_opening = True
            assert await found(tier, [1]) == []
            tier._disk._is_opening = False


# --------------------------------------------------------------------------------------------- others begin it, as well


@pytest.mark.parametrize("statement", ["PRAGMA journal_mode=WAL", "BEGIN IMMEDIATE"])
async def test_a_file_that_others_begin_in_the_same_moment_is_tried_again(
    tmp_path: Path, broken: type[Broken], statement: str, caplog: pytest.LogCaptureFixture
) -> None:
    broken.failing, broken.times = (statement, sqlite3.SQLITE_BUSY), 3
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        assert broken.times == 0
        assert tier.statistics().state == "open"
        fill(tier, [1])
        await tier.flush()
        assert await found(tier, [1]) == [1]
    assert caplog.messages == []


def test_a_file_that_stays_locked_is_not_tried_for_ever(
    tmp_path: Path, broken: type[Broken], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "OPENING_S", 0.0)
    broken.failing = ("PRAGMA journal_mode=WAL", sqlite3.SQLITE_BUSY)
    assert isinstance(open_files(tmp_path / "c").trouble, LockedError)


def test_many_begin_a_fresh_file_at_once(tmp_path: Path) -> None:
    """Two of 240 openings were refused before they were tried again."""
    for n in range(40):
        path, start = tmp_path / f"c{n}", threading.Barrier(4)
        with ThreadPoolExecutor(4) as threads:
            opened = [threads.submit(open_together, path, start) for _ in range(4)]
            files = [each.result() for each in opened]
        assert [each.trouble for each in files] == [None] * 4
        for each in files:
            each.close()
    assert names(tmp_path) == sorted(f"c{n}" for n in range(40))


def open_together(path: Path, start: threading.Barrier) -> opening.Files:
    start.wait()
    return open_files(path)
