"""What was asked for?  Whatever is wrong is one line that names the field, the value and the remedy; exit status 2."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Final, NoReturn

from benchmarks.sizes import bytes_of
from benchmarks.suites import INNER, SIX, SUITES

FORMATS: Final = (".md", ".json", ".html")
PROFILES: Final = ("cpu", "memory")
MOST_CONCURRENCY: Final = 1000
"""The engine suite has 100 times as many calls in flight, and an engine takes 100,000."""

EPILOG = f"""\
the six, run when no suite is named: {", ".join(SIX)}
the engine's parts:                  {", ".join(INNER)}

examples:
  python -m benchmarks --output report.html
  python -m benchmarks --suite latency --endpoint openai:my-model@http://127.0.0.1:8000/v1
  python -m benchmarks --check benchmarks/thresholds.toml
  python -m benchmarks --compare before.json after.json

exit status: 0, 1 when --check found something, 2 wrong input, 130 after Ctrl-C
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What to run, how often, and where to write it beside stdout.

    Without `suites`, those that `check` has limits for, or the six.  `analyze` and `compare` are reports that are read;
    then nothing is run.
    """

    suites: tuple[str, ...] = ()
    iterations: int = 3
    concurrency: int = 100
    warmup: int = 1
    outputs: tuple[Path, ...] = ()
    endpoint: str | None = None
    budget_usd: float | None = None
    check: Path | None = None
    check_profile: str | None = None
    profile: str | None = None
    trace: Path | None = None
    memory_cap_bytes: int | None = None
    analyze: Path | None = None
    compare: tuple[Path, ...] = ()

    @property
    def output(self) -> Path | None:
        """The first of `outputs`."""
        return self.outputs[0] if self.outputs else None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"benchmarks: {message.removeprefix('argument ')}\n")


def parse(argv: Sequence[str]) -> Arguments:
    """The arguments; leaves with `SystemExit(2)` when one is wrong."""
    parser = _parser()
    given = parser.parse_args(argv)
    arguments = Arguments(
        suites=tuple(dict.fromkeys(given.suite or ())),
        iterations=given.iterations,
        concurrency=given.concurrency,
        warmup=given.warmup,
        outputs=tuple(dict.fromkeys(given.output or ())),
        endpoint=given.endpoint,
        budget_usd=given.budget_usd,
        check=given.check,
        check_profile=given.check_profile,
        profile=given.profile,
        trace=given.trace,
        memory_cap_bytes=given.memory_cap,
        analyze=given.analyze,
        compare=tuple(given.compare or ()),
    )
    if wrong := _contradiction(arguments):
        parser.error(wrong)
    return arguments


def _contradiction(given: Arguments) -> str | None:
    if len(given.compare) == 1:
        return f"--compare {given.compare[0]}: give two reports or more, oldest first"
    if given.check_profile is not None and given.check is None:
        return f"--check-profile {given.check_profile}: needs --check FILE, whose profile it is"
    if given.budget_usd is not None and given.endpoint is None:
        return f"--budget-usd {given.budget_usd:g}: the local server costs nothing; it is for --endpoint"
    reads = [name for name in ("analyze", "compare") if getattr(given, name)]
    runs = [name for name in ("suites", "check", "profile", "trace", "endpoint") if getattr(given, name)]
    if reads and runs:
        flag = "suite" if runs[0] == "suites" else runs[0]
        return f"--{reads[0]} reads reports and runs nothing: leave out --{flag}"
    if len(reads) == 2:
        return "--analyze and --compare are two questions: ask one at a time"
    return None


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m benchmarks",
        description="Measure the engine.  The report goes to stdout, progress to stderr.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    usual = Arguments()
    add = parser.add_argument
    add("--suite", metavar="NAME", action="append", type=_suite, help="one of those below; may be repeated")
    add("--iterations", metavar="N", type=_whole(1, 1000), default=usual.iterations, help="repeats (%(default)s)")
    add(
        "--concurrency",
        metavar="N",
        type=_whole(1, MOST_CONCURRENCY),
        default=usual.concurrency,
        help="callers where many call; other sizes follow from it (%(default)s)",
    )
    add(
        "--warmup",
        metavar="N",
        type=_whole(0, 1000),
        default=usual.warmup,
        help="repeats before those that count (%(default)s)",
    )
    add(
        "--output",
        metavar="FILE",
        action="append",
        type=_output,
        help="write the report here too: .md, .json or .html; may be repeated",
    )
    add("--endpoint", metavar="E", help="ask this one, such as openai:MODEL@BASE_URL, and no local server")
    add("--budget-usd", metavar="D", type=_dollars, help="what all calls to --endpoint may cost together")
    add("--check", metavar="FILE", type=_there, help="compare with these thresholds; exit status 1 if one is passed")
    add("--check-profile", metavar="NAME", help="only the thresholds of this profile of the file")
    add("--profile", choices=PROFILES, help="run once more under a profiler, and write a flame graph")
    add("--trace", metavar="FILE", type=_writable, help="run once more, and write a Chrome trace")
    add("--memory-cap", metavar="SIZE", type=_bytes, help="allow no more address space than this, such as 512M")
    add("--analyze", metavar="REPORT", type=_there, help="say what held the engine back in this .json report")
    add("--compare", metavar="REPORT", nargs="+", type=_there, help="compare .json reports, oldest first")
    return parser


def _suite(text: str) -> str:
    if text not in SUITES:
        raise argparse.ArgumentTypeError(f"unknown suite {text!r}; known are {', '.join(SUITES)}")
    return text


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse_whole(text: str) -> int:
        if not text.strip().isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not valid: give a whole number from {least} to {most}")
        return int(text)

    return parse_whole


def _dollars(text: str) -> float:
    try:
        usd = float(text)
    except ValueError:
        usd = -1.0
    if not (isfinite(usd) and usd > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not valid: give dollars above 0, such as 0.50")
    return usd


def _bytes(text: str) -> int:
    try:
        return bytes_of(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None


def _there(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text!r}: there is no such file")
    return path


def _output(text: str) -> Path:
    path = Path(text)
    if path.suffix not in FORMATS:
        raise argparse.ArgumentTypeError(
            f"{text!r}: unknown format {path.suffix!r}; use {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        )
    return _writable(text)


def _writable(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r}: not a file in a folder that exists; make the folder first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text!r}: may not be written; choose another place")
    return path
