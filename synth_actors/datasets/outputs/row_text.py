r"""Can a row be written as JSON, and if not, what in it cannot?

JSON is what every output starts from.  A row from JSON may still hold what no JSON in UTF-8 can: half of a surrogate
pair, which Python reads from `"\ud83d"`, and the infinity that it makes of `1e999`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from synth_actors.datasets.row_schema import row_json
from synth_actors.errors import SynthActorsError

KEEPS = ".jsonl keeps it as it is"
"""A remedy."""
_NOT_FINITE = (b"Infinity", b"NaN")


class RowRefusedError(SynthActorsError, ValueError):
    """An output cannot hold this row; nothing of it was written, and the rows before it stand.

    `problem` names the value and the reason in one line, `remedy` is what the user can do, if anything; `row` is the
    number of the row in the output, from 1, None when it was only looked at.
    """

    def __init__(self, problem: str, *, remedy: str = "", row: int | None = None) -> None:
        place = "" if row is None else f"row {row}: "
        super().__init__(f"{place}{problem}; {remedy}" if remedy else f"{place}{problem}")
        self.problem = problem
        self.remedy = remedy
        self.row = row


def text_of_row(row: Any) -> bytes:
    """`row` as compact JSON in UTF-8 from which all of it comes back.

    Raises:
        RowRefusedError: it holds what JSON in UTF-8 cannot carry.
    """
    try:
        text = row_json(row)
    except ValueError as exc:  # pydantic's error for what it cannot serialize
        raise RowRefusedError(_problem(row) or shown(str(exc))) from None
    if _suspect(row, text) and (problem := _problem(row)):
        raise RowRefusedError(problem)
    return text


def shown(value: Any) -> str:
    """`value` as one short line in which every character can be printed."""
    line = (value if isinstance(value, str) else repr(value)).encode("utf-8", "backslashreplace").decode()
    line = "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in line)
    return line if len(line) <= 80 else line[:77] + "..."


def joined(path: str, key: Any) -> str:
    """The path of a part of the value at `path`."""
    return f"{path}.{key}" if path else str(key)


def _suspect(row: Any, text: bytes) -> bool:
    """Cheap: whether a number may not be finite.  A model writes it as null, anything else by its name."""
    return any(name in text for name in _NOT_FINITE) or (isinstance(row, BaseModel) and b"null" in text)


def _problem(row: Any) -> str | None:
    value = row.model_dump(by_alias=True) if isinstance(row, BaseModel) else row
    problems = (_problem_of(path, leaf) for path, leaf in _leaves(value, ""))
    return next((problem for problem in problems if problem), None)


def _problem_of(path: str, leaf: Any) -> str | None:
    place = shown(path) or "the whole"
    if isinstance(leaf, float) and not math.isfinite(leaf):
        return f"{place}: is {leaf}, which JSON cannot carry; write a finite number"
    if isinstance(leaf, str):
        halves = (mark for mark in leaf if "\ud800" <= mark <= "\udfff")
        if half := next(halves, None):
            code = f"\\u{ord(half):04x}"
            return f"{place}: holds a lone surrogate ({code}), which UTF-8 cannot carry; write the whole character"
    return None


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every text, number and key in `value`, with its path."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield joined(path, key), key
            yield from _leaves(part, joined(path, key))
    elif isinstance(value, (list, tuple, set, frozenset)):
        for index, part in enumerate(value):
            yield from _leaves(part, joined(path, index))
    else:
        yield path, value
