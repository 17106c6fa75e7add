"""How do many readers follow one paid call?

Chunks are data, not messages.  Each attempt owns one append-only list of texts, the `Feed` of a flight points at the
list of the current attempt, and a subscriber reads through a cursor at its own pace: it blocks nobody and holds no
token.
"""

from __future__ import annotations

from typing import Any

from synth_actors.reply import Reply
from synth_actors.usage import Usage


class Texts:
    """What one attempt has said so far.

    When it failed, `problem` says why; `usage` is then what this attempt and those before it have used.
    """

    __slots__ = ("endpoint", "pieces", "problem", "usage")

    def __init__(self, endpoint: str, usage: Usage) -> None:
        self.endpoint = endpoint
        self.pieces: list[str] = []
        self.problem: str | None = None
        self.usage = usage

    def fail(self, problem: str, usage: Usage) -> None:
        """Nothing more will come; `usage` is what this attempt alone has used."""
        self.problem = problem
        self.usage = self.usage + usage


class Feed:
    """The attempts of one flight, and who reads along."""

    __slots__ = ("_readers", "current")

    def __init__(self) -> None:
        self.current: Texts | None = None
        self._readers: set[Reply[Any]] | None = None  # most flights have none, and a set is large

    def join(self, reader: Reply[Any]) -> None:
        """`reader` reads along."""
        if self._readers is None:
            self._readers = set()
        self._readers.add(reader)
        reader.nudge()

    def quit(self, reader: Reply[Any]) -> None:
        """`reader` reads no more, if it ever did."""
        if self._readers is not None:
            self._readers.discard(reader)

    def begin(self, endpoint: str, usage: Usage) -> Texts:
        """Start the list of a new attempt at `endpoint`; `usage` is what the attempts before it have used."""
        self.current = Texts(endpoint, usage)
        return self.current

    def wake(self) -> None:
        """Tell every reader to look again."""
        for reader in self._readers or ():
            reader.nudge()
