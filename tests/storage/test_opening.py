"""Is a file that is foreign, damaged or out of reach told apart, and left as it is?"""

from __future__ import annotations

import random
import sqlite3
import sys
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from synth_actors.storage.errors import (
    DamagedError,
    MismatchError,
    NewerError,
    OutdatedError,
    ReadOnlyError,
    StorageError,
)
from synth_actors.storage.opening import check_pages, open_for_reading
from synth_actors.storage.sqlite import Format, open_store, read_store
from tests.storage.support import FORMAT, INSERT, child, names, numbers, stored

PAGE = 4096


async def opened(path: Path, form: Format = FORMAT) -> list[int]:
    async with open_store(path, form) as store:
        return await store.read(numbers)


async def filled(path: Path, count: int = 300) -> bytes:
    """A store of `count` rows in some dozens of pages, and its bytes."""
    async with open_store(path, FORMAT) as store:
        for n in range(count):
            store.post(INSERT, (n, bytes([n % 256]) * 500))
    return path.read_bytes()  # noqa: ASYNC240  (nobody else runs)


def foreign(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


async def test_a_new_file_carries_its_kind_and_version(tmp_path: Path) -> None:
    assert await opened(tmp_path / "j") == []
    head = (tmp_path / "j").read_bytes()[:100]
    assert int.from_bytes(head[68:72], "big") == FORMAT.application_id
    assert int.from_bytes(head[60:64], "big") == FORMAT.version


async def test_an_empty_file_is_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "j").touch()
    assert await opened(tmp_path / "j") == []


async def test_a_file_whose_maker_was_killed_before_it_was_made_is_a_new_one(tmp_path: Path) -> None:
    foreign(tmp_path / "j", "PRAGMA journal_mode=WAL")
    assert (tmp_path / "j").stat().st_size > 0
    assert await opened(tmp_path / "j") == []


async def test_rows_are_there_at_the_next_opening(tmp_path: Path) -> None:
    await filled(tmp_path / "j")
    assert await opened(tmp_path / "j") == list(range(300))


async def test_an_awkward_name_is_a_name(tmp_path: Path) -> None:
    path = tmp_path / "50% of what? #1 ö.journal"
    await filled(path, 3)
    assert stored(path) == [0, 1, 2]
    assert names(tmp_path) == [path.name]


async def test_a_relative_path_and_a_link_lead_to_the_same_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(tmp_path / "j", 3)
    (tmp_path / "link").symlink_to(tmp_path / "j")
    monkeypatch.chdir(tmp_path)
    for path in (Path("j"), Path("link"), Path("../") / tmp_path.name / "j"):
        assert await opened(path) == [0, 1, 2]
        assert stored(path) == [0, 1, 2]
    assert names(tmp_path) == ["j", "link"]


