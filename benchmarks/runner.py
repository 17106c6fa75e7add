"""In which order are the cases run?

All cases of a repeat, then all of the next: a machine that is busy for a while spoils one repeat of every case rather
than every repeat of one, and the median stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from benchmarks.case import Case, Load, Measured, NotMeasured
from benchmarks.result import Missing, Recorded, Row, row_of
from synth_actors.errors import ConfigError, SynthActorsError

Progress = Callable[[int, str], None]
"""Takes the number of the repeat (below 0: a warm-up) and the name of the case about to be measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What came of all cases: a row for each that was measured, and why the others were not.

    When it was interrupted, some were measured less often than asked for, or not at all.
    """

    rows: tuple[Row, ...]
    missing: tuple[Missing, ...]
    recordings: tuple[Recorded, ...]
    is_interrupted: bool


@dataclass(slots=True)
class _Repeats:
    suite: str
    case: Case
    measured: list[Measured] = field(default_factory=list)
    reason: str | None = None

    def is_due(self, repeat: int) -> bool:
        if self.reason is not None or (repeat < 0 and not self.case.is_warmed_up):
            return False
        return repeat <= 0 or not self.case.once

    def measure(self, load: Load) -> None:
        try:
            measured = self.case.measure(load)
        except NotMeasured as exc:
            self.reason = str(exc)
        except ConfigError:
            raise
        except SynthActorsError as exc:  # the endpoint fails, or the budget is spent: the other rows stay
            self.reason = f"{type(exc).__name__}: {exc}"
        else:
            if load.repeat >= 0:
                self.measured.append(measured)


def run(
    suites: Mapping[str, tuple[Case, ...]], load: Load, *, iterations: int, warmup: int, progress: Progress
) -> Found:
    """Measure every case `iterations` times, after `warmup` times that do not count.

    Ctrl-C ends it: what was measured until then is returned.
    """
    cases = [_Repeats(suite, case) for suite, listed in suites.items() for case in listed]
    is_interrupted = False
    try:
        for repeat in range(-warmup, iterations):
            for each in cases:
                if each.is_due(repeat):
                    progress(repeat, each.case.name)
                    each.measure(replace(load, repeat=repeat))
    except KeyboardInterrupt:
        is_interrupted = True
    for each in cases:
        if each.reason is None and not each.measured:
            each.reason = "interrupted before it was measured"
    return Found(
        rows=tuple(row_of(each.suite, each.case, each.measured) for each in cases if each.reason is None),
        missing=tuple(Missing(suite=m.suite, name=m.case.name, reason=m.reason) for m in cases if m.reason is not None),
        is_interrupted=is_interrupted,
        recordings=tuple(
            Recorded(suite=each.suite, recording=recording)
            for each in cases
            if each.measured and (recording := each.measured[-1].recording) is not None
        ),
    )
