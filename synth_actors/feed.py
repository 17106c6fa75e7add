"""How do many readers follow one paid call?

Chunks are data, not messages.  Each attempt owns one append-only list of texts, the `Feed` of a flight points at the
list of the current attempt, and a subscriber reads through a cursor at its own pace: it blocks nobody and holds no
token.
"""

from __future__ import annotations

from sys import getsizeof
from typing import Any

from synth_actors.reply import Reply
from synth_actors.types import Request


class Held:
    """How many bytes do the requests inside and the calls under way hold?  Plain ints, kept by the router.

    `requests_bytes` are the texts of every request that the router has, `sent_bytes` the part of them that calls under
    way are made for, `texts_bytes` the pieces of answers that have come to these calls so far.
    """

    __slots__ = ("requests_bytes", "sent_bytes", "texts_bytes")

    def __init__(self) -> None:
        self.requests_bytes = self.sent_bytes = self.texts_bytes = 0

    @property
    def queued_bytes(self) -> int:
        """Of requests that wait."""
        return self.requests_bytes - self.sent_bytes

    @property
    def calls_bytes(self) -> int:
        """Of requests under way, and of what was answered to them so far."""
        return self.sent_bytes + self.texts_bytes

    def __repr__(self) -> str:
        return f"<Held queued={self.queued_bytes} sent={self.sent_bytes} texts={self.texts_bytes}>"


def texts_bytes(request: Request) -> int:
    """What the texts of `request` take as Python holds them: one, two or four bytes a character, and the objects."""
    size = getsizeof(request.prompt or "") + getsizeof(request.system or "")
    for message in request.messages or ():
        size += getsizeof(message.content)
    return size


class Texts:
    """What one attempt has said so far.

    `size_bytes` is what the pieces take.  When it failed, and nothing more will come, `problem` says why.
    """

    __slots__ = ("endpoint", "pieces", "problem", "size_bytes")

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.pieces: list[str] = []
        self.size_bytes = 0
        self.problem: str | None = None


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

    def begin(self, endpoint: str) -> Texts:
        """Start the list of a new attempt at `endpoint`."""
        self.current = Texts(endpoint)
        return self.current

    def wake(self) -> None:
        """Tell every reader to look again."""
        for reader in self._readers or ():
            reader.nudge()
