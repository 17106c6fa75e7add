"""Was this row, or nearly this row, there before?

What was there lies on disk, in a private temporary SQLite database that goes with the process, where SQLite puts
temporary files (`SQLITE_TMPDIR`, `TMPDIR`); memory does not grow with the number of rows.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from struct import Struct
from tempfile import gettempdir
from typing import Any

from synth_actors.datasets.duplicates.minhash import SLOTS, Signature, banding_for, resemblance, signature, words_of
from synth_actors.datasets.row_schema import identity_of
from synth_actors.errors import ConfigError
from synth_actors.storage.errors import storage_error

CACHE_KIB = 4 * 1024
"""Pages of the database in memory."""
LEAST_NEAR = 0.5
MOST_SHARING = 8
"""Rows that are remembered under one band; a phrase that thousands share tells none of them apart."""
MOST_COMPARED = 64
"""Earlier rows that one row is compared with, those that share most bands first."""
AT_ONCE = 500
"""Values in one query."""

_TWO_NUMBERS = Struct("<qq")


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Row number `of` was there before; `near`: its words were nearly the same, else all of it was the same."""

    of: int
    near: bool


class Distinct:
    """Remembers distinct rows.

    `near` is the resemblance of their texts, 0.5 to 1.0, from which rows are nearly the same; None: only rows that
    are the same count.  `words_of` in `minhash` says what that is; a row without is never near.
    Of pairs that are just as alike as `near` one in twenty is missed, of more alike ones fewer; the resemblance is an
    estimate, with a standard error of 0.03.  The verdicts depend on the rows and their order, on nothing else.

    Different rows pass for the same with a probability of n^2 / 2^129: 10^-27 among a million.  Disk: 30 bytes a row;
    with `near` 200 (0.9), 260 (0.8) to 470 (0.5) more for a row with text.

    Raises:
        ConfigError: `near` is out of its range.
    """

    def __init__(self, *, near: float | None) -> None:
        if near is not None and not LEAST_NEAR <= near <= 1.0:
            raise ConfigError(
                f"near: {near!r} is not valid: give {LEAST_NEAR} to 1.0, or None for exact duplicates only"
            )
        # Any thread may call, one at a time.  One transaction that never ends: nothing is ever to be recovered.
        with _on_disk():
            self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{CACHE_KIB}", "temp_store=FILE"):
                self._database.execute(f"PRAGMA {pragma}").fetchall()
            self._database.execute("BEGIN")
            self._same = _Same(self._database)
            self._near = None if near is None else _Near(self._database, near)

    def judge(self, rows: Sequence[tuple[int, Any]]) -> dict[int, Duplicate]:
        """Which of these rows, given as (number, JSON value) in order, duplicate an earlier one, also one among them.

        The others are remembered, duplicates are not.  Cheapest with some dozen rows at once.

        Raises:
            StorageError: the disk is full, or broken.
        """
        with _on_disk():
            return self._judge(rows)

    def _judge(self, rows: Sequence[tuple[int, Any]]) -> dict[int, Duplicate]:
        digests = [_digest(value) for _, value in rows]
        same = self._same.earlier(digests)
        fresh = {digest: value for digest, (_, value) in zip(digests, rows, strict=True) if digest not in same}
        near = None if self._near is None else self._near.compare(fresh)
        found: dict[int, Duplicate] = {}
        remembered: list[tuple[int, int, int]] = []
        for digest, (row, _) in zip(digests, rows, strict=True):
            if digest in same:
                found[row] = Duplicate(same[digest], near=False)
            elif near is not None and (of := near.nearest(digest)) is not None:
                found[row] = Duplicate(of, near=True)
            else:
                same[digest] = row
                remembered.append((*digest, row))
                if near is not None:
                    near.add(digest, row)
        self._same.remember(remembered)
        if self._near is not None and near is not None:
            self._near.remember(near)
        return found

    def close(self) -> None:
        """Forget all."""
        self._database.close()


@contextmanager
def _on_disk() -> Iterator[None]:
    """What SQLite cannot do as `StorageError`, with the folder where there may be no room."""
    try:
        yield
    except sqlite3.OperationalError as exc:
        folder = Path(os.environ.get("SQLITE_TMPDIR") or gettempdir())
        raise storage_error(exc, "temporary files in", folder) from exc


_Digest = tuple[int, int]


def _digest(value: Any) -> _Digest:
    """128 bits of the row, whatever the order of its keys, as two numbers that SQLite can hold."""
    high, low = _TWO_NUMBERS.unpack(blake2b(identity_of(value), digest_size=16).digest())
    return high, low


