"""In which order are the cases run?

All cases of a repeat, then all of the next: a machine that is busy for a while spoils one repeat of every case rather
than every repeat of one, and the median stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from benchmarks.case import Case, Load, Measured
from benchmarks.result import Row, row_of

Progress = Callable[[int, str], None]
"""Takes the number of the repeat (below 0: a warm-up) and the name of the case about to be measured."""


def run(
    suites: Mapping[str, tuple[Case, ...]], load: Load, *, iterations: int, warmup: int, progress: Progress
) -> tuple[Row, ...]:
    """Measure every case `iterations` times, after `warmup` times that do not count."""
    cases = [(suite, case) for suite, listed in suites.items() for case in listed]
    found: list[list[Measured]] = [[] for _ in cases]
    for repeat in range(-warmup, iterations):
        for (_, case), repeats in zip(cases, found, strict=True):
            progress(repeat, case.name)
            measured = case.measure(replace(load, repeat=repeat))
            if repeat >= 0:
                repeats.append(measured)
    return tuple(row_of(suite, case, repeats) for (suite, case), repeats in zip(cases, found, strict=True))
