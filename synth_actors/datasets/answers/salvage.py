"""Which rows stand in this text?

Asked for is `{"rows": [...]}`.  Models also answer in a fence, with prose around, in Python's notation, a row a
line, or are cut.  A row is taken whole and as it stands, or not at all: nothing is made up to close what was left open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import count
from typing import Any

from synth_actors.datasets.answers.broken_json import strict_json, tolerant_json
from synth_actors.datasets.answers.json_pieces import BRACKETS, Node, pieces_in

ROWS = "rows"
OTHER_WRAPPERS = frozenset({"data", "records", "results"})
"""Names beside which a wrapper may hold more than its rows; under any other name the rows must be all that it holds."""
ASKED_FOR = '{"rows": [...]}'
SHOWN = 40
"""Characters of an answer that a message shows."""
NO_ROWS = f"no rows: the answer must be {ASKED_FOR}"
REPAIRABLE_CHARS = 100_000
"""Of one answer; the rest of its broken rows is not given to json_repair, which is slow."""

_THOUGHTS = re.compile(r"\s*<(think(?:ing)?)>(?:.*?(</\1>)|.*)", re.DOTALL)
_FENCE_BEFORE = re.compile(r"```[^\n]*\n\s*\Z")
_LONGEST_FENCE = 100


class _Kind(IntEnum):
    """What a piece of text could be; only what is lowest in a text counts."""

    ROWS = 0
    ARRAY_OF_OBJECTS = 1
    OBJECT = 2
    OTHER_ARRAY = 3
    NOTHING = 4


@dataclass(frozen=True, slots=True)
class Found:
    """The raw JSON values of the rows, in order.

    `salvaged` says that the text was not just the JSON that was asked for; `problem` why there may be fewer rows than
    asked for, None when the text was whole JSON with rows.  `broken` are the places, from 0, of rows that are no JSON:
    they are not among the values, but those after them stand one place later.
    """

    values: list[Any]
    salvaged: bool
    problem: str | None
    broken: frozenset[int] = frozenset()

    def placed(self) -> Iterator[tuple[int, Any]]:
        """Each value with its place in the answer."""
        places = (place for place in count() if place not in self.broken)
        return zip(places, self.values, strict=False)


def rows_in(text: str, *, cut: bool = False) -> Found:
    """The rows that stand whole in `text`; never raises.  `cut` says that it ended before its author was done.

    `{"rows": [...]}` and a bare array are what was asked for.  All else is searched, outside the model's thoughts:
    what is called "rows" goes before other arrays of objects, these before single objects, these before other arrays
    that stand alone.  A row that holds NaN or a number beyond the floats is no JSON; the others stay.  Linear time.
    """
    body = text.strip()
    try:
        answer = strict_json(body)
    except ValueError as exc:
        begin = f"it begins {body[:SHOWN]!r}; " if body else ""
        return _salvaged(body, cut, f"the answer is no JSON ({exc}); {begin}asked for was {ASKED_FOR}")
    if (rows := _rows_of(answer)) is not None:
        return Found(rows, salvaged=False, problem=None)
    inner = answer.get(ROWS) if isinstance(answer, dict) else answer
    return _salvaged(inner if isinstance(inner, str) else body, cut, NO_ROWS)  # JSON in a string: as tools are called


def _rows_of(answer: Any) -> list[Any] | None:
    rows = answer.get(ROWS) if isinstance(answer, dict) else answer
    return rows if isinstance(rows, list) else None


def _salvaged(text: str, cut: bool, no_rows: str) -> Found:
    body = text.lstrip("\ufeff")
    if (thoughts := _THOUGHTS.match(body)) is not None:
        if thoughts[2] is None:
            return Found([], salvaged=True, problem="the answer ended before the model's thoughts did")
        body = body[thoughts.end() :]
    if (rows := _framed(body)) is not None:
        return Found(rows, salvaged=True, problem=None)
    pieces = [(_kind(body, piece), piece) for piece in pieces_in(body)]
    best = min((kind for kind, _ in pieces), default=_Kind.NOTHING)
    if best is _Kind.NOTHING:
        return Found([], salvaged=True, problem=no_rows)
    chosen = [piece for kind, piece in pieces if kind is best]
    return _found(body, [row for piece in chosen for row in _members(piece, best)], cut or chosen[-1].end is None)


def _framed(text: str) -> list[Any] | None:
    """The rows of the usual case, which needs no search: what was asked for, in a fence or with prose around."""
    start, end = text.find("{"), text.rfind("}") + 1
    if not 0 <= start < end or "</think" in text:
        return None
    try:
        answer = strict_json(text[start:end])
    except ValueError:
        return None
    return _rows_of(answer)


def _found(text: str, rows: list[Node], cut: bool) -> Found:
    values: list[Any] = []
    problems: dict[int, str] = {}
    repairable = REPAIRABLE_CHARS
    for place, row in enumerate(rows):
        if row.end is None:
            continue  # the half before the cut
        source = text[row.start : row.end]
        try:
            values.append(strict_json(source))
            continue
        except ValueError as exc:
            problem = str(exc)
        repairable -= len(source)
        match tolerant_json(source, repair=repairable > 0) if row.sound() else None:
            case None:
                problems[place] = problem
            case value:
                values.append(value)
    if problems:
        lost = f"{len(problems)} of {len(rows)} rows of the answer are no JSON: {next(iter(problems.values()))}"
        return Found(values, salvaged=True, problem=lost, broken=frozenset(problems))
    return Found(values, salvaged=True, problem=f"the answer was cut after {len(values)} whole rows" if cut else None)


def _kind(text: str, piece: Node) -> _Kind:
    """What the piece could be."""
    if piece.kind == "[":
        if any(member.kind in BRACKETS for _, member in piece.members):
            return _Kind.ARRAY_OF_OBJECTS
        return _Kind.OTHER_ARRAY if _begins_here(text, piece.start) else _Kind.NOTHING
    if _named_rows(piece) is not None:
        return _Kind.ROWS
    if piece.end is None:
        return _Kind.NOTHING  # the half of a row; what is whole in it is no row
    return _Kind.OBJECT if _wrapped(piece) is None else _Kind.ARRAY_OF_OBJECTS


def _begins_here(text: str, at: int) -> bool:
    """Whether an array there is an answer, and no [1] of the prose: at the start of the text or of a fence."""
    before = text[max(0, at - _LONGEST_FENCE) : at]
    return not text[:at].strip() or _FENCE_BEFORE.search(before) is not None


def _members(piece: Node, kind: _Kind) -> list[Node]:
    """The rows of a piece of that kind."""
    if kind is _Kind.OBJECT:
        return [piece]
    array = piece if piece.kind == "[" else _named_rows(piece) if kind is _Kind.ROWS else _wrapped(piece)
    if array is None or array.kind == "{":
        return [] if array is None else [array]
    return [member for _, member in array.members]


def _named_rows(piece: Node) -> Node | None:
    return next((value for key, value in piece.members if key == ROWS and value.kind in BRACKETS), None)


def _wrapped(piece: Node) -> Node | None:
    """The array of objects that is all that a piece holds, or that has the name of a wrapper."""
    arrays = [
        value
        for key, value in piece.members
        if value.kind == "[" and (len(piece.members) == 1 or key in OTHER_WRAPPERS)
    ]
    if len(arrays) != 1 or not arrays[0].members or any(row.kind != "{" for _, row in arrays[0].members):
        return None
    return arrays[0]
