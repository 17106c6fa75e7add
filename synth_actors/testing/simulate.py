"""How is a program run so that waiting takes no time and the same seed gives the same run?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar, TypeVarTuple

import trio
import trio._core._run as trio_run
from trio.testing import MockClock

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def simulate(run: Callable[[*Ts], Awaitable[T]], *args: *Ts, seed: int = 0) -> T:
    """`trio.run` under a clock that jumps to the next thing that happens as soon as nobody has anything to do.

    Which of several tasks that wake at the same moment goes first is drawn from `seed`, so a program whose own choices
    are seeded does the same every time.
    """
    with _seeded_scheduling(seed):
        return trio.run(run, *args, clock=MockClock(autojump_threshold=0.0))


@contextmanager
def _seeded_scheduling(seed: int) -> Iterator[None]:
    """What trio does for Hypothesis.

    Trio mixes the order of tasks on purpose, so that nobody relies on one; there is no public way to seed that.
    """
    before = trio_run._ALLOW_DETERMINISTIC_SCHEDULING
    setattr(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)  # noqa: B010  (it is declared Final)
    trio_run._r.seed(seed)
    try:
        yield
    finally:
        setattr(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", before)  # noqa: B010
