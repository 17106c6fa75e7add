"""What stands in the tables of a journal?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from synth_actors.storage.opening import Format
from synth_actors.types import StopReason, Usage

EXPORT = "export"
"""The fact in a journal that all rows are there: the files with their digests."""

_USAGE = "input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_usd"
ANSWER_COLUMNS = f"block, rows, sample, endpoint, model, stop_reason, text, received_at, {_USAGE}"
"""Beside these, `most_usd` is what an answer cost at most, where nobody told what it cost."""

_TABLES = """
CREATE TABLE job (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE runs (number INTEGER PRIMARY KEY, begun_at REAL NOT NULL, ended_at REAL, how TEXT);
CREATE TABLE calls (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, block INTEGER NOT NULL, rows TEXT NOT NULL, sample INTEGER NOT NULL,
    attempt INTEGER NOT NULL, endpoint TEXT NOT NULL, sent_at REAL NOT NULL, most_usd REAL, ended TEXT,
    input_tokens INTEGER, output_tokens INTEGER, cache_read_tokens INTEGER, cache_write_tokens INTEGER, cost_usd REAL
);
CREATE TABLE answers (
    block INTEGER NOT NULL, rows TEXT NOT NULL, sample INTEGER NOT NULL, endpoint TEXT NOT NULL,
    model TEXT NOT NULL, stop_reason TEXT NOT NULL, text BLOB NOT NULL,
    received_at REAL NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL, cost_usd REAL, most_usd REAL,
    PRIMARY KEY (block, rows, sample)
);
CREATE TABLE settled (block INTEGER PRIMARY KEY, valid INTEGER NOT NULL, missing INTEGER NOT NULL);
"""

FORMAT = Format(
    what="journal",
    application_id=0x53594A4C,  # "SYJL"
    version=1,
    script=tuple(statement.strip() for statement in _TABLES.split(";") if statement.strip()),
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """An answer as it was written down, to the question for `rows`, counted from 0, as their sample number `sample`."""

    rows: tuple[int, ...]
    sample: int
    text: str
    stop_reason: StopReason
    endpoint: str
    model: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class UncertainCall:
    """A call that may be on the bill and brought no answer.

    It asked for `rows` (numbers from 1), went to `endpoint` at `sent_at` (seconds since 1970) in run number `run`, and
    costs at most `most_usd` dollars, None when the endpoint has no known price.  `ended` says how it failed; None when
    nothing was heard of it any more.  `cost_usd` is what is known to be used of it.
    """

    run: int
    rows: str
    attempt: int
    endpoint: str
    sent_at: float
    most_usd: float | None
    ended: str | None
    cost_usd: float | None


def usage_row(usage: Usage) -> tuple[Any, ...]:
    """The columns of a usage."""
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.cost_usd,
    )


def usage_of(row: Sequence[Any]) -> Usage:
    """The usage in the columns."""
    read, written, cache_read, cache_written, cost_usd = row
    return Usage(
        input_tokens=read or 0,
        output_tokens=written or 0,
        cache_read_tokens=cache_read or 0,
        cache_write_tokens=cache_written or 0,
        cost_usd=cost_usd,
    )


def rows_of_text(text: str) -> tuple[int, ...]:
    """What `rows_text` has written."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found.extend(range(int(first) - 1, int(last or first)))
    return tuple(found)


def rows_text(rows: Sequence[int]) -> str:
    """Numbers of rows, counted from 0, as a person reads them: `1-20`, `3,7-9`."""
    parts: list[str] = []
    first = last = rows[0] + 1
    for row in [*(row + 1 for row in rows[1:]), -1]:
        if row == last + 1:
            last = row
            continue
        parts.append(str(first) if first == last else f"{first}-{last}")
        first = last = row
    return ",".join(parts)
