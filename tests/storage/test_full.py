"""What happens when there is no more room?  What was acknowledged stays, what was paid is written while it fits."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from synth_actors.storage.errors import FullError
from synth_actors.storage.sqlite import Store, open_store
from tests.storage.support import FORMAT, INSERT, child, names, numbers, stored

BODY = b"x" * 1600
LIMITED = """
import resource, signal
from synth_actors.storage.errors import FullError
async def main():
    async with open_store(path, FORMAT, reserve_bytes=4096) as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
        try:
            for n in range(10_000):
                await store.write(INSERT, (n, bytes(1600)))
                tell(n)
        except FullError as exc:
            tell(exc)
trio.run(main)
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux mounts a file system in memory")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a small file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


async def fill(store: Store, first: int, written: list[int]) -> None:
    for n in range(10_000 + first, 10**6, 10):
        await store.write(INSERT, (n, BODY))
        written.append(n)


async def until_full(store: Store, written: list[int]) -> None:
    with pytest.RaisesGroup(*[FullError] * 10):
        async with trio.open_nursery() as nursery:
            for first in range(10):
                nursery.start_soon(fill, store, first, written)


async def test_on_a_full_disk_the_reserve_is_used_up_and_what_was_acknowledged_stays(small_disk: Path) -> None:
    written: list[int] = []
    seen: list[int] = []
    async with open_store(small_disk / "j", FORMAT) as store:
        while not store.full:
            await store.write(INSERT, (len(written), BODY))
            written.append(len(written))
        assert store.broken is None
        assert "full" in repr(store)
        assert not (small_disk / "j-reserve").exists()
        at_first = len(written)
        assert at_first > 300
        await until_full(store, written)
        assert len(written) > at_first + 600  # the reserve, and what the log held twice
        with pytest.raises(FullError, match="make room on the disk; what was written before is safe"):
            store.post(INSERT, (10**9, BODY))
        seen = await store.read(numbers)
    assert sorted(seen) == sorted(written)
    assert stored(small_disk / "j") == seen


@pytest.mark.parametrize("reserve_bytes", [0, 2**20])
async def test_it_is_the_reserve_that_takes_what_others_left_no_room_for(small_disk: Path, reserve_bytes: int) -> None:
    async with open_store(small_disk / "j", FORMAT, reserve_bytes=reserve_bytes) as store:
        fill_up(small_disk / "others")
        paid = [(INSERT, (n, BODY)) for n in range(200)]
        if reserve_bytes:
            await store.write_all(paid)
        else:
            with pytest.raises(FullError):
                await store.write_all(paid)
        assert store.full
        assert await store.read(numbers) == (list(range(200)) if reserve_bytes else [])


def fill_up(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


async def test_a_store_that_was_full_goes_on_after_room_was_made(small_disk: Path) -> None:
    ballast = small_disk / "others"
    ballast.write_bytes(bytes(2 * 2**20))
    written: list[int] = []
    async with open_store(small_disk / "j", FORMAT) as store:
        await until_full(store, written)
    assert sorted(stored(small_disk / "j")) == sorted(written)
    ballast.unlink()
    async with open_store(small_disk / "j", FORMAT) as store:
        assert not store.full
        assert (small_disk / "j-reserve").exists()
        await store.write(INSERT, (10**9, BODY))
    assert names(small_disk) == ["j"]
    assert sorted(stored(small_disk / "j")) == [*sorted(written), 10**9]


async def test_a_disk_that_is_full_at_the_opening_is_told(small_disk: Path) -> None:
    (small_disk / "others").write_bytes(bytes(2**22 - 4096))
    with pytest.raises(FullError, match=r"journal .*/j: .*; make room on the disk"):
        async with open_store(small_disk / "j", FORMAT):
            pass
    assert "j-lock" not in names(small_disk)


async def test_one_batch_that_does_not_fit_is_written_as_far_as_it_fits(tmp_path: Path) -> None:
    written: list[int] = []
    async with open_store(tmp_path / "j", FORMAT) as store:
        # The limit of pages is SQLite's own; giving up the reserve does not move it.
        store.post("PRAGMA max_page_count=50")
        await store.flush()
        with pytest.RaisesGroup(*[FullError] * 10):
            async with trio.open_nursery() as nursery:
                for first in range(10):
                    nursery.start_soon(fill, store, first, written)
        assert store.full
        assert isinstance(store.broken, FullError)
        assert sorted(await store.read(numbers)) == sorted(written)
    assert sorted(stored(tmp_path / "j")) == sorted(written)
    assert 60 < len(written) < 130


async def test_what_belongs_together_is_not_written_in_part_when_room_ends(tmp_path: Path) -> None:
    async with open_store(tmp_path / "j", FORMAT) as store:
        await store.write("PRAGMA max_page_count=20")
        with pytest.raises(FullError):
            await store.write_all([(INSERT, (n, BODY)) for n in range(200)])
        assert await store.read(numbers) == []


async def test_posts_that_found_no_room_are_told_at_the_end(tmp_path: Path) -> None:
    async def post() -> None:
        async with open_store(tmp_path / "j", FORMAT, reserve_bytes=0) as store:
            await store.write("PRAGMA max_page_count=20")
            for n in range(200):
                store.post(INSERT, (n, BODY))

    with pytest.raises(FullError):
        await post()
    rows = stored(tmp_path / "j")
    assert rows == list(range(len(rows)))
    assert len(rows) > 10


@pytest.mark.skipif(sys.platform == "win32", reason="no limits there")
def test_a_file_that_may_not_grow_is_told_as_no_room(tmp_path: Path) -> None:
    with child(LIMITED, tmp_path / "j") as process:
        assert process.stdout is not None
        *written, last = process.stdout.read().splitlines()
        assert process.wait() == 0
    assert f"journal {tmp_path / 'j'}: disk I/O error; make room on the disk" in last
    assert stored(tmp_path / "j") == [int(n) for n in written]
    assert len(written) > 40
    assert names(tmp_path) == ["j"]
