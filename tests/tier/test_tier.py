"""Does the tier keep answers across runs, for the right endpoints, for as long as it should, in as much room?"""

from __future__ import annotations

import dataclasses
import logging
import math
import os
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from synth_actors.errors import ConfigError
from synth_actors.storage.opening import read_store
from synth_actors.tier import Found, Kept, open_tier
from synth_actors.tier import tier as tier_module
from synth_actors.tier.rows import FORMAT
from tests.tier.support import (
    ENOUGH_BYTES,
    IDENTITY,
    NOON,
    Clock,
    fill,
    found,
    kept,
    key,
    names,
    rows_in,
    size_bytes,
    text,
)

WEEK_S = 7 * 86400.0


async def test_what_was_posted_is_found_in_the_next_run_with_every_field(tmp_path: Path) -> None:
    clock = Clock()
    async with open_tier(tmp_path / "c", ttl_s=3600.0, max_file_bytes=ENOUGH_BYTES, wall=clock) as tier:
        fill(tier, range(300))
    assert names(tmp_path) == ["c"]
    clock.now += 600.0
    async with open_tier(tmp_path / "c", ttl_s=3600.0, max_file_bytes=ENOUGH_BYTES, wall=clock) as tier:
        answers = await tier.fetch([key(n) for n in (7, 1000, 299)], [IDENTITY])
        statistics = tier.statistics()
    assert answers == [Found(kept(7), 3000.0), None, Found(kept(299), 3000.0)]
    assert (statistics.hits, statistics.misses, statistics.stale) == (2, 1, 0)
    assert statistics.state == "open"
    assert statistics.reason is None


async def test_the_first_endpoint_that_has_a_fresh_answer_is_taken(tmp_path: Path) -> None:
    clock = Clock()
    async with open_tier(tmp_path / "c", ttl_s=100.0, max_file_bytes=ENOUGH_BYTES, wall=clock) as tier:
        tier.post(kept(1, identity="old", stored_at=NOON - 100.0))
        tier.post(kept(1, identity="second", stored_at=NOON - 50.0))
        tier.post(kept(1, identity="third"))
        await tier.flush()
        [answer] = await tier.fetch([key(1)], ["absent", "old", "second", "third"])
        assert answer == Found(kept(1, identity="second", stored_at=NOON - 50.0), 50.0)
        assert await tier.fetch([key(1)], ["absent"]) == [None]
        assert await tier.fetch([key(1)], ["old"]) == [None]
        assert await tier.fetch([key(1)], []) == [None]
        statistics = tier.statistics()
    assert (statistics.hits, statistics.misses, statistics.stale) == (1, 2, 1)


async def test_no_identity_reaches_the_file(tmp_path: Path) -> None:
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES) as tier:
        tier.post(kept(1, identity="https://user:sesame@example"))
    assert b"sesame" not in (tmp_path / "c").read_bytes()


async def test_a_later_answer_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    clock = Clock()
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=clock) as tier:
        tier.post(kept(1))
        tier.post(dataclasses.replace(kept(1), text="better"))
        await tier.flush()
        [answer] = await tier.fetch([key(1)], [IDENTITY])
    assert answer is not None
    assert answer.kept.text == "better"
    assert answer.remaining_s is None
    assert rows_in(tmp_path / "c") == 1


@pytest.mark.parametrize(
    "unusual",
    [
        {"text": ""},
        {"text": "\0 \ud800 \N{SNOWMAN} \U0001f9a6"},
        {"cost_usd": None},
        {"cost_usd": math.inf},
        {"cost_usd": -0.0},
        {"tokens": 0},
        {"tokens": 2**63 - 1},
        {"model": "", "endpoint": "", "stop_reason": ""},
        {"model": "ümläut"},
        {"stored_at": NOON - 1e9},
    ],
)
async def test_unusual_answers_come_back_as_they_were(tmp_path: Path, unusual: dict[str, Any]) -> None:
    answer = dataclasses.replace(kept(1), **unusual)
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        tier.post(answer)
        await tier.flush()
        assert await tier.fetch([key(1)], [IDENTITY]) == [Found(answer, None)]


@pytest.mark.parametrize(
    "impossible",
    [{"key": b"short"}, {"tokens": 2**63}, {"stored_at": math.nan}, {"model": "\ud800"}, {"text": "x" * 3_000_000}],
)
async def test_an_answer_that_cannot_be_written_is_dropped_and_its_neighbours_are_kept(
    tmp_path: Path, impossible: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=10_000_000, wall=Clock()) as tier:
        fill(tier, [1])
        tier.post(dataclasses.replace(kept(2), **impossible))
        tier.post(dataclasses.replace(kept(2), **impossible))
        fill(tier, [3])
        await tier.flush()
        assert await found(tier, [1, 2, 3]) == [1, 3]
        statistics = tier.statistics()
    assert (statistics.written, statistics.dropped, statistics.queued, statistics.queued_bytes) == (2, 2, 0, 0)
    assert len(caplog.messages) == 1
    assert str(tmp_path / "c") in caplog.text


