"""Which journal belongs to this job, and may it go on there?

The journal of OUTPUT is OUTPUT.journal.  It holds the job that began it: another job may not go on in it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import orjson

from synth_actors.datasets.jobs.job_identity import differences
from synth_actors.datasets.jobs.journal import (
    Journal,
    Tariff,
    facts_of,
    uncertain_calls,
    with_fork,
)
from synth_actors.datasets.jobs.journal_tables import EXPORT, FORMAT, UncertainCall, usage_of
from synth_actors.errors import ConfigError
from synth_actors.scopes import whole_context
from synth_actors.storage.errors import EmptyError
from synth_actors.storage.files import Lock, real
from synth_actors.storage.opening import Durability, fold_log, read_store
from synth_actors.storage.sqlite import Store, open_store
from synth_actors.types import NO_USAGE, Usage

LEAST_RESERVE_BYTES = 2**20
COMPANIONS = ("-wal", "-shm", "-journal", "-reserve")
"""What may stand beside the file of a journal, and goes with it; its lock goes when it is given back."""


_SETTLED = "SELECT block FROM settled WHERE missing = 0"
_BEGUN = f"SELECT DISTINCT block FROM answers WHERE block NOT IN ({_SETTLED})"

_MODELS = "SELECT endpoint, model, count(*) FROM answers GROUP BY endpoint, model ORDER BY endpoint, model"


class JobChangedError(ConfigError):
    """A journal was begun by a job that asks for something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a journal says of its job.

    `job` is the identity of the job that began it, None in a new journal.  `settled` are the blocks of which no row
    is missing, with `valid` rows in them; `begun` are those that have some answers and want more.  `made` counts the
    valid rows of all blocks that were asked as often as they may be.  `models` counts the answers of each, `usage` sums
    what is known to be used, `uncertain` are the calls whose answer never came.
    `answers_usd` is what the answers cost, those whose cost nobody told at their most.
    """

    job: Mapping[str, Any] | None
    facts: Mapping[str, str]
    settled: Sequence[int]
    begun: frozenset[int]
    valid: int
    made: int
    answers: int
    calls: int
    runs: int
    models: Mapping[str, int]
    usage: Usage
    answers_usd: float
    uncertain: tuple[UncertainCall, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing was asked so far."""
        return self.answers == 0 and not self.uncertain

    @property
    def spent_usd(self) -> float:
        """What was spent at most: by the answers, and by the calls that brought none."""
        return self.answers_usd + sum(max(call.most_usd or 0.0, call.cost_usd or 0.0) for call in self.uncertain)


NEVER_BEGUN = Standing(
    job=None,
    facts={},
    settled=(),
    begun=frozenset(),
    valid=0,
    made=0,
    answers=0,
    calls=0,
    runs=0,
    models={},
    usage=NO_USAGE,
    answers_usd=0.0,
    uncertain=(),
)
"""What an empty file says: its run was killed before it had written anything."""


def journal_of(output: Path) -> Path:
    """Where the journal of a job that writes `output` stands."""
    return output.with_name(output.name + ".journal")


def read_standing(path: Path) -> Standing:
    """What the journal says now, also while a run writes it.

    Raises:
        SynthActorsError: there is none that can be read.
    """
    with with_fork():
        try:
            return read_store(path, FORMAT, standing)
        except EmptyError:
            return NEVER_BEGUN


@whole_context
async def open_journal(
    path: Path,
    identity: Mapping[str, Any],
    tariff: Tariff,
    *,
    durability: Durability,
    reserve_bytes: int = LEAST_RESERVE_BYTES,
) -> AsyncIterator[tuple[Journal, Standing]]:
    """The journal at `path`, begun if there is none, for as long as the block runs; no other run may use it meanwhile.

    `reserve_bytes` of disk are kept for the answers of calls that are out when the disk is full.

    Raises:
        JobChangedError: it was begun by another job.
        SynthActorsError: it is damaged, in use, or cannot be written.
    """
    async with AsyncExitStack() as stack:
        with with_fork():
            store = await stack.enter_async_context(
                open_store(path, FORMAT, durability=durability, reserve_bytes=reserve_bytes)
            )
        before = await store.read(standing)
        if before.job is not None:
            _check_same(path, before.job, identity)
        run = before.runs
        if EXPORT not in before.facts:  # else nothing will be asked
            run += 1
            await _begin_run(store, run, identity, is_new=before.job is None)
        yield Journal(store, tariff, run=run, next_call=before.calls + 1), before


