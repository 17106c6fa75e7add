"""By how many times does a report beat the guide's targets?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.figures import number, spread_text
from benchmarks.result import Report
from benchmarks.thresholds import Line, read_thresholds

FILE: Final = Path(__file__).with_name("thresholds.toml")
PROFILE: Final = "guide"
HEAD: Final = ("target", "row", "measured [min - max]", "limit", "better by")


def targets_of(report: Report) -> Iterator[tuple[str, str, str, str, str]]:
    """A tuple as `HEAD` for each target whose suite was run; `-`: a multiple of nothing says nothing."""
    for line in read_thresholds(FILE, PROFILE).judge(report).lines:
        if line.was_asked:
            limit = line.limit
            bound = f"{'<=' if limit.at == 'most' else '>='} {limit.limit:,g}"
            yield limit.why, limit.case, _measured(line), bound, _times(line)


def _measured(line: Line) -> str:
    return line.problem or "" if line.figure is None else f"{spread_text(line.figure)} {line.unit}"


def _times(line: Line) -> str:
    times = None if line.figure is None else line.limit.times_better(line.figure.median)
    return "-" if times is None else f"{number(times)} x"
