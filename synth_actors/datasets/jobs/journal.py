"""What has a job asked, and what was answered?

Every paid call is written down before it is made and its answer as soon as it is there, so that a job that ends in any
way goes on where it stopped.  An answer belongs to the question for certain rows as a certain sample, whatever the
words of that question were.  A call that was written down and brought no answer is uncertain: it may be on the bill.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from sqlite3 import Connection
from typing import Any, TypeVar

from synth_actors.datasets.block import Ask
from synth_actors.datasets.jobs.journal_tables import (
    ANSWER_COLUMNS,
    Recorded,
    UncertainCall,
    rows_of_text,
    rows_text,
    usage_of,
    usage_row,
)
from synth_actors.errors import EngineClosedError, SynthActorsError
from synth_actors.storage.errors import WHEN_DAMAGED, DamagedError, FullError, MismatchError, StorageError
from synth_actors.storage.sqlite import Store
from synth_actors.types import Answer, Request, Response, StopReason, Usage

T = TypeVar("T")

SECOND = "another answer to the same question was there first"
"""What becomes of a call that was given up, and answered when its question had been asked again, or the other way."""

_INSERT_CALL = (
    "INSERT INTO calls (id, run, block, rows, sample, attempt, endpoint, sent_at, most_usd) VALUES (?,?,?,?,?,?,?,?,?)"
)
_DELETE_CALL = "DELETE FROM calls WHERE id = ?"
_FAIL_CALL = (
    "UPDATE calls SET ended = ?, input_tokens = ?, output_tokens = ?, cache_read_tokens = ?, cache_write_tokens = ?,"
    " cost_usd = ? WHERE id = ?"
)
_INSERT_ANSWER = f"INSERT OR IGNORE INTO answers ({ANSWER_COLUMNS}, most_usd) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
_INSERT_SETTLED = "INSERT OR REPLACE INTO settled (block, valid, missing) VALUES (?,?,?)"
_SELECT_ANSWERS = f"SELECT {ANSWER_COLUMNS} FROM answers WHERE block >= ? AND block < ? ORDER BY block"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """What a job may have to pay: `free` names the endpoints without a bill, `most_usd` bounds one call."""

    free: frozenset[str]
    most_usd: Callable[[Request, str], float | None]


@dataclass(slots=True)
class _Expected:
    """A question that is being asked, and the calls that are out for it, by their attempt.

    An attempt has several when the question was asked again before a call for it had ended, as one in a thread may
    that heeds no timeout.  Which of these ends is not known, nor does it matter: they asked for the same.
    """

    block: int
    ask: Ask
    request: Request
    calls: dict[int, list[int]] = field(default_factory=dict)
    sent: set[int] = field(default_factory=set)  # calls whose intent is on disk
    answer: tuple[str, StopReason, Usage] | None = None
    forgotten: bool = False
    withdrawn: bool = False

    def over(self, attempt: int) -> int | None:
        """The call that is not out any more; None when it was free."""
        calls = self.calls.get(attempt)
        if not calls:
            return None
        call = calls.pop(0)
        if not calls:
            del self.calls[attempt]
        return call


@contextmanager
def with_fork() -> Iterator[None]:
    """What is wrong with a journal is told with what else helps a job."""
    try:
        yield
    except (DamagedError, MismatchError) as exc:
        raise type(exc)(f"{exc}; or add --fork, which sets it aside and begins anew") from exc


def _ignore(_key: bytes) -> None:
    """Nobody wants to know."""


class Journal:
    """The journal of one running job; a `synth_actors.attempt_log.FailureLog`."""

    def __init__(self, store: Store, tariff: Tariff, *, run: int, next_call: int) -> None:
        self.when_ended: Callable[[bytes], None] = _ignore
        self._store = store
        self._tariff = tariff
        self._run = run
        self._ids = count(next_call)
        self._expected: dict[bytes, _Expected] = {}
        self.is_used = False  # whether this run has written down a call or an answer

    def __repr__(self) -> str:
        return f"<Journal run={self._run} asking={len(self._expected)}>"

    @property
    def broken(self) -> SynthActorsError | None:
        """Why nothing new may begin: the journal cannot be written, or its disk is full; None while all is well."""
        return self._full() if self._store.full else self._store.broken

    def _full(self) -> FullError:
        return FullError(f"journal {self._store.path}: the disk is full; make room, then run again with --resume")

    # ------------------------------------------------------------------------------------------- told by the asker

    def expect(self, key: bytes, block: int, ask: Ask, request: Request) -> None:
        """The engine is about to be asked: what it says of `key` belongs to this question."""
        before = self._expected.get(key)
        self._expected[key] = expected = _Expected(block, ask, request)
        if before is not None:
            expected.calls, expected.sent = before.calls, before.sent

    def forget(self, key: bytes) -> None:
        """The asker has what it wants; calls that are still out are heard of until they end."""
        expected = self._expected[key]
        expected.forgotten = True
        self._drop(key, expected)

    def withdraw(self, key: bytes) -> bool:
        """Let no call be made for this question any more; False, and nothing, when a paid one is under way."""
        expected = self._expected[key]
        expected.withdrawn = not expected.calls
        return expected.withdrawn

    @property
    def calls_out(self) -> int:
        """Paid calls that are under way."""
        return sum(len(calls) for expected in self._expected.values() for calls in expected.calls.values())

    def answer_of(self, key: bytes) -> tuple[str, StopReason, Usage] | None:
        """The answer that was written down for this question, whatever the engine made of it."""
        return self._expected[key].answer

    async def make_sure(self, key: bytes, response: Response) -> None:
        """A response without a call of its own, from a cache, is written down as well."""
        expected = self._expected[key]
        if expected.answer is None:
            await self._store.write(_INSERT_ANSWER, _answer_row(expected, response.answer, response.usage, None))

    def settled(self, block: int, *, valid: int, missing: int) -> None:
        """The block has asked all that it wants."""
        self._post(_INSERT_SETTLED, (block, valid, missing))

    async def note(self, **values: str) -> None:
        """Remember facts of the job by name."""
        sql = "INSERT OR REPLACE INTO job (name, value) VALUES (?,?)"
        await self._store.write_all([(sql, pair) for pair in values.items()])

    async def end_run(self, how: str) -> None:
        """This run is over."""
        await self._store.write("UPDATE runs SET ended_at = ?, how = ? WHERE number = ?", (time.time(), how, self._run))

    # ----------------------------------------------------------------------------------------- told by the generator

    async def before_send(self, key: bytes, attempt: int, endpoint: str) -> None:
        """Write down that a call is about to be made."""
        expected = self._expected.get(key)
        if expected is None or expected.withdrawn:
            raise EngineClosedError("nobody waits for this call any more; it was not made")
        self.is_used = True
        if self._store.full:
            raise self._full()
        if endpoint in self._tariff.free:
            return
        call = next(self._ids)
        expected.calls.setdefault(attempt, []).append(call)
        most_usd = self._tariff.most_usd(expected.request, endpoint)
        place = (expected.block, rows_text(expected.ask.rows), expected.ask.sample)
        await self._store.write(_INSERT_CALL, (call, self._run, *place, attempt, endpoint, time.time(), most_usd))
        expected.sent.add(call)

    async def received(self, key: bytes, attempt: int, answer: Answer, usage: Usage) -> None:
        """Write down a whole answer, and that its call is no longer uncertain."""
        expected = self._expected.get(key)
        if expected is None:  # of a free call that nobody waited for
            return
        self.is_used = True
        if expected.answer is not None:
            self.ended(key, attempt, SECOND, usage, free=False)
            return
        most_usd = None if usage.cost_usd is not None else self._tariff.most_usd(expected.request, answer.endpoint)
        statements: list[tuple[str, Any]] = [(_INSERT_ANSWER, _answer_row(expected, answer, usage, most_usd))]
        statements += [(_DELETE_CALL, (call,)) for call in expected.calls.get(attempt, ())[:1]]
        await self._store.write_all(statements)
        expected.answer = (answer.text, answer.stop_reason, usage)
        expected.over(attempt)
        self._drop(key, expected)

    def ended(self, key: bytes, attempt: int, message: str, usage: Usage, *, free: bool) -> None:
        """A call brought no answer: it is forgotten if it was certainly free, else it stays on the list."""
        expected = self._expected.get(key)
        if expected is None:  # its answer was written down, and the asker has left
            return
        call = expected.over(attempt)
        if call is not None and (free or call not in expected.sent):
            self._post(_DELETE_CALL, (call,))
        elif call is not None:
            self._post(_FAIL_CALL, (message[:500], *usage_row(usage), call))
        self._drop(key, expected)
        self.when_ended(key)

    def _post(self, sql: str, values: tuple[Any, ...]) -> None:
        """Write down what is no loss if it is not: then the call stays uncertain, and the block is looked at again."""
        with suppress(StorageError):  # the journal is `broken`: whoever asks next is told
            self._store.post(sql, values)

    def _drop(self, key: bytes, expected: _Expected) -> None:
        if expected.forgotten and not expected.calls and self._expected.get(key) is expected:
            del self._expected[key]

    # ------------------------------------------------------------------------------------------------------- reading

    async def answers(self, first: int, after: int) -> dict[int, list[Recorded]]:
        """The recorded answers of blocks `first` up to `after` (exclusive)."""

        def ask(connection: Connection) -> dict[int, list[Recorded]]:
            found: dict[int, list[Recorded]] = {}
            # Closed, since a cursor that an exception holds keeps the log from being moved into the database.
            bounds = (first, after)
            try:
                with closing(connection.execute(_SELECT_ANSWERS, bounds)) as rows:
                    for block, recorded in map(_recorded, rows):
                        found.setdefault(block, []).append(recorded)
            except (zlib.error, ValueError, TypeError, AttributeError) as exc:  # whatever stands there instead
                text = f"an answer in it cannot be read ({exc}); {WHEN_DAMAGED}"
                raise DamagedError(f"journal {self._store.path}: {text}") from exc
            return found

        with with_fork():
            return await self._store.read(ask)

    async def read(self, ask: Callable[[Connection], T]) -> T:
        """What `ask` finds in the tables."""
        return await self._store.read(ask)

    async def flush(self) -> None:
        """Everything told so far is on disk."""
        await self._store.flush()


def uncertain_calls(connection: Connection) -> list[UncertainCall]:
    """All calls that brought no answer and may be on the bill."""
    sql = "SELECT run, rows, attempt, endpoint, sent_at, most_usd, ended, cost_usd FROM calls ORDER BY id"
    return [UncertainCall(*row) for row in connection.execute(sql)]


def facts_of(connection: Connection) -> Mapping[str, str]:
    """What `Journal.note` has remembered."""
    return dict(connection.execute("SELECT name, value FROM job"))


def _answer_row(expected: _Expected, answer: Answer, usage: Usage, most_usd: float | None) -> tuple[Any, ...]:
    text = answer.text.encode("utf-8", "surrogatepass")
    rows, sample = rows_text(expected.ask.rows), expected.ask.sample
    packed = lambda: zlib.compress(text, 1)  # noqa: E731  (called in the writer's thread; its checksum guards the text)
    given = (answer.endpoint, answer.model, answer.stop_reason, packed, time.time())
    return (expected.block, rows, sample, *given, *usage_row(usage), most_usd)


def _recorded(row: tuple[Any, ...]) -> tuple[int, Recorded]:
    block, rows, sample, endpoint, model, stop_reason, packed, _received_at, *usage = row
    text = zlib.decompress(packed).decode("utf-8", "surrogatepass")
    recorded = Recorded(rows_of_text(rows), sample, text, stop_reason, endpoint, model, usage_of(usage))
    return block, recorded
