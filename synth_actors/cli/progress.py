"""How far is it?  A bar on a terminal, a line every few seconds elsewhere; always on stderr."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Protocol

import typer

from synth_actors.datasets.report import RowsReport
from synth_actors.engine import Engine
from synth_actors.snapshot import Snapshot

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID


class Display(Protocol):
    """Is shown the figures every `interval_s`."""

    interval_s: float

    def watch(self, engine: Engine | None) -> None:
        """Whose figures are shown beside the rows, if any; None: nothing needs to be asked."""
        ...

    def show(self, report: RowsReport, note: str = "") -> None:
        """The figures now, and what keeps them from growing."""
        ...

    def say(self, line: str) -> None:
        """Something happened that should not wait for the next figures."""
        ...

    def close(self, report: RowsReport | None = None, snapshot: Snapshot | None = None) -> None:
        """No more figures come; these are the last, unless the run broke off.  May be called again."""
        ...


def display_for(*, rows_on_stdout: bool, budget_usd: float | None = None, live: bool = False) -> Display:
    """A bar when stderr is a terminal on which no rows appear, or, if wanted `live`, everything that is known."""
    rows_come_between = rows_on_stdout and sys.stdout.isatty()
    if _can_be_drawn_on() and not rows_come_between:
        if not live:
            return Bar(budget_usd)
        from synth_actors.cli.live import LiveView

        return LiveView()
    if live:
        why = "rows go to it" if _can_be_drawn_on() else "stderr is none, or TERM says so"
        typer.echo(f"--live needs a terminal: {why}; lines instead", err=True)
    return Lines(budget_usd)


def _can_be_drawn_on() -> bool:
    """Whether stderr is a terminal on which what stands there can be drawn anew."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


WAITING_INTERVAL_S = 60.0
"""How often it is said that there is nothing new."""


class Lines:
    """One line every few seconds; while nothing comes, one a minute."""

    interval_s = 5.0

    def __init__(self, budget_usd: float | None = None) -> None:
        self._budget_usd = budget_usd
        self._started_at: float | None = None
        self._first: RowsReport | None = None
        self._said: tuple[int, int] | None = None
        self._said_at = 0.0

    def watch(self, engine: Engine | None) -> None:
        """Rows are all that a line tells of."""

    def show(self, report: RowsReport, note: str = "") -> None:
        """Print a line; nothing at the start, and nothing that was just said."""
        now = time.monotonic()
        if self._started_at is None or self._first is None:
            self._started_at, self._first = now, report
            return
        figures = (report.valid, report.missing)
        if figures == self._said and now - self._said_at < WAITING_INTERVAL_S:
            return
        self._said, self._said_at = figures, now
        elapsed_s = now - self._started_at
        typer.echo(line_of(report, elapsed_s, note, before=self._first.valid, budget_usd=self._budget_usd), err=True)

    def say(self, line: str) -> None:
        """Print it."""
        typer.echo(line, err=True)

    def close(self, report: RowsReport | None = None, snapshot: Snapshot | None = None) -> None:
        """Nothing is left to show: the summary has the last figures."""


def line_of(
    report: RowsReport, elapsed_s: float, note: str = "", *, before: int = 0, budget_usd: float | None = None
) -> str:
    """The figures as one line: `340 of 1000 rows, 34.0 rows/s, about 19 s to go, $0.12 of $5`.

    `before` rows were there when this run began.
    """
    rate = max(0, report.valid - before) / elapsed_s if elapsed_s > 0 else 0.0  # repeated rows are taken back
    left = report.asked - report.valid - report.missing
    to_go = f", about {left / rate:.0f} s to go" if rate else ""
    lost = f", {report.missing} missing" if report.missing else ""
    text = f"{report.valid} of {report.asked} rows{lost}, {rate:.1f} rows/s{to_go}{money(report, budget_usd)}"
    return f"{text}; {note}" if note else text


def money(report: RowsReport, budget_usd: float | None) -> str:
    """What it cost so far, where it costs something: `, $0.12 of $5`."""
    cost_usd = report.usage.cost_usd
    if not cost_usd:
        return ""
    return f", ${cost_usd:.2f}" if budget_usd is None else f", ${cost_usd:.2f} of ${budget_usd:g}"


class Bar:
    """A progress bar with rate and time to go, drawn by whoever calls `show`: no thread of its own."""

    interval_s = 0.1

    def __init__(self, budget_usd: float | None = None) -> None:
        self._budget_usd = budget_usd
        self._before = 0
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._started_at = 0.0

    def watch(self, engine: Engine | None) -> None:
        """Rows are all that a bar tells of."""

    def show(self, report: RowsReport, note: str = "") -> None:
        """Draw the bar."""
        if self._progress is None or self._task is None:
            self._progress = _new_bar()
            self._task = self._progress.add_task("rows", total=report.asked, rate="", note="")
            self._started_at = time.monotonic()
            self._before = report.valid
            self._progress.start()
        elapsed_s = time.monotonic() - self._started_at
        rate = f"{max(0, report.valid - self._before) / elapsed_s:.1f} rows/s" if elapsed_s > 0 else ""
        rate += money(report, self._budget_usd)
        self._progress.update(self._task, completed=report.valid, rate=rate, note=note)
        self._progress.refresh()

    def say(self, line: str) -> None:
        """Print it above the bar."""
        if self._progress is None:
            typer.echo(line, err=True)
        else:
            self._progress.console.print(line, markup=False, emoji=False, highlight=False)  # no name is a smiley

    def close(self, report: RowsReport | None = None, snapshot: Snapshot | None = None) -> None:  # noqa: ARG002 -- a bar has rows only
        """Leave the bar with the last figures."""
        if self._progress is not None:
            if report is not None:
                self.show(report)
            self._progress.stop()


def _new_bar() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    columns: list[ProgressColumn | str] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    columns += [TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TextColumn("to go"), TimeRemainingColumn()]
    one_line = Column(no_wrap=True, overflow="ellipsis")
    columns.append(TextColumn("{task.fields[note]}", markup=False, table_column=one_line))
    return Progress(*columns, console=Console(stderr=True), auto_refresh=False)
