"""Which values do the columns of a row have?

A value is drawn by hashing seed, row and column, not the try: a row that is asked for again keeps its values.  A
column that is a property of the schema is binding: the model is told the value, and whatever it writes, the row gets
that value, so that weights and ranges come out as they were given.  Any other column, and every example, is only told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synth_actors.datasets.columns.column_draws import Draw, Maker, shown
from synth_actors.datasets.columns.column_specs import ColumnSpec
from synth_actors.datasets.columns.places import Places


@dataclass(frozen=True, slots=True)
class Column:
    """A column made ready; `path` leads to its property and is empty for one that is only told."""

    name: str
    path: tuple[str, ...]
    draw: Draw
    like: bool

    def words(self, row: int) -> str:
        """What the model is told: `plan = "pro"`."""
        value = self.draw(row)
        return f"{self.name} like {', '.join(map(shown, value))}" if self.like else f"{self.name} = {shown(value)}"


class Columns:
    """The columns of a job made ready: files are read, functions are imported, values are checked.

    Files and modules are looked for in `folder`, by default the current one.  `names` are all columns, `taken` those
    that are properties, `notes` says which are not.

    Raises:
        ConfigError: a column cannot be made ready; the message begins with `columns.NAME`.
    """

    def __init__(
        self, specs: Mapping[str, ColumnSpec], json_schema: Mapping[str, Any], *, seed: int, folder: Path = Path()
    ) -> None:
        self.names = tuple(specs)
        self._columns: list[Column] = []
        self._identity: dict[str, Any] = {}
        taken: set[str] = set()
        notes: list[str] = []
        places = Places(json_schema)
        for name, spec in specs.items():
            place = places.find(name)
            made = Maker(name, spec, place, seed, folder).make()
            like = spec.kind == "examples"
            path = () if place is None else place.path
            taken |= {name} if path else set()
            self._columns.append(Column(name, () if like else path, made.draw, like))
            self._identity[name] = made.identity
            notes += [_note(name, places.near(name))] if place is None and not like else []
        self.taken = frozenset(taken)
        self.notes = tuple(notes)
        self._binding = sorted((each for each in self._columns if each.path), key=lambda each: len(each.path))

    def __repr__(self) -> str:
        return f"<Columns {' '.join(self.names)}>"

    def words(self, row: int) -> list[str]:
        """What the model is told about `row`, counted from 0: a text for each column.

        Raises:
            ConfigError: a function of the user's failed, or gave what may not stand there.
        """
        return [column.words(row) for column in self._columns]

    def fill(self, row: int, value: Any) -> Any:
        """`value`, which came for `row`, with what the columns say; it is copied as far as it differs.

        Where no object stands that could hold a column, nothing is put: the schema will judge.

        Raises:
            ConfigError: as `words`.
        """
        for column in self._binding:
            value = _put(value, column.path, column.draw(row))
        return value

    def identity(self) -> dict[str, Any]:
        """What decides about the values, as JSON: of files their hash, of functions their name."""
        return dict(self._identity)


def _put(value: Any, path: tuple[str, ...], part: Any) -> Any:
    if not path:
        return part
    if not isinstance(value, dict) or (len(path) > 1 and path[0] not in value):
        return value
    return {**value, path[0]: _put(value.get(path[0]), path[1:], part)}


def _note(name: str, near: str | None) -> str:
    hint = f"did you mean {near!r}? " if near else ""
    return f"columns.{name}: is no property of the schema; {hint}it is only told to the model"
