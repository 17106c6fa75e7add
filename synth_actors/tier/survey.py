"""What stands in a cache file, and is it right?  For people: an engine may use the file meanwhile.

Everything here blocks.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from synth_actors.policy.durable import Ahead, Expired, Fresh, freshness
from synth_actors.storage.errors import DamagedError, MismatchError, StorageError
from synth_actors.storage.files import beside, real, size_bytes
from synth_actors.storage.opening import read_store
from synth_actors.tier.opening import is_another_s, is_ours, what_happened
from synth_actors.tier.rows import COLUMNS, FORMAT, is_right

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Share:
    """The answers of one endpoint and model.

    Two endpoints of one name (at other addresses, or with another `extra_body`) are told apart by `identity`: the first
    eight hex digits of what stands for it in the file.  `cost_usd` sums those whose cost is known; `unpriced` counts
    the others.
    """

    endpoint: str
    model: str
    identity: str
    rows: int
    text_bytes: int
    tokens: int
    cost_usd: float
    unpriced: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What stands in a file: `shares` by falling number of rows, the rest over all rows.

    `older` counts the rows that are as old as each of the ages asked for, or older, `ahead` those of the future.
    `oldest_at` and `newest_at` are Unix seconds, None without rows.  `free_bytes` are within `file_bytes`, `log_bytes`
    stand beside the file.
    """

    shares: tuple[Share, ...]
    oldest_at: float | None
    newest_at: float | None
    older: tuple[int, ...]
    ahead: int
    file_bytes: int
    free_bytes: int
    log_bytes: int

    @property
    def rows(self) -> int:
        """All answers."""
        return sum(share.rows for share in self.shares)


def survey(path: Path, *, now: float, ages_s: Sequence[float]) -> Survey:
    """What stands in the file at `path`, at the wall time `now` (Unix seconds); it is not changed.

    Raises:
        MismatchError, ReadOnlyError: there is no cache at `path`, or it may not be read.
        DamagedError: the file is damaged where it was read.
    """
    path = real(path)

    def ask(connection: sqlite3.Connection) -> Survey:
        connection.text_factory = bytes
        sizes = size_bytes(path), size_bytes(beside(path, "wal"))
        stamps = [stamp for (stamp,) in connection.execute("SELECT stored_at FROM entry")]
        oldest_at, newest_at = connection.execute("SELECT min(stored_at), max(stored_at) FROM entry").fetchone()
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        return Survey(
            shares=tuple(_shares(connection)),
            oldest_at=oldest_at,
            newest_at=newest_at,
            older=tuple(sum(isinstance(age_verdict(each, now, age_s), Expired) for each in stamps) for age_s in ages_s),
            ahead=sum(isinstance(age_verdict(each, now, None), Ahead) for each in stamps),
            file_bytes=sizes[0],
            free_bytes=free_pages(connection) * page_bytes,
            log_bytes=sizes[1],
        )

    return _read(path, ask)


def _shares(connection: sqlite3.Connection) -> Iterator[Share]:
    rows = connection.execute(
        "SELECT endpoint, model, hex(substr(identity, 1, 4)), count(*), sum(length(text)), sum(tokens), sum(cost_usd),"
        " sum(cost_usd IS NULL) FROM entry GROUP BY endpoint, model, identity"
        " ORDER BY count(*) DESC, endpoint, model, identity"
    )
    for endpoint, model, identity, *figures in rows:
        count, text_bytes, tokens, cost_usd, unpriced = figures
        names = _text(endpoint), _text(model), _text(identity).lower()
        yield Share(*names, count, text_bytes, tokens, cost_usd or 0.0, unpriced)


def verify(path: Path) -> tuple[int, list[str]]:
    """How many rows the file has, and what is wrong in it, a line each; nothing is changed.

    Every page, every index and the checksum of every row are looked at.

    Raises:
        MismatchError, ReadOnlyError: there is no cache at `path`, or it may not be read.
    """
    path = real(path)

    def ask(connection: sqlite3.Connection) -> tuple[int, list[str]]:
        connection.text_factory = bytes
        wrong = [_text(verdict) for (verdict,) in connection.execute("PRAGMA integrity_check(5)")]
        wrong = [" ".join(line.split()) for line in wrong if line != "ok"]
        count = bad = 0
        for key, *row in connection.execute(f"SELECT key, {COLUMNS} FROM entry"):
            count += 1
            bad += not is_right(key, tuple(row))
        if bad:
            wrong.append(f"{bad:,} of {count:,} rows are not what was written")
        return count, wrong

    try:
        return _read(path, ask)
    except DamagedError as exc:
        return 0, [what_happened(exc.__cause__ if is_ours(path) and isinstance(exc.__cause__, StorageError) else exc)]


def age_verdict(stamp: object, now: float, ttl_s: float | None) -> Fresh | Expired | Ahead:
    """The verdict on what stands in a row, which in a damaged file need not be a number."""
    return freshness(stamp if isinstance(stamp, float) else math.nan, now=now, ttl_s=ttl_s)


def free_pages(connection: sqlite3.Connection) -> int:
    """How many pages of the file hold nothing."""
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    return int(free)


def _read(path: Path, ask: Callable[[sqlite3.Connection], T]) -> T:
    with only_ours(path):
        return read_store(path, FORMAT, ask)


@contextmanager
def only_ours(path: Path) -> Iterator[None]:
    """Damage is told with what helps; but a damaged file that never was a cache is no damaged cache."""
    try:
        yield
    except DamagedError as exc:
        if is_another_s(path):
            raise MismatchError(f"{FORMAT.what} {path}: is no {FORMAT.what}; look at the spelling") from exc
        if not is_ours(path):
            remedy = "look at the spelling: an engine would set the file aside and begin a fresh one"
            raise DamagedError(
                f"{FORMAT.what} {path}: is no {FORMAT.what}, or one whose header is damaged; {remedy}"
            ) from exc
        remedy = "the next engine that meets it sets the file aside and begins a fresh one; or remove the file"
        raise DamagedError(f"{what_happened(exc)}: the file is damaged; {remedy}") from exc


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