def _check_same(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    if changes := differences(old, new):
        raise JobChangedError(
            f"{path}: the journal was begun by another job ({'; '.join(changes)}); take back the change to go on,"
            " or add --fork to begin anew (this journal is kept beside)"
        )


async def _begin_run(store: Store, run: int, identity: Mapping[str, Any], *, is_new: bool) -> None:
    statements: list[tuple[str, Any]] = [("INSERT INTO runs (number, begun_at) VALUES (?,?)", (run, time.time()))]
    if is_new:
        text = orjson.dumps(dict(identity), option=orjson.OPT_SORT_KEYS).decode()
        statements.append(("INSERT INTO job (name, value) VALUES (?,?)", ("job", text)))
    await store.write_all(statements)


def closing_standing(connection: Connection) -> Standing:
    """What stands in the tables, without the lists of blocks, which are as long as the job is large."""
    return standing(connection, blocks=False)


def standing(connection: Connection, *, blocks: bool = True) -> Standing:
    """What stands in the tables; without `blocks`, `settled` and `begun` are left empty."""
    facts = dict(facts_of(connection))
    job = facts.pop("job", None)
    sums = "sum(input_tokens), sum(output_tokens), sum(cache_read_tokens), sum(cache_write_tokens)"
    usage = NO_USAGE
    for table, priced in (("answers", "count(*) = count(cost_usd)"), ("calls", "1")):
        *tokens, is_known = connection.execute(f"SELECT {sums}, {priced} FROM {table}").fetchone()
        costs = connection.execute(f"SELECT cost_usd FROM {table} WHERE cost_usd IS NOT NULL")
        # Summed exactly, so that the cost in a manifest does not depend on the order in which answers came.
        usage = usage + usage_of((*tokens, fsum(cost for (cost,) in costs) if is_known else None))
    return Standing(
        job=None if job is None else orjson.loads(job),
        facts=facts,
        settled=[block for (block,) in connection.execute(_SETTLED)] if blocks else (),
        begun=frozenset(block for (block,) in connection.execute(_BEGUN)) if blocks else frozenset(),
        valid=_number(connection, "SELECT coalesce(sum(valid), 0) FROM settled WHERE missing = 0"),
        made=_number(connection, "SELECT coalesce(sum(valid), 0) FROM settled"),
        answers=_number(connection, "SELECT count(*) FROM answers"),
        calls=_number(connection, "SELECT coalesce(max(id), 0) FROM calls"),
        runs=_number(connection, "SELECT coalesce(max(number), 0) FROM runs"),
        models={f"{endpoint} ({model})": answers for endpoint, model, answers in connection.execute(_MODELS)},
        usage=usage,
        answers_usd=connection.execute("SELECT total(coalesce(cost_usd, most_usd)) FROM answers").fetchone()[0],
        uncertain=tuple(uncertain_calls(connection)),
    )


def _number(connection: Connection, sql: str) -> int:
    return int(connection.execute(sql).fetchone()[0])


def set_aside(journal: Path, *others: Path) -> tuple[Path, ...]:
    """Rename a journal, with what stands beside it, and `others` to the first free `.1`, `.2`, ...; their new paths.

    Raises:
        LockedError: another run has begun to use it; nothing was renamed.
    """
    with _alone(journal):
        return _set_aside(journal, others)


def _set_aside(journal: Path, others: Sequence[Path]) -> tuple[Path, ...]:
    number = 1
    while any(_numbered(path, number).exists() for path in (journal, *others)):
        number += 1
    fold_log(journal)
    for companion in COMPANIONS:
        if (beside := journal.with_name(journal.name + companion)).exists():
            beside.rename(journal.with_name(f"{journal.name}.{number}{companion}"))
    return tuple(path.rename(_numbered(path, number)) for path in (journal, *others))


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def remove(path: Path) -> None:
    """Delete a journal and what stands beside it.

    Raises:
        LockedError: another run has begun to use it; nothing was deleted.
    """
    with _alone(path):
        for companion in ("", *COMPANIONS):
            path.with_name(path.name + companion).unlink(missing_ok=True)


@contextmanager
def _alone(journal: Path) -> Iterator[None]:
    """Nobody else has the journal: else its run would go on writing into a file without a name."""
    lock = Lock(real(journal), what=FORMAT.what, exclusive=True)
    try:
        yield
    finally:
        lock.release()
