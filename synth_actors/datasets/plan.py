"""Which rows does a request ask for, and in which words?

Request i asks for rows i * K up to (i + 1) * K, whatever the others do.  The words depend on the schema, the
instructions, the seed and the rows' numbers, not on how many rows there will be in all: a longer run of the same job
begins with the same requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from synth_actors.datasets.columns.columns import Columns
from synth_actors.datasets.draws import Column, columns_of, suggestions
from synth_actors.datasets.row_schema import RowSchema
from synth_actors.datasets.size import MOST_MAX_TOKENS, default_max_tokens, tokens_of_row
from synth_actors.errors import ConfigError
from synth_actors.types import Request

DEFAULT_INSTRUCTIONS = "The rows look like real data: plausible, varied, and consistent within themselves."
LONGEST_PROBLEM = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsJob:
    """What `generate_rows` was asked for.

    Raises:
        ConfigError: a number is out of range.
    """

    count: int
    rows_per_request: int = 20
    seed: int = 0
    instructions: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    endpoints: tuple[str, ...] | None = None
    max_attempts: int = 4

    def __post_init__(self) -> None:
        for name, least in (("count", 0), ("rows_per_request", 1), ("max_attempts", 1)):
            value = getattr(self, name)
            if not _is_whole(value) or value < least:
                raise ConfigError(f"{name}: {value!r} is not valid: give a whole number from {least} up")
        if not _is_whole(self.seed) or not -(2**63) <= self.seed < 2**64:
            raise ConfigError(f"seed: {self.seed!r} is not valid: give a whole number from -2**63 to 2**64 - 1")
        if not isinstance(self.instructions, str | None):
            raise ConfigError(f"instructions: {self.instructions!r} is not valid: give a text, or None")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


class Plan:
    """The requests of one job, each a function of its number, its try and what was wrong before."""

    def __init__(self, schema: RowSchema, job: RowsJob, given: Columns | None = None) -> None:
        self.job = job
        self.requests = -(-job.count // job.rows_per_request)
        self.row_tokens = tokens_of_row(schema.json_schema)
        self._schema = schema
        self._given = given
        taken = frozenset[str]() if given is None else given.taken
        self._columns: tuple[Column, ...] = columns_of(schema.json_schema, taken)
        self._system = _system(schema, job.instructions)
        self.request([0], 0, {})  # a wrong max_tokens or temperature is said before anything is sent

    def rows_of(self, number: int) -> range:
        """The rows that request `number` asks for, counted from 0."""
        first = number * self.job.rows_per_request
        return range(first, min(first + self.job.rows_per_request, self.job.count))

    def request(self, rows: Sequence[int], attempt: int, problems: Mapping[int, str], *, room: int = 1) -> Request:
        """The request for `rows`; `problems` says why the last try of some of them was refused.

        `room` multiplies the default of `max_tokens`, as far as that goes.
        """
        job = self.job
        max_tokens = job.max_tokens
        if max_tokens is None:
            max_tokens = min(room * default_max_tokens(self.row_tokens, len(rows)), MOST_MAX_TOKENS)
        return Request(
            system=self._system,
            prompt=self._prompt(rows, attempt, problems),
            output_schema=self._schema.rows(len(rows)),
            max_tokens=max_tokens,
            temperature=job.temperature,
            sample_index=attempt,
            endpoints=job.endpoints,
        )

    def _prompt(self, rows: Sequence[int], attempt: int, problems: Mapping[int, str]) -> str:
        again = f", try {attempt + 1}" if attempt else ""
        head = f"Write {len(rows)} row{'s' if len(rows) > 1 else ''} (series {self.job.seed}{again}):"
        return "\n".join([head, *(self._line(row, attempt, problems.get(row)) for row in rows)])

    def _line(self, row: int, attempt: int, problem: str | None) -> str:
        wanted = suggestions(self._columns, seed=self.job.seed, row=row, attempt=attempt)
        parts = [] if self._given is None else self._given.words(row)
        parts += [wanted] if wanted else []
        if problem is not None:
            parts.append(f"the last one was refused: {problem[:LONGEST_PROBLEM]}")
        return f"Row {row + 1}" + (": " + "; ".join(parts) if parts else "")


def _system(schema: RowSchema, instructions: str | None) -> str:
    """The part that is the same in every request of a job, and so comes first."""
    return "\n".join(
        [
            'Write rows of synthetic data. Answer with one JSON object {"rows": [...]} and nothing else: one row for '
            "each numbered line, in that order, no two alike.",
            instructions or DEFAULT_INSTRUCTIONS,
            "Values named in a line are suggestions: follow them wherever the schema allows.",
            f"JSON Schema of one row: {orjson.dumps(schema.json_schema).decode()}",
        ]
    )
