"""How is a program run so that waiting takes no time and the same seed gives the same run?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

import trio
import trio._core._run as trio_run
from trio.testing import MockClock

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def simulate(run: Callable[[*Ts], Awaitable[T]], *args: *Ts, seed: int = 0) -> T:
    """`trio.run` under a clock that jumps to the next thing that happens as soon as nobody has anything to do.

    Which of several tasks that wake at the same moment goes first is drawn from `seed`.
    """
    # Trio draws it from a generator of its own, so that nobody relies on an order, and has no public way to seed it.
    trio_run._r.seed(seed)
    return trio.run(run, *args, clock=MockClock(autojump_threshold=0.0))
