"""How is a run watched in the terminal while it goes on?

Figures are taken in trio's thread, since they are written there; the picture is drawn by a thread of its own, at most
four times a second, so that a slow terminal holds up no request and no Ctrl-C leaves the terminal half restored.  It is
drawn on the terminal's other screen: a resize cannot leave pieces of it behind.  When the run has ended, what was said
and the last figures stand on the usual screen.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from dataclasses import replace
from threading import Event, Thread
from typing import TYPE_CHECKING

from synth_actors.cli.live_frame import Frame, picture, plain
from synth_actors.datasets.report import RowsReport
from synth_actors.engine import Engine
from synth_actors.errors import EngineClosedError
from synth_actors.findings import Finding
from synth_actors.policy.bottlenecks import analyze
from synth_actors.policy.interval import PerformanceMetrics, between
from synth_actors.snapshot import Snapshot

if TYPE_CHECKING:
    from rich.console import Console

REFRESHES_PER_S = 4.0
RECENT_S = 5.0
"""What "now" is: long enough that slow calls end in it."""
FINDINGS_EVERY_S = 3.0
MOST_MESSAGES = 200
"""Of those that were said; older ones are counted."""
WITHOUT_LIMIT = 10_000
"""Lines: the last picture may scroll."""


class LiveView:
    """Shows a `Frame`, on `console` or on stderr."""

    interval_s = 1.0 / REFRESHES_PER_S

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console as RichConsole

        self._console = RichConsole(stderr=True) if console is None else console
        self._thread: Thread | None = None
        self._closing = Event()
        self._engine: Engine | None = None
        self._looks: deque[Snapshot] = deque()
        self._frame: Frame | None = None
        self._findings: tuple[Finding, ...] = ()
        self._analysed_at = 0.0
        self._started_at = 0.0
        self._before = 0
        self._said: deque[str] = deque(maxlen=MOST_MESSAGES)
        self._unprinted: deque[str] = deque(maxlen=MOST_MESSAGES)  # since the other screen is shown
        self._forgotten = 0

    def watch(self, engine: Engine | None) -> None:
        """Show the figures of `engine`, too."""
        self._engine = engine

    def show(self, report: RowsReport, note: str = "") -> None:
        """Take the figures; they are drawn soon."""
        now = time.monotonic()
        if self._frame is None:
            self._started_at, self._before = now, report.valid
        with suppress(EngineClosedError):
            self._look(now)
        self._frame = Frame(
            report=report,
            elapsed_s=now - self._started_at,
            before=self._before,
            note=note,
            snapshot=self._looks[-1] if self._looks else None,
            recent=self._recent(),
            findings=self._findings,
            messages=tuple(self._said),
        )
        if self._thread is None and self._engine is not None:  # else there is nothing to wait for
            self._thread = Thread(target=self._draw_until_closed, name="live view")
            self._thread.start()

    def _look(self, now: float) -> None:
        if self._engine is None:
            return
        snapshot = self._engine.metrics_now(histograms=True)
        self._looks.append(snapshot)
        while len(self._looks) > 2 and snapshot.taken_at_s - self._looks[1].taken_at_s >= RECENT_S:
            self._looks.popleft()
        if now - self._analysed_at >= FINDINGS_EVERY_S:
            self._analysed_at = now
            self._findings = analyze(snapshot).bottlenecks

    def _recent(self) -> PerformanceMetrics | None:
        if len(self._looks) < 2:
            return None
        return between(self._looks[0], self._looks[-1], cpu_s=0.0)

    def say(self, line: str) -> None:
        """Show it below the figures, and leave it on the usual screen at the end."""
        self._said.append(line)
        if self._thread is None or not self._thread.is_alive():
            self._print(line)
            return
        self._forgotten += len(self._unprinted) == MOST_MESSAGES
        self._unprinted.append(line)

    def close(self, report: RowsReport | None = None, snapshot: Snapshot | None = None) -> None:
        """Leave the last figures on the usual screen; `snapshot` has those of the whole run."""
        if self._frame is not None and report is not None:
            self._frame = replace(
                self._frame,
                report=report,
                elapsed_s=time.monotonic() - self._started_at,
                note="",
                snapshot=snapshot or self._frame.snapshot,
                recent=None,
                findings=(),  # the summary has them
            )
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    # ---------------------------------------------------------------------------------------------- in its thread

    def _draw_until_closed(self) -> None:
        with suppress(OSError):  # the terminal has gone, and nobody looks any more
            try:
                self._console.set_alt_screen(True)
                self._console.show_cursor(False)
                while not self._closing.is_set():
                    self._draw()
                    self._closing.wait(self.interval_s)
            finally:
                self._console.show_cursor(True)
                self._console.set_alt_screen(False)
            self._leave()

    def _draw(self) -> None:
        """All of it in one write, over what is there: nothing flickers, and an echoed ^C does not stay."""
        from rich.control import Control
        from rich.screen import Screen

        if (frame := self._frame) is None:
            return
        width, height = self._console.size
        with self._console:
            self._console.control(Control.home())
            self._console.print(Screen(picture(frame, width, height)))

    def _leave(self) -> None:
        if self._forgotten:
            self._print(f"({self._forgotten} earlier messages are left out)")
        for line in tuple(self._unprinted):
            self._print(line)
        if self._frame is not None:
            width = self._console.width
            self._console.print(picture(replace(self._frame, messages=()), width, WITHOUT_LIMIT))

    def _print(self, line: str) -> None:
        self._console.print(plain(line), markup=False, emoji=False, highlight=False, soft_wrap=True)
