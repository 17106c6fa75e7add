"""Is nothing wrong ever served from a damaged file, is it set aside, and do requests go on being answered?"""

from __future__ import annotations

import random
import sqlite3
import traceback
from contextlib import closing
from pathlib import Path

import pytest
from trio.testing import MockClock

from synth_actors.errors import ConfigError
from synth_actors.snapshot import DurableSnapshot
from synth_actors.storage.opening import Format, open_writer
from synth_actors.tier import open_tier
from synth_actors.tier.rows import FORMAT
from tests.tier.support import ENOUGH_BYTES, Clock, again, child, content, fill, found, kept, key, names, rows_in

COUNT = 120


async def filled(path: Path, count: int = COUNT) -> bytes:
    """The bytes of a file with so many answers."""
    async with open_tier(path, ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        fill(tier, range(count))
    return content(path)


async def use(path: Path) -> tuple[list[int], DurableSnapshot]:
    """Which of the answers are found in a next run, in which new ones are kept; a wrong one fails the test."""
    async with open_tier(path, ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        there = await found(tier, range(COUNT))
        if tier.statistics().state == "open":
            fill(tier, [COUNT])
            await tier.flush()
        return there, tier.statistics()


def change(path: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(sql, values)
        connection.commit()


@pytest.mark.parametrize("share", [0.0, 0.000_01, 0.0001, 0.001, 0.01, 0.1, 0.3, 0.5, 0.9, 0.99])
async def test_a_truncated_file_is_set_aside_and_a_fresh_one_begun(
    tmp_path: Path, share: float, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "c"
    whole = await filled(path)
    part = whole[: int(len(whole) * share)]
    path.write_bytes(part)
    there, statistics = await use(path)
    assert there == []
    assert rows_in(path) == 1
    if not part:  # a file of no bytes is a store that was never begun
        assert names(tmp_path) == ["c"]
        assert caplog.messages == []
        return
    assert names(tmp_path) == ["c", "c.damaged-1"]
    assert (tmp_path / "c.damaged-1").read_bytes() == part
    assert statistics.set_aside == (str(tmp_path / "c.damaged-1"),)
    [message] = caplog.messages
    assert f"durable cache {path}: " in message
    assert f"it was set aside as {path}.damaged-1 and a fresh one begun; look into it or remove it" in message


async def test_each_damaged_file_gets_a_number_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "c"
    whole = await filled(path)
    for _ in range(3):
        path.write_bytes(whole[:5000])
        await use(path)
    assert names(tmp_path) == ["c", "c.damaged-1", "c.damaged-2", "c.damaged-3"]


async def test_a_file_that_ends_a_byte_too_early_loses_one_answer(tmp_path: Path) -> None:
    whole = await filled(tmp_path / "c")
    (tmp_path / "c").write_bytes(whole[:-1])
    assert len((await use(tmp_path / "c"))[0]) == COUNT - 1


async def test_flipped_bytes_anywhere_never_serve_a_wrong_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "c"
    whole = await filled(path)
    chance = random.Random(1)
    places = [*range(0, 68, 7), *(chance.randrange(72, len(whole)) for _ in range(60))]
    lost = 0
    for place in places:
        damaged = bytearray(whole)
        for offset in range(4):
            damaged[min(place + offset, len(whole) - 1)] ^= chance.randrange(1, 256)
        if damaged[68:72] != whole[68:72]:
            continue
        path.write_bytes(damaged)
        there, _ = await use(path)
        lost += len(there) < COUNT
        for name in names(tmp_path):
            (tmp_path / name).unlink()
    assert lost > 30
    assert "row is not what was written" in caplog.text
    assert "set aside" in caplog.text


async def test_a_wrong_row_is_not_served_but_counted_told_and_deleted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await filled(tmp_path / "c")
    change(tmp_path / "c", "UPDATE entry SET text = replace(text, 'a', 'b') WHERE key IN (?, ?)", key(7), key(8))
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        assert await found(tier, [6, 7, 8, 9]) == [6, 9]
        await tier.flush()
        assert tier.statistics().damaged_rows == 2
        assert rows_in(tmp_path / "c") == COUNT - 2
        assert await found(tier, [6, 7, 8, 9]) == [6, 9]
        assert tier.statistics().damaged_rows == 2
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    "assignment",
    [
        "text = text || x'00'",
        "text = ''",
        "text = 7",
        "stored_at = stored_at - 1",
        "stored_at = 'then'",
        "tokens = tokens + 1",
        "tokens = x'00'",
        "cost_usd = NULL",
        "cost_usd = 'much'",
        "stop_reason = 'stop'",
        "stop_reason = 4",
        "model = x'ff'",
        "endpoint = 'openai', model = ''",
        "stop_reason = stop_reason || 'h', endpoint = 'aiku'",  # the same letters, another border
        "checksum = zeroblob(16)",
        "checksum = 5",
        "checksum = ''",
        "identity = zeroblob(16)",
        "key = (SELECT key FROM entry WHERE id = 2), id = -1 WHERE id = 3; --",
    ],
)
async def test_whatever_is_changed_in_a_row_it_is_not_served(tmp_path: Path, assignment: str) -> None:
    path = tmp_path / "c"
    await filled(path, 3)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM entry WHERE id = 2 AND ? LIKE 'key%'", (assignment,))
        statement = assignment.removesuffix("; --") if "WHERE" in assignment else f"{assignment} WHERE id = 3"
        connection.execute(
            f"UPDATE entry SET {statement.replace('(SELECT key FROM entry WHERE id = 2)', '?')}",
            (key(1),) if assignment.startswith("key") else (),
        )
        connection.commit()
    async with open_tier(path, ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        assert 2 not in await found(tier, [0, 1, 2])
        await tier.flush()
        fill(tier, [2])
        await tier.flush()
        assert 2 in await found(tier, [2])


async def test_use_can_be_misplaced_and_the_answer_is_right_all_the_same(tmp_path: Path) -> None:
    await filled(tmp_path / "c")
    change(tmp_path / "c", "UPDATE entry SET used_at = 0")
    assert (await use(tmp_path / "c"))[0] == list(range(COUNT))


# ------------------------------------------------------------------------------------------------------------- the log


async def log_left_behind(path: Path) -> None:
    """A file whose owner was killed: most of it stands in PATH-wal."""
    with child(
        """
async def main():
    async with open_tier(path, ttl_s=None, max_file_bytes=2**30, wall=Clock()) as tier:
        fill(tier, range(120))
        await tier.flush()
        os.kill(os.getpid(), 9)
trio.run(main)
""",
        path,
    ) as process:
        process.wait(60)
    assert path.with_name("c-wal").stat().st_size > 100_000


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.1, 0.5, 0.9, 0.999, 1.0])
async def test_a_truncated_log_costs_its_rows_and_serves_nothing_wrong(tmp_path: Path, share: float) -> None:
    await log_left_behind(tmp_path / "c")
    log = tmp_path / "c-wal"
    log.write_bytes(log.read_bytes()[: int(log.stat().st_size * share)])
    there, statistics = await use(tmp_path / "c")
    assert len(there) == COUNT if share == 1.0 else not there  # all of it is one transaction
    assert statistics.set_aside == ()
    assert names(tmp_path) == ["c"]


async def test_flipped_bytes_in_the_log_serve_nothing_wrong(tmp_path: Path) -> None:
    await log_left_behind(tmp_path / "c")
    whole = {name: (tmp_path / name).read_bytes() for name in ("c", "c-wal")}
    chance = random.Random(2)
    for _ in range(20):
        for name in names(tmp_path):
            (tmp_path / name).unlink()
        damaged = bytearray(whole["c-wal"])
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        (tmp_path / "c").write_bytes(whole["c"])
        (tmp_path / "c-wal").write_bytes(damaged)
        there, _ = await use(tmp_path / "c")
        assert there in ([], list(range(COUNT)))


async def test_the_log_of_a_damaged_file_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "c"
    await log_left_behind(path)
    path.write_bytes(path.read_bytes()[:100] + b"\xff" * 3996)
    log = path.with_name("c-wal").read_bytes()
    path.with_name("c-wal").write_bytes(log[:32] + b"\0" * 5000)  # else it would repair the page
    _, statistics = await use(path)
    assert statistics.state == "open"
    assert rows_in(path) == 1
    assert "c.damaged-1" in names(tmp_path)


# --------------------------------------------------------------------------------------------------------- whose is it?


@pytest.mark.parametrize("content", [b"id,name\n1,otter\n" * 50, b"\x7fELF" + bytes(500), b"{}", b"SQLite for me"])
async def test_a_file_that_is_no_database_is_set_aside_as_it_is(tmp_path: Path, content: bytes) -> None:
    """Its header may be what was damaged, and a file under another name is not lost."""
    (tmp_path / "c").write_bytes(content)
    there, statistics = await use(tmp_path / "c")
    assert (there, statistics.state) == ([], "open")
    assert (tmp_path / "c.damaged-1").read_bytes() == content
    assert names(tmp_path) == ["c", "c.damaged-1"]


async def test_a_database_of_another_program_is_refused_and_not_touched(tmp_path: Path) -> None:
    change(tmp_path / "c", "CREATE TABLE entry (id INTEGER PRIMARY KEY)")
    before = (tmp_path / "c").read_bytes()
    with pytest.raises(ConfigError, match="a database, but not a durable cache; choose another path") as refused:
        await use(tmp_path / "c")
    assert refused.value.__suppress_context__  # the line says it all: nothing of what happened inside
    assert "worker_fn" not in "".join(traceback.format_exception(refused.value))
    assert (tmp_path / "c").read_bytes() == before
    (tmp_path / "c").write_bytes(before[:4096] + b"\xff" * (len(before) - 4096))
    with pytest.raises(ConfigError):
        await use(tmp_path / "c")
    assert names(tmp_path) == ["c"]


@pytest.mark.parametrize("name", ["rows.csv", "photo.PNG", "weights.safetensors", "rows.jsonl.gz", "job.lock"])
async def test_what_its_name_calls_data_is_refused_and_not_touched(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"something else\n" * 50)
    with pytest.raises(ConfigError, match="is no durable cache; choose another path, or remove it"):
        await use(tmp_path / name)
    assert names(tmp_path) == [name]


async def test_a_damaged_cache_that_is_named_like_data_is_a_cache_all_the_same(tmp_path: Path) -> None:
    whole = await filled(tmp_path / "answers.json")
    (tmp_path / "answers.json").write_bytes(whole[: len(whole) // 2])
    assert (await use(tmp_path / "answers.json"))[1].state == "open"
    assert names(tmp_path) == ["answers.json", "answers.json.damaged-1"]


async def test_a_first_page_of_zeros_is_what_a_crashed_file_system_leaves(tmp_path: Path) -> None:
    whole = await filled(tmp_path / "c")
    (tmp_path / "c").write_bytes(bytes(4096) + whole[4096:])
    assert (await use(tmp_path / "c"))[0] == []
    assert names(tmp_path) == ["c", "c.damaged-1"]


def in_format(path: Path, version: int) -> None:
    form = Format(what="c", application_id=FORMAT.application_id, version=version, script=("CREATE TABLE t (a)",))
    open_writer(path, form, "process").close()


async def test_an_earlier_format_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(tmp_path / "c")
    later = Format(what="durable cache", application_id=FORMAT.application_id, version=2, script=FORMAT.script)
    monkeypatch.setattr("synth_actors.tier.opening.FORMAT", later)
    assert (await use(tmp_path / "c"))[0] == []
    assert names(tmp_path) == ["c", "c.outdated-1"]
    assert "written in format 1; this release reads format 2; it was set aside as" in caplog.text


async def test_a_later_format_is_left_alone_and_requests_are_answered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    in_format(tmp_path / "c", 2)
    before = (tmp_path / "c").read_bytes()
    there, statistics = await use(tmp_path / "c")
    assert there == []
    assert (tmp_path / "c").read_bytes() == before
    assert names(tmp_path) == ["c"]
    [message] = caplog.messages
    assert "this release reads format 1; update synth_actors; requests are answered without it" in message
    assert statistics.reason is not None


async def test_a_damaged_file_that_somebody_has_open_is_not_moved_until_they_have_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mock_clock: MockClock
) -> None:
    path = tmp_path / "c"
    await filled(path)
    async with open_tier(path, ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as mine:
        async with open_tier(path, ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as other:
            assert await found(other, [1]) == [1]
            overwrite(path)
            assert await found(mine, range(COUNT)) == []
            assert mine.statistics().state == "off"
            await again(mine, mock_clock, 30.0)
            assert "cannot be set aside" in str(mine.statistics().reason)
            assert names(tmp_path) == ["c", "c-lock", "c-shm", "c-wal"]
            assert other.statistics().state == "open"
        await again(mine, mock_clock, 60.0)
        assert mine.statistics().state == "open"
        assert mine.statistics().set_aside == (str(tmp_path / "c.damaged-1"),)
        fill(mine, [1])
        await mine.flush()
        assert await found(mine, [1]) == [1]
    assert "c.damaged-1" in caplog.text


def overwrite(path: Path) -> None:
    """All but the first page, in place, and nothing in the log that could repair it."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


async def test_damage_met_while_running_is_set_aside_after_a_pause(
    tmp_path: Path, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "c"
    await filled(path)
    async with open_tier(path, ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        overwrite(path)
        assert await found(tier, range(COUNT)) == []
        assert tier.statistics().state == "off"
        tier.post(kept(1))
        await again(tier, mock_clock, 29.0)
        assert tier.statistics().state == "off"
        assert (tier.statistics().dropped, tier.statistics().unread) == (1, COUNT + 1)
        await again(tier, mock_clock, 1.0)
        assert tier.statistics().state == "open"
        fill(tier, [1])
        await tier.flush()
        assert await found(tier, [1]) == [1]
        assert names(tmp_path) == ["c", "c-lock", "c-shm", "c-wal", "c.damaged-1"]
        assert len(caplog.messages) == 2
        fill(tier, range(COUNT))
        await tier.flush()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        overwrite(path)  # what comes again is told again
        assert await found(tier, range(COUNT)) == []
        await again(tier, mock_clock, 60.0)
        assert await found(tier, [1]) == []
    assert names(tmp_path) == ["c", "c.damaged-1", "c.damaged-2"]
    assert len(caplog.messages) == 4


async def test_an_index_that_does_not_fit_its_rows_is_damage_too(tmp_path: Path, mock_clock: MockClock) -> None:
    path = tmp_path / "c"
    await filled(path)
    spoil_index(path)
    async with open_tier(path, ttl_s=100.0, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        assert tier.statistics().state == "open"  # no page is out of place
        assert len(await found(tier, range(COUNT))) < COUNT
    async with open_tier(path, ttl_s=100.0, max_file_bytes=100_000, wall=Clock()) as tier:
        fill(tier, range(200, 205))  # makes room, and cannot
        await tier.flush()
        assert tier.statistics().state == "read_only"
        await again(tier, mock_clock, 30.0)
        assert tier.statistics().state == "open"
        assert len(tier.statistics().set_aside) == 1


def spoil_index(path: Path) -> None:
    """Put another key into the index in the place of a right one; the rows stay as they are."""
    whole = path.read_bytes()
    place = whole.index(key(5))
    while b"haiku" in whole[place : place + 120]:  # a row, not an entry of the index
        place = whole.index(key(5), place + 1)
    path.write_bytes(whole[: place + 15] + bytes([whole[place + 15] ^ 1]) + whole[place + 16 :])
