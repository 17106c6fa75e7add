"""What is seen when one looks closely?

What is measured is measured unwatched; then one more pass is made under a profiler, or with every engine traced, whose
figures count nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.arguments import Arguments
from benchmarks.case import Load, NotMeasured
from benchmarks.flame_graph import to_html
from benchmarks.profiling import Profile, profiler_for
from benchmarks.runner import Progress
from benchmarks.suites import SUITES
from synth_actors.telemetry.chrome_trace import ChromeTrace

ELSEWHERE = ("datasets", "memory", "reclaim")
"""Suites whose engines are in processes of their own."""
VIEWERS = "ui.perfetto.dev, chrome://tracing or speedscope.app"


def run_watched(arguments: Arguments, load: Load, suites: Sequence[str], progress: Progress) -> Iterator[str]:
    """Run each case of `suites` once more; lines for the user, the last of which say what files were written.

    Ctrl-C, or an error, ends the pass: what was seen until then is written all the same.

    Raises:
        KeyboardInterrupt: after the lines, when it was interrupted.
        OSError: a file cannot be written.
    """
    trace = None if arguments.trace is None else ChromeTrace(arguments.trace)
    profiler = None if arguments.profile is None else profiler_for(arguments.profile)
    load = replace(load, repeat=arguments.iterations, tracing=trace)  # no other repeat has it: nothing is remembered
    missing: list[str] = []
    ended_by: BaseException | None = None
    if profiler is not None:
        profiler.start()
    try:
        _run_all(arguments.concurrency, load, suites, progress, missing)
    except BaseException as exc:  # noqa: BLE001  (raised again once what was seen is written)
        ended_by = exc
    profile = None if profiler is None else profiler.stop()
    if ended_by is not None:
        yield f"the watched pass was ended early by {type(ended_by).__name__}: what was seen until then"
    yield from missing
    yield from _elsewhere(suites)
    if profile is not None:
        yield from _profiled(profile, arguments.output)
    if trace is not None:
        yield _traced(trace)
    if ended_by is not None:
        raise ended_by


def _run_all(concurrency: int, load: Load, suites: Sequence[str], progress: Progress, missing: list[str]) -> None:
    for suite in suites:
        for case in SUITES[suite](concurrency):
            progress(0, case.name)
            try:
                case.measure(load)
            except NotMeasured as exc:
                missing.append(f"not watched: {suite}: {case.name}: {exc}")


def _elsewhere(suites: Sequence[str]) -> Iterator[str]:
    if apart := [suite for suite in suites if suite in ELSEWHERE]:
        yield f"not watched: the engines of {', '.join(apart)}, which are in processes of their own"


def _profiled(profile: Profile, output: Path | None) -> Iterator[str]:
    yield from profile.lines()
    stem = Path("benchmarks") if output is None else output.with_suffix("")
    path = stem.with_name(f"{stem.name}-{profile.kind}.html")
    path.write_text(to_html(profile), encoding="utf-8")
    yield f"flame graph: {path}"


def _traced(trace: ChromeTrace) -> str:
    path = trace.write()
    lost = f", {trace.dropped:,} more dropped" if trace.dropped else ""
    return f"--trace: {trace.events:,} events{lost}: {path}; open it in {VIEWERS}"
