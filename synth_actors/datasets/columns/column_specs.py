"""In which ways may a column vary?"""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, Strict, field_validator

from synth_actors.validated import Validated

Kind = Literal["values", "min", "file", "examples", "python"]
Bound = int | float | datetime.date

OPTIONS: dict[Kind, tuple[str, ...]] = {
    "values": ("weights",),
    "min": ("max", "step"),
    "file": ("field",),
    "examples": ("field", "per_row"),
    "python": (),
}
"""The kinds, each with the fields that go with it."""

ONE_KIND = "give exactly one of values, min and max, file, examples, python"


class ColumnSpec(Validated):
    """What varies in a column, in exactly one of five ways.

    `values`: one of a list, each with its share in `weights`, or of a table from text to share.  `min` to `max`: a
    number, a date or a datetime, both ends included, in steps of `step` (numbers; days of a date; seconds of a
    datetime).  `file`: one of the lines of a .txt file, of the values of a .jsonl file, or of a column of a .csv file;
    `field` names the column, or the key of the objects.  `examples`: a list or such a file, of which each row is told
    `per_row` as something to resemble.  `python`: a function, or its name as `package.module:function`, that is called
    with the number of the row, from 0, and a `random.Random`, and gives a JSON value; it depends on nothing else.
    """

    values: Any = None
    weights: tuple[Annotated[float, Strict()], ...] | None = None
    min: Any = None
    max: Any = None
    step: Any = None
    file: str | os.PathLike[str] | None = None
    field: str | None = None
    examples: Any = None
    per_row: Annotated[int, Strict()] = Field(default=1, ge=1, le=100)
    python: Any = None

    @property
    def kind(self) -> Kind:
        """Which of the ways it is."""
        return next(kind for kind in OPTIONS if getattr(self, kind) is not None)

    @property
    def shares(self) -> tuple[float, ...] | None:
        """The weights, wherever they were given."""
        return tuple(self.values.values()) if isinstance(self.values, Mapping) else self.weights

    @property
    def bounds(self) -> tuple[Bound, Bound]:
        """`min` and `max`."""
        return self.min, self.max

    @field_validator("values", "examples", mode="plain")
    @classmethod
    def _json_values(cls, value: Any) -> Any:
        if value is None or isinstance(value, str | os.PathLike):
            return value
        if isinstance(value, Mapping):
            return {text: _share(share) for text, share in value.items() if _text(text)}
        if not isinstance(value, Sequence):
            raise ValueError("give a list")
        return tuple(json_value(each) for each in value)

    @field_validator("weights")
    @classmethod
    def _above_zero(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        return None if value is None else tuple(_share(each) for each in value)

    @field_validator("min", "max", mode="plain")
    @classmethod
    def _number_or_day(cls, value: Any) -> Bound | None:
        if value is None or isinstance(value, datetime.date) or _is_number(value):
            return value  # type: ignore[no-any-return]
        raise ValueError("give a number, or a date without quotes: 2024-01-31")

    @field_validator("step", mode="plain")
    @classmethod
    def _positive(cls, value: Any) -> int | float | None:
        if value is None or (_is_number(value) and value > 0):
            return value  # type: ignore[no-any-return]
        raise ValueError("give a number above 0")

    @field_validator("python", mode="plain")
    @classmethod
    def _callable(cls, value: Any) -> str | Callable[..., Any] | None:
        if value is not None and not isinstance(value, str) and not callable(value):
            raise ValueError("give package.module:function")
        return value  # type: ignore[no-any-return]

    def _check(self) -> str | None:
        kinds = [kind for kind in OPTIONS if getattr(self, kind) is not None]
        if not kinds and (self.max is not None or self.step is not None):
            return "min is missing; give both min and max"
        if len(kinds) != 1:
            return f"{ONE_KIND}{', not ' + ' and '.join(kinds) if kinds else ''}"
        given = {name for name in self.model_fields_set if getattr(self, name) is not None}
        strange = sorted(given - {kinds[0], *OPTIONS[kinds[0]]})
        if strange:
            goes_with = next(kind for kind, options in OPTIONS.items() if strange[0] in options)
            return f"{strange[0]} goes with {goes_with}, not with {kinds[0]}; leave it out"
        return _CHECKS[kinds[0]](self)


def json_value(value: Any) -> Any:
    """`value` as JSON has it: a date or time as a text, a tuple as a list.

    Raises:
        ValueError: JSON has no such value; the message names it.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str) and value.encode(errors="ignore").decode() == value:  # no half of a surrogate pair
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: json_value(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(each) for each in value]
    raise ValueError(f"{value!r:.80} is no JSON value")


def _check_values(spec: ColumnSpec) -> str | None:
    if isinstance(spec.values, str | os.PathLike):
        return f'values = {os.fspath(spec.values)!r} is not valid: give a list; values of a file are file = "..."'
    if not spec.values:
        return "values = [] is not valid: give at least one"
    if isinstance(spec.values, Mapping) and spec.weights is not None:
        return "weights stand in the table of values already; leave weights out"
    if spec.weights is not None and len(spec.weights) != len(spec.values):
        return f"{len(spec.values)} values and {len(spec.weights)} weights: give each value one weight"
    return None


def _check_range(spec: ColumnSpec) -> str | None:
    if spec.max is None:
        return "max is missing; give both min and max"
    low, high = spec.bounds
    kinds = {_kind_of(low), _kind_of(high)}
    if len(kinds) > 1:
        return f"min is a {_kind_of(low)} and max a {_kind_of(high)}: give two of a kind"
    if kinds != {"number"} and not isinstance(spec.step, int | None):
        return f"step = {spec.step} is not valid: give whole days for dates, whole seconds for datetimes"
    if low > high:  # type: ignore[operator]
        return f"min = {low} is above max = {high}; exchange them"
    return None


def _check_examples(spec: ColumnSpec) -> str | None:
    if isinstance(spec.examples, Mapping):
        return "examples is a table; give a list, or a file"
    if not isinstance(spec.examples, str | os.PathLike):
        if spec.field is not None:
            return "field goes with a file, not with a list of examples; leave it out"
        if len(spec.examples) < spec.per_row:
            return f"{len(spec.examples)} examples are fewer than per_row = {spec.per_row}; give more"
    return None


def _nothing(_: ColumnSpec) -> None:
    """The fields say it all."""


_CHECKS: dict[Kind, Callable[[ColumnSpec], str | None]] = {
    "values": _check_values,
    "min": _check_range,
    "file": _nothing,
    "examples": _check_examples,
    "python": _nothing,
}


def _kind_of(bound: Bound) -> str:
    if isinstance(bound, datetime.datetime):
        return "datetime" if bound.tzinfo is None else "datetime with an offset"
    return "date" if isinstance(bound, datetime.date) else "number"


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _share(value: Any) -> float:
    if not _is_number(value) or value <= 0:
        raise ValueError(f"the weight {value!r} is none: give a number above 0")
    return float(value)


def _text(value: Any) -> bool:
    if not isinstance(value, str):
        raise ValueError(f"the value {value!r} is no text: give values = [...] and weights = [...]")
    return True
