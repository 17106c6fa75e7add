"""What is written down around a paid call?

The seam where a job's journal hangs: give an `AttemptLog` to `open_engine` and it hears of every call before it is made
and of every whole answer as it arrives.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from synth_actors.types import Answer, Usage


@runtime_checkable
class AttemptLog(Protocol):
    """A record of calls.  Both methods are awaited by the attempt, so that a slow log slows calls, never loses them."""

    async def before_send(self, key: bytes, attempt: int, endpoint: str) -> None:
        """A call for the request with this `key` is about to be made: its `attempt`-th (from 1), to `endpoint`.

        An exception here fails the request before anything is paid.
        """
        ...

    async def received(self, key: bytes, attempt: int, answer: Answer, usage: Usage) -> None:
        """A whole answer arrived, valid or not, and cost `usage`.

        Shielded from cancellation, since the answer is paid; once the attempt was cancelled it may take 30 s.  An
        exception here fails the request.
        """
        ...


@runtime_checkable
class FailureLog(AttemptLog, Protocol):
    """An `AttemptLog` that also hears of calls which brought no whole answer."""

    def ended(self, key: bytes, attempt: int, message: str, usage: Usage, *, free: bool) -> None:
        """The call is over, however it ended: refused, broken off, timed out, stopped, or its answer was no use.

        `usage` is what is known to be used; `free` says that it was certainly not charged.  Told, not awaited, in the
        middle of clean-up: it must not raise, and may only write down.
        """
        ...