async def test_a_cost_that_is_no_number_is_kept_as_unknown(tmp_path: Path) -> None:
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        tier.post(dataclasses.replace(kept(1), cost_usd=math.nan))
        await tier.flush()
        assert await tier.fetch([key(1)], [IDENTITY]) == [Found(dataclasses.replace(kept(1), cost_usd=None), None)]


# ------------------------------------------------------------------------------------------------------------- its age


async def test_a_clock_that_jumps_makes_rows_stale_and_never_eternal(tmp_path: Path) -> None:
    clock = Clock()
    async with open_tier(tmp_path / "c", ttl_s=100.0, max_file_bytes=ENOUGH_BYTES, wall=clock) as tier:
        fill(tier, [1])
        await tier.flush()
        for now, there in [(NOON, [1]), (NOON + 99, [1]), (NOON + 100, []), (NOON + 1e9, []), (NOON - 1, []), (0, [])]:
            clock.now = now
            assert await found(tier, [1]) == there, now
        clock.now = NOON + 10.0
        assert await found(tier, [1]) == [1]
        assert tier.statistics().stale == 4


async def test_without_a_time_to_live_rows_of_the_future_are_still_not_served(tmp_path: Path) -> None:
    clock = Clock()
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=clock) as tier:
        fill(tier, [1], stored_at=NOON + 0.5)
        await tier.flush()
        assert await found(tier, [1]) == []
        clock.now += 1.0
        assert await found(tier, [1]) == [1]


async def test_an_engine_to_which_rows_are_too_old_leaves_them_to_those_who_want_them(tmp_path: Path) -> None:
    path, clock = tmp_path / "c", Clock()
    async with open_tier(path, ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=clock) as patient:
        fill(patient, range(500), size=10)
        await patient.flush()
        clock.now += 3600.0
        async with open_tier(path, ttl_s=3600.0, max_file_bytes=ENOUGH_BYTES, wall=clock) as hasty:
            for n in range(1000, 1020):
                fill(hasty, [n], stored_at=clock.now, size=10)
                await hasty.flush()
            assert await found(hasty, range(500), size=10) == []
        assert await found(patient, range(500), size=10) == list(range(500))


async def test_when_room_is_needed_the_future_goes_first_then_what_is_too_old_then_what_was_not_used(
    tmp_path: Path,
) -> None:
    path, clock = tmp_path / "c", Clock()
    ahead, old, used, fresh = range(100), range(100, 300), range(300, 400), range(400, 500)
    async with open_tier(path, ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=clock) as tier:
        for n in old:
            fill(tier, [n], stored_at=NOON - 1000.0 + n)
        fill(tier, used)
        await tier.flush()
        clock.now += 700.0
        fill(tier, fresh, stored_at=NOON + 100.0)
        fill(tier, ahead, stored_at=NOON + WEEK_S)
        await tier.flush()
        assert await found(tier, old) == list(old)  # a use, just now: it does not save what is too old
        await tier.flush()
    gone: list[list[int]] = []
    for most_bytes in (950_000, 750_000, 500_000, 300_000, 150_000):
        async with open_tier(path, ttl_s=1000.0, max_file_bytes=most_bytes, wall=clock) as tier:
            fill(tier, [1000], size=10)
            await tier.flush()
        keys = {row for (row,) in all_keys(path)}
        gone.append([n for n in range(500) if key(n) not in keys])
    for each in gone:
        order = [*ahead, *old, *used, *fresh]
        assert sorted(each) == each == order[: len(each)]
    assert [len(each) for each in gone] == sorted({len(each) for each in gone})
    assert 0 < len(gone[0]) <= 100 < len(gone[2]) < 400 < len(gone[4]) < 500


def all_keys(path: Path) -> list[tuple[bytes]]:
    return read_store(path, FORMAT, lambda connection: connection.execute("SELECT key FROM entry").fetchall())


# ------------------------------------------------------------------------------------------------------------ its size


async def test_the_file_keeps_below_its_bound_and_the_least_recently_used_go(tmp_path: Path) -> None:
    clock = Clock()
    most_bytes = 1_000_000
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=most_bytes, wall=clock) as tier:
        for n in range(2000):
            fill(tier, [n], stored_at=clock.now)
            if n % 50 == 49:
                await tier.flush()
                assert tier.statistics().used_bytes <= most_bytes
                clock.now += 3600.0
                assert await found(tier, [0, 1, 2]) == [0, 1, 2]  # as hits, so they stay
        there = await found(tier, range(2000))
        statistics = tier.statistics()
    rest = there[3:]
    assert there[:3] == [0, 1, 2]
    assert rest == list(range(2000 - len(rest), 2000))
    assert len(there) * 1600 > 0.6 * most_bytes
    assert statistics.evicted == 2000 - len(there)
    assert size_bytes(tmp_path / "c") <= most_bytes + 2**20


