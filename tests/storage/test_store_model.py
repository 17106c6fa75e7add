"""Does the store behave like a dict that does everything at once, whatever is asked of it in whatever order?"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_actors.storage.errors import StatementError
from synth_actors.storage.sqlite import Store, open_store
from tests.storage.support import FORMAT

SET = "INSERT OR REPLACE INTO number VALUES (?, ?)"
ADD = "INSERT INTO number VALUES (?, ?)"
DROP = "DELETE FROM number WHERE n = ?"

Change: TypeAlias = tuple[str, int, bytes]
keys = st.integers(0, 5)
change: st.SearchStrategy[Change] = st.tuples(st.sampled_from(["set", "add", "drop"]), keys, st.binary(max_size=3))
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["write", "leave", "post"]), st.lists(change, min_size=1, max_size=1)),
        st.tuples(st.just("together"), st.lists(change, max_size=4)),
        st.tuples(st.sampled_from(["flush", "read", "reopen", "crash"]), st.just([])),
    ),
    max_size=25,
)


def statement(change: Change) -> tuple[str, Sequence[int | bytes]]:
    kind, key, body = change
    return (DROP, (key,)) if kind == "drop" else (SET if kind == "set" else ADD, (key, body))


def apply(model: dict[int, bytes], changes: Sequence[Change]) -> bool:
    """Make all of the changes, or none: then it is False."""
    after = dict(model)
    for kind, key, body in changes:
        if kind == "add" and key in after:
            return False
        if kind == "drop":
            after.pop(key, None)
        else:
            after[key] = body
    model.clear()
    model.update(after)
    return True


def rows(connection: sqlite3.Connection) -> dict[int, bytes]:
    return dict(connection.execute("SELECT n, body FROM number"))


class BrokenError(Exception):
    """The model says that the store refuses everything from here on."""


class CrashError(Exception):
    """The body of the store fails."""


async def take(store: Store, model: dict[int, bytes], step: str, changes: list[Change]) -> None:
    match step:
        case "write":
            await told(store, [statement(changes[0])], fits=apply(model, changes))
        case "together":
            await told(store, [statement(each) for each in changes], fits=apply(model, changes))
        case "leave":
            apply(model, changes)
            with trio.CancelScope() as scope:
                scope.cancel()
                await store.write(*statement(changes[0]))
        case "post":
            store.post(*statement(changes[0]))
            if not apply(model, changes):
                raise BrokenError
        case "flush":
            await store.flush()
            assert store.queued == 0
        case "read":
            await store.flush()
            assert await store.read(rows) == model
        case "crash":
            raise CrashError


async def told(store: Store, statements: list[tuple[str, Sequence[int | bytes]]], *, fits: bool) -> None:
    with contextlib.nullcontext() if fits else pytest.raises(StatementError):
        if len(statements) == 1:
            await store.write(*statements[0])
        else:
            await store.write_all(statements)


@asynccontextmanager
async def broken_or_not(path: Path) -> AsyncIterator[Store]:
    """A store whose body may end as the model says; a post that was refused is told in any case."""
    try:
        async with open_store(path, FORMAT, reserve_bytes=0) as store:
            try:
                yield store
            except BrokenError:
                with pytest.raises(StatementError):
                    await store.flush()
                with pytest.raises(StatementError):
                    store.post(SET, (0, b"never"))
    except CrashError:
        pass


@given(steps)
@settings(max_examples=60)
def test_it_holds_what_the_dict_holds(steps: list[tuple[str, list[Change]]]) -> None:
    async def main(path: Path) -> None:
        model: dict[int, bytes] = {}
        left = iter([*steps, ("reopen", [])])
        for step, changes in left:
            async with broken_or_not(path) as store:
                assert await store.read(rows) == model
                await take(store, model, step, changes)
                for step_, changes_ in left:
                    if step_ == "reopen":
                        break
                    await take(store, model, step_, changes_)
        async with open_store(path, FORMAT) as store:
            assert await store.read(rows) == model

    with tempfile.TemporaryDirectory() as folder:
        trio.run(main, Path(folder) / "j")
