"""Which benchmarks are run, and where does the report go?"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from time import perf_counter

from benchmarks.arguments import Arguments, parse
from benchmarks.case import Load
from benchmarks.machine import load_average, this_machine
from benchmarks.markdown import to_markdown
from benchmarks.result import Report, to_json
from benchmarks.runner import run
from benchmarks.suites import SUITES


def main(argv: Sequence[str]) -> None:
    """Run what `argv` asks for."""
    arguments = parse(argv)
    report = make_report(arguments, Load(concurrency=arguments.concurrency), shlex.join(argv))
    page = to_markdown(report)
    if arguments.output is not None:
        text = page if arguments.output.suffix == ".md" else to_json(report)
        arguments.output.write_text(text, encoding="utf-8")
    print(page, end="")


def make_report(arguments: Arguments, load: Load, given: str) -> Report:
    """Run the suites and put down the circumstances; `given` is the command line behind `python -m benchmarks`."""
    started_at, began, load_before = datetime.now(UTC), perf_counter(), load_average()
    with closing(_Progress(arguments)) as progress:
        rows = run(
            {name: SUITES[name](arguments.concurrency) for name in arguments.suites},
            load,
            iterations=arguments.iterations,
            warmup=arguments.warmup,
            progress=progress.show,
        )
    return Report(
        started_at=started_at.isoformat(timespec="seconds"),
        duration_s=perf_counter() - began,
        command=f"python -m benchmarks {given}".rstrip(),
        iterations=arguments.iterations,
        warmup=arguments.warmup,
        concurrency=arguments.concurrency,
        load_before=load_before,
        load_after=load_average(),
        machine=this_machine(),
        rows=rows,
    )


class _Progress:
    """A line on stderr: rewritten on a terminal, elsewhere one for each repeat."""

    def __init__(self, arguments: Arguments) -> None:
        self._iterations = arguments.iterations
        self._warmup = arguments.warmup
        self._last: int | None = None

    def show(self, repeat: int, case: str) -> None:
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


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
