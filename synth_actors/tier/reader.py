"""How long does a request wait for a disk that does not answer?

A thread that hangs in a disk (a network mount whose server has gone) cannot be ended.  So one thread reads, and who
asks waits for it in another, for a bounded time; then nothing more is asked until the thread has come back and a pause
is over.  Time is that of the wall, not trio's, which tests set.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from synth_actors.policy.durable import Pause, pause_after
from synth_actors.tier.disk import Disk
from synth_actors.tier.rows import FORMAT

logger = logging.getLogger("synth_actors")


@dataclass(slots=True)
class _Question:
    """What is to be found in the file: `answer` or `error` hold when it is `done`."""

    ask: Callable[[sqlite3.Connection], bool]
    done: threading.Event = field(default_factory=threading.Event)
    answer: bool | None = None
    error: BaseException | None = None


class TierReader:
    """The thread that reads.  `reason` says that the disk hangs and what helps; None while it answers."""

    def __init__(self, disk: Disk, patience_s: float) -> None:
        self.reason: str | None = None
        self._disk = disk
        self._patience_s = patience_s
        self._questions: queue.SimpleQueue[_Question | None] = queue.SimpleQueue()
        self._abandoned: _Question | None = None
        self._pause: Pause | None = None
        self._answers_since: float | None = disk.now
        self._was_told = False
        self._thread = threading.Thread(target=self._run, name=f"{FORMAT.what} {disk.path.name} reads", daemon=True)

    def __repr__(self) -> str:
        return f"<TierReader {self._disk.path.name}{' hung' if self.reason else ''}>"

    def start(self) -> None:
        """Begin.  Raises `RuntimeError` when the system has no thread left."""
        self._thread.start()

    def end(self) -> None:
        """No more questions; a thread that hangs is left to itself."""
        self._questions.put(None)

    def ask(self, ask: Callable[[sqlite3.Connection], bool]) -> bool | None:
        """What `ask` returns; None when the file cannot be read now.  Blocks, one question at a time.

        After None, `ask` may still be under way.
        """
        if not self.look_again():  # it was found to hang while this one waited for its turn
            return None
        question = _Question(ask)
        self._questions.put(question)
        if not question.done.wait(self._patience_s):
            self._give_up(question)
            return None
        if self._was_told:  # at the level of the warning, and the next trouble is a new one
            self._was_told = False
            logger.warning("%s %s: answers again", FORMAT.what, self._disk.path)
        if question.error is not None:
            raise question.error
        return question.answer

    def _run(self) -> None:
        while (question := self._questions.get()) is not None:
            try:
                question.answer = self._disk.read(question.ask)
            except BaseException as exc:  # noqa: BLE001  # a bug: it belongs to whoever has asked
                question.error = exc
            question.done.set()

    def _give_up(self, question: _Question) -> None:
        """Say so once, until it has answered in time."""
        self._pause = pause = pause_after(self._pause, opened_at=self._answers_since, now=self._disk.now)
        self._abandoned, self._answers_since = question, None
        self.reason = reason = (
            f"{FORMAT.what} {self._disk.path}: the disk did not answer within {self._patience_s:g} s; look at the disk,"
            " or choose a path on a local one"
        )
        if not self._was_told:
            self._was_told = True
            logger.warning(
                "%s; requests are answered without it: what it holds is paid again; it is asked again when it has"
                " answered, in %g s at the earliest",
                reason,
                pause.pause_s,
            )

    def look_again(self) -> bool:
        """Whether it may be asked: it never hung, or has come back and its pause is over."""
        if self._abandoned is None or self._pause is None:
            return True
        if not self._abandoned.done.is_set() or self._disk.now < self._pause.over_at:
            return False
        self._abandoned, self.reason, self._answers_since = None, None, self._disk.now
        return True
