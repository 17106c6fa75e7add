"""A process that is killed with -9 while it writes, again and again: the file is whole, and no wrong answer is served.

Fifty kills in `make soak`, three in `make test`; each in the middle of writing, evicting and expiring, beside a second
process that uses the same file.
"""

from __future__ import annotations

import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import trio

from synth_actors.tier import open_tier
from tests.conftest import Soak
from tests.tier.support import Clock, child, found, names

OPERATIONS_PER_KILL = 2000
NUMBERS = 3000
MOST_BYTES = 2_000_000

WORK = """
import random
async def main():
    chance = random.Random(int(sys.argv[2]))
    clock = Clock(float(sys.argv[3]))
    async with open_tier(path, ttl_s=1000.0, max_file_bytes=2_000_000, wall=clock) as tier:
        assert tier.statistics().set_aside == (), tier.statistics()
        tell("open")
        while True:
            first = chance.randrange(2900)
            fill(tier, range(first, first + 100), stored_at=clock.now)
            await found(tier, range(3000))
            clock.now += chance.random() * 30
            if chance.random() < 0.2:
                await tier.flush()
trio.run(main)
"""


def test_a_file_whose_writers_are_killed_stays_whole_and_serves_nothing_wrong(soak: Soak, tmp_path: Path) -> None:
    path = tmp_path / "c"
    chance = soak.random()
    now = 1_800_000_000.0
    seen = 0
    for _ in range(-(-soak.count // OPERATIONS_PER_KILL)):
        kill_two(path, chance, now)
        assert_whole(path)
        seen += trio.run(served, path, now)
        now += chance.random() * 2000 - 500  # a clock that jumps
    assert seen > 0
    assert names(tmp_path) == ["c"]


def kill_two(path: Path, chance: random.Random, now: float) -> None:
    """Two processes use the file, and both are killed after a while, one of them earlier."""
    workers = [child(WORK, path, chance.randrange(2**32), now) for _ in range(2)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "open\n"
    for worker in workers:
        time.sleep(chance.random() * 0.3)  # the moment of a kill, not a wait for something
        assert worker.poll() is None
        worker.kill()
    for worker in workers:
        worker.communicate()


def assert_whole(path: Path) -> None:
    """As SQLite sees it; what the killed left in the log is looked at where it lies."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def served(path: Path, now: float) -> int:
    """How many answers are found, each the right one."""
    async with open_tier(path, ttl_s=1e9, max_file_bytes=MOST_BYTES, wall=Clock(now + 1e6)) as tier:
        there = await found(tier, range(NUMBERS))
        statistics = tier.statistics()
    assert (statistics.set_aside, statistics.damaged_rows) == ((), 0)
    return len(there)
