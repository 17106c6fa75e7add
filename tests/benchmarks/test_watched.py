"""Is one more pass made that counts nowhere, and is what it saw written whatever ends it?"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time

import pytest
import trio

from benchmarks import watched
from benchmarks.arguments import Arguments
from benchmarks.case import Case, Load, Measured, NotMeasured
from benchmarks.watched import run_watched
from synth_actors import open_engine
from tests.telemetry.chrome_readers import Trace

LOAD = Load(concurrency=2, operations=60)


async def ask(load: Load) -> None:
    async with open_engine("local", tracing=load.tracing) as engine:
        for number in range(3):
            await engine.generate(f"prompt {number}", max_tokens=10)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Load]:
    """The loads that the cases of two suites were run with: each asks three questions, one cannot, one may break."""
    loads: list[Load] = []

    def measure(load: Load) -> Measured:
        loads.append(load)
        trio.run(ask, load)
        until_s = process_time() + 0.05
        while process_time() < until_s:  # something to see for a profiler
            pass
        return Measured(value=1.0)

    def cannot(_load: Load) -> Measured:
        raise NotMeasured("no such thing here")

    def breaks(_load: Load) -> Measured:
        raise KeyboardInterrupt

    def suite(*cases: Callable[[Load], Measured]) -> Callable[[int], tuple[Case, ...]]:
        return lambda _concurrency: tuple(Case(name=case.__name__, unit="s", measure=case) for case in cases)

    suites = {
        "first": suite(measure, cannot),
        "second": suite(measure),
        "breaks": suite(measure, breaks, measure),
        "memory": suite(),
    }
    monkeypatch.setattr(watched, "SUITES", suites)
    return loads


def test_all_engines_of_one_more_pass_are_in_one_trace(seen: list[Load], tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    shown: list[tuple[int, str]] = []
    arguments = Arguments(trace=path, iterations=3)
    lines = list(run_watched(arguments, LOAD, ["first", "second"], lambda repeat, case: shown.append((repeat, case))))
    assert shown == [(0, "measure"), (0, "cannot"), (0, "measure")]
    assert [load.repeat for load in seen] == [3, 3]  # no repeat that was measured: nothing of that is remembered
    assert len(Trace(path).spans("generate")) == 6
    assert lines[0] == "not watched: first: cannot: no such thing here"
    assert str(path) in lines[1]
    assert "ui.perfetto.dev" in lines[1]


def test_a_trace_and_a_profile_of_the_same_pass_are_written_beside_the_report(
    seen: list[Load], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.profiling.find_spec", lambda _name: None)
    path = tmp_path / "trace.json"
    arguments = Arguments(trace=path, profile="cpu", outputs=(tmp_path / "report.v2.md",))
    lines = list(run_watched(arguments, LOAD, ["second"], lambda _repeat, _case: None))
    assert len(Trace(path).spans("generate")) == 3
    graph = tmp_path / "report.v2-cpu.html"
    assert lines[0].startswith("--profile cpu: cProfile: ")
    assert lines[-2] == f"flame graph: {graph}"
    assert "run_watched" in graph.read_text(encoding="utf-8")
    assert len(seen) == 1


def test_without_a_report_the_flame_graph_is_in_the_current_folder(
    seen: list[Load], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = list(run_watched(Arguments(profile="cpu"), LOAD, ["second"], lambda _repeat, _case: None))
    assert lines[-1] == "flame graph: benchmarks-cpu.html"
    assert (tmp_path / "benchmarks-cpu.html").stat().st_size > 1000


def test_ctrl_c_ends_the_pass_and_what_was_seen_is_written(seen: list[Load], tmp_path: Path) -> None:
    path, lines = tmp_path / "trace.json", list[str]()
    arguments = Arguments(trace=path, profile="cpu", outputs=(tmp_path / "report.md",))
    with pytest.raises(KeyboardInterrupt):
        lines.extend(line for line in run_watched(arguments, LOAD, ["breaks"], lambda _repeat, _case: None))
    assert len(seen) == 1
    assert len(Trace(path).spans("generate")) == 3
    assert (tmp_path / "report-cpu.html").exists()
    assert sys.getprofile() is None


def test_engines_in_other_processes_are_named(seen: list[Load], tmp_path: Path) -> None:
    arguments = Arguments(trace=tmp_path / "trace.json")
    lines = list(run_watched(arguments, LOAD, ["memory"], lambda _repeat, _case: None))
    assert lines[0] == "not watched: the engines of memory, which are in processes of their own"
