"""Is everything written in order, in few commits, and is everybody told the truth about it?"""

from __future__ import annotations

import os
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from synth_actors.storage.errors import StatementError, StorageError
from synth_actors.storage.sqlite import Store, open_store
from tests.storage.support import FORMAT, INSERT, names, numbers, stored

UNORDERED = "CREATE TABLE line (n INTEGER)"


class Gate:
    """A value that keeps the writer's thread busy until the test has queued what it wants to queue."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def __call__(self) -> None:
        assert self.open.wait(60)


async def lines(store: Store) -> list[int]:
    return await store.read(lambda connection: [n for (n,) in connection.execute("SELECT n FROM line ORDER BY rowid")])


async def post(path: Path, rows: Iterable[int], *, then: Exception | None = None) -> None:
    async with open_store(path, FORMAT) as store:
        for n in rows:
            store.post(INSERT, (n, b""))
        if then is not None:
            raise then


async def test_a_written_row_is_there_for_the_next_read_and_after_the_end(tmp_path: Path) -> None:
    async with open_store(tmp_path / "j", FORMAT) as store:
        await store.write(INSERT, (1, b"one"))
        assert await store.read(numbers) == [1]
        await store.write(INSERT, (2, None))
        assert await store.read(numbers) == [1, 2]
    assert stored(tmp_path / "j") == [1, 2]


async def test_nothing_is_left_beside_the_file_after_a_clean_end(tmp_path: Path) -> None:
    async with open_store(tmp_path / "j", FORMAT) as store:
        await store.write(INSERT, (1, b"one"))
        assert names(tmp_path) == ["j", "j-lock", "j-reserve", "j-shm", "j-wal"]
        assert (tmp_path / "j-reserve").stat().st_blocks * 512 >= 2**20
    assert names(tmp_path) == ["j"]
    assert stored(tmp_path / "j") == [1]
    assert names(tmp_path) == ["j"]


async def test_statements_of_all_tasks_and_kinds_keep_the_order_in_which_they_were_given(tmp_path: Path) -> None:
    async with open_store(tmp_path / "j", FORMAT) as store:
        await store.write(UNORDERED)
        async with trio.open_nursery() as nursery:
            for n in range(0, 3000, 3):
                nursery.start_soon(store.write, "INSERT INTO line VALUES (?)", (n,))
                await trio.lowlevel.checkpoint()
                store.post("INSERT INTO line VALUES (?)", (n + 1,))
                nursery.start_soon(
                    store.write_all,
                    [("INSERT INTO line VALUES (?)", (n + 2,)), ("UPDATE line SET n=n WHERE n=?", (n + 2,))],
                )
        order = await lines(store)
    assert sorted(order) == list(range(3000))
    assert [n for n in order if n % 3 == 1] == list(range(1, 3000, 3))


async def test_thousands_of_writes_take_few_commits(tmp_path: Path) -> None:
    gate = Gate()
    async with open_store(tmp_path / "j", FORMAT) as store:
        store.post(INSERT, (-1, gate))
        async with trio.open_nursery() as nursery:
            for n in range(5000):
                nursery.start_soon(store.write, INSERT, (n, b"x" * 100))
            await wait_all_tasks_blocked()
            assert store.queued == 5001
            assert "queued=5001" in repr(store)
            gate.open.set()
        assert store.queued == 0
        # the one with the gate, which took along what was queued by then; after it a thousand at a time
        assert store.commits <= 7
        assert await store.read(numbers) == list(range(-1, 5000))


async def test_flush_waits_for_what_was_posted_and_needs_no_commit_of_its_own(tmp_path: Path) -> None:
    async with open_store(tmp_path / "j", FORMAT) as store:
        for n in range(100):
            store.post(INSERT, (n, b""))
        await store.flush()
        assert store.queued == 0
        before = store.commits
        await store.flush()
        assert store.commits == before
        assert await store.read(numbers) == list(range(100))


async def test_a_callable_is_asked_in_the_writers_thread(tmp_path: Path) -> None:
    threads: list[str] = []

    def body() -> bytes:
        threads.append(threading.current_thread().name)
        return zlib.compress(b"text" * 100)

    async with open_store(tmp_path / "j", FORMAT) as store:
        await store.write(INSERT, (1, body))
        (found,) = await store.read(lambda connection: connection.execute("SELECT body FROM number").fetchone())
    assert zlib.decompress(found) == b"text" * 100
    assert threads == ["journal j"]
    assert "journal j" not in [thread.name for thread in threading.enumerate()]


async def test_a_task_that_is_cancelled_leaves_and_its_row_is_written(tmp_path: Path) -> None:
    gate = Gate()
    async with open_store(tmp_path / "j", FORMAT) as store:
        store.post(INSERT, (0, gate))
        async with trio.open_nursery() as nursery:
            for n in range(1, 10):
                nursery.start_soon(store.write, INSERT, (n, b""))
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.write(INSERT, (10, b""))
        assert scope.cancelled_caught
        assert store.commits == 0
        gate.open.set()
    assert stored(tmp_path / "j") == list(range(11))


async def test_an_exception_in_the_body_leaves_as_itself_and_what_was_given_is_written(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="mine"):
        await post(tmp_path / "j", range(2000), then=KeyError("mine"))
    assert stored(tmp_path / "j") == list(range(2000))
    assert names(tmp_path) == ["j"]


async def test_a_cancelled_body_ends_with_everything_written(tmp_path: Path) -> None:
    with trio.CancelScope() as scope:
        async with open_store(tmp_path / "j", FORMAT) as store:
            for n in range(2000):
                store.post(INSERT, (n, b""))
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert stored(tmp_path / "j") == list(range(2000))


async def test_tasks_that_still_wait_at_the_end_are_answered(tmp_path: Path) -> None:
    gate = Gate()
    async with trio.open_nursery() as nursery:
        async with open_store(tmp_path / "j", FORMAT) as store:
            await store.write(INSERT, (0, b""))
            store.post(INSERT, (1, gate))
            for n in range(2, 100):
                nursery.start_soon(store.write, INSERT, (n, b""))
            await wait_all_tasks_blocked()
            trio.lowlevel.current_trio_token().run_sync_soon(gate.open.set)
        with pytest.raises(trio.ClosedResourceError, match="closed"):
            await store.write(INSERT, (100, b""))
        with pytest.raises(trio.ClosedResourceError):
            store.post(INSERT, (100, b""))
        with pytest.raises(trio.ClosedResourceError):
            await store.read(numbers)
    assert sorted(stored(tmp_path / "j")) == list(range(100))
    assert repr(store).startswith("<Store j closed")


@pytest.mark.parametrize(
    ("sql", "value", "cause"),
    [
        (INSERT, (1, b"again"), sqlite3.IntegrityError),
        ("INSERT INTO nowhere VALUES (?)", (1,), sqlite3.OperationalError),
        ("no sql at all", (), sqlite3.OperationalError),
        (INSERT, (2,), sqlite3.ProgrammingError),
        (INSERT, (2, object()), sqlite3.Error),
        (INSERT, (2**70, b""), OverflowError),
        (INSERT, (2, "\ud800"), UnicodeEncodeError),
        (INSERT, (2, lambda: os.environ["MISSING"]), KeyError),
    ],
)
async def test_a_refused_statement_is_told_to_its_owner_and_hurts_no_neighbour(
    tmp_path: Path, sql: str, value: tuple[object, ...], cause: type[BaseException]
) -> None:
    gate = Gate()
    async with open_store(tmp_path / "j", FORMAT) as store:
        await store.write(INSERT, (1, b""))
        store.post(INSERT, (10, gate))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.write, INSERT, (11, b""))
            nursery.start_soon(refused, store, [(sql, value)], cause)
            nursery.start_soon(refused, store, [(INSERT, (12, b"")), (sql, value), (INSERT, (13, b""))], cause)
            nursery.start_soon(store.write, INSERT, (14, b""))
            await wait_all_tasks_blocked()
            gate.open.set()
        assert store.broken is None
        assert await store.read(numbers) == [1, 10, 11, 14]


async def refused(store: Store, statements: list[tuple[str, tuple[object, ...]]], cause: type[BaseException]) -> None:
    with pytest.raises(StatementError, match=r"journal .*/j: refused .*; nothing of this statement was kept") as caught:
        await store.write_all(statements)  # type: ignore[arg-type]
    assert isinstance(caught.value.__cause__, cause)


async def test_a_statement_that_rolls_everything_back_is_the_end_of_its_batch(tmp_path: Path) -> None:
    gate = Gate()
    async with open_store(tmp_path / "j", FORMAT) as store:
        await store.write(INSERT, (1, b""))
        with pytest.RaisesGroup(StorageError, StorageError):
            async with trio.open_nursery() as nursery:
                store.post(INSERT, (2, gate))
                nursery.start_soon(store.write, "INSERT OR ROLLBACK INTO number VALUES (1, NULL)")
                nursery.start_soon(store.write, INSERT, (3, b""))
                await wait_all_tasks_blocked()
                gate.open.set()
        assert store.broken is not None
    assert 3 not in stored(tmp_path / "j")


async def test_a_post_that_fails_breaks_the_store_for_all_that_comes_after_it(tmp_path: Path) -> None:
    gate = Gate()
    async with open_store(tmp_path / "j", FORMAT) as store:
        await store.write(INSERT, (1, b""))
        store.post(INSERT, (2, gate))
        store.post(INSERT, (1, b"refused"))
        store.post(INSERT, (3, b""))
        gate.open.set()
        with pytest.raises(StatementError, match="UNIQUE constraint failed"):
            await store.flush()
        errors = [await error_of(lambda: store.write(INSERT, (4, b""))) for _ in range(2)]
        with pytest.raises(StatementError):
            store.post(INSERT, (5, b""))
        assert errors[0] is not errors[1]
        assert errors[0].__cause__ is store.broken
        assert "broken" in repr(store)
        assert await store.read(numbers) == [1, 2]
    assert stored(tmp_path / "j") == [1, 2]


async def error_of(write: Callable[[], object]) -> BaseException:
    with pytest.raises(StorageError) as caught:
        await write()  # type: ignore[misc]
    return caught.value


async def test_what_was_posted_and_lost_is_told_at_the_end_at_the_latest(tmp_path: Path) -> None:
    with pytest.raises(StatementError, match="UNIQUE constraint failed"):
        await post(tmp_path / "j", (1, 1))
    assert stored(tmp_path / "j") == [1]


async def test_what_was_lost_does_not_hide_the_exception_of_the_body(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="mine"):
        await post(tmp_path / "j", (1, 1), then=KeyError("mine"))
    assert stored(tmp_path / "j") == [1]


async def test_a_value_that_wants_to_end_the_program_ends_only_the_store(tmp_path: Path) -> None:
    def leave() -> None:
        raise SystemExit(3)

    async with open_store(tmp_path / "j", FORMAT) as store:
        with pytest.raises(StorageError, match="3"):
            await store.write(INSERT, (1, leave))
        with pytest.raises(StorageError):
            await store.write(INSERT, (2, b""))
    assert stored(tmp_path / "j") == []


async def test_a_question_sees_one_moment_and_cannot_change_anything(tmp_path: Path) -> None:
    async with open_store(tmp_path / "j", FORMAT) as store:
        await store.write(INSERT, (1, b""))
        asked, go_on = threading.Event(), threading.Event()

        def twice(connection: sqlite3.Connection) -> tuple[list[int], list[int]]:
            first = numbers(connection)
            asked.set()
            assert go_on.wait(60)
            return first, numbers(connection)

        async def meanwhile() -> None:
            await trio.to_thread.run_sync(asked.wait)
            await store.write(INSERT, (2, b""))
            go_on.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(meanwhile)
            assert await store.read(twice) == ([1], [1])
        with pytest.raises(StorageError, match="readonly"):
            await store.read(lambda connection: connection.execute("DELETE FROM number"))
        with pytest.raises(ZeroDivisionError):
            await store.read(lambda connection: 1 // 0)
        assert await store.read(numbers) == [1, 2]


async def test_the_end_waits_for_a_question_that_is_being_answered(tmp_path: Path) -> None:
    answers: list[list[int]] = []
    go_on, asked = threading.Event(), threading.Event()

    def slowly(connection: sqlite3.Connection) -> list[int]:
        asked.set()
        assert go_on.wait(60)
        return numbers(connection)

    async def ask(store: Store) -> None:
        answers.append(await store.read(slowly))

    async with trio.open_nursery() as nursery, open_store(tmp_path / "j", FORMAT) as store:
        await store.write(INSERT, (1, b""))
        nursery.start_soon(ask, store)
        await trio.to_thread.run_sync(asked.wait)
        trio.lowlevel.current_trio_token().run_sync_soon(go_on.set)
    assert answers == [[1]]
    assert names(tmp_path) == ["j"]


@pytest.mark.parametrize("durability", ["process", "power"])
async def test_durability_is_what_was_asked_for(tmp_path: Path, durability: str) -> None:
    async with open_store(tmp_path / "j", FORMAT, durability=durability) as store:  # type: ignore[arg-type]
        (level,) = store._files.writer.execute("PRAGMA synchronous").fetchone()
        assert level == {"process": 1, "power": 2}[durability]
        await store.write(INSERT, (1, b""))
