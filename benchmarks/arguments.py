"""What was asked for?  Whatever is wrong is one line that names the field, the value and the remedy; exit status 2."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from benchmarks.suites import SUITES

FORMATS = (".md", ".json")
MOST_CONCURRENCY = 1000
"""The engine suite has 100 times as many calls in flight, and an engine takes 100,000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What to run, how often, and where to write it (None: only to stdout)."""

    suites: tuple[str, ...]
    iterations: int
    concurrency: int
    warmup: int
    output: Path | None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"benchmarks: {message.removeprefix('argument ')}\n")


def parse(argv: Sequence[str]) -> Arguments:
    """The arguments; leaves with `SystemExit(2)` when one is wrong."""
    given = _parser().parse_args(argv)
    return Arguments(
        suites=tuple(dict.fromkeys(given.suite or SUITES)),
        iterations=given.iterations,
        concurrency=given.concurrency,
        warmup=given.warmup,
        output=given.output,
    )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m benchmarks", description=__doc__, allow_abbrev=False)
    parser.description = "Measure the engine beside a bare trio loop.  The report goes to stdout, progress to stderr."
    known = ", ".join(SUITES)
    parser.add_argument("--suite", metavar="NAME", action="append", type=_suite, help=f"{known}; all by default")
    parser.add_argument("--iterations", metavar="N", type=_whole(1, 1000), default=5, help="repeats (%(default)s)")
    parser.add_argument(
        "--concurrency",
        metavar="N",
        type=_whole(1, MOST_CONCURRENCY),
        default=100,
        help="callers where many call; other sizes follow from it (%(default)s)",
    )
    parser.add_argument(
        "--warmup", metavar="N", type=_whole(0, 1000), default=1, help="repeats before those that count (%(default)s)"
    )
    parser.add_argument("--output", metavar="FILE", type=_output, help="write the report here too: .md or .json")
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


def _output(text: str) -> Path:
    path = Path(text)
    if path.suffix == ".html":
        raise argparse.ArgumentTypeError(f"{text!r}: .html comes in a later version; use .md or .json")
    if path.suffix not in FORMATS:
        raise argparse.ArgumentTypeError(f"{text!r}: unknown format {path.suffix!r}; use .md or .json")
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r}: not a file in a folder that exists; make the folder first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text!r}: may not be written; choose another place")
    return path
