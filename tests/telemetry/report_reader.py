"""What does a page hold for somebody who reads its source?

Python's own parser, which shares nothing with the writer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset({"br", "img", "link", "meta"})


@dataclass(slots=True)
class Node:
    """An element: attributes, and what is in it, in order."""

    name: str
    attributes: dict[str, str | None]
    children: list[Node | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text below it."""
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def all(self, name: str) -> list[Node]:
        """The elements of that name below it, in order."""
        found: list[Node] = []
        for child in self.children:
            if isinstance(child, Node):
                found += [child] * (child.name == name) + child.all(name)
        return found

    def everything(self) -> list[Node]:
        """All elements below it."""
        return [one for child in self.children if isinstance(child, Node) for one in (child, *child.everything())]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("", {})
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, dict(attrs))
        self._open[-1].children.append(node)
        if tag not in VOID:
            self._open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1].name == tag, f"</{tag}> ends <{self._open[-1].name}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)

    def close(self) -> None:
        super().close()
        assert self._open == [self.root], f"<{self._open[-1].name}> has no end"


def read(page: str) -> Node:
    """The root of the page; every element that is not void was ended, in order."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return reader.root


def tables(root: Node) -> dict[str, list[list[str]]]:
    """The cells of each table by its caption, the head first."""
    return {table.all("caption")[0].text: [_cells(row) for row in table.all("tr")] for table in root.all("table")}


def _cells(row: Node) -> list[str]:
    return [cell.text for cell in row.children if isinstance(cell, Node)]
