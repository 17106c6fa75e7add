"""What does the engine itself take for a request, on the wall?

Unlike `suites.engine.uncached`, which counts CPU, this sees also what waits or sleeps where it must not.
"""

from __future__ import annotations

from functools import partial

from benchmarks.case import Load, Measured
from benchmarks.suites.engine.uncached import CALLS_PER_OPERATION, bare_loop, engine_loop
from benchmarks.timing import side_by_side

OPERATIONS_SHARE = 2
"""Of the operations of the engine suite: half a second is enough for a median of repeats."""


def each(callers: int, load: Load) -> Measured:
    """Microseconds on the wall of an uncached request by `callers` tasks to a provider that answers at once."""
    calls = max(load.operations // CALLS_PER_OPERATION // OPERATIONS_SHARE, callers)
    pair = side_by_side(load.repeat, partial(engine_loop, callers, calls), partial(bare_loop, callers, calls))
    return Measured(value=pair.engine.wall_s * 1e6 / calls, bare=pair.bare.wall_s * 1e6 / calls)
