"""What stands at one path of the rows, and at the paths below it?

The bounds of one path: 1,536 counted values, 2,048 digests, 4,096 sampled numbers or 512 sampled texts of at most 400
characters, a dozen extremes: mostly 0.3 MB, 0.8 MB where all texts are long and of the widest characters.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, compress
from math import log
from typing import Any

from synth_actors.datasets.quality.number_stats import LengthStats, NumberStats
from synth_actors.datasets.quality.quality_report import Column
from synth_actors.datasets.quality.sketches import Cardinality, Rows, digest
from synth_actors.datasets.quality.strange import BEYOND, KIND_NAMES, MIN_SAMPLE, PER_COLUMN, Strange, shown, strangest
from synth_actors.datasets.quality.text_stats import TextStats, label_of, listed
from synth_actors.datasets.references import resolve

MAX_PATHS = 200
MAX_DEPTH = 8
"""Objects and arrays that stand deeper are counted, not entered."""
MAX_NAME = 200
"""Characters of a path; longer ones are left out."""
SHOWN_VALUES = 10
LOW_CARDINALITY = 100
"""Different values up to which the entropy says something."""
CONSTANT_SHARE = 0.95

_KINDS: dict[type, str] = {
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
    dict: "object",
    list: "array",
}
_JSON_TYPES: dict[type, str] = {**_KINDS, int: "integer"}
_SIMPLE_KEY = re.compile(r"[^.\[\]\"\s]+")


class Paths:
    """How many paths may still be looked at, and what was left out."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self.free = MAX_PATHS
        self.values_left_out = 0
        self._left_out = Cardinality()

    def take(self, path: str, depth: int) -> bool:
        """Whether there is a place for `path`; otherwise it is counted as left out."""
        if self.free and depth <= MAX_DEPTH and len(path) <= MAX_NAME:
            self.free -= 1
            return True
        self._left_out.add([digest(path)])
        return False

    @property
    def left_out(self) -> int:
        """About how many paths were left out."""
        return round(self._left_out.estimate())


