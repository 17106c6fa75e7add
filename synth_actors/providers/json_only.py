"""Where is the JSON in an answer that was asked for in words?

A model that is asked for JSON in the prompt may still write a sentence before it or put a Markdown fence around it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synth_actors.providers.base import Emit

_OPENING = {"object": "{", "array": "["}
_IN_STRING = re.compile(r'["\\]')
_OUTSIDE = re.compile(r'["{}\[\]]')


class JsonOnly:
    """Lets the first whole object (or array, as the schema's root has it) through, and drops what stands around it.

    Incremental: `feed` gives what may be passed on, `end` what was held back if no JSON ever began, so that a wrong
    answer can be read in the error.  A schema of any other root type lets everything through as it is.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._opening = _opening(schema)
        self._before: list[str] = []  # what came before the JSON began
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._done = False

    def feed(self, text: str) -> str:
        """The part of `text` that belongs to the JSON."""
        if self._opening is None:
            return text
        if self._done:
            return ""
        if self._depth == 0:
            start = text.find(self._opening)
            if start < 0:
                self._before.append(text)
                return ""
            text = text[start:]
        return text[: self._inside(text)]

    def end(self) -> str:
        """The whole answer if no JSON began in it, else nothing."""
        return "" if self._depth or self._done else "".join(self._before)

    def _inside(self, text: str) -> int:
        """How much of `text` belongs to the JSON: from one letter that means something to the next."""
        at = 1 if self._escaped and text else 0
        self._escaped = self._escaped and not text
        while (found := (_IN_STRING if self._in_string else _OUTSIDE).search(text, at)) is not None:
            at = found.end()
            match found[0]:
                case '"':
                    self._in_string = not self._in_string
                case "\\":
                    self._escaped = at == len(text)
                    at += 1
                case "{" | "[":
                    self._depth += 1
                case "}" | "]":
                    self._depth -= 1
                    if self._depth == 0:
                        self._done = True
                        return at
        return len(text)


def _opening(schema: Mapping[str, Any]) -> str | None:
    for _ in range(8):  # `$ref` at the root, as pydantic writes it for a recursive model
        kind, ref = schema.get("type"), schema.get("$ref")
        if isinstance(kind, str):
            return _OPENING.get(kind)
        if not isinstance(ref, str) or not ref.startswith("#/$defs/"):
            return None
        schema = {"$defs": schema.get("$defs", {}), **schema.get("$defs", {}).get(ref.removeprefix("#/$defs/"), {})}
    return None


def plainly_no_json(text: str, schema: Mapping[str, Any]) -> bool:
    """Whether a whole answer cannot be the object or array that was asked for: proof that the schema was ignored."""
    opening = _opening(schema)
    return opening is not None and not text.lstrip().startswith(opening)


class AnswerText:
    """Collects the text of one answer and passes every piece on to `emit`, if somebody listens."""

    def __init__(self, emit: Emit | None, only: JsonOnly | None) -> None:
        self._emit = emit
        self._only = only
        self._pieces: list[str] = []

    def add(self, piece: str) -> None:
        """One more piece, as the server sent it."""
        self._keep(piece if self._only is None else self._only.feed(piece))

    def whole(self) -> str:
        """The text, once its last piece has arrived: the concatenation of what was emitted."""
        if self._only is not None:
            self._keep(self._only.end())
            self._only = None
        return "".join(self._pieces)

    def _keep(self, piece: str) -> None:
        if piece:
            self._pieces.append(piece)
            if self._emit is not None:
                self._emit(piece)
