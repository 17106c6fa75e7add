"""Is what was paid served from a disk that has no room left, and can the command still look, check and delete?"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from synth_actors.cli.app import run_command
from synth_actors.tier import open_tier
from tests.faults.durable import PROMPTS, run
from tests.tier.support import ENOUGH_BYTES, Clock, again, child, fill, fill_up, found, names, rows_in, size_bytes

COUNT = 300
Log = pytest.LogCaptureFixture
Capture = pytest.CaptureFixture[str]


async def filled(folder: Path, *, age_s: float = 0.0) -> Path:
    """A file of `COUNT` answers, with nothing beside it, on a disk without room."""
    async with open_tier(folder / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES) as tier:
        fill(tier, range(COUNT), stored_at=time.time() - age_s)
    fill_up(folder / "others")
    assert names(folder) == ["c", "others"]
    return folder / "c"


def cache(*arguments: object) -> int:
    return run_command(["cache", *map(str, arguments)])


async def test_answers_are_served_from_a_full_disk_and_the_tier_comes_back(
    small_disk: Path, mock_clock: MockClock, caplog: Log
) -> None:
    path = await filled(small_disk)
    async with open_tier(path, ttl_s=None, max_file_bytes=ENOUGH_BYTES) as tier:
        assert await found(tier, range(COUNT)) == list(range(COUNT))
        assert tier.statistics().state == "read_only"
        [message] = caplog.messages
        assert "make room on the disk" in message
        assert "its answers are served" in message
        await again(tier, mock_clock, 30.0)
        assert await found(tier, [1]) == [1]
        assert names(small_disk) == ["c", "others"]
        (small_disk / "others").unlink()
        await again(tier, mock_clock, 60.0)
        assert tier.statistics().state == "open"
        fill(tier, [COUNT], stored_at=time.time())
        await tier.flush()
        assert await found(tier, range(COUNT + 1)) == list(range(COUNT + 1))
    assert names(small_disk) == ["c"]


async def test_a_run_on_a_full_disk_pays_nothing_for_what_the_file_has(small_disk: Path) -> None:
    assert (await run(small_disk / "c")).paid == len(PROMPTS)
    fill_up(small_disk / "others")
    second = await run(small_disk / "c", [*PROMPTS, "new"])
    assert second.is_right
    assert (second.paid, second.durable.state, second.durable.dropped) == (1, "read_only", 1)
    assert names(small_disk) == ["c", "others"]


async def test_a_clear_beneath_a_tier_that_reads_on_a_full_disk_never_makes_it_serve_anything_wrong(
    small_disk: Path, mock_clock: MockClock
) -> None:
    path = await filled(small_disk)
    async with open_tier(path, ttl_s=None, max_file_bytes=ENOUGH_BYTES) as tier:
        assert await found(tier, range(0, COUNT, 2)) == list(range(0, COUNT, 2))
        assert await trio.to_thread.run_sync(cache, "clear", path) == 0
        assert set(await found(tier, range(COUNT))) <= set(range(COUNT))  # `found` looks at every text
        for pause_s in (30.0, 60.0):
            await again(tier, mock_clock, pause_s)
        assert tier.statistics().state == "open"
        assert await found(tier, range(COUNT)) == []
        fill(tier, [1], stored_at=time.time())
        await tier.flush()
        assert await found(tier, range(COUNT)) == [1]
    assert cache("verify", path) == 0


KILLED = """
async def main():
    async with open_tier(path, ttl_s=None, max_file_bytes=2**30, wall=Clock()) as tier:
        fill(tier, range(300))
        await tier.flush()
        os.kill(os.getpid(), 9)
trio.run(main)
"""


async def test_what_an_owner_that_was_killed_left_in_the_log_is_served_from_a_full_disk(small_disk: Path) -> None:
    with child(KILLED, small_disk / "c") as process:
        process.wait()
    assert size_bytes(small_disk / "c-wal") > 0
    fill_up(small_disk / "others")
    async with open_tier(small_disk / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        assert await found(tier, range(COUNT)) == list(range(COUNT))


async def test_stats_and_verify_read_on_a_full_disk_and_leave_nothing_behind(small_disk: Path, capsys: Capture) -> None:
    path = await filled(small_disk)
    assert cache("stats", path) == 0
    assert "answers    300, " in capsys.readouterr().out
    assert cache("verify", path) == 0
    assert "whole, 300 answers" in capsys.readouterr().out
    assert names(small_disk) == ["c", "others"]


@pytest.mark.parametrize(("options", "left"), [([], 0), (["--older-than", "1h"], 0), (["--older-than", "3h"], COUNT)])
async def test_clear_frees_room_on_a_full_disk(
    small_disk: Path, capsys: Capture, options: list[str], left: int
) -> None:
    path = await filled(small_disk, age_s=7200.0)
    before = size_bytes(path)
    assert cache("clear", path, *options) == 0
    assert f"{COUNT - left} answers went, {left} are left" in capsys.readouterr().out
    assert (size_bytes(path) < before / 4) == (left == 0)
    assert names(small_disk) == ["c", "others"]
    assert rows_in(path) == left
    assert (os.statvfs(small_disk).f_bavail > 0) == (left == 0)
    if not left:
        async with open_tier(path, ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
            fill(tier, [1])
            await tier.flush()
            assert tier.statistics().written == 1


async def test_clear_on_a_full_disk_while_an_engine_has_the_file_says_what_to_do(
    small_disk: Path, capsys: Capture
) -> None:
    path = await filled(small_disk)
    (small_disk / "others").unlink()
    async with open_tier(path, ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        fill_up(small_disk / "others")
        assert await trio.to_thread.run_sync(cache, "clear", path) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert line.endswith("; make room on the disk, or stop the engines that use it: then it needs none")
        assert line.count("make room") == 1
        assert tier.statistics().state == "open"
