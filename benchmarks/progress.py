"""Which case is being measured?"""

from __future__ import annotations

import sys


class Progress:
    """A line on stderr: rewritten on a terminal, elsewhere one for each repeat."""

    def __init__(self, iterations: int, warmup: int) -> None:
        self._iterations = iterations
        self._warmup = warmup
        self._last: int | None = None

    def show(self, repeat: int, case: str) -> None:
        """The case `case` of a repeat is about to be measured; below 0 the repeat is a warm-up."""
        which = (
            f"repeat {repeat + 1}/{self._iterations}"
            if repeat >= 0
            else f"warm-up {repeat + self._warmup + 1}/{self._warmup}"
        )
        if sys.stderr.isatty():
            print(f"\r\x1b[K{which}: {case}", end="", file=sys.stderr, flush=True)
        elif repeat != self._last:
            print(which, file=sys.stderr, flush=True)
        self._last = repeat

    def close(self) -> None:
        """Leave the line to whoever writes next."""
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
