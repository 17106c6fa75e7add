"""Whatever becomes of the file of the durable cache: is every request answered, with its own text, and is that told?"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from synth_actors import open_engine
from synth_actors.actors.store import StoreActor
from synth_actors.tier import open_tier
from tests.conftest import Soak
from tests.faults.durable import COUNT, PROMPTS, ask, child, kept_at, provider, run, told, warnings, works
from tests.tier.support import NOON, Clock, Gate, names, rows_in

Log = pytest.LogCaptureFixture
posix = pytest.mark.skipif(sys.platform == "win32", reason="other rights and no limits there")
DAY_S = 86_400.0


# ------------------------------------------------------------------------------------------------------ a slow disk


async def test_what_memory_let_go_of_before_it_was_written_is_not_paid_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing = Gate(monkeypatch, "write")
    async with open_engine(provider(), kept_at(tmp_path / "c")) as engine:
        with writing.closed():
            asked = await ask(engine, PROMPTS[:20], times=2, is_settled=False)
            assert asked.durable.written == 0
    assert asked.is_right
    assert asked.paid == 20


async def test_a_disk_that_hangs_keeps_no_request_from_being_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Log
) -> None:
    assert (await run(tmp_path / "c")).paid == COUNT
    monkeypatch.setattr("synth_actors.wiring.open_tier", partial(open_tier, patience_s=0.02))
    reading = Gate(monkeypatch, "read")
    async with open_engine(provider(), kept_at(tmp_path / "c")) as engine:
        with reading.closed():
            asked = await ask(engine, PROMPTS)
            assert reading.calls == 1
    assert asked.is_right
    assert (asked.paid, asked.durable.state) == (COUNT, "hung")
    [message] = warnings(caplog)
    assert "the disk did not answer within 0.02 s; look at the disk" in message
    assert await works(tmp_path / "c")


# ------------------------------------------------------------------------------------------------------ a full disk

FULL = """
import resource
async def main():
    async with open_engine(provider(), kept_at(path)) as engine:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
        tell(await ask(engine, prompts, times=2), said)
trio.run(main)
"""


@posix
def test_a_full_disk_costs_what_it_has_no_room_for_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with child(FULL, path, 0, 2 * COUNT) as process:
        assert process.stdout is not None
        full, said = told(process.stdout.readline())
        assert process.wait(60) == 0
    assert full.is_right
    assert full.paid > 2 * COUNT  # what was dropped is asked again
    assert full.durable.state == "read_only"
    assert full.durable.dropped > 0
    [message] = said
    assert f"durable cache {path}: " in message
    assert "make room on the disk" in message
    kept = rows_in(path)
    assert 0 < kept == full.durable.written
    again = trio.run(run, path, [f"prompt {n}" for n in range(2 * COUNT)])
    assert again.is_right
    assert again.paid == 2 * COUNT - kept
    assert trio.run(works, path)


# -------------------------------------------------------------------------------------------------- a read-only file

WITHOUT_RIGHTS = """
async def main():
    async with open_engine(provider()) as engine:  # what is imported when it is needed may not be readable later
        await engine.generate("warm")
        await engine.metrics()
    os.chdir("/")
    if os.geteuid() == 0:
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
    async with open_engine(provider(), kept_at(path)) as engine:
        tell(await ask(engine, prompts), said)
trio.run(main)
"""


@posix
def test_a_file_made_read_only_is_read_and_what_is_new_is_answered(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as outer:  # tmp_path is closed to other users
        Path(outer).chmod(0o755)
        path = Path(outer) / "c"
        assert trio.run(run, path).paid == COUNT
        path.chmod(0o444)
        with child(WITHOUT_RIGHTS, path, 0, COUNT + 30) as process:
            assert process.stdout is not None
            asked, said = told(process.stdout.readline())
            assert process.wait(60) == 0
        assert asked.is_right
        assert (asked.paid, asked.durable.state, asked.durable.dropped) == (30, "read_only", 30)
        [message] = said
        assert f"durable cache {path}: " in message
        assert "its answers are served and no new ones kept" in message
        path.chmod(0o644)
        assert trio.run(works, path)


# ----------------------------------------------------------------------------------------------------- a damaged file


def truncate(path: Path, share: float) -> None:
    os.truncate(path, int(path.stat().st_size * share))


def flip(path: Path, share: float) -> None:
    """32 bytes beginning so far into the file, but for the header's number that says whose it is."""
    place = max(100, int((path.stat().st_size - 32) * share))
    with path.open("r+b") as file:
        file.seek(place)
        whole = file.read(32)
        file.seek(place)
        file.write(bytes(byte ^ 0x5A for byte in whole))


