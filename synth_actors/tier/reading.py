"""Which of the answers asked for are there, fresh and right?"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from synth_actors.policy.durable import Ahead, Expired, Fresh, freshness, is_use_worth_noting
from synth_actors.tier.posted import Place
from synth_actors.tier.rows import COLUMNS, Found, Kept, Row, decode, identity_hash

_SELECT = f"SELECT {COLUMNS} FROM entry WHERE key = ?"


@dataclass(slots=True)
class Look:
    """What one look for several keys found: `found` has a place for each of them, in their order.

    `posted` are answers on their way to the file, which stand before what the file has in their places.  `used` are ids
    of rows whose use is worth noting, `wrong` those of rows whose checksum was not right, with the key that they were
    asked for by.
    """

    now: float
    ttl_s: float | None
    posted: Mapping[Place, Kept] = field(default_factory=dict)
    found: list[Found | None] = field(default_factory=list)
    used: list[int] = field(default_factory=list)
    wrong: list[tuple[int, bytes]] = field(default_factory=list)
    hits: int = 0
    misses: int = 0
    stale: int = 0

    def look(self, connection: sqlite3.Connection | None, keys: Iterable[bytes], identities: Sequence[str]) -> None:
        """Find for each key the answer of the first of `identities` that is fresh and right.

        None instead of a connection: only among those posted.  Raises `sqlite3.Error` when the file cannot be read.
        """
        wanted = [(identity_hash(identity), identity) for identity in identities]
        for key in keys:
            of_file = () if connection is None else connection.execute(_SELECT, (key,))
            rows: dict[bytes, Row] = {row[1]: row for row in of_file}
            self.found.append(self._first(key, rows, wanted))

    def _first(self, key: bytes, rows: dict[bytes, Row], wanted: Sequence[tuple[bytes, str]]) -> Found | None:
        stale = False
        for digest, identity in wanted:
            row = rows.get(digest)
            kept = self._kept(key, identity, row)
            if kept is None:
                continue
            match freshness(kept.stored_at, now=self.now, ttl_s=self.ttl_s):
                case Fresh(remaining_s):
                    self.hits += 1
                    if row is not None and is_use_worth_noting(row[3], now=self.now):
                        self.used.append(row[0])
                    return Found(kept, remaining_s)
                case Expired() | Ahead():
                    stale = True
                case never:
                    assert_never(never)
        self.stale += stale
        self.misses += not stale
        return None

    def _kept(self, key: bytes, identity: str, row: Row | None) -> Kept | None:
        if (posted := self.posted.get((key, identity))) is not None or row is None:
            return posted
        if (kept := decode(key, identity, row)) is None:
            self.wrong.append((row[0], key))
        return kept
