"""What did each scenario come to?  Starts `process.py` once a repeat for each, however many cases look at it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import benchmarks
from benchmarks.case import Load, Measured
from benchmarks.suites.reclaim.results import Beside, Filled, Lowered, Refilled, Resident, Result, Steady, from_json

PATIENCE_S = 1800.0

R = TypeVar("R", bound=Result)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much each scenario does.

    `seconds` is how long an engine beside held memory is looked at, twice; `refill_s` how long `file_answers` large
    answers are asked for, round after round.
    """

    entries: int
    ticks: int
    record_entries: int
    requests: int
    held_mb: int
    seconds: float
    file_answers: int
    refill_s: float


class Runs:
    """The cases of the suite, by scenario."""

    def __init__(self, sizes: Sizes) -> None:
        self._sizes = sizes
        self._done: dict[tuple[int, str], Result] = {}

    def reached_after(self, load: Load) -> Measured:
        """Seconds from the lower limit to the first look that finds no more than the target resident."""
        return Measured(value=self._lowered(load).reached_after_s)

    def entries_left(self, load: Load) -> Measured:
        """The share of the entries that is still there."""
        found = self._lowered(load)
        return Measured(value=found.entries_after / found.entries_before)

    def gone(self, load: Load) -> Measured:
        """How much less is resident, for each byte that the cache says it gave up."""
        found = self._lowered(load)
        fell, footprint = found.rss_before_bytes - found.rss_after_bytes, found.footprint_given_up_bytes
        beside = {"share of footprint": fell / max(1, footprint)}
        return Measured(value=fell / max(1, found.released_bytes), beside=beside)

    def changes(self, load: Load) -> Measured:
        """Shrinks and changes of state once the target was reached."""
        return Measured(value=self._lowered(load).changes_after)

    def records(self, load: Load) -> Measured:
        """The most that was ever resident, interpreter and imports included."""
        return Measured(value=self._run(load, Resident, "records", self._sizes.record_entries).peak_bytes / 1e6)

    def growth(self, load: Load) -> Measured:
        """The most that was resident after the first tenth of the requests, less what was then."""
        found = self._run(load, Steady, "steady", self._sizes.requests)
        return Measured(value=max(0, found.peak_after_bytes - found.after_a_tenth_bytes) / 1e6)

    def at_once(self, load: Load) -> Measured:
        """The most calls that the provider had at once while memory was above the mark."""
        return Measured(value=self._beside(load).most_at_once)

    def lowest_cap(self, load: Load) -> Measured:
        """The fewest calls at once that the watchdog ever allowed."""
        return Measured(value=self._beside(load).lowest_cap)

    def rate(self, load: Load) -> Measured:
        """Calls a second above the mark, beside those before the program grew."""
        found = self._beside(load)
        return Measured(value=found.calls_per_s_above, beside={"before it grew": found.calls_per_s_below})

    def peak(self, load: Load) -> Measured:
        """The most that was ever resident, over the limit."""
        found = self._refilled(load)
        beside = {"share of looks above": found.above_share, "shrinks": found.shrinks}
        return Measured(value=found.peak_bytes / found.limit_bytes, beside=beside)

    def hits(self, load: Load) -> Measured:
        """Answers a second, all of them from the file or from memory."""
        found = self._refilled(load)
        return Measured(value=found.hits_per_s, beside={"entries": found.entries, "evicted": found.evicted})

    def paid(self, load: Load) -> Measured:
        """Calls that were made although the file has every answer."""
        return Measured(value=self._refilled(load).paid_calls)

    def _refilled(self, load: Load) -> Refilled:
        key = (load.repeat, "refilled")
        if key not in self._done:
            with tempfile.TemporaryDirectory(prefix="reclaim-") as folder:
                path, answers = str(Path(folder, "answers.cache")), self._sizes.file_answers
                self._run(load, Filled, "filled", answers, path)
                return self._run(load, Refilled, "refilled", answers, self._sizes.refill_s, path)
        found = self._done[key]
        assert isinstance(found, Refilled)
        return found

    def _lowered(self, load: Load) -> Lowered:
        return self._run(load, Lowered, "lowered", self._sizes.entries, self._sizes.ticks)

    def _beside(self, load: Load) -> Beside:
        return self._run(load, Beside, "beside", self._sizes.held_mb, self._sizes.seconds)

    def _run(self, load: Load, kind: type[R], scenario: str, *sizes: float | str) -> R:
        key = (load.repeat, scenario)
        if key not in self._done:
            self._done[key] = from_json(kind, _child(scenario, load.concurrency, *sizes))
        found = self._done[key]
        assert isinstance(found, kind)
        return found


def _child(scenario: str, *arguments: float | str) -> bytes:
    command = [sys.executable, "-m", "benchmarks.suites.reclaim.process", scenario, *map(str, arguments)]
    root = Path(benchmarks.__file__).parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, timeout=PATIENCE_S)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[-500:]
        raise RuntimeError(f"{' '.join(command[1:])} ended with {done.returncode}: {said}")
    return done.stdout
