"""Where do objects and arrays stand in a text that is not just JSON?

One pass over the text, which knows strings, comments and brackets, and nothing of what is between them.  What was never
closed says so: the reader must not take the half for the whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MOST_DEPTH = 200
"""Brackets within brackets; the JSON parser takes no more either."""
MOST_PIECES = 10_000
"""More is no answer with rows."""

_CLOSES = r"""(?=\s*(?:[,:}\]\#]|/[/*]|\Z)|[^\S\n]*\n\s*["']|\s+["'][^"'\\\n]{1,60}["']\s*:)"""
TOKEN = re.compile(
    rf"""(?P<nothing>\s+|//[^\n]*|\#[^\n]*|/\*(?:[^*]|\*(?!/))*(?:\*/)?)
    |(?P<string>"(?:[^"\\]|\\.|"(?!{_CLOSES}))*"(?={_CLOSES})|'(?:[^'\\]|\\.|'(?!{_CLOSES}))*'(?={_CLOSES}))
    |(?P<unclosed>["'])
    |(?P<mark>[][{{}},:])
    |(?P<word>[^\s"{{}}\[\],:]+)""",
    re.DOTALL | re.VERBOSE,
)
"""A quote ends its string only where JSON could go on: `"He said "no" and left"` is one string.

No possessive repetition: before Python 3.11.5 one with a look ahead in it matches nothing.
"""

BRACKETS = ("{", "[")
_QUOTES = ('"', "'")

_OPENING = re.compile(
    r"""\{(?=\s*(?:["'}#]|/[/*]|[\w$]+\s*:))
    |\[(?=\s*(?:["'{\[\]\d#-]|/[/*]|(?:true|false|null|True|False|None)\b))
    |</think(?:ing)?>""",
    re.VERBOSE,
)
"""Brackets that prose does not use, or not so; and the end of thoughts whose beginning stood in the prompt."""


@dataclass(slots=True, eq=False)
class Node:
    """A value, `text[start:end]`; `end` is None when the text ended before it did.

    `kind` is its bracket, `"` for a string, "" for a word.  `broken`: brackets are missing in it, or it is several
    values side by side.  `members` are the values in it, under their keys; under "" in an array.
    """

    kind: str
    start: int
    end: int | None = None
    broken: bool = False
    members: list[tuple[str, Node]] = field(default_factory=list)

    def sound(self) -> bool:
        """Whether all its brackets are there."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            if node.end is None or (node.broken and node.kind):
                return False
            waiting += [member for _, member in node.members]
        return bool(self.kind)


def pieces_in(text: str) -> list[Node]:
    """The outermost objects and arrays of a text, in order, `MOST_PIECES` at most; none before the end of thoughts."""
    found: list[Node] = []
    at = 0
    while len(found) < MOST_PIECES and (opening := _OPENING.search(text, at)) is not None:
        if opening[0][0] == "<":
            found.clear()
            at = opening.end()
            continue
        scan = _Scan(text, opening.start())
        at = scan.run()
        found.append(scan.root)
    return found


class _Open:
    """A bracket that is not closed yet, and what came in it since the last comma."""

    __slots__ = ("key", "node", "recent")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.key = ""
        self.recent: list[Node] = []

    def name(self, text: str) -> None:
        """A colon: what came was a key."""
        if self.node.kind == "{" and not self.key and self.recent:
            self.key = text[self.recent[0].start : self.recent[-1].end].strip("\"'")
            self.recent = []

    def settle(self) -> None:
        """A comma or the end: what came was one value; in an array objects may lack the comma between them."""
        values, self.recent = self.recent, []
        if len(values) > 1 and not (self.node.kind == "[" and all(value.kind in BRACKETS for value in values)):
            members = [("", value) for value in values]
            values = [Node("", values[0].start, values[-1].end, broken=True, members=members)]
        self.node.members += [(self.key, value) for value in values]
        self.key = ""


class _Scan:
    """Reads one outermost value; `root` is complete after `run`."""

    def __init__(self, text: str, start: int) -> None:
        self.root = Node(text[start], start)
        self._text = text
        self._stack = [_Open(self.root)]
        self._last = text[start]

    def run(self) -> int:
        """Read on until the root is closed or the text ends; where to go on."""
        at = self.root.start + 1
        while self._stack and (token := TOKEN.match(self._text, at)) is not None and token.lastgroup != "unclosed":
            at = token.end()
            if token.lastgroup != "nothing":
                self._take(token[0], token.start(), at)
                self._last = token[0]
            if len(self._stack) > MOST_DEPTH:
                break
        if not self._stack:
            return at
        self._end()
        return len(self._text)

    def _take(self, token: str, start: int, end: int) -> None:
        match token:
            case "{" | "[":
                self._open(token, start)
            case "}" | "]":
                self._close("{" if token == "}" else "[", end)
            case ",":
                self._stack[-1].settle()
            case ":":
                self._stack[-1].name(self._text)
            case _:
                self._stack[-1].recent.append(Node('"' if token[0] in _QUOTES else "", start, end))

    def _open(self, bracket: str, start: int) -> None:
        if bracket == "{" and self._stack[-1].node.kind == "{" and self._last == "," and len(self._stack) > 1:
            self._leave(start, broken=True)  # an object where a key must stand: the one before was not closed
            self._stack[-1].settle()
        node = Node(bracket, start)
        self._stack[-1].recent.append(node)
        self._stack.append(_Open(node))

    def _close(self, bracket: str, end: int) -> None:
        top = self._stack[-1].node
        if top.kind == bracket:
            self._leave(end, broken=False)
        elif bracket == "{" and self._stack[-1].recent and self._stack[-1].recent[-1].kind == "{":
            return  # one brace too many after an object in an array
        elif any(each.node.kind == bracket for each in self._stack):
            while self._stack[-1].node.kind != bracket:
                self._leave(end, broken=True)
            self._leave(end, broken=len(self._stack) > 2)

    def _leave(self, end: int, *, broken: bool) -> None:
        left = self._stack.pop()
        left.settle()
        left.node.end = end
        left.node.broken |= broken

    def _end(self) -> None:
        """The text ended, or is too deep.  A word at its end may lack its rest; what has an end of its own does not."""
        for each in reversed(self._stack):
            if each.recent and not each.recent[-1].kind:
                each.recent[-1].end = None
            each.settle()
