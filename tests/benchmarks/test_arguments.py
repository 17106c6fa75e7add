"""Is what was asked for understood, and what is wrong refused in one line?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.arguments import Arguments, parse
from benchmarks.suites import SUITES

ROOT = Path(__file__).resolve().parents[2]

KNOWN = ", ".join(SUITES)
WRONG = [
    (["--suite", "enginge"], f"--suite: unknown suite 'enginge'; known are {KNOWN}"),
    (["--iterations", "0"], "--iterations: '0' is not valid: give a whole number from 1 to 1000"),
    (["--iterations", "-5"], "--iterations: '-5' is not valid: give a whole number from 1 to 1000"),
    (["--iterations", "many"], "--iterations: 'many' is not valid: give a whole number from 1 to 1000"),
    (["--warmup", "1.5"], "--warmup: '1.5' is not valid: give a whole number from 0 to 1000"),
    (["--concurrency", "100000"], "--concurrency: '100000' is not valid: give a whole number from 1 to 1000"),
    (["--output", "report.html"], "--output: 'report.html': .html comes in a later version; use .md or .json"),
    (["--output", "report.txt"], "--output: 'report.txt': unknown format '.txt'; use .md or .json"),
    (
        ["--output", "nowhere/report.md"],
        "--output: 'nowhere/report.md': not a file in a folder that exists; make the folder first",
    ),
    (["--iter", "5"], "unrecognized arguments: --iter 5"),
    (["throughput"], "unrecognized arguments: throughput"),
]


@pytest.mark.parametrize(("argv", "line"), WRONG, ids=lambda value: value[-1] if isinstance(value, list) else "")
def test_what_is_wrong_is_refused_in_one_line_with_status_2(
    argv: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        parse(argv)
    assert left.value.code == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", f"benchmarks: {line}\n")


def test_without_arguments_every_suite_runs() -> None:
    assert parse([]) == Arguments(suites=tuple(SUITES), iterations=5, concurrency=100, warmup=1, output=None)


def test_a_suite_named_twice_runs_once() -> None:
    assert parse(["--suite", "engine", "--suite", "engine"]).suites == ("engine",)


def test_all_arguments_are_understood(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    argv = ["--suite", "engine", "--iterations", "3", "--concurrency", "20", "--warmup", "0", "--output", str(file)]
    assert parse(argv) == Arguments(suites=("engine",), iterations=3, concurrency=20, warmup=0, output=file)


def test_a_folder_is_no_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "report.md").mkdir()
    with pytest.raises(SystemExit):
        parse(["--output", str(tmp_path / "report.md")])
    assert "not a file in a folder that exists" in capsys.readouterr().err


def test_the_command_itself_leaves_with_status_2_and_no_traceback() -> None:
    command = [sys.executable, "-m", "benchmarks", "--suite", "nonsense"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"benchmarks: --suite: unknown suite 'nonsense'; known are {KNOWN}\n"
