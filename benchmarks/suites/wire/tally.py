"""What came of many calls, and what did they cost?"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import perf_counter, process_time

import trio
import trio.testing


@dataclass(slots=True)
class Tally:
    """Calls that were answered, the others by their error's name; CPU of this process and the wall, seconds.

    When `is_cut` the time was over: what was under way is neither answered nor failed.
    """

    done: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    cpu_s: float = 0.0
    wall_s: float = 0.0
    is_cut: bool = False

    def begin(self) -> None:
        """The clocks start."""
        self.cpu_s, self.wall_s = -process_time(), -perf_counter()

    def end(self, *, is_cut: bool) -> None:
        """The clocks stop."""
        self.cpu_s, self.wall_s = self.cpu_s + process_time(), self.wall_s + perf_counter()
        self.is_cut = is_cut

    @property
    def failures(self) -> int:
        """Calls that were lost."""
        return sum(self.failed.values())

    @property
    def per_s(self) -> float:
        """Answers per second."""
        return self.done / self.wall_s if self.wall_s > 0 else 0.0

    @property
    def cpu_us(self) -> float:
        """CPU microseconds for each answer."""
        return self.cpu_s * 1e6 / self.done if self.done else 0.0


async def tallied(
    callers: int, calls: int, call: Callable[[str], Awaitable[object]], *, most_s: float, kind: str
) -> Tally:
    """A closed loop: so many tasks take the next of the calls until none is left, or `most_s` seconds are over.

    The prompt of each call is another one, and other ones for each `kind`.  The tasks stand ready and the
    garbage of others is collected before the clocks start.
    """
    tally, rest = Tally(), iter(range(calls))
    start = trio.Event()

    async def caller() -> None:
        await start.wait()
        for number in rest:
            try:
                await call(f"Sentence {number} about otters ({kind}).")
            except Exception as exc:  # noqa: BLE001 - whatever a client raises: the call was lost
                tally.failed[type(exc).__name__] = tally.failed.get(type(exc).__name__, 0) + 1
            else:
                tally.done += 1

    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(caller)
        await trio.testing.wait_all_tasks_blocked()
        gc.collect()
        tally.begin()
        start.set()
        nursery.cancel_scope.deadline = trio.current_time() + most_s
    tally.end(is_cut=nursery.cancel_scope.cancelled_caught)
    return tally
