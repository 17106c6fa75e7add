"""Is the page of a run written whenever there is something to tell, and refused in time where it cannot be?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from synth_actors.cli import report_file
from synth_actors.cli.app import run_command

Capture = pytest.CaptureFixture[str]
SCHEMA = {"type": "object", "properties": {"id": {"type": "integer", "minimum": 1}}, "required": ["id"]}
JOB = '[job]\nschema = "a.json"\ncount = 45\noutput = "rows.jsonl"\n'


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.json").write_text(json.dumps(SCHEMA))
    Path("job.toml").write_text(JOB)


def command(*arguments: object) -> int:
    return run_command(["generate", "a.json", "-n", "45", "-o", "rows.jsonl", *map(str, arguments)])


@pytest.mark.parametrize("arguments", [["generate", "a.json", "-n", "45", "-o", "rows.jsonl"], ["run"]])
def test_a_run_leaves_a_page_with_what_it_did(arguments: list[str]) -> None:
    assert run_command([*arguments, "--report", "run.html"]) == 0
    page = Path("run.html").read_text(encoding="utf-8")
    assert "<title>rows.jsonl: 45 of 45 rows</title>" in page
    assert "complete" in page
    assert "Content-Security-Policy" in page
    assert "45 valid of 45 asked for, 0 missing" in page
    assert [path.name for path in Path().iterdir() if "html" in path.name] == ["run.html"]


def test_a_page_from_before_is_replaced() -> None:
    Path("run.html").write_text("old")
    assert command("--report", "run.html") == 0
    assert "old" not in Path("run.html").read_text(encoding="utf-8")[:100]


def test_a_run_that_fails_leaves_a_page_too(capfd: Capture) -> None:
    Path("c.toml").write_text('endpoints = ["openai:m@http://127.0.0.1:9/v1"]\n[engine]\noutage_patience_s = 0.1\n')
    assert command("--report", "run.html", "--config", "c.toml") == 1
    page = Path("run.html").read_text(encoding="utf-8")
    assert "0 valid of 45 asked for" in page
    assert "openai:m" in page


def test_a_page_names_the_schema_and_the_budget_and_neither_prompt_nor_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_KEY", "sk-1234567890-secret")
    Path("c.toml").write_text(
        '[engine]\noutage_patience_s = 0.1\nbudget_usd = 2\n[[endpoints]]\nprovider = "openai"\nmodel = "m"\n'
        'base_url = "http://127.0.0.1:9/v1"\napi_key_env = "ZOO_KEY"\n'
        "price = { input_usd_per_mtok = 0.1, output_usd_per_mtok = 0.4 }\n"
    )
    assert command("--report", "run.html", "--config", "c.toml", "--instructions", "Zebras of Lyon") == 1
    page = Path("run.html").read_text(encoding="utf-8")
    assert "a.json" in page
    assert "$2<" in page
    assert "Zebras" not in page
    assert "sk-1234567890-secret" not in page


def test_of_a_job_that_is_complete_there_is_nothing_to_report(capfd: Capture) -> None:
    assert run_command(["run"]) == 0
    assert run_command(["run", "--resume", "--report", "run.html"]) == 0
    assert "--report run.html: nothing was asked, so there is nothing to report" in capfd.readouterr().err
    assert not Path("run.html").exists()


def test_dry_run_checks_it_and_writes_nothing(capfd: Capture) -> None:
    assert command("--report", "run.html", "--dry-run") == 0
    assert not Path("run.html").exists()
    assert command("--report", "run.pdf", "--dry-run") == 2


WRONG = {
    "run.pdf": "--report run.pdf: the report is a page; give a name that ends in .html, such as report.html",
    "no/run.html": "--report no/run.html: not a file in a folder that exists; make the folder first",
    "": "--report '': names no file; give one, such as report.html",
    "-": "--report -: stdout has rows or nothing; give a file, such as report.html",
}


@pytest.mark.parametrize("path", WRONG)
def test_where_no_page_can_be_is_said_before_anything_is_asked(path: str, capfd: Capture) -> None:
    assert command("--report", path) == 2
    assert capfd.readouterr().err == f"synth-actors: {WRONG[path]}\n"
    assert not Path("rows.jsonl").exists()


def test_it_is_no_file_of_the_run_itself(capfd: Capture) -> None:
    assert command("--report", "cache.html", "--cache", "cache.html") == 2
    assert "--report cache.html: is a file of this run itself" in capfd.readouterr().err
    assert command("--report", "x.html", "--hlog", "x.html") == 2
    assert "--report x.html: is the file of --hlog" in capfd.readouterr().err


def test_without_metrics_there_is_nothing_to_report(capfd: Capture) -> None:
    Path("c.toml").write_text("[engine]\nmetrics = false\n")
    assert command("--report", "run.html", "--config", "c.toml") == 2
    assert "--report run.html: metrics = false records no durations" in capfd.readouterr().err


def test_a_page_that_cannot_be_written_costs_no_row(capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path, _content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report_file, "write_whole", full)
    assert command("--report", "run.html") == 0
    assert "--report run.html: could not be written: [Errno 28] No space left on device" in capfd.readouterr().err
    assert len(Path("rows.jsonl").read_text().splitlines()) == 45
