"""Where does the time go, or the memory?

A profiler is whatever this machine has: pyinstrument and memray (the extra `profile`), else what Python itself brings.
What any of them finds is stacks with a weight, which a table and a flame graph are made of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, Protocol

import benchmarks

ROOT = f"{Path(benchmarks.__file__).parent.parent}/"
PREFIXES = ("/site-packages/", "/lib/python3.", ROOT)
"""What paths are shown without; behind the second one the rest of the version, too."""
MOST_HOT = 15


class Frame(NamedTuple):
    """A function, or a line of one, of `file`, shortened; "" for one that is not Python's."""

    function: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.function}  {self.file}:{self.line}" if self.file else f"{self.function}  (built-in)"


Stacks = Mapping[tuple[Frame, ...], float]
"""From the outermost frame to the innermost: seconds, or bytes, that were spent in the innermost one itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hot:
    """A function, with what it has spent itself and with all that it called, both in seconds or bytes."""

    frame: Frame
    own: float
    whole: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What `tool` has seen.  `about` says what the figures are of; `total` is what shares are of."""

    kind: str
    tool: str
    about: str
    total: float
    hottest: tuple[Hot, ...]
    stacks: Stacks

    def lines(self) -> Iterable[str]:
        """A table for people, `MOST_HOT` lines at the most."""
        yield f"--profile {self.kind}: {self.tool}: {self.about}"
        yield f"{'itself':>12} {'share':>6} {'in all':>7}  function"
        for hot in self.hottest[:MOST_HOT]:
            own = self.amount(hot.own)
            yield f"{own:>12} {self._share(hot.own):>6} {self._share(hot.whole):>7}  {hot.frame}"

    def amount(self, value: float) -> str:
        """A weight with its unit."""
        if self.kind == "cpu":
            return f"{value:.3f} s"
        return f"{value / 2**20:,.2f} MiB"

    def _share(self, value: float) -> str:
        return f"{100 * value / self.total:.1f}%" if self.total else "-"


class Profiler(Protocol):
    """Watches the thread in which it is started, or the whole process."""

    def start(self) -> None:
        """Begin."""
        ...

    def stop(self) -> Profile:
        """End, and say what was seen."""
        ...


def profiler_for(kind: str) -> Profiler:
    """The best one that is installed, for "cpu" or "memory"."""
    from benchmarks import cpu_profile, memory_profile

    if kind == "cpu":
        return cpu_profile.Pyinstrument() if find_spec("pyinstrument") else cpu_profile.CProfile()
    return memory_profile.Memray() if find_spec("memray") else memory_profile.Tracemalloc()


def hottest(stacks: Stacks) -> tuple[Hot, ...]:
    """Each frame by itself and as a caller, those first that have spent most; recursion counts once."""
    own: dict[Frame, float] = defaultdict(float)
    whole: dict[Frame, float] = defaultdict(float)
    for stack, weight in stacks.items():
        if stack:
            own[stack[-1]] += weight
        for frame in set(stack):
            whole[frame] += weight
    ordered = sorted(own, key=lambda frame: (-own[frame], frame))
    return tuple(Hot(frame=frame, own=own[frame], whole=whole[frame]) for frame in ordered)


def shortened(path: str) -> str:
    """Without what is the same for all files of the checkout, of the packages or of Python."""
    path = path.replace("\\", "/")
    for prefix in PREFIXES:
        _, found, behind = path.rpartition(prefix)
        if found:
            return behind.partition("/")[2] if prefix.endswith(".") else behind
    return path
