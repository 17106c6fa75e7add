"""What do the tests of the durable tier share?  Answers whose every field is a function of their number."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from math import inf
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock

from synth_actors.storage.sqlite import read_store
from synth_actors.tier import Kept, Tier
from synth_actors.tier.disk import Disk
from synth_actors.tier.rows import FORMAT

IDENTITY = "anthropic|claude-haiku-5-5|https://api.example"
NOON = 1_800_000_000.0
"""Unix seconds at which tests begin."""
ENOUGH_BYTES = 2**30

CHILD = """
import os, sys, time
from pathlib import Path
import trio
from synth_actors.tier import open_tier
from tests.tier.support import *
path = Path(sys.argv[1])
def tell(what):
    os.write(1, f"{what}\\n".encode())
"""


class Clock:
    """A wall clock that tests set."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Broken(sqlite3.Connection):
    """A connection to a disk that fails as `failing` says: SQL that begins so, with this code; `times` times."""

    failing: tuple[str, int] | None = None
    times = 0  # for ever

    def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
        self.fail_at(sql)
        return super().execute(sql, *parameters)  # type: ignore[arg-type]

    def executemany(self, sql: str, *parameters: object) -> sqlite3.Cursor:
        self.fail_at(sql)
        return super().executemany(sql, *parameters)  # type: ignore[arg-type]

    @classmethod
    def fail_at(cls, sql: str) -> None:
        if cls.failing is not None and sql.startswith(cls.failing[0]):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = cls.failing[1]
            cls.times -= 1
            if not cls.times:
                cls.failing = None
            raise error


class Gate:
    """Holds up calls of a method of every `Disk` while it is closed; `reached` is set when one waits."""

    def __init__(self, patch: pytest.MonkeyPatch, method: str) -> None:
        self.reached = threading.Event()
        self.calls = 0
        self._passes: float = inf
        self._changed = threading.Condition()
        original: Callable[..., Any] = getattr(Disk, method)

        def held_up(disk: Disk, *args: Any, **options: Any) -> Any:
            self.calls += 1
            self._pass()
            return original(disk, *args, **options)

        patch.setattr(Disk, method, held_up)

    def _pass(self) -> None:
        with self._changed:
            while not self._passes:
                self.reached.set()
                self._changed.wait()
            self._passes -= 1

    def let_through(self, calls: float) -> None:
        """So many, and then it is closed."""
        with self._changed:
            self.reached.clear()
            self._passes = calls
            self._changed.notify_all()

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Whatever happens inside, it is open afterwards: no thread stays behind."""
        self.let_through(0)
        try:
            yield
        finally:
            self.let_through(inf)


def key(n: int) -> bytes:
    """The key of answer number `n`."""
    return blake2b(f"{n}".encode(), digest_size=16).digest()


def text(n: int, size: int = 1600) -> str:
    """What it says: about `size` characters, different in every place from what others say."""
    seed = blake2b(f"text {n}".encode()).hexdigest()
    return (seed * (size // len(seed) + 1))[:size]


def kept(n: int, *, identity: str = IDENTITY, stored_at: float = NOON, size: int = 1600) -> Kept:
    """Answer number `n`."""
    return Kept(key(n), identity, text(n, size), "end", "haiku", f"model-{n % 3}", n + 100, n / 64, stored_at)


def fill(tier: Tier, numbers: Sequence[int], *, stored_at: float = NOON, size: int = 1600) -> None:
    """Post the answers with these numbers."""
    for n in numbers:
        tier.post(kept(n, stored_at=stored_at, size=size))


async def found(tier: Tier, numbers: Sequence[int], *, size: int = 1600) -> list[int]:
    """Which of these numbers are answered; fails when any answer is not the right one."""
    answers = await tier.fetch([key(n) for n in numbers], [IDENTITY])
    there = [(n, each.kept) for n, each in zip(numbers, answers, strict=True) if each is not None]
    for n, answer in there:
        assert answer == kept(n, stored_at=answer.stored_at, size=size)
    return [n for n, _ in there]


async def again(tier: Tier, clock: MockClock, pause_s: float) -> None:
    """Let so much time pass, and let it be noticed."""
    clock.jump(pause_s)
    await tier.fetch([key(10**6)], [IDENTITY])
    await tier.flush()


def fill_up(path: Path) -> None:
    """Leave no room on the disk."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def rows_in(path: Path) -> int:
    """How many rows there are, whoever has the file open."""
    [(count,)] = read_store(
        path, FORMAT, lambda connection: connection.execute("SELECT count(*) FROM entry").fetchall()
    )
    return int(count)


def content(path: Path) -> bytes:
    """The bytes of the file."""
    return path.read_bytes()


def size_bytes(path: Path) -> int:
    """The length of the file."""
    return path.stat().st_size


def child(code: str, *arguments: object, stderr: int | None = None) -> subprocess.Popen[str]:
    """Another process that runs `code` after `CHILD`."""
    return subprocess.Popen(
        [sys.executable, "-c", CHILD + code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def names(folder: Path) -> list[str]:
    """What stands in `folder`."""
    return sorted(path.name for path in folder.iterdir())
