"""How much memory do many calls in flight take?

Measured in a process of its own, so that what the other cases left behind is not counted.  The bare loop holds a task
for each call under a `CapacityLimiter`.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import TypeAdapter

import benchmarks
from benchmarks.case import Load, Measured

CALLS_PER_CONCURRENCY = 100
PATIENCE_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """Bytes of one process: `before` the calls, and at the most."""

    before: int
    peak: int


AS_JSON = TypeAdapter(Resident)


def peak(load: Load) -> Measured:
    """The most that was resident, interpreter and imports included."""
    ours, bare = _children(load)
    return Measured(value=ours.peak / 1e6, bare=bare.peak / 1e6)


def growth(load: Load) -> Measured:
    """The most that was resident above what was before the first call."""
    ours, bare = _children(load)
    return Measured(value=(ours.peak - ours.before) / 1e6, bare=(bare.peak - bare.before) / 1e6)


@lru_cache(maxsize=1)
def _children(load: Load) -> tuple[Resident, Resident]:
    calls = CALLS_PER_CONCURRENCY * load.concurrency
    return _child("engine", calls), _child("bare", calls)


def _child(which: str, calls: int) -> Resident:
    command = [sys.executable, "-m", "benchmarks.suites.engine.in_flight", which, str(calls)]
    root = Path(benchmarks.__file__).parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=PATIENCE_S)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return AS_JSON.validate_json(done.stdout)
