"""What do the rows look like as a whole, said while they pass?"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from synth_actors.datasets.quality.column_stats import ColumnStats, Paths
from synth_actors.datasets.quality.quality_report import QualityReport
from synth_actors.datasets.quality.sketches import Rows
from synth_actors.datasets.quality.strange import OVERALL, strangest

BATCH_ROWS = 512
"""Rows that are looked at together: most of the work is then done in C."""


class Quality:
    """Figures of all rows so far, in a bounded memory: 512 rows, and about 0.3 MB (at worst 0.8 MB) for each path.

    A path is a place in the rows, as `address.city` or `tags[]`; the first 200 are looked at, those of `json_schema`
    (the JSON Schema of one row) before others.  The report follows from the rows, their numbers and their order alone:
    nothing is drawn at random, and a report in between changes none that comes later.
    """

    def __init__(self, json_schema: Mapping[str, Any]) -> None:
        self._paths = Paths(json_schema)
        self._root = ColumnStats("$", json_schema, self._paths)
        self._rows = 0
        self._waiting: list[tuple[Any, int]] = []
        _declare(self._root)

    def __repr__(self) -> str:
        return f"<Quality rows={self._rows}>"

    def add(self, row: Any, number: int) -> None:
        """A JSON value and the number of its row, each number once.  It may be looked at up to 511 rows later.

        Raises:
            TypeError: some row so far holds what is no JSON value.
        """
        self._rows += 1
        self._waiting.append((row, number))
        if len(self._waiting) == BATCH_ROWS:
            self._fold()

    def _fold(self) -> None:
        rows, numbers = zip(*self._waiting, strict=True)
        self._waiting.clear()
        self._root.add(rows, Rows.numbered(numbers))

    def report(self) -> QualityReport:
        """The figures of all rows so far.

        Raises:
            TypeError: some row holds what is no JSON value.
        """
        if not self._waiting:
            return self._report()
        whole = copy.copy(self)  # rounding follows the batches, which must not depend on who asked when
        whole._paths, whole._root = copy.deepcopy((self._paths, self._root))
        whole._waiting = self._waiting.copy()
        whole._fold()
        return whole._report()

    def _report(self) -> QualityReport:
        leaves = list(self._root.leaves())
        return QualityReport(
            rows=self._rows,
            not_objects=self._rows - self._root.types[dict],
            columns=tuple(column.report(asked) for column, asked in leaves),
            paths_left_out=self._paths.left_out,
            values_left_out=self._paths.values_left_out,
            strangest=tuple(strangest([one for column, _ in leaves for one in column.strange()], OVERALL)),
        )


def _declare(root: ColumnStats) -> None:
    """Make the columns that the schema names, those near the root first; what contains itself is entered once."""
    level: list[tuple[ColumnStats, tuple[int, ...]]] = [(root, ())]
    while level:
        below = []
        for column, outer in level:
            inner = column.schema.get("properties")  # stays one object, however many references lead to it
            if inner is None or id(inner) not in outer:
                known = (*outer, id(inner)) if inner is not None else outer
                below += [(child, known) for child in column.declare()]
        level = below