DAMAGE = [
    *[pytest.param(truncate, share, id=f"truncated to {share}") for share in (0.0, 0.001, 0.02, 0.3, 0.9, 0.9999)],
    *[pytest.param(flip, share, id=f"flipped at {share}") for share in (0.0, 0.1, 0.2, 0.5, 0.8, 1.0)],
]


@pytest.mark.parametrize(("damage", "share"), DAMAGE)
async def test_a_file_damaged_between_two_runs(
    tmp_path: Path, damage: Callable[[Path, float], None], share: float, caplog: Log
) -> None:
    path = tmp_path / "c"
    await run(path)
    damage(path, share)
    after = await run(path, times=2)
    assert after.is_right
    assert after.paid <= COUNT
    assert after.durable.state == "open"
    assert (after.durable.damaged_rows > 0) + len(after.durable.set_aside) == len(warnings(caplog))
    assert len(warnings(caplog)) == ((damage, share) != (truncate, 0.0))  # no bytes: a file that was never begun
    assert await works(path)
    assert names(tmp_path) == ["c", *(Path(aside).name for aside in after.durable.set_aside)]


@pytest.mark.parametrize(("damage", "share"), DAMAGE)
async def test_a_file_damaged_while_an_engine_uses_it(
    tmp_path: Path, damage: Callable[[Path, float], None], share: float, caplog: Log, mock_clock: MockClock
) -> None:
    path = tmp_path / "c"
    await run(path)
    async with open_engine(provider(), kept_at(path)) as engine:
        assert (await ask(engine, PROMPTS[:10])).paid == 0
        damage(path, share)
        asked = await ask(engine, [*PROMPTS, "new"], times=2)
        assert asked.is_right
        troubles = len(warnings(caplog))
        assert troubles == (asked.durable.damaged_rows > 0) + (asked.durable.state != "open")  # a row, the file
        assert bool(troubles) == ((damage, share) != (flip, 0.0))  # where SQLite looks only when it opens the file
        mock_clock.jump(30.0)  # it is opened anew, and if it is damaged, set aside
        assert (await ask(engine, PROMPTS)).is_right
        later = await ask(engine, PROMPTS)
        assert later.is_right
        assert (later.durable.state, later.durable.reason) == ("open", None)
        over = [message for message in warnings(caplog) if message.endswith(": works again")]
        aside = len(later.durable.set_aside)
        assert len(warnings(caplog)) == troubles + len(over) + aside
        assert len(over) == (asked.durable.state != "open" and not aside)  # that it was set aside says so, too
    assert await works(path)


async def test_a_file_deleted_while_an_engine_uses_it(tmp_path: Path, caplog: Log) -> None:
    path = tmp_path / "c"
    await run(path)
    async with open_engine(provider(), kept_at(path)) as engine:
        assert (await ask(engine, PROMPTS)).paid == 0
        path.unlink()
        asked = await ask(engine, [f"other {n}" for n in range(COUNT)], times=2)
        assert asked.is_right
        assert (asked.paid, asked.durable.state) == (COUNT, "open")
    [message] = warnings(caplog)
    assert "was removed or replaced while in use; what is there now is used" in message
    assert (await run(path, [f"other {n}" for n in range(COUNT)])).paid == 0
    assert await works(path)


# ------------------------------------------------------------------------------------------------------ several engines