class ColumnStats:
    """The values at `path`, by kind; `schema` is what the schema says of it, resolved."""

    def __init__(self, path: str, schema: Any, paths: Paths, depth: int = 0) -> None:
        self.path = path
        self.schema = resolve(schema, paths.root)
        self.depth = depth
        self.types: Counter[type] = Counter()
        self.children: dict[str, ColumnStats] = {}
        self.items: ColumnStats | None = None
        self._paths = paths
        self._texts = TextStats(self.schema, path)
        self._numbers = NumberStats()
        self._lengths = LengthStats()
        self._trues = 0
        self._unseen: dict[str, dict[Any, None]] = {kind: {} for kind in ("string", "number", "boolean", "null")}
        for value in listed(self.schema.get("enum")):
            if (kind := _KINDS.get(type(value))) in self._unseen:
                self._unseen[kind][value] = None

    # -- adding --------------------------------------------------------------------------------------------------------
    def add(self, values: Sequence[Any], rows: Rows) -> None:
        """At least one value, and the rows.

        Raises:
            TypeError: one is no JSON value.
        """
        types = list(map(type, values))
        counted = Counter(types)
        if not counted.keys() <= _KINDS.keys():
            wrong = next(one for one in counted if one not in _KINDS)
            raise TypeError(f"{self.path}: {wrong.__name__} is no JSON type")
        self.types.update(counted)
        kinds = list(dict.fromkeys(_KINDS[one] for one in counted))
        if len(kinds) == 1:
            self._add_kind(kinds[0], values, rows)
            return
        for kind in kinds:
            here = [_KINDS[one] == kind for one in types]
            self._add_kind(kind, list(compress(values, here)), rows.where(here))

    def _add_kind(self, kind: str, values: Sequence[Any], rows: Rows) -> None:
        if unseen := self._unseen.get(kind):
            for value in set(values).intersection(unseen):
                del unseen[value]
        match kind:
            case "string":
                self._texts.add(values, rows)
            case "number":
                self._numbers.add(values, rows)
            case "boolean":
                self._trues += sum(values)
            case "object":
                self._add_objects(values, rows)
            case "array":
                self._add_arrays(values, rows)

    def _add_objects(self, values: Sequence[dict[str, Any]], rows: Rows) -> None:
        entered = 0
        for key in dict.fromkeys(chain.from_iterable(values)):
            column = self.children.get(key) or self._new_child(key)
            if column is None:
                continue
            try:
                found = [value[key] for value in values]
            except KeyError:  # not all have it
                here = [key in value for value in values]
                found = [value[key] for value in compress(values, here)]
                column.add(found, rows.where(here))
            else:
                column.add(found, rows)
            entered += len(found)
        self._paths.values_left_out += sum(map(len, values)) - entered

    def _new_child(self, key: str) -> ColumnStats | None:
        schema = _mapping(self.schema.get("properties")).get(key, {})
        path = key if key.isprintable() and _SIMPLE_KEY.fullmatch(key) else json.dumps(key)
        path = f"{self.path}.{path}" if self.depth else path
        if not self._paths.take(path, self.depth + 1):
            return None
        self.children[key] = ColumnStats(path, schema, self._paths, self.depth + 1)
        return self.children[key]

    def _add_arrays(self, values: Sequence[list[Any]], rows: Rows) -> None:
        lengths = list(map(len, values))
        self._lengths.add(lengths)
        items = list(chain.from_iterable(values))
        if not items:
            return
        column = self.items or self._new_items()
        if column is None:
            self._paths.values_left_out += len(items)
            return
        column.add(items, rows.of_items(lengths))

    def _new_items(self) -> ColumnStats | None:
        path = f"{self.path}[]"
        if self._paths.take(path, self.depth + 1):
            self.items = ColumnStats(path, self.schema.get("items", {}), self._paths, self.depth + 1)
        return self.items

    def declare(self) -> list[ColumnStats]:
        """Make the columns that the schema names right below; they come back, without those that were there before."""
        made = [self._new_child(key) for key in _mapping(self.schema.get("properties")) if key not in self.children]
        if isinstance(self.schema.get("items"), Mapping) and self.items is None:
            made.append(self._new_items())
        return [column for column in made if column is not None]

    # -- reporting -----------------------------------------------------------------------------------------------------
    def leaves(self, asked: int = 0) -> Iterator[tuple[ColumnStats, int]]:
        """This column and those below it that hold values, each with how many objects could have had it."""
        inner = bool(self.children) and not self.types.keys() - {dict}
        if not inner and (self.depth or self.types.keys() - {dict}):
            yield self, asked
        for column in self.children.values():
            yield from column.leaves(self.types[dict])
        if self.items:
            yield from self.items.leaves(self.items.types.total())

    def strange(self) -> list[Strange]:
        """The strangest values here."""
        return strangest(self._texts.strange(self.path) + self._numbers.strange(self.path), PER_COLUMN)

    def report(self, asked: int) -> Column:
        """The figures now; `asked` objects could have had this path."""
        present, nulls, booleans = self.types.total(), self.types[type(None)], self.types[bool]
        counts, distinct = self._counts(), self._distinct()
        exact = self._texts.frequencies.exact and self._numbers.frequencies.exact
        error = max(self._texts.frequencies.error, self._numbers.frequencies.error)
        beyond = self._numbers.beyond
        scalars = present - nulls - self.types[dict] - self.types[list] - beyond
        unseen = tuple(shown(value) for kind in self._unseen.values() for value in kind)
        return Column(
            path=self.path,
            present=present,
            absent=asked - present,
            nulls=nulls,
            types=self._type_names(),
            distinct=distinct,
            distinct_exact=exact,
            distinct_share=distinct / scalars if distinct is not None and scalars else None,
            top=_top(counts, error),
            top_error=error,
            unseen=unseen,
            entropy=_entropy([count for _, count in counts], len(unseen)) if exact else None,
            constant=_constant([*counts, ("null", nulls)], present),
            true_share=self._trues / booleans if booleans else None,
            numbers=self._numbers.report(),
            texts=self._texts.lengths.report(),
            items=self._lengths.report(),
            times=self._texts.times.report(),
            words=self._texts.words_report(),
            oddities=self._texts.oddities() | ({KIND_NAMES[BEYOND]: beyond} if beyond else {}),
        )

    def _type_names(self) -> dict[str, int]:
        return {_JSON_TYPES[one]: count for one, count in self.types.most_common()}

    def _distinct(self) -> int | None:
        if self.types[dict] or self.types[list]:
            return None
        booleans = (self._trues > 0) + (self._trues < self.types[bool])
        return self._texts.frequencies.distinct + self._numbers.frequencies.distinct + booleans

    def _counts(self) -> list[tuple[str, int]]:
        texts = [(label_of(key), count) for key, count in self._texts.frequencies.counts.items()]
        numbers = [(shown(key), count) for key, count in self._numbers.frequencies.counts.items()]
        booleans = [("true", self._trues), ("false", self.types[bool] - self._trues)]
        found = [*texts, *numbers, *(pair for pair in booleans if pair[1])]
        return sorted(found, key=lambda pair: -pair[1])  # stable: among equals the first one seen


def _top(counts: Sequence[tuple[str, int]], error: int) -> tuple[tuple[str, int], ...]:
    if not counts or counts[0][1] == 1:
        return ()
    return tuple(pair for pair in counts[:SHOWN_VALUES] if pair[1] > error)


def _entropy(counts: Sequence[int], unseen: int) -> float | None:
    """Normalised by what could have come: the values that did, and those of the `enum` that did not."""
    total, possible = sum(counts), len(counts) + unseen
    if not 0 < len(counts) <= LOW_CARDINALITY or total < 2 * len(counts):
        return None
    if possible == 1:
        return 0.0
    entropy = sum(count / total * log(total / count) for count in counts) / log(possible)
    return round(entropy, 6)  # the last digits of a logarithm are not the same on every machine


def _constant(counts: Sequence[tuple[str, int]], present: int) -> str | None:
    value, count = max(counts, key=lambda pair: pair[1])
    return value if present >= MIN_SAMPLE and count > CONSTANT_SHARE * present else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
