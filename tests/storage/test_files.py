"""Does one owner keep all others out, in this process and in others, and nobody longer than it lives?"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio

from synth_actors.storage.errors import LockedError
from synth_actors.storage.files import Lock, Reserve
from synth_actors.storage.sqlite import is_in_use, open_store
from tests.storage.support import FORMAT, INSERT, child, names, numbers, stored

HOLD = """
async def main():
    async with open_store(path, FORMAT, exclusive=sys.argv[2] == "alone") as store:
        await store.write(INSERT, (1, b""))
        tell("open")
        await trio.to_thread.run_sync(sys.stdin.read)
trio.run(main)
"""


async def test_a_second_opening_in_this_process_is_refused(tmp_path: Path) -> None:
    async with open_store(tmp_path / "j", FORMAT) as store:
        with pytest.raises(LockedError, match=r"journal .*/j: in use by another run; wait"):
            async with open_store(tmp_path / "j", FORMAT):
                pass
        await store.write(INSERT, (1, b""))
        assert is_in_use(tmp_path / "j")
    assert not is_in_use(tmp_path / "j")


def test_another_process_is_refused_until_the_first_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "j"
    assert not is_in_use(path)
    with child(HOLD, path, "alone") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        assert is_in_use(path)
        with pytest.raises(LockedError):
            trio.run(write_one, path, 2)
        assert stored(path) == [1]
        process.kill()
    assert not is_in_use(path)
    assert {"j-lock", "j-reserve", "j-wal"} <= set(names(tmp_path))
    trio.run(write_one, path, 2)
    assert stored(path) == [1, 2]
    assert names(tmp_path) == ["j"]


async def write_one(path: Path, n: int) -> None:
    async with open_store(path, FORMAT) as store:
        await store.write(INSERT, (n, b""))


async def test_a_store_can_be_opened_again_and_again(tmp_path: Path) -> None:
    for n in range(10):
        await write_one(tmp_path / "j", n)
    assert stored(tmp_path / "j") == list(range(10))


async def test_several_may_share_a_store_and_an_exclusive_owner_waits_for_the_last(tmp_path: Path) -> None:
    path = tmp_path / "j"
    async with open_store(path, FORMAT, exclusive=False) as first:
        async with open_store(path, FORMAT, exclusive=False) as second:
            async with trio.open_nursery() as nursery:
                for n in range(200):
                    nursery.start_soon((first, second)[n % 2].write, INSERT, (n, b""))
            assert await first.read(numbers) == await second.read(numbers) == list(range(200))
            assert not is_in_use(path)
            with pytest.raises(LockedError):
                async with open_store(path, FORMAT):
                    pass
        assert names(tmp_path) == ["j", "j-lock", "j-reserve", "j-shm", "j-wal"]
        await first.write(INSERT, (200, b""))
    assert stored(path) == list(range(201))
    assert names(tmp_path) == ["j"]


async def test_sharers_that_open_a_new_store_at_once_make_it_once(tmp_path: Path) -> None:
    async def share(n: int) -> None:
        async with open_store(tmp_path / "j", FORMAT, exclusive=False) as store:
            await store.write(INSERT, (n, b""))

    async with trio.open_nursery() as nursery:
        for n in range(8):
            nursery.start_soon(share, n)
    assert sorted(stored(tmp_path / "j")) == list(range(8))


def test_a_lock_on_a_file_that_its_last_owner_removes_is_no_lock(tmp_path: Path) -> None:
    first = Lock(tmp_path / "j", what="journal", exclusive=True)
    first.path.unlink()
    second = Lock(tmp_path / "j", what="journal", exclusive=True)
    with pytest.raises(LockedError):
        Lock(tmp_path / "j", what="journal", exclusive=True)
    second.release()
    assert names(tmp_path) == []


def test_looking_whether_it_is_in_use_keeps_nobody_out(tmp_path: Path) -> None:
    async def look() -> None:
        assert await trio.to_thread.run_sync(is_in_use, tmp_path / "j")

    async def main() -> None:
        for n in range(20):
            async with open_store(tmp_path / "j", FORMAT) as store, trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(look)
                await store.write(INSERT, (n, b""))
                assert await trio.to_thread.run_sync(is_in_use, tmp_path / "j")

    trio.run(main)


def test_a_reserve_really_occupies_the_disk_and_fits_the_size_that_is_asked_for(tmp_path: Path) -> None:
    for size in (300_000, 2_000_000, 100_000, 0):
        reserve = Reserve(tmp_path / "j", size)
        if size:
            assert reserve.path.stat().st_size == size
            assert reserve.path.stat().st_blocks * 512 >= size
        assert reserve.path.exists() == bool(size)
    Reserve(tmp_path / "j", 4096).release()
    assert names(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there a reserve of any size may be possible")
def test_a_reserve_for_which_there_is_no_room_is_no_error(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "j", 2**62)
    assert not reserve.path.exists()
    reserve.release()
