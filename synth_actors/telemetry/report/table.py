"""How are figures shown in a table that fits on a phone?

It scrolls inside itself; the first column heads the rows; columns of figures stand to the right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from synth_actors.errors import ConfigError
from synth_actors.telemetry.report.markup import Html, element, joined
from synth_actors.telemetry.report.units import NONE

_FIGURE = re.compile(r"[-+<>=≤≥$ ]*\d")
_CLASSES = {"yes": "good", "no": "bad"}
FACTS = ("what", "figure")
"""The head of a table of names and what they are, which goes without saying."""
_LONG = 32
"""Letters of a cell: shorter ones stay in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Cells as they are shown, each row as long as the head; `caption` is what it is a table of.

    Raises:
        ConfigError: a row is longer or shorter than the head.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.head):
                raise ConfigError(
                    f"Table {self.caption!r}: row {number} has {len(row)} cells; give {len(self.head)}, as the head has"
                )


def facts_table(caption: str, facts: Mapping[str, str]) -> Table:
    """Names and what they are."""
    return Table(caption=caption, head=FACTS, rows=tuple(facts.items()))


def table_html(table: Table, *, shows_caption: bool = True) -> Html:
    """The table in a box that scrolls; nothing without rows."""
    if not table.rows:
        return Html()
    figures = [at > 0 and _is_of_figures([row[at] for row in table.rows]) for at in range(len(table.head))]
    classes: list[dict[str, str]] = [{"class": "n"} if is_figure else {} for is_figure in figures]
    head = (element("th", {"scope": "col", **kind}, name) for kind, name in zip(classes, table.head, strict=True))
    body = (_row(row, classes) for row in table.rows)
    caption = {} if shows_caption else {"class": "unseen"}
    goes_without_saying = {"class": "unseen"} if tuple(table.head) == FACTS else {}
    return element(
        "div",
        {"class": "scroll", "role": "region", "tabindex": "0", "aria-label": table.caption},
        element(
            "table",
            {},
            element("caption", caption, table.caption),
            element("thead", goes_without_saying, element("tr", {}, *head)),
            element("tbody", {}, *body),
        ),
    )


def _row(cells: Sequence[str], classes: Sequence[Mapping[str, str]]) -> Html:
    first = element("th", {"scope": "row"}, cells[0])
    others = (_cell(cell, kind) for cell, kind in zip(cells[1:], classes[1:], strict=True))
    return element("tr", {}, first, joined(others))


def _cell(cell: str, kind: Mapping[str, str]) -> Html:
    if len(cell) > _LONG:
        return element("td", {"class": "long"}, cell)
    verdict = _CLASSES.get(cell)
    return element("td", kind if verdict is None else {"class": verdict}, cell)


def _is_of_figures(cells: Sequence[str]) -> bool:
    there = [cell for cell in cells if cell != NONE]
    return bool(there) and all(_FIGURE.match(cell) for cell in there)
