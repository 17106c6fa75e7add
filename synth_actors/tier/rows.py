"""How does an answer stand in a row, and how is a wrong row told?

Each row carries a BLAKE2b over the key and the identity that were asked for and over every column that is served or
decides on it, so that neither a flipped bit nor an index that points to another row's place can serve a wrong value.
`used_at` is left out: it changes with use, and can only misplace a row in the order of eviction.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import TypeAlias

from synth_actors.storage.opening import Format

_TABLES = """
CREATE TABLE entry (
    id INTEGER PRIMARY KEY, key BLOB NOT NULL, identity BLOB NOT NULL, stored_at REAL NOT NULL, used_at REAL NOT NULL,
    tokens INTEGER NOT NULL, cost_usd REAL, stop_reason TEXT NOT NULL, endpoint TEXT NOT NULL, model TEXT NOT NULL,
    checksum BLOB NOT NULL, text BLOB NOT NULL, UNIQUE (key, identity)
);
CREATE INDEX entry_by_use ON entry (used_at);
CREATE INDEX entry_by_age ON entry (stored_at)
"""

FORMAT = Format(
    what="durable cache",
    application_id=0x53594354,  # "SYCT"
    version=1,
    script=tuple(statement.strip() for statement in _TABLES.split(";")),
)

COLUMNS = "id, identity, stored_at, used_at, tokens, cost_usd, stop_reason, endpoint, model, checksum, text"
INSERT = (
    "INSERT OR REPLACE INTO entry (key, identity, stored_at, used_at, tokens, cost_usd, stop_reason, endpoint, model,"
    " checksum, text) VALUES (?,?,?,?,?,?,?,?,?,?,?)"
)

ROW_OVERHEAD_BYTES = 250
"""What a row occupies beside its text: the other columns, and its places in three indices."""

Stored: TypeAlias = tuple[bytes, bytes, float, float, int, float | None, str, str, str, bytes, bytes]
"""The parameters of `INSERT`."""
Row: TypeAlias = tuple[int, bytes, float, float, int, float | None, bytes, bytes, bytes, bytes, bytes]
"""`COLUMNS` as a connection with `text_factory = bytes` gives them; in a damaged file anything may stand anywhere."""

_NUMBERS = struct.Struct("<ddqIII")
_NO_COST = math.nan


@dataclass(slots=True)
class Kept:
    """An answer to keep: `key` (16 bytes) as the endpoint `identity` gave it, which cost `cost_usd` (None: unpriced).

    `stored_at` is wall time in Unix seconds; `tokens` is what the call used in all.  `identity` is not written to the
    file, only its hash is.
    """

    key: bytes
    identity: str
    text: str
    stop_reason: str
    endpoint: str
    model: str
    tokens: int
    cost_usd: float | None
    stored_at: float


@dataclass(slots=True)
class Found:
    """An answer that is fresh for another `remaining_s` seconds; None: until it is evicted."""

    kept: Kept
    remaining_s: float | None


@lru_cache(maxsize=1024)
def identity_hash(identity: str) -> bytes:
    """16 bytes that stand for `identity` in the file."""
    return blake2b(_bytes(identity), digest_size=16, person=b"tier identity").digest()


def encode(kept: Kept, *, used_at: float) -> Stored:
    """The row of `kept`, last used at the Unix time `used_at`.

    Raises:
        ValueError, TypeError, OverflowError: a column cannot hold what is given; the message names it.
    """
    if len(kept.key) != 16:
        raise ValueError(f"key={kept.key!r}: give 16 bytes")
    if not -(2**63) <= kept.tokens < 2**63:
        raise ValueError(f"tokens={kept.tokens}: give a number of 64 bits")
    if math.isnan(kept.stored_at):
        raise ValueError("stored_at=nan: give Unix seconds")
    identity, text = identity_hash(kept.identity), _bytes(kept.text)
    words = (kept.stop_reason.encode(), kept.endpoint.encode(), kept.model.encode())
    stored_at = kept.stored_at + 0.0  # SQLite has no minus zero
    cost_usd = None if kept.cost_usd is None or math.isnan(kept.cost_usd) else kept.cost_usd + 0.0
    check = checksum(kept.key, identity, (stored_at, cost_usd, kept.tokens), (*words, text))
    return (
        *(kept.key, identity, stored_at, used_at, kept.tokens, cost_usd),
        *(kept.stop_reason, kept.endpoint, kept.model, check, text),
    )


def decode(key: bytes, identity: str, row: Row) -> Kept | None:
    """The answer of `identity` to `key` in `row`; None when this is not what was written for them."""
    _, _, stored_at, _, tokens, cost_usd, stop_reason, endpoint, model, check, text = row
    try:
        words = (stop_reason, endpoint, model, text)
        if check != checksum(key, identity_hash(identity), (stored_at, cost_usd, tokens), words):
            return None
        whole = text.decode("utf-8", "surrogatepass")
        names = (stop_reason.decode(), endpoint.decode(), model.decode())
    except (TypeError, ValueError, AttributeError, struct.error):  # a value of another type than was written
        return None
    return Kept(key, identity, whole, *names, tokens, cost_usd, stored_at)


def is_right(key: bytes, row: Row) -> bool:
    """Whether `row` is what was written for `key`, whoever its endpoint was."""
    _, identity, stored_at, _, tokens, cost_usd, *texts, check, text = row
    try:
        return check == checksum(key, identity, (stored_at, cost_usd, tokens), (*texts, text))
    except (TypeError, ValueError, struct.error):
        return False


def checksum(key: bytes, identity: bytes, numbers: tuple[float, float | None, int], texts: tuple[bytes, ...]) -> bytes:
    """16 bytes over all of it, framed by lengths: `numbers` are (stored_at, cost_usd, tokens), the last text is long.

    Raises:
        TypeError, struct.error: something is of another type.
    """
    stored_at, cost_usd, tokens = numbers
    frame = _NUMBERS.pack(stored_at, _NO_COST if cost_usd is None else cost_usd, tokens, *map(len, texts[:3]))
    return blake2b(b"".join((key, identity, frame, *texts)), digest_size=16, person=b"tier row").digest()


def size_of(kept: Kept) -> int:
    """About what the row of `kept` occupies in the file, in bytes; exact for ASCII."""
    return len(kept.text) + ROW_OVERHEAD_BYTES


def _bytes(text: str) -> bytes:
    """UTF-8; a lone half of a surrogate pair, which a model's JSON may hold, survives as itself."""
    return text.encode("utf-8", "surrogatepass")
