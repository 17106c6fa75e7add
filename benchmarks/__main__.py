"""Which benchmarks are run, and where does the report go?"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from inspect import getdoc
from pathlib import Path
from time import perf_counter

from pydantic import ValidationError

from benchmarks.arguments import Arguments, parse
from benchmarks.case import Load
from benchmarks.machine import load_average, this_machine
from benchmarks.markdown import to_markdown
from benchmarks.progress import Progress
from benchmarks.result import Report, from_json, to_json
from benchmarks.runner import run
from benchmarks.suites import SIX, SUITES
from synth_actors.errors import ConfigError

INTERRUPTED = 130


def main(argv: Sequence[str]) -> int:
    """Do what `argv` asks for; the exit status.

    Raises:
        ConfigError: a file or an endpoint that was given cannot be used.
    """
    arguments = parse(argv)
    if arguments.analyze is not None:
        from benchmarks.analysis import analysis_of

        print(analysis_of(read_report(arguments.analyze)), end="")
        return 0
    if arguments.compare:
        from benchmarks.comparison import comparison_of

        print(comparison_of([(str(path), read_report(path)) for path in arguments.compare]), end="")
        return 0
    return _measure(arguments, shlex.join(argv))


def _measure(arguments: Arguments, given: str) -> int:
    if arguments.memory_cap_bytes is not None:
        from benchmarks.memory_cap import cap_memory

        cap_memory(arguments.memory_cap_bytes)
    thresholds = None
    suites = arguments.suites or SIX
    if arguments.check is not None:
        from benchmarks.thresholds import read_thresholds

        thresholds = read_thresholds(arguments.check, arguments.check_profile)
        suites = arguments.suites or thresholds.suites
    load = _load(arguments)
    report = make_report(arguments, load, given, suites)
    _write(report, arguments.outputs)
    if report.is_interrupted:
        return INTERRUPTED
    _once_more(arguments, load, suites)
    if thresholds is None:
        return 0
    from benchmarks.gate import judge

    verdict = judge(thresholds, report, lambda some: make_report(arguments, load, given, some), _say)
    print(verdict.text(), end="", file=sys.stderr)
    return 0 if verdict.passed else 1


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _load(arguments: Arguments) -> Load:
    budget = None
    if arguments.endpoint is not None:
        from benchmarks.endpoint import check_endpoint

        budget = check_endpoint(arguments.endpoint, arguments.budget_usd)
    return Load(concurrency=arguments.concurrency, endpoint=arguments.endpoint, budget=budget)


def _write(report: Report, outputs: Sequence[Path]) -> None:
    for output in outputs:
        output.write_text(_as(output.suffix, report), encoding="utf-8")
    print(to_markdown(report), end="", flush=True)


def _as(suffix: str, report: Report) -> str:
    if suffix == ".html":
        from benchmarks.html import to_html

        return to_html(report)
    return to_json(report) if suffix == ".json" else to_markdown(report)


def _once_more(arguments: Arguments, load: Load, suites: Sequence[str]) -> None:
    """What watches closely makes slow: it gets a repeat of its own, whose figures count nowhere."""
    if arguments.profile is None and arguments.trace is None:
        return
    from benchmarks.watched import run_watched

    with closing(Progress(1, 0)) as progress:
        for line in run_watched(arguments, load, suites, progress.show):
            print(line, file=sys.stderr)


def make_report(arguments: Arguments, load: Load, given: str, suites: Sequence[str] | None = None) -> Report:
    """Run the suites and put down the circumstances; `given` is the command line behind `python -m benchmarks`."""
    started_at, began, load_before = datetime.now(UTC), perf_counter(), load_average()
    suites = suites or arguments.suites or SIX
    with closing(Progress(arguments.iterations, arguments.warmup)) as progress:
        found = run(
            {name: SUITES[name](arguments.concurrency) for name in suites},
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
        endpoint=arguments.endpoint,
        memory_cap_bytes=arguments.memory_cap_bytes,
        is_interrupted=found.is_interrupted,
        about={name: getdoc(SUITES[name]) or "" for name in suites},
        rows=found.rows,
        missing=found.missing,
        recordings=found.recordings,
    )


def read_report(path: Path) -> Report:
    """The report in the file.

    Raises:
        ConfigError: it is none, or one of another format.
    """
    try:
        return from_json(path.read_bytes())
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(
            f"{path}: is no report of this version ({where}: {first['msg']}); "
            "make one with python -m benchmarks --output report.json"
        ) from None


def _status(argv: Sequence[str]) -> int:
    """The same; what is wrong with the input or the machine is a line."""
    try:
        return main(argv)
    except KeyboardInterrupt:
        return INTERRUPTED
    except ModuleNotFoundError as exc:
        return _refuse(f"needs the package {exc.name}: install the dependency group test")
    except (ConfigError, OSError) as exc:
        return _refuse(str(exc))
    except Exception as exc:  # what lack of memory broke: it may be the cause of anything
        from benchmarks.memory_cap import lack_of_memory

        if (line := lack_of_memory(exc)) is None:
            raise
        return _refuse(line)


def _refuse(line: str) -> int:
    print(f"benchmarks: {' '.join(line.split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(_status(sys.argv[1:]))