@pytest.mark.parametrize(
    "text", [b"id,name\n1,Ann\n", b"\0" * 10_000, b"SQLite format 3\0" + b"\0" * 84, random.Random(1).randbytes(50_000)]
)
async def test_a_file_that_is_no_database_is_refused_and_untouched(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(text)
    with pytest.raises(StorageError, match=r"journal .*/rows\.csv: ") as caught:
        await opened(path)
    assert isinstance(caught.value, DamagedError | MismatchError)
    with pytest.raises(StorageError, match=r"journal .*/rows\.csv: "):
        stored(path)
    assert path.read_bytes() == text
    assert names(tmp_path) == ["rows.csv"]


async def test_another_programs_database_is_refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "places.sqlite"
    foreign(path, "CREATE TABLE bookmark (url TEXT)", "INSERT INTO bookmark VALUES ('x')")
    before = path.read_bytes()
    with pytest.raises(MismatchError, match="a database, but not a journal; choose another path"):
        await opened(path)
    with pytest.raises(MismatchError, match="a database, but not a journal; choose another path"):
        stored(path)
    assert path.read_bytes() == before
    assert names(tmp_path) == ["places.sqlite"]


@pytest.mark.parametrize(("version", "remedy"), [(4, "update synth_actors"), (2, "use the release that wrote it")])
async def test_another_version_is_refused_with_the_version_that_it_has(
    tmp_path: Path, version: int, remedy: str
) -> None:
    other = replace(FORMAT, version=version)
    await opened(tmp_path / "j", other)
    before = (tmp_path / "j").read_bytes()
    with pytest.raises(MismatchError, match=f"written in format {version}; this release reads format 3; {remedy}"):
        await opened(tmp_path / "j")
    with pytest.raises(MismatchError, match=f"written in format {version}"):
        stored(tmp_path / "j")
    assert (tmp_path / "j").read_bytes() == before


@pytest.mark.parametrize("numbers", [{"version": 0}, {"application_id": 0}, {"version": -1}, {"application_id": 2**31}])
def test_a_format_whose_numbers_mean_nothing_in_a_header_cannot_be_made(numbers: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="give a number from 1 to 2147483647"):
        replace(FORMAT, **numbers)  # type: ignore[arg-type]


async def test_a_script_that_fails_leaves_a_file_that_is_still_new(tmp_path: Path) -> None:
    wrong = replace(FORMAT, script=(*FORMAT.script, "CREATE NONSENSE"))
    with pytest.raises(StorageError, match="syntax error"):
        await opened(tmp_path / "j", wrong)
    assert await opened(tmp_path / "j") == []


@pytest.mark.parametrize("pages", [1, 2, 5, 20])
async def test_a_file_that_was_cut_is_damaged(tmp_path: Path, pages: int) -> None:
    whole = await filled(tmp_path / "j")
    (tmp_path / "j").write_bytes(whole[: pages * PAGE])
    with pytest.raises(DamagedError, match=r"; (keep|it is|a part)"):
        await opened(tmp_path / "j")
    assert (tmp_path / "j").stat().st_size == pages * PAGE


@pytest.mark.parametrize("seed", range(8))
async def test_pages_that_were_overwritten_are_damage(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    damaged = bytearray(await filled(tmp_path / "j"))
    page = chance.randrange(1, len(damaged) // PAGE)
    damaged[page * PAGE : (page + 1) * PAGE] = chance.choice([bytes(PAGE), chance.randbytes(PAGE)])
    (tmp_path / "j").write_bytes(damaged)
    with pytest.raises(DamagedError, match="keep the file for a repair"):
        await opened(tmp_path / "j")
    assert (tmp_path / "j").read_bytes() == damaged


@pytest.mark.parametrize("seed", range(30))
async def test_random_bytes_anywhere_never_end_in_anything_but_rows_or_an_error_with_a_remedy(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    damaged = bytearray(await filled(tmp_path / "j", 100))
    for _ in range(chance.choice([1, 3, 100])):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    (tmp_path / "j").write_bytes(damaged)
    try:
        assert len(await opened(tmp_path / "j")) <= 100
    except StorageError as exc:
        assert f"journal {tmp_path / 'j'}: " in str(exc)  # noqa: PT017  (either outcome is right)
        assert "; " in str(exc)  # noqa: PT017


async def test_damage_that_is_met_while_reading_is_told_as_damage(tmp_path: Path) -> None:
    whole = await filled(tmp_path / "j")
    (tmp_path / "j").write_bytes(whole[: 5 * PAGE] + b"\xff" * (len(whole) - 5 * PAGE))
    with pytest.raises(DamagedError):
        stored(tmp_path / "j")


async def test_a_log_full_of_nonsense_costs_no_row_of_the_database(tmp_path: Path) -> None:
    await filled(tmp_path / "j")
    (tmp_path / "j-wal").write_bytes(random.Random(1).randbytes(20_000))
    assert stored(tmp_path / "j") == list(range(300))
    assert await opened(tmp_path / "j") == list(range(300))
    assert names(tmp_path) == ["j"]


async def test_a_folder_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(ReadOnlyError, match="is a folder; name a file"):
        await opened(tmp_path)
    with pytest.raises(ReadOnlyError, match="is a folder; name a file"):
        stored(tmp_path)


@pytest.mark.parametrize("path", ["nowhere/j", "file/j"])
async def test_a_path_that_leads_nowhere_is_told(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ReadOnlyError, match="look at its folder and at your rights"):
        await opened(tmp_path / path)
    with pytest.raises(ReadOnlyError, match="there is no such file"):
        stored(tmp_path / path)
    assert names(tmp_path) == ["file"]


WITHOUT_RIGHTS = """
from synth_actors.storage.sqlite import read_store
if os.getuid() == 0:
    os.setuid(65534)  # root may do everything

def attempt(what):
    try:
        tell(what())
    except Exception as exc:
        tell(f"{type(exc).__name__} {exc}")

async def write():
    async with open_store(path, FORMAT):
        return "written"

def read():
    return read_store(path, FORMAT, lambda connection: connection.execute("SELECT n FROM number").fetchall())

attempt(lambda: trio.run(write))
attempt(read)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="other rights there")
@pytest.mark.parametrize(
    ("file", "folder", "write", "read"),
    [
        (0o444, 0o777, "may not be written; make it writable", "[(0,), (1,), (2,)]"),
        (0o444, 0o555, "Permission denied; look at its folder and at your rights", "[(0,), (1,), (2,)]"),
        (0o000, 0o777, "may not be read; make it readable", "ReadOnlyError"),
        (0o444, 0o000, "Permission denied", "ReadOnlyError"),
    ],
)
def test_rights_that_are_missing_are_told_and_reading_needs_only_the_right_to_read(
    file: int, folder: int, write: str, read: str
) -> None:
    with tempfile.TemporaryDirectory() as outer:  # tmp_path is closed to other users
        Path(outer).chmod(0o755)
        place = Path(outer) / "place"
        place.mkdir()
        before = trio.run(filled, place / "j", 3)
        (place / "j").chmod(file)
        place.chmod(folder)
        with child(WITHOUT_RIGHTS, place / "j") as process:
            assert process.stdout is not None
            written, found = process.stdout.read().splitlines()
        place.chmod(0o777)
        (place / "j").chmod(0o666)
        assert written.startswith(f"ReadOnlyError journal {place / 'j'}: {write}")
        assert found.startswith(read)
        assert (place / "j").read_bytes() == before
        assert names(place) == ["j"]


def test_a_reader_changes_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    before = trio.run(filled, tmp_path / "j", 3)
    assert stored(tmp_path / "j") == [0, 1, 2]
    with pytest.raises(StorageError, match="readonly"):
        read_store(tmp_path / "j", FORMAT, lambda connection: connection.execute("DELETE FROM number"))
    assert (tmp_path / "j").read_bytes() == before
    assert names(tmp_path) == ["j"]


async def test_a_reader_beside_the_owner_sees_what_is_committed(tmp_path: Path) -> None:
    async with open_store(tmp_path / "j", FORMAT) as store:
        await store.write(INSERT, (1, b""))
        assert stored(tmp_path / "j") == [1]
        await store.write(INSERT, (2, b""))
        assert stored(tmp_path / "j") == [1, 2]


async def test_a_reserve_of_less_than_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="reserve_bytes=-1"):
        async with open_store(tmp_path / "j", FORMAT, reserve_bytes=-1):
            pass
    assert names(tmp_path) == []


async def test_an_earlier_and_a_later_format_are_told_apart(tmp_path: Path) -> None:
    await filled(tmp_path / "j", 3)
    for version, error in ((FORMAT.version - 1, NewerError), (FORMAT.version + 1, OutdatedError)):
        other = replace(FORMAT, version=version)
        with pytest.raises(error, match=f"written in format 3; this release reads format {version}"):
            open_for_reading(tmp_path / "j", other)
        with pytest.raises(error):
            async with open_store(tmp_path / "j", other):
                pass


async def test_pages_are_checked_when_that_is_asked_for(tmp_path: Path) -> None:
    whole = await filled(tmp_path / "j", 300)
    with closing(open_for_reading(tmp_path / "j", FORMAT)) as connection:
        check_pages(connection, tmp_path / "j", FORMAT)
    (tmp_path / "j").write_bytes(whole[:8192] + b"\xff" * 4096 + whole[12288:])
    with closing(open_for_reading(tmp_path / "j", FORMAT)) as after, pytest.raises(DamagedError, match="keep the file"):
        check_pages(after, tmp_path / "j", FORMAT)