AT_ONCE = """
async def main():
    os.write(1, b"ready\\n")
    sys.stdin.readline()
    async with open_engine(provider(), kept_at(path)) as engine:
        tell(await ask(engine, prompts, times=2), said)
trio.run(main)
"""


def test_two_processes_begin_a_file_and_use_it_at_once(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with child(AT_ONCE, path, 0, 300) as one, child(AT_ONCE, path, 150, 450) as other:
        for process in (one, other):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in (one, other):
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in (one, other):
            assert process.stdout is not None
            asked, said = told(process.stdout.readline())
            assert asked.is_right
            assert asked.paid <= 300  # the second time none
            assert (asked.durable.state, said) == ("open", [])
            assert process.wait(60) == 0
    assert trio.run(run, path, [f"prompt {n}" for n in range(450)]).paid == 0
    assert names(tmp_path) == ["c"]


# -------------------------------------------------------------------------------------------------- a clock that jumps


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The wall clock of the engine's store and of its tier."""
    clock = Clock()
    monkeypatch.setattr("synth_actors.wiring.open_tier", partial(open_tier, wall=clock))
    monkeypatch.setattr("synth_actors.wiring.StoreActor", partial(StoreActor, wall=clock))
    return clock


@pytest.mark.parametrize("ttl_s", [None, 3600.0])
async def test_a_wall_clock_that_jumps_costs_at_most_a_call(
    tmp_path: Path, wall: Clock, ttl_s: float | None, caplog: Log
) -> None:
    path = tmp_path / "c"
    async with open_engine(provider(), kept_at(path, ttl_s=ttl_s)) as engine:
        paid = 0
        for now, is_paid in [
            (NOON, True),
            (NOON + 3599.0, False),
            (NOON + 3600.0, ttl_s is not None),  # too old; what is written now stands for both
            (NOON - DAY_S, True),  # all of it is of the future now
            (NOON - DAY_S + 1.0, False),
            (NOON + DAY_S, ttl_s is not None),
            (NOON + DAY_S, False),
            (0.0, True),
            (1e11, ttl_s is not None),
        ]:
            wall.now = now
            asked = await ask(engine, PROMPTS[:50], times=2)
            paid += 50 * is_paid
            assert asked.is_right
            assert (asked.paid, asked.durable.state) == (paid, "open"), now
    assert warnings(caplog) == []
    wall.now = NOON
    assert await works(path)


# -------------------------------------------------------------------------------------------------------------- kill -9

KILLED = """
async def main():
    async with open_engine(provider(0.002), kept_at(path, max_concurrency=5)) as engine:
        async with engine.batch(prompts) as outcomes:
            async for outcome in outcomes:
                os.write(1, b"answered\\n")
    os.write(1, b"over\\n")
trio.run(main)
"""
REQUESTS = 500
OPERATIONS_PER_KILL = 5000


def test_after_a_kill_only_what_was_not_committed_is_paid(soak: Soak, tmp_path: Path) -> None:
    """20 kills in `make soak`, 3 in `make test`, all with one file."""
    path, chance = tmp_path / "c", soak.random()
    committed = 0
    for n in range(max(3, soak.count // OPERATIONS_PER_KILL)):
        first, last = n * REQUESTS, (n + 1) * REQUESTS
        kill(path, first, last, after=chance.randrange(20, REQUESTS - 100))
        kept = rows_in(path) - first
        assert 0 <= kept < REQUESTS
        committed += kept
        after = trio.run(run, path, [f"prompt {each}" for each in range(first, last)])
        assert after.is_right
        assert after.paid == REQUESTS - kept
        assert (after.durable.state, after.durable.set_aside, after.durable.damaged_rows) == ("open", (), 0)
    assert committed > 0
    assert names(tmp_path) == ["c"]


def kill(path: Path, first: int, last: int, *, after: int) -> None:
    """An engine is killed after so many answers."""
    with child(KILLED, path, first, last) as process:
        assert process.stdout is not None
        for _ in range(after):
            assert process.stdout.readline() == "answered\n"
        process.kill()
        assert "over\n" not in process.stdout.read()
