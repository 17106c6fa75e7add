"""Does a figure fail, or was the machine busy?

A busy machine spoils a measurement, a slower engine all of them: a limit is not kept when it was not kept in any of
`TRIES` measurements.  Only the suites with lines that failed are measured again, and none when one line fails beyond
doubt: then the answer is known, and whoever broke something need not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.result import Report
from benchmarks.thresholds import Line, Thresholds, Verdict

TRIES = 3


def judge(
    thresholds: Thresholds, report: Report, measure: Callable[[Sequence[str]], Report], say: Callable[[str], None]
) -> Verdict:
    """What became of the limits in `report`, and in further measurements of what failed in it."""
    verdict = thresholds.judge(report)
    for number in range(2, TRIES + 1):
        failing = [line for line in verdict.failing if line.figure is not None]
        if not failing:
            break
        if sure := [line for line in failing if line.is_beyond_doubt]:
            say(f"nothing is measured again, beyond doubt: {'; '.join(str(line.limit) for line in sure)}")
            break
        suites = tuple(dict.fromkeys(line.limit.suite for line in failing))
        say(f"not kept so far: {'; '.join(str(line.limit) for line in failing)}")
        say(f"measuring {', '.join(suites)} again, {number} of {TRIES}")
        again = measure(suites)
        if again.is_interrupted:
            break
        verdict = _better(verdict, thresholds.judge(again))
    return verdict


def _better(first: Verdict, second: Verdict) -> Verdict:
    return Verdict(lines=tuple(_kept(one, other) for one, other in zip(first.lines, second.lines, strict=True)))


def _kept(one: Line, other: Line) -> Line:
    return one if one.passed or not other.was_asked else other
