"""How is a run watched in the terminal while it goes on?

Figures are taken in trio's thread, since they are written there; the picture is drawn in a thread of its own, at most
four times a second, so that a slow terminal holds up no request.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from contextlib import suppress
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
    from rich.console import Console, RenderableType
    from rich.live import Live

REFRESHES_PER_S = 4.0
RECENT_S = 5.0
"""What "now" is: long enough that slow calls end in it."""
FINDINGS_EVERY_S = 3.0
LEAST_COLUMNS = 20
SPARE_COLUMNS = 3
"""A terminal echoes ^C behind the last line; without room for it a new line would begin, and spoil the picture."""


def can_be_live() -> bool:
    """Whether stderr is a terminal that lets what stands on it be drawn anew."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


class LiveView:
    """Shows a `Frame`, on `console` or on stderr."""

    interval_s = 1.0 / REFRESHES_PER_S

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console as RichConsole

        self._console = RichConsole(stderr=True) if console is None else console
        self._live: Live | None = None
        self._engine: Engine | None = None
        self._looks: deque[Snapshot] = deque()
        self._frame: Frame | None = None
        self._findings: tuple[Finding, ...] = ()
        self._analysed_at = 0.0
        self._started_at = 0.0
        self._before = 0

    def watch(self, engine: Engine | None) -> None:
        """Show the figures of `engine`, too."""
        self._engine = engine

    def show(self, report: RowsReport, note: str = "") -> None:
        """Take the figures; they are drawn soon."""
        now = time.monotonic()
        if self._live is None:
            self._started_at, self._before = now, report.valid
            self._live = self._start()
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
        )

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
        """Print it above the picture."""
        self._console.print(plain(line), markup=False, emoji=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Draw the last figures and leave them there."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _start(self) -> Live:
        from rich.live import Live as RichLive

        live = RichLive(
            get_renderable=self._draw,
            console=self._console,
            refresh_per_second=REFRESHES_PER_S,
            transient=False,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        live.start()
        return live

    def _draw(self) -> RenderableType:
        from rich.constrain import Constrain

        frame, width = self._frame, max(LEAST_COLUMNS, self._console.width - SPARE_COLUMNS)
        return "" if frame is None else Constrain(picture(frame, width), width)
