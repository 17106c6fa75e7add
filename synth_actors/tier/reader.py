"""How long does a request wait for a disk that does not answer?

A thread that hangs in a disk (a network mount whose server has gone) cannot be ended.  So one thread reads, and another
looks from time to time how long it has been at one question; when that is too long, whoever waits is told that there is
nothing, and nothing more is asked until the thread has come back and a pause is over.  Time is that of the wall, not
trio's, which tests set.  An answer comes straight back into the trio loop: two switches between threads a question.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

import trio

from synth_actors.policy.durable import Pause, pause_after
from synth_actors.tier.disk import Disk
from synth_actors.tier.rows import FORMAT

logger = logging.getLogger("synth_actors")

LOOKS = 4
"""How often the patience with a question is looked at before it is over."""

Ask = Callable[[sqlite3.Connection], bool]


class _Question:
    """What is to be found in the file, and the task that waits for it, None when that one has left.

    `answer` or `error` hold when it is `done`; `given_up` when that took too long.
    """

    __slots__ = ("answer", "ask", "begun_at", "done", "error", "given_up", "task")

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.begun_at = 0.0
        self.done = threading.Event()
        self.given_up = False
        self.answer: bool | None = None
        self.error: BaseException | None = None
        self.task: trio.lowlevel.Task | None = None

    def wake(self) -> None:
        """Whoever waits goes on."""
        if self.task is not None:
            trio.lowlevel.reschedule(self.task)
            self.task = None


class TierReader:
    """The thread that reads.  `reason` says that the disk hangs and what helps; None while it answers."""

    def __init__(self, disk: Disk, patience_s: float) -> None:
        self.reason: str | None = None
        self._disk = disk
        self._patience_s = patience_s
        self._questions: queue.SimpleQueue[_Question | None] = queue.SimpleQueue()
        self._open: dict[_Question, None] = {}  # asked and not answered
        self._in_hand: _Question | None = None  # the reading thread's
        self._abandoned: _Question | None = None
        self._pause: Pause | None = None
        self._answers_since: float | None = disk.now
        self._was_told = False
        self._ended = threading.Event()
        self._trio = trio.lowlevel.current_trio_token()
        name = f"{FORMAT.what} {disk.path.name}"
        self._thread = threading.Thread(target=self._run, name=f"{name} reads", daemon=True)
        self._watch = threading.Thread(target=self._look_at_it, name=f"{name} watches", daemon=True)

    def __repr__(self) -> str:
        return f"<TierReader {self._disk.path.name}{' hung' if self.reason else ''}>"

    def start(self) -> None:
        """Begin.  Raises `RuntimeError` when the system has no thread left."""
        self._thread.start()
        self._watch.start()

    def end(self) -> None:
        """No more questions; a thread that hangs is left to itself."""
        self._questions.put(None)
        self._ended.set()

    async def ask(self, ask: Ask) -> bool | None:
        """What `ask` returns in the thread; None when the file cannot be read now.  Waits for a bounded time.

        After None, or a cancellation, `ask` may still be under way.
        """
        if not self.look_again():
            await trio.lowlevel.checkpoint()
            return None
        question = _Question(ask)
        self._open[question] = None
        self._questions.put(question)

        def leave(_: object) -> trio.lowlevel.Abort:
            question.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        # The answer comes through the trio loop, so never before this task sleeps.
        question.task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(leave)
        if question.given_up:
            return None
        if self._was_told:  # at the level of the warning, and the next trouble is a new one
            self._was_told = False
            logger.warning("%s %s: answers again", FORMAT.what, self._disk.path)
        if question.error is not None:
            raise question.error
        return question.answer

    def look_again(self) -> bool:
        """Whether it may be asked: it never hung, or has come back and its pause is over."""
        if self._abandoned is None or self._pause is None:
            return True
        if not self._abandoned.done.is_set() or self._disk.now < self._pause.over_at:
            return False
        self._abandoned, self.reason, self._answers_since = None, None, self._disk.now
        return True

    # ---------------------------------------------------------------------------------------------------- the threads

    def _run(self) -> None:
        while (question := self._questions.get()) is not None:
            if question.given_up:
                continue
            question.begun_at = monotonic()
            self._in_hand = question
            try:
                question.answer = self._disk.read(question.ask)
            except BaseException as exc:  # noqa: BLE001  # a bug: it belongs to whoever has asked
                question.error = exc
            self._in_hand = None
            question.done.set()
            self._tell(self._answered, question)

    def _look_at_it(self) -> None:
        while not self._ended.wait(self._patience_s / LOOKS):
            question = self._in_hand
            if question is not None and monotonic() - question.begun_at >= self._patience_s:
                self._tell(self._give_up, question)

    def _tell(self, what: Callable[[_Question], None], question: _Question) -> None:
        with suppress(trio.RunFinishedError):  # nobody waits any more
            self._trio.run_sync_soon(what, question)

    # --------------------------------------------------------------------------------------------------- the trio loop

    def _answered(self, question: _Question) -> None:
        self._open.pop(question, None)
        question.wake()

    def _give_up(self, question: _Question) -> None:
        """Nobody waits any longer; it is said once, until it has answered in time."""
        if question not in self._open:  # it was answered, or given up, meanwhile
            return
        waiting, self._open = self._open, {}
        for each in waiting:
            each.given_up = True
            each.wake()
        self._say_that_it_hangs(question)

    def _say_that_it_hangs(self, question: _Question) -> None:
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
