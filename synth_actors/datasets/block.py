"""Which rows does a block of a job ask for next, given the answers so far?

A block is the rows of one planned request.  What it asks for depends on its own answers only, never on its neighbours,
so the same answers give the same questions: after a crash the block takes its recorded answers, and goes on.

- A row that came invalid, or not at all, is asked for again, at most `max_attempts` times.
- An answer that was cut at `max_tokens` leaves its whole rows; the others are asked for in two halves, each with twice
  the room.  Only for a single row does that count as a try, so a block ends after finitely many questions.
- A row that the job refuses as a duplicate is asked for again like a new one, at most `replacements` times.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from synth_actors.datasets.answers.salvage import Found, rows_in
from synth_actors.datasets.row_schema import Invalid, Valid
from synth_actors.types import StopReason


class Answered(Protocol):
    """A recorded answer and the question that it belongs to."""

    @property
    def rows(self) -> tuple[int, ...]: ...
    @property
    def sample(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def stop_reason(self) -> StopReason: ...


Check = Callable[[int, Any], Valid | Invalid]
"""From the number of a row and the value that came for it to the verdict."""

TOO_FEW = "the answer held too few rows"
REFUSED = "the model refused to answer"
CUT = "the answer was cut at max_tokens"
DUPLICATE = "it repeats an earlier row"


@dataclass(frozen=True, slots=True)
class Ask:
    """One question: the rows it is for, and how often one of them was asked for before, which is its `sample`.

    These two name a question within its block: whatever else was asked in between, they come only once.  `problems`
    says what was wrong with some of the rows before, `room` is how many times the usual `max_tokens` the answer needs.
    """

    rows: tuple[int, ...]
    sample: int
    problems: Mapping[int, str]
    room: int


@dataclass(slots=True)
class _Group:
    """Rows that are asked for together."""

    rows: tuple[int, ...]
    tries: int = 0
    room: int = 1
    problems: Mapping[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class Counts:
    """What came of the answers of a block; `useless` counts answers without a valid row."""

    asks: int = 0
    repaired: int = 0
    invalid: int = 0
    salvaged: int = 0
    refused: int = 0
    cut: int = 0
    useless: int = 0


class Block:
    """The rows of one planned request; `made` holds the valid ones by number, `missing` why others were given up."""

    __slots__ = (
        "_asked",
        "_attempts",
        "_check",
        "_groups",
        "_recorded",
        "_replaced",
        "_replacements",
        "counts",
        "made",
        "missing",
        "rows",
    )

    def __init__(self, rows: Sequence[int], check: Check, *, max_attempts: int, replacements: int = 0) -> None:
        self.rows = rows
        self.made: dict[int, Any] = {}
        self.missing: dict[int, str] = {}
        self.counts = Counts()
        self._check = check
        self._attempts = max_attempts
        self._replacements = replacements
        self._replaced: dict[int, int] = {}
        self._groups = deque([_Group(tuple(rows))] if rows else [])
        self._asked = dict.fromkeys(rows, 0)
        self._recorded: dict[tuple[tuple[int, ...], int], tuple[str, StopReason]] = {}

    def __repr__(self) -> str:
        return f"<Block made={len(self.made)}/{len(self.rows)} missing={len(self.missing)} asks={self.counts.asks}>"

    def wanted(self) -> Ask | None:
        """The next question; None when nothing is left to ask."""
        if not self._groups:
            return None
        group = self._groups[0]
        return Ask(group.rows, self._sample(group), group.problems, group.room)

    def _sample(self, group: _Group) -> int:
        return max(self._asked[row] for row in group.rows)

    def recall(self, answers: Iterable[Answered]) -> None:
        """Take these recorded answers as soon as they are wanted, some of them perhaps only after a `reject`."""
        self._recorded.update(((each.rows, each.sample), (each.text, each.stop_reason)) for each in answers)
        self._replay()

    def _replay(self) -> None:
        while self._groups and self._recorded:
            group = self._groups[0]
            recorded = self._recorded.pop((group.rows, self._sample(group)), None)
            if recorded is None:
                break
            self._take(rows_in(recorded[0]), recorded[1])

    def take(self, found: Found, stop_reason: StopReason) -> str | None:
        """The answer to what is `wanted`; what was wrong with the first row that did not come, None when all came."""
        problem = self._take(found, stop_reason)
        self._replay()
        return problem

    def _take(self, found: Found, stop_reason: StopReason) -> str | None:
        group = self._groups.popleft()
        sample = self._sample(group)
        self._asked.update((row, sample + 1) for row in group.rows)
        self.counts.asks += 1
        made_before = len(self.made)
        hints = self._sort(group, found)
        left = tuple(row for row in group.rows if row not in self.made)
        self.counts.repaired += (len(self.made) - made_before) if group.tries else 0
        self.counts.salvaged += (len(self.made) - made_before) if found.salvaged else 0
        self.counts.useless += len(self.made) == made_before
        self.counts.refused += stop_reason == "refusal"
        self.counts.cut += stop_reason == "max_tokens"
        if not left:
            return None
        reason = _reason(found, stop_reason)
        self._again(group, left, hints, reason, cut=stop_reason == "max_tokens")
        return hints.get(left[0], reason)

    def _sort(self, group: _Group, found: Found) -> dict[int, str]:
        """Keep the valid rows; what is wrong with the others comes back.  Rows not asked for are left."""
        problems: dict[int, str] = {}
        for place, value in found.placed():
            if place >= len(group.rows):
                break
            row = group.rows[place]
            match self._check(row, value):
                case Valid(valid):
                    self.made[row] = valid
                case Invalid(problem):
                    problems[row] = problem
                    self.counts.invalid += 1
        return problems

    def _again(self, group: _Group, left: tuple[int, ...], hints: dict[int, str], reason: str, *, cut: bool) -> None:
        if cut and len(left) > 1:
            middle = (len(left) + 1) // 2
            for half in (left[:middle], left[middle:]):
                self._groups.append(_Group(half, group.tries, 2 * group.room, hints))
        elif group.tries + 1 < self._attempts:
            self._groups.append(_Group(left, group.tries + 1, 2 * group.room if cut else group.room, hints))
        else:
            self.missing.update((row, hints.get(row, reason)) for row in left)

    def reject(self, rows: Iterable[int]) -> None:
        """These valid rows are no use, since they repeat others: ask for them anew, as long as that is allowed."""
        again = []
        for row in rows:
            del self.made[row]
            replaced = self._replaced[row] = self._replaced.get(row, 0) + 1
            if replaced > self._replacements:
                self.missing[row] = DUPLICATE
            else:
                again.append(row)
        if again:
            self._groups.append(_Group(tuple(again), problems=dict.fromkeys(again, DUPLICATE)))
        self._replay()

    def unmade(self, problem: str) -> dict[int, str]:
        """Why each row that is not there is not there; `problem` for those that may still come."""
        return {row: self.missing.get(row, problem) for row in self.rows if row not in self.made}


def _reason(found: Found, stop_reason: StopReason) -> str:
    if stop_reason == "refusal":
        return REFUSED
    if stop_reason == "max_tokens":
        return CUT
    return found.problem or TOO_FEW
