"""Is everything that was acknowledged there after a kill at any moment, and does nobody hang?"""

from __future__ import annotations

import random
import signal
import sys
import zlib
from pathlib import Path

import pytest
import trio

from synth_actors.storage.sqlite import open_store, read_store
from tests.storage.support import FORMAT, INSERT, child, names, numbers, stored

WRITE = """
async def write(store, first):
    for n in range(first, 10**9, 30):
        body = os.urandom(n % 3000)
        statement = (INSERT, (n, lambda: zlib.crc32(body).to_bytes(4, "big") + body))
        if n % 7 == 0:
            store.post(*statement)
            await trio.lowlevel.checkpoint()
        elif n % 5 == 0:
            await store.write_all([statement, (INSERT, (-n - 1, b"0000"))])
            tell(n)
        else:
            await store.write(*statement)
            tell(n)

async def main():
    async with open_store(path, FORMAT) as store, trio.open_nursery() as nursery:
        for first in range(30):
            nursery.start_soon(write, store, first)
try:
    trio.run(main)
except* KeyboardInterrupt:
    tell("interrupted")
"""

NEVER_CLOSED = """
from synth_actors.storage import writer
writer.LOOK_UP_S = 0.01

async def main():
    manager = open_store(path, FORMAT)
    store = await manager.__aenter__()
    for n in range(3000):
        store.post(INSERT, (n, b"x" * 100))
    tell("posted")
    trio.lowlevel.current_trio_token().run_sync_soon(crash)
    await trio.sleep_forever()

def crash():
    raise RuntimeError("this ends the whole trio run")

sys.stderr = open(os.devnull, "w")
trio.run(main)
"""

NOT_IN_THE_MAIN_THREAD = """
import threading
from synth_actors.storage import writer
writer.LOOK_UP_S = 0.01

async def main():
    async with open_store(path, FORMAT) as store:
        await trio.to_thread.run_sync(threading.main_thread().join)
        await trio.sleep(10 * writer.LOOK_UP_S)  # so that the idle writer has looked whether anybody is there
        await store.write(INSERT, (1, b""))
threading.Thread(target=trio.run, args=(main,)).start()
"""


@pytest.mark.parametrize("seed", range(6))
def test_every_acknowledged_row_survives_a_kill(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "j"
    acknowledged: set[int] = set()
    with child(WRITE, path) as process:
        assert process.stdout is not None
        for _ in range(random.Random(seed).randrange(1, 4000)):
            acknowledged.add(int(process.stdout.readline()))
        process.kill()
        rest = process.stdout.read()
        acknowledged.update(
            int(line) for line in rest.splitlines() if rest.endswith("\n") or line != rest[-len(line) :]
        )
    seen = set(stored(path))
    assert acknowledged <= seen
    trio.run(check, path, seen)
    assert names(tmp_path) == ["j"]


async def check(path: Path, seen: set[int]) -> None:
    """Reopened, it holds the same rows, each whole; those that belong together are together; it can be written."""
    async with open_store(path, FORMAT) as store:
        rows = await store.read(lambda connection: connection.execute("SELECT n, body FROM number").fetchall())
        assert {n for n, _ in rows} == seen
        for n, body in rows:
            assert n < 0 or zlib.crc32(body[4:]).to_bytes(4, "big") == body[:4]
            assert n % 5 or n % 7 == 0 or n < 0 or -n - 1 in seen
        for first in range(30):  # each task wrote its rows in order, so none of them is missing in between
            own = sorted(n for n in seen if n >= 0 and n % 30 == first)
            assert own == list(range(first, first + 30 * len(own), 30))
        await store.write(INSERT, (10**9, b""))


@pytest.mark.skipif(sys.platform == "win32", reason="there a child gets no Ctrl-C of its own")
@pytest.mark.parametrize("seed", range(3))
def test_after_ctrl_c_every_row_is_in_the_file_and_nothing_beside_it(tmp_path: Path, seed: int) -> None:
    with child(WRITE, tmp_path / "j") as process:
        assert process.stdout is not None
        acknowledged = {int(process.stdout.readline()) for _ in range(random.Random(seed).randrange(1, 1000))}
        process.send_signal(signal.SIGINT)
        *lines, last = process.stdout.read().splitlines()
        assert process.wait(60) == 0
    assert last == "interrupted"
    assert names(tmp_path) == ["j"]
    assert acknowledged | set(map(int, lines)) <= set(stored(tmp_path / "j"))


def test_a_reader_of_what_a_killed_owner_left_takes_nothing_away(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with child(WRITE, path) as process:
        assert process.stdout is not None
        acknowledged = {int(process.stdout.readline()) for _ in range(50)}
        process.kill()
    before = names(tmp_path)
    assert acknowledged <= set(read_store(path, FORMAT, numbers))
    assert names(tmp_path) == before


def test_a_program_whose_trio_loop_crashed_writes_what_was_posted_and_ends(tmp_path: Path) -> None:
    with child(NEVER_CLOSED, tmp_path / "j") as process:
        assert process.wait(60) != 0
    assert stored(tmp_path / "j") == list(range(3000))


def test_a_trio_loop_in_a_thread_that_outlives_the_main_one_keeps_its_writer(tmp_path: Path) -> None:
    with child(NOT_IN_THE_MAIN_THREAD, tmp_path / "j") as process:
        assert process.wait(60) == 0
    assert stored(tmp_path / "j") == [1]
