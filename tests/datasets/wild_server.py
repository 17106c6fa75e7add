"""Which job is as hard as can be, and yet has one right result?

The server's answer is a function of the rows asked for and of the sample: some rows are invalid, some repeat others,
some answers are cut or no JSON at all.  How long it takes is another matter, and nothing may depend on that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import orjson
import trio

from synth_actors.datasets.jobs.journal_file import journal_of
from synth_actors.datasets.jobs.journal_tables import FORMAT, rows_of_text
from synth_actors.providers.base import Call, Completion, Emit
from synth_actors.storage.opening import read_store
from synth_actors.types import StopReason, Usage

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"id": {"type": "integer", "minimum": 1}, "note": {"type": "string"}},
    "required": ["id", "note"],
}
Question = tuple[tuple[int, ...], int]
"""The numbers of the rows asked for (from 1), and the sample."""


def chance(*parts: object) -> int:
    """A number below 100 that depends on the parts only."""
    return crc32(repr(parts).encode()) % 100


class WildServer:
    """Answers by its `seed`; `lag` decides how many checkpoints each answer takes, at most `slowest`."""

    def __init__(self, seed: int = 0, *, lag: int = 0, slowest: int = 1, garbage: int = 6, cut: int = 12) -> None:
        self.name = self.model = self.identity = "wild"
        self.asked: list[Question] = []
        self._seed = seed
        self._lag = lag
        self._slowest = slowest
        self._garbage = garbage
        self._cut = cut

    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        numbers = re.findall(r"^Row (\d+)", call.request.prompt or "", re.MULTILINE)
        rows, sample = tuple(map(int, numbers)), call.request.sample_index
        self.asked.append((rows, sample))
        for _ in range(1 + chance(self._lag, rows, sample) * self._slowest // 100):
            await trio.lowlevel.checkpoint()
        text, stop_reason = self._answer(rows, sample)
        if emit is not None:
            emit(text)
        return Completion(text=text, stop_reason=stop_reason, usage=Usage(input_tokens=len(rows), output_tokens=7))

    def _answer(self, rows: tuple[int, ...], sample: int) -> tuple[str, StopReason]:
        text = orjson.dumps({"rows": [self.row(number, sample) for number in rows]}).decode()
        drawn = chance("answer", self._seed, rows, sample)
        if drawn < self._garbage:
            return "I would rather not.", "end"
        if drawn < self._garbage + self._cut:
            return text[: len(text) * chance("cut", self._seed, rows, sample) // 100], "max_tokens"
        return text, "end"

    def row(self, number: int, sample: int) -> dict[str, object]:
        drawn = chance("row", self._seed, number, sample)
        if drawn < 10:
            return {"id": 0, "note": "never valid"}
        if drawn < 25:
            return {"id": 1 + drawn % 3, "note": "one of three"}
        return {"id": number, "note": f"row {number} as sample {sample}"}

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def committed(output: Path) -> set[Question]:
    """The questions whose answers are in the journal of `output`; none without a journal."""
    if not (journal := journal_of(output)).exists():
        return set()
    found = read_store(journal, FORMAT, lambda store: store.execute("SELECT rows, sample FROM answers").fetchall())
    return {(tuple(row + 1 for row in rows_of_text(rows)), sample) for rows, sample in found}


def wild_job(server: WildServer, folder: Path, **fields: Any) -> Mapping[str, Any]:
    """A job of 40 rows that ends complete."""
    return {
        "schema": SCHEMA,
        "count": 40,
        "rows_per_request": 4,
        "concurrency": 3,
        "endpoints": [server],
        "output": "rows.jsonl",
        "folder": folder,
        "dedup": {"near": None, "max_attempts": 30},
        "limits": {"max_attempts": 30},
        **fields,
    }
