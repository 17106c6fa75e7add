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
    (["--output", "report.txt"], "--output: 'report.txt': unknown format '.txt'; use .md, .json or .html"),
    (["--budget-usd", "-1"], "--budget-usd: '-1' is not valid: give dollars above 0, such as 0.50"),
    (["--budget-usd", "nan"], "--budget-usd: 'nan' is not valid: give dollars above 0, such as 0.50"),
    (
        ["--memory-cap", "much"],
        "--memory-cap: 'much' is no size: give a number of bytes, or one with K, M or G behind it, such as 512M",
    ),
    (["--memory-cap", "1K"], "--memory-cap: '1K' is too little to start Python in: give 64M or more"),
    (["--analyze", "nowhere.json"], "--analyze: 'nowhere.json': there is no such file"),
    (["--compare", "README.md"], "--compare README.md: give two reports or more, oldest first"),
    (["--check-profile", "guide"], "--check-profile guide: needs --check FILE, whose profile it is"),
    (
        ["--analyze", "README.md", "--suite", "cache"],
        "--analyze reads reports and runs nothing: leave out --suite",
    ),
    (
        ["--analyze", "README.md", "--compare", "README.md", "README.md"],
        "--analyze and --compare are two questions: ask one at a time",
    ),
    (
        ["--output", "nowhere/report.md"],
        "--output: 'nowhere/report.md': not a file in a folder that exists; make the folder first",
    ),
    (["--iter", "5"], "unrecognized arguments: --iter 5"),
    (["throughput"], "unrecognized arguments: throughput"),
]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize(("argv", "line"), WRONG, ids=lambda value: value[-1] if isinstance(value, list) else "")
def test_what_is_wrong_is_refused_in_one_line_with_status_2(
    argv: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        parse(argv)
    assert left.value.code == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", f"benchmarks: {line}\n")


def test_without_arguments_there_is_a_usual_run() -> None:
    assert parse([]) == Arguments(suites=(), iterations=3, concurrency=100, warmup=1, outputs=())


@pytest.mark.parametrize(("text", "size"), [("512M", 2**29), ("1g", 2**30), ("70000000", 70_000_000), ("2GiB", 2**31)])
def test_sizes_are_understood(text: str, size: int) -> None:
    assert parse(["--memory-cap", text]).memory_cap_bytes == size


def test_a_suite_named_twice_runs_once() -> None:
    assert parse(["--suite", "engine", "--suite", "engine"]).suites == ("engine",)


def test_all_arguments_are_understood(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    argv = ["--suite", "engine", "--iterations", "3", "--concurrency", "20", "--warmup", "0", "--output", str(file)]
    assert parse(argv) == Arguments(suites=("engine",), iterations=3, concurrency=20, warmup=0, outputs=(file,))


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
