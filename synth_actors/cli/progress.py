"""How far is it?  A bar on a terminal, a line every few seconds elsewhere; always on stderr."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Protocol

import typer

from synth_actors.datasets.report import RowsReport

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID


class Display(Protocol):
    """Is shown the figures every `interval_s`."""

    interval_s: float

    def show(self, report: RowsReport, note: str = "") -> None:
        """The figures now, and what keeps them from growing."""
        ...

    def say(self, line: str) -> None:
        """Something happened that should not wait for the next figures."""
        ...

    def close(self) -> None:
        """No more figures come.  May be called again."""
        ...


def display_for(*, rows_on_stdout: bool) -> Display:
    """A bar when stderr is a terminal on which no rows appear."""
    if sys.stderr.isatty() and not (rows_on_stdout and sys.stdout.isatty()):
        return Bar()
    return Lines()


class Lines:
    """One line every few seconds."""

    interval_s = 5.0

    def __init__(self) -> None:
        self._started_at: float | None = None

    def show(self, report: RowsReport, note: str = "") -> None:
        """Print a line; nothing at the start."""
        if self._started_at is None:
            self._started_at = time.monotonic()
            return
        typer.echo(line_of(report, time.monotonic() - self._started_at, note), err=True)

    def say(self, line: str) -> None:
        """Print it."""
        typer.echo(line, err=True)

    def close(self) -> None:
        """Nothing is left to show."""


def line_of(report: RowsReport, elapsed_s: float, note: str = "") -> str:
    """The figures as one line: `340 of 1000 rows, 34.0 rows/s, about 19 s to go`."""
    rate = report.valid / elapsed_s if elapsed_s > 0 else 0.0
    left = report.asked - report.valid - report.missing
    to_go = f", about {left / rate:.0f} s to go" if rate else ""
    lost = f", {report.missing} missing" if report.missing else ""
    return f"{report.valid} of {report.asked} rows{lost}, {rate:.1f} rows/s{to_go}{'; ' if note else ''}{note}"


class Bar:
    """A progress bar with rate and time to go, drawn by whoever calls `show`: no thread of its own."""

    interval_s = 0.1

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._started_at = 0.0

    def show(self, report: RowsReport, note: str = "") -> None:
        """Draw the bar."""
        if self._progress is None or self._task is None:
            self._progress = _new_bar()
            self._task = self._progress.add_task("rows", total=report.asked, rate="", note="")
            self._started_at = time.monotonic()
            self._progress.start()
        elapsed_s = time.monotonic() - self._started_at
        rate = f"{report.valid / elapsed_s:.1f} rows/s" if elapsed_s > 0 else ""
        self._progress.update(self._task, completed=report.valid, rate=rate, note=note)
        self._progress.refresh()

    def say(self, line: str) -> None:
        """Print it above the bar."""
        if self._progress is None:
            typer.echo(line, err=True)
        else:
            self._progress.console.print(line, markup=False, highlight=False)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._progress is not None:
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
