"""How is the value of a column drawn?"""

from __future__ import annotations

import inspect
import json
import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import Any

from synth_actors.datasets.columns.column_specs import ColumnSpec, json_value
from synth_actors.datasets.columns.places import Place
from synth_actors.datasets.columns.ranges import MANY, range_of
from synth_actors.datasets.columns.value_files import read_values
from synth_actors.datasets.draws import hashed
from synth_actors.datasets.imports import Kind, named
from synth_actors.errors import ConfigError, text_of

Draw = Callable[[int], Any]
"""From the number of a row to the value of the column."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a column draws, and what decides about that, as JSON."""

    draw: Draw
    identity: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Maker:
    """What it takes to make the column `name` ready; `place` is None when it is no property."""

    name: str
    spec: ColumnSpec
    place: Place | None
    seed: int
    folder: Path

    def make(self) -> Made:
        """The column made ready.

        Raises:
            ConfigError: a file, a function or a value is wrong.
        """
        return _MAKERS[self.spec.kind](self)

    @property
    def where(self) -> str:
        """How messages begin."""
        return f"columns.{self.name}"

    def number(self, row: int, *more: int) -> int:
        """Uniform in 64 bits, of this row and this column."""
        return hashed(self.seed, row, self.name, *more)

    def checked(self, value: Any, *, text: bool = False) -> Any:
        """`value` if it may stand there; a `text` may mean the JSON value that it spells.

        Raises:
            ConfigError: it may not.
        """
        if self.place is None:
            return value
        for found in _meanings(value, self.place.kind) if text else (value,):
            if self.place.problem(found) is None:
                return found
        problem = self.place.problem(value)
        raise ConfigError(f"{self.where}: {shown(value)} is not valid: {problem}{_hint(value)}")


_NEVER_TEXT = frozenset({"integer", "number", "boolean"})


def shown(value: Any) -> str:
    """A value as the model is told it."""
    return json.dumps(value, ensure_ascii=False)


def _meanings(text: str, kind: str | None) -> Iterator[Any]:
    """The text, and the JSON value that it spells if it spells one; the likelier one first, since a file is long."""
    if kind not in _NEVER_TEXT:
        yield text
    with suppress(ValueError):
        yield json_value(json.loads(text))


def _hint(value: Any) -> str:
    """RFC 3339 knows no time without an offset."""
    local = isinstance(value, str) and len(value) >= 19 and value[10:11] == "T" and value[19:] == ""
    return f"; write it with its offset: {value}Z" if local else ""


def _of_values(maker: Maker) -> Made:
    values, shares = list(maker.spec.values), maker.spec.shares
    identity: dict[str, Any] = {"values": values} | ({} if shares is None else {"weights": list(shares)})
    text = not isinstance(maker.spec.values, tuple)
    return Made(_one_of([maker.checked(value, text=text) for value in values], shares, maker), identity)


def _one_of(values: Sequence[Any], shares: Sequence[float] | None, maker: Maker) -> Draw:
    if shares is None:
        return lambda row: values[maker.number(row) % len(values)]
    upto = list(accumulate(shares))
    last = len(values) - 1

    def draw(row: int) -> Any:
        return values[min(bisect_right(upto, upto[-1] * (maker.number(row) / MANY)), last)]

    return draw


def _of_range(maker: Maker) -> Made:
    try:
        found = range_of(maker.spec, maker.place)
    except ValueError as exc:
        raise ConfigError(f"{maker.where}: {exc}") from None
    for value in found.some():
        maker.checked(value)
    low, high = (json_value(bound) for bound in maker.spec.bounds)
    identity = {"min": low, "max": high} | ({} if maker.spec.step is None else {"step": maker.spec.step})
    return Made(lambda row: found.at(maker.number(row) % found.count), identity)


def _of_file(maker: Maker) -> Made:
    assert maker.spec.file is not None
    path = maker.folder / maker.spec.file
    found = read_values(path, maker.spec.field, whole=False, where=maker.where)
    values = [maker.checked(value, text=found.texts) for value in found.values]
    return Made(_one_of(values, None, maker), _identity_of(path, maker.spec.field, found.sha256))


def _identity_of(path: Path, field: str | None, sha256: str) -> dict[str, Any]:
    return {"format": path.suffix.lower(), "sha256": sha256} | ({} if field is None else {"field": field})


def _of_examples(maker: Maker) -> Made:
    spec = maker.spec
    if isinstance(spec.examples, tuple):
        values = list(spec.examples)
        identity: Any = values
    else:
        path = maker.folder / spec.examples
        found = read_values(path, spec.field, whole=True, where=maker.where)
        values = found.values
        identity = _identity_of(path, spec.field, found.sha256)
    if len(values) < spec.per_row:
        raise ConfigError(f"{maker.where}: {len(values)} examples are fewer than per_row = {spec.per_row}; give more")

    def draw(row: int) -> list[Any]:
        """Fisher and Yates' shuffle, as far as it is needed, without touching the list."""
        moved: dict[int, int] = {}
        picked = []
        for index in range(spec.per_row):
            other = index + maker.number(row, index) % (len(values) - index)
            picked.append(values[moved.get(other, other)])
            moved[other] = moved.get(index, index)
        return picked

    return Made(draw, {"examples": identity, "per_row": spec.per_row})


def _of_python(maker: Maker) -> Made:
    given = maker.spec.python
    name = given if isinstance(given, str) else _name_of(given)
    where = f"{maker.where}: python = {name!r}"
    folders = dict.fromkeys([maker.folder.absolute(), Path.cwd()])
    function = named(given, _FUNCTIONS, where=where, folders=folders) if isinstance(given, str) else given
    if not callable(function) or inspect.iscoroutinefunction(function):
        kind = "an async function" if callable(function) else f"a {type(function).__name__}"
        raise ConfigError(f"{where} is {kind}; give a plain function of the row's number and a random.Random")

    def draw(row: int) -> Any:
        try:
            value = json_value(function(row, random.Random(maker.number(row))))
        except Exception as exc:  # the user's code
            raise ConfigError(f"{where}, row {row + 1}: {type(exc).__name__}: {text_of(exc)}; correct it") from exc
        problem = None if maker.place is None else maker.place.problem(value)
        if problem is not None:
            raise ConfigError(f"{where}, row {row + 1}: {shown(value)} is not valid: {problem}")
        return value

    draw(0)  # a wrong signature is said before anything is paid for
    return Made(draw, {"python": name})


def _name_of(function: Callable[..., Any]) -> str:
    kind = function if hasattr(function, "__qualname__") else type(function)
    return f"{kind.__module__}:{kind.__qualname__}"


def _functions_in(module: ModuleType) -> str:
    names = sorted(
        name
        for name, value in vars(module).items()
        if inspect.isroutine(value) and value.__module__ == module.__name__ and not name.startswith("_")
    )
    return f"its functions are {', '.join(names)}" if names else "it holds no function"


_FUNCTIONS = Kind("package.module:function", _functions_in)
_MAKERS: dict[str, Callable[[Maker], Made]] = {
    "values": _of_values,
    "min": _of_range,
    "file": _of_file,
    "examples": _of_examples,
    "python": _of_python,
}