class _Same:
    """The digests of the rows; found by their first half, and the same if the second half agrees."""

    def __init__(self, database: sqlite3.Connection) -> None:
        database.execute("CREATE TABLE same (high INTEGER PRIMARY KEY, low INTEGER NOT NULL, row INTEGER NOT NULL)")
        self._database = database

    def earlier(self, digests: Collection[_Digest]) -> dict[_Digest, int]:
        query = "SELECT high, low, row FROM same WHERE high IN"
        found = {(high, low): row for high, low, row in _select(self._database, query, [high for high, _ in digests])}
        return {digest: found[digest] for digest in digests if digest in found}

    def remember(self, rows: list[tuple[int, int, int]]) -> None:
        # A first half that is taken by another row is left to it: n^2 / 2^65, and then one duplicate may be missed.
        self._database.executemany("INSERT OR IGNORE INTO same VALUES (?, ?, ?)", rows)


class _Near:
    """The sketches of texts, under numbers of their own in order, and which of them share a band."""

    def __init__(self, database: sqlite3.Connection, threshold: float) -> None:
        database.execute("CREATE TABLE text (id INTEGER PRIMARY KEY, row INTEGER NOT NULL, sketch BLOB NOT NULL)")
        database.execute("CREATE TABLE band (key INTEGER, id INTEGER, PRIMARY KEY (key, id)) WITHOUT ROWID")
        self._database = database
        self._threshold = threshold
        self._banding = banding_for(threshold)
        self._count = 0

    def compare(self, values: Mapping[_Digest, Any]) -> _Comparison:
        """These rows beside the earlier ones that share a band with one of them."""
        texts = {digest: text for digest, value in values.items() if (text := words_of(value)) is not None}
        signed = {digest: signature(text) for digest, text in texts.items()}
        keys = {digest: self._banding.keys(each) for digest, each in signed.items()}
        sharing: defaultdict[int, list[int]] = defaultdict(list)
        query = "SELECT key, id FROM band WHERE key IN"
        for key, number in _select(self._database, query, set(chain.from_iterable(keys.values()))):
            sharing[key].append(number)
        comparison = _Comparison(self._threshold, self._count, signed, keys, sharing)
        query = "SELECT id, row, sketch FROM text WHERE id IN"
        wanted = set(chain.from_iterable(comparison.candidates(digest) for digest in keys))
        for number, row, sketch in _select(self._database, query, wanted):
            comparison.texts[number] = (row, int.from_bytes(sketch, "little"))
        return comparison

    def remember(self, comparison: _Comparison) -> None:
        """Keep what was added."""
        new = range(self._count, self._count + comparison.added)
        texts = ((number, *comparison.texts[number]) for number in new)
        blobs = ((number, row, sketch.to_bytes(SLOTS, "little")) for number, row, sketch in texts)
        self._database.executemany("INSERT INTO text VALUES (?, ?, ?)", blobs)
        self._database.executemany("INSERT INTO band VALUES (?, ?)", comparison.bands)
        self._count += comparison.added


class _Comparison:
    """Some rows beside earlier ones; `texts` are their row numbers and sketches."""

    def __init__(
        self,
        threshold: float,
        first: int,
        signed: Mapping[_Digest, Signature],
        keys: Mapping[_Digest, list[int]],
        sharing: defaultdict[int, list[int]],
    ) -> None:
        self.texts: dict[int, tuple[int, int]] = {}
        self.bands: list[tuple[int, int]] = []
        self.added = 0
        self._threshold = threshold
        self._first = first
        self._signed = signed
        self._keys = keys
        self._sharing = sharing

    def candidates(self, digest: _Digest) -> list[int]:
        """Who shares most bands with this row, `MOST_COMPARED` at most, earlier ones first among equals."""
        sharing = [self._sharing[key] for key in self._keys[digest] if key in self._sharing]
        if not sharing:
            return []
        shared = Counter(chain.from_iterable(sharing))
        return sorted(shared, key=lambda number: (-shared[number], number))[:MOST_COMPARED]

    def nearest(self, digest: _Digest) -> int | None:
        """The number of the row that resembles this one most, from the threshold on."""
        if digest not in self._signed:
            return None
        sketch = self._signed[digest].sketch
        best, nearest = self._threshold, None
        for number in self.candidates(digest):
            row, other = self.texts[number]
            alike = resemblance(sketch, other)
            if alike > best or (nearest is None and alike == best):
                best, nearest = alike, row
        return nearest

    def add(self, digest: _Digest, row: int) -> None:
        """The row is distinct: those after it are compared with it too."""
        if digest not in self._signed:
            return
        number = self._first + self.added
        self.added += 1
        self.texts[number] = (row, self._signed[digest].sketch)
        for key in self._keys[digest]:
            sharing = self._sharing[key]
            if len(sharing) < MOST_SHARING:
                sharing.append(number)
                self.bands.append((key, number))


def _select(database: sqlite3.Connection, query: str, keys: Collection[Any]) -> Iterator[Any]:
    left = iter(keys)
    while some := list(islice(left, AT_ONCE)):
        yield from database.execute(f"{query} ({','.join('?' * len(some))})", some)