async def test_a_bound_that_was_lowered_is_reached_in_portions(tmp_path: Path) -> None:
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        fill(tier, range(6000), size=200)
    clock = Clock(NOON + 1.0)
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=500_000, wall=clock) as tier:
        fill(tier, [6000], size=200)
        await tier.flush()
        assert 0 < tier.statistics().evicted <= 2000
        for n in range(6001, 6010):
            fill(tier, [n], size=200)
            await tier.flush()
        assert tier.statistics().used_bytes <= 500_000
        assert await found(tier, range(6000, 6010), size=200) == list(range(6000, 6010))


async def test_rows_of_the_future_go_first_and_uses_of_the_future_do_not_last(tmp_path: Path) -> None:
    clock = Clock(NOON + WEEK_S)
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=300_000, wall=clock) as tier:
        fill(tier, [1])
        fill(tier, [2], stored_at=clock.now)
        await tier.flush()
        clock.now = NOON + 60.0  # the clock was wrong: row 2 stands in the future, and so does the use of row 1
        for n in range(10, 400):
            fill(tier, [n])
            if n % 20 == 0:
                await tier.flush()
                clock.now += 1.0
        await tier.flush()
        clock.now = NOON + 2 * WEEK_S
        assert await found(tier, [1, 2]) == []


# ------------------------------------------------------------------------------------------------------------ its queue


async def test_more_than_the_queue_may_hold_is_dropped_counted_and_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tier_module, "MOST_QUEUED_BYTES", 10 * 1850)
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        for _ in range(2000):  # no checkpoint, so the thread has little time
            tier.post(kept(1))
        assert tier.statistics().queued_bytes <= 10 * 1850
        await tier.flush()
        statistics = tier.statistics()
    assert statistics.dropped > 0
    assert statistics.dropped + statistics.written == 2000
    assert len(caplog.messages) == 1
    assert "choose a path on a faster disk" in caplog.text


async def test_a_cancelled_run_writes_what_was_posted(tmp_path: Path) -> None:
    with trio.CancelScope() as scope:
        async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
            fill(tier, range(1000))
            scope.cancel()
            await trio.sleep_forever()
    assert rows_in(tmp_path / "c") == 1000


async def test_an_exception_in_the_body_leaves_as_itself(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES):
            raise KeyError("mine")


async def test_after_the_end_nothing_is_found_and_nothing_raises(tmp_path: Path) -> None:
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        fill(tier, [1])
    tier.post(kept(2))
    await tier.flush()
    assert await found(tier, [1, 2]) == []
    assert (tier.statistics().state, tier.statistics().dropped, tier.statistics().unread) == ("off", 1, 2)


async def test_the_end_does_not_wait_for_the_clock_of_trio(tmp_path: Path, autojump_clock: MockClock) -> None:
    began_at = trio.current_time()
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        fill(tier, range(2000))
    assert trio.current_time() == began_at
    assert rows_in(tmp_path / "c") == 2000


# ------------------------------------------------------------------------------------------------------------ its place


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (".", "is a folder; name a file in it"),
        ("no/such/c", "there is no folder .*no/such; make it"),
        ("/dev/null", "is no regular file; name another path"),
        ("newdir/", "is the name of a folder; name a file in it"),
        ("a\0b", "has a NUL byte in it; name a file"),
    ],
)
async def test_a_path_that_is_no_place_for_a_file_is_refused(tmp_path: Path, path: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        async with open_tier(os.path.join(tmp_path, path), ttl_s=None, max_file_bytes=ENOUGH_BYTES):
            pass
    assert names(tmp_path) == []


async def test_a_cache_cannot_be_stdin_or_stdout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="durable cache path='-': a cache is a file and cannot be stdin or stdout"):
        async with open_tier("-", ttl_s=None, max_file_bytes=ENOUGH_BYTES):
            pass
    assert names(tmp_path) == []


async def test_a_sound_run_logs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="synth_actors")
    for _ in range(2):
        async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
            fill(tier, range(10))
            await found(tier, range(10))
            assert repr(tier) == f"<Tier c open queued={tier.statistics().queued}>"
    assert caplog.messages == []


async def test_a_symbolic_link_leads_to_one_file(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real/c")
    async with (
        open_tier(tmp_path / "link", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as one,
        open_tier(tmp_path / "real/c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as other,
    ):
        fill(one, [1])
        await one.flush()
        assert await found(other, [1]) == [1]
    assert names(tmp_path) == ["link", "real"]
    assert names(tmp_path / "real") == ["c"]


def test_an_answer_says_what_it_is() -> None:
    assert text(1) in repr(kept(1))
    assert isinstance(kept(1), Kept)
