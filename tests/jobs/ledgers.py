"""What was asked and answered, by the server's ledger and by the job's journal?  Two accounts of the same calls."""

from __future__ import annotations

import http.client
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from synth_actors.datasets.jobs.journal_file import Standing, standing
from synth_actors.datasets.jobs.journal_tables import FORMAT
from synth_actors.storage.errors import EmptyError
from synth_actors.storage.opening import read_store

Question = tuple[tuple[int, ...], int]
"""The rows that are asked for, from 1, and how often one of them was asked for before."""
Row = tuple[Any, ...]


@dataclass
class Ledger:
    """What the server has written down; `read` takes in what is new."""

    path: Path
    begun: Counter[Question] = field(default_factory=Counter)
    answered: set[Question] = field(default_factory=set)
    words: dict[Question, set[str]] = field(default_factory=dict)
    _questions: dict[str, Question] = field(default_factory=dict)
    _offset: int = 0

    def read(self) -> Counter[Question]:
        """The questions that were begun since the last time."""
        new: Counter[Question] = Counter()
        with self.path.open("rb") if self.path.exists() else Path("/dev/null").open("rb") as file:
            file.seek(self._offset)
            lines = file.read().decode().splitlines()
            self._offset = file.tell()
        for event, key, *rest in map(str.split, lines):
            if event == "begun":
                question = tuple(map(int, rest[1].split(","))), int(rest[0])
                self._questions[key] = question
                self.words.setdefault(question, set()).add(key)
                new[question] += 1
            else:
                self.answered.add(self._questions[key])
        self.begun += new
        return new


@dataclass(frozen=True)
class Written:
    """What stands in a journal: its answers and its calls by what they asked, whole rows of the tables."""

    answers: Mapping[Question, Row]
    calls: Mapping[int, Row]
    standing: Standing | None

    def uncertain(self) -> set[Question]:
        """The questions of all calls on the list."""
        return {question_of(call) for call in self.calls.values()}


def written_in(journal: Path) -> Written:
    """What a journal holds, nothing when there is none yet."""
    if not journal.exists():
        return Written({}, {}, None)

    def ask(connection: Connection) -> Written:
        answers = connection.execute("SELECT rows, sample, text, *, cost_usd FROM answers").fetchall()
        calls = connection.execute("SELECT id, run, rows, sample, most_usd, * FROM calls").fetchall()
        by_question = {(numbers(rows), sample): row for rows, sample, *row in answers}
        assert len(by_question) == len(answers)
        return Written(
            {question: tuple(row) for question, row in by_question.items()},
            {call[0]: call for call in calls},
            standing(connection),
        )

    try:
        return read_store(journal, FORMAT, ask)
    except EmptyError:  # killed between its making and its first words
        return Written({}, {}, None)


def question_of(call: Row) -> Question:
    """What a row of the table of calls asks."""
    _id, _run, rows, sample, *_ = call
    return numbers(rows), sample


def text_of(answer: Row) -> str:
    """The text of a row of the table of answers."""
    return zlib.decompress(answer[0]).decode()


def numbers(text: str) -> tuple[int, ...]:
    """`3,7-9` as 3, 7, 8, 9."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return tuple(found)


def wait_until_quiet(address: str) -> None:
    """Return when the server has heard all that a killed client has sent."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)
    try:
        connection.request("GET", "/quiet")
        assert connection.getresponse().read() == b'{"quiet": true}'
    finally:
        connection.close()
