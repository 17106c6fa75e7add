"""Does a disk that does not answer hold up any request for longer than a bounded time, or a run from ending?"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from synth_actors.tier import Tier, open_tier
from synth_actors.tier.disk import Disk
from tests.tier.support import ENOUGH_BYTES, Clock, Gate, fill, found, names, rows_in

SHORT_S = 0.02


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch, "read")


async def test_a_disk_that_hangs_holds_up_one_fetch_for_a_bounded_time_and_no_other(
    tmp_path: Path, mock_clock: MockClock, reading: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "c"
    async with open_tier(path, ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock(), patience_s=SHORT_S) as tier:
        fill(tier, [1])
        await tier.flush()
        assert await found(tier, [1]) == [1]
        with reading.closed():
            assert await found(tier, [1, 2]) == []
            assert tier.statistics().state == "hung"
            assert f"{path}: the disk did not answer within 0.02 s; look at the disk" in str(tier.statistics().reason)
            assert "hung" in repr(tier)
            mock_clock.jump(1000.0)
            calls = reading.calls
            for _ in range(100):
                assert await found(tier, [1]) == []
            assert reading.calls == calls  # none of them has queued behind the thread that hangs
            fill(tier, [3])
            await tier.flush()
            assert (tier.statistics().unread, tier.statistics().written, tier.statistics().dropped) == (102, 2, 0)
        await until_back(tier)
        assert await found(tier, [1, 3]) == [1, 3]
        assert (tier.statistics().state, tier.statistics().reason) == ("open", None)
    message, over = caplog.messages
    assert "what it holds is paid again; it is asked again when it has answered, in 30 s at the earliest" in message
    assert over == f"durable cache {path}: answers again"


async def until_back(tier: Tier) -> None:
    """The thread that hung has come back."""
    question = tier._reader._abandoned
    assert question is not None
    await trio.to_thread.run_sync(question.done.wait)


async def test_a_disk_that_hangs_again_and_again_is_asked_after_longer_pauses_and_told_each_time(
    tmp_path: Path, mock_clock: MockClock, reading: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "c"
    async with open_tier(path, ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock(), patience_s=SHORT_S) as tier:
        fill(tier, [1])
        await tier.flush()
        for times, pause_s in enumerate((30.0, 60.0, 120.0, 240.0, 480.0, 600.0, 600.0), start=1):
            with reading.closed():
                assert await found(tier, [1]) == []
            await until_back(tier)
            mock_clock.jump(pause_s - 0.5)
            assert await found(tier, [1]) == []
            mock_clock.jump(0.5)
            assert len(caplog.messages) == 2 * times - 1
            assert f"in {pause_s:g} s at the earliest" in caplog.messages[-1]
            assert await found(tier, [1]) == [1]
            assert len(caplog.messages) == 2 * times
            assert caplog.messages[-1].endswith(": answers again")
        mock_clock.jump(600.0)
        with reading.closed():
            assert await found(tier, [1]) == []
        await until_back(tier)
        assert "in 30 s at the earliest" in caplog.messages[-1]


async def test_a_disk_that_hangs_at_every_look_is_told_once(
    tmp_path: Path, mock_clock: MockClock, reading: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "c"
    async with open_tier(path, ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock(), patience_s=SHORT_S) as tier:
        for pause_s in (30.0, 60.0, 120.0):
            with reading.closed():
                assert await found(tier, [1]) == []
            await until_back(tier)
            mock_clock.jump(pause_s)
        assert len(caplog.messages) == 1


async def test_whoever_waits_for_a_disk_that_hangs_can_be_cancelled_at_once(tmp_path: Path, reading: Gate) -> None:
    path = tmp_path / "c"
    async with open_tier(path, ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock(), patience_s=5.0) as tier:
        fill(tier, [1])
        await tier.flush()
        with reading.closed(), trio.move_on_after(SHORT_S) as scope:
            await found(tier, [1])
        assert scope.cancelled_caught
        assert await found(tier, [1]) == [1]


async def test_who_has_waited_behind_one_that_was_given_up_does_not_wait_again(tmp_path: Path, reading: Gate) -> None:
    path = tmp_path / "c"
    async with open_tier(path, ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock(), patience_s=SHORT_S) as tier:
        fill(tier, [1])
        await tier.flush()
        with reading.closed():
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(found, tier, [1])
            assert tier.statistics().unread == 5
        await until_back(tier)
        assert reading.calls == 1


async def test_a_run_whose_disk_hangs_ends_and_what_it_used_is_closed_when_the_disk_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("synth_actors.tier.disk.TURN_S", SHORT_S)
    hangs, reached = threading.Event(), threading.Event()

    def hang(_: sqlite3.Connection) -> bool:
        reached.set()
        return hangs.wait()

    path = tmp_path / "c"
    async with open_tier(path, ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock(), patience_s=SHORT_S) as tier:
        fill(tier, [1])
        await tier.flush()
        assert await tier._reader.ask(hang) is None
        assert reached.is_set()
        fill(tier, [2])
    assert tier.statistics().written == 2
    assert len(caplog.messages) == 1  # that it hangs; nothing was lost at the end
    hangs.set()
    await trio.to_thread.run_sync(tier._reader._thread.join)
    assert tier._disk._files.reader is None
    assert rows_in(path) == 2


async def test_a_bug_in_a_look_belongs_to_whoever_has_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        with monkeypatch.context() as patch:
            patch.setattr("synth_actors.tier.reading.Look.look", fail)
            with pytest.raises(ZeroDivisionError):
                await found(tier, [1])
        assert await found(tier, [1]) == []
        assert tier.statistics().misses == 1


@pytest.mark.parametrize("is_over", [False, True])
async def test_an_opening_that_hangs_can_be_cancelled_and_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_over: bool
) -> None:
    hangs, done = threading.Event(), threading.Event()
    opened = Disk.open
    disks: list[Disk] = []

    def slow(disk: Disk) -> None:
        disks.append(disk)
        if is_over:  # it had been opened, and that was not heard of in time
            opened(disk)
        hangs.wait()
        if not is_over:
            opened(disk)
        done.set()

    monkeypatch.setattr(Disk, "open", slow)
    with trio.move_on_after(SHORT_S) as scope:
        async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()):
            pass
    assert scope.cancelled_caught
    hangs.set()
    await trio.to_thread.run_sync(done.wait)
    files = disks[0]._files
    assert (files.reader, files.writer, files.lock) == (None, None, None)
    assert names(tmp_path) == ["c"]


async def in_thread(event: threading.Event) -> None:
    await trio.to_thread.run_sync(event.wait)


async def test_a_program_that_keeps_all_of_trios_threads_busy_holds_up_neither_a_fetch_nor_the_end(
    tmp_path: Path,
) -> None:
    free = threading.Event()
    limiter = trio.to_thread.current_default_thread_limiter()
    async with trio.open_nursery() as nursery:
        for _ in range(int(limiter.total_tokens)):
            nursery.start_soon(in_thread, free)
        await trio.testing.wait_all_tasks_blocked()
        async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
            fill(tier, [1])
            await tier.flush()
            assert await found(tier, [1]) == [1]
        free.set()
    assert rows_in(tmp_path / "c") == 1
