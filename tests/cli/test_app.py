"""What does the command do, print and end with?  In this process, since a start costs a second."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from synth_actors.cli import generate
from synth_actors.cli.app import run_command
from synth_actors.cli.progress import Bar, Lines, line_of
from synth_actors.cli.settings import Settings, load_settings
from synth_actors.config import as_endpoint
from synth_actors.datasets.report import RowsReport
from synth_actors.providers.base import Fault, ProviderError
from tests.datasets.row_server import RowServer, Script, all_right

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"id": {"type": "integer", "minimum": 1, "maximum": 10**9}, "name": {"type": "string"}},
    "required": ["id", "name"],
    "additionalProperties": False,
}
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.json").write_text(json.dumps(SCHEMA))


def files() -> set[str]:
    return {path.name for path in Path().iterdir()} - {"a.json"}


def command(*arguments: object, count: object = 45, output: str = "rows.jsonl") -> int:
    return run_command(["generate", "a.json", "-n", str(count), "-o", output, *map(str, arguments)])


def lines_of(name: str) -> list[Any]:
    return [json.loads(line) for line in Path(name).read_text().splitlines()]


def served_by(monkeypatch: pytest.MonkeyPatch, script: Script) -> RowServer:
    """The command's engine gets a scripted provider: no flag can name one."""
    server = RowServer(script)
    served_by_all(monkeypatch, server)
    Path("a.json").write_text(json.dumps({"type": "object", "properties": {"id": {"minimum": 1}}}))
    return server


def served_by_all(monkeypatch: pytest.MonkeyPatch, *servers: RowServer) -> None:
    def with_servers(*args: Any, **fields: Any) -> Settings:
        return dataclasses.replace(load_settings(*args, **fields), endpoints=tuple(map(as_endpoint, servers)))

    monkeypatch.setattr(generate, "load_settings", with_servers)


def test_all_rows_are_there_and_valid(capfd: Capture) -> None:
    assert command() == 0
    rows = lines_of("rows.jsonl")
    assert len(rows) == 45
    for row in rows:
        jsonschema.Draft202012Validator(SCHEMA).validate(row)
    assert files() == {"rows.jsonl"}
    out, err = capfd.readouterr()
    assert out == ""
    assert "45 of 45 rows" in err
    for word in ("rows/s", "p50", "p95", "p99", "cache", "tokens", "memory", "findings", "duplicates"):
        assert word in err


def test_the_same_seed_gives_the_same_file_and_another_seed_another(capfd: Capture) -> None:
    assert command("--seed", 3, output="a.jsonl") == 0
    assert command("--seed", 3, "--concurrency", 1, output="b.jsonl") == 0
    assert command("--seed", 4, output="c.jsonl") == 0
    assert lines_of("a.jsonl") == lines_of("b.jsonl") != lines_of("c.jsonl")


def test_rows_alone_stand_on_stdout(capfd: Capture) -> None:
    assert command(output="-", count=7) == 0
    out, err = capfd.readouterr()
    assert len([json.loads(line) for line in out.splitlines()]) == 7
    assert "7 of 7 rows" in err
    assert files() == set()


def test_csv_has_a_header(capfd: Capture) -> None:
    assert command(output="rows.csv", count=3) == 0
    lines = Path("rows.csv").read_text().splitlines()
    assert (lines[0], len(lines)) == ("id,name", 4)


@pytest.mark.parametrize("name", ["rows.JSONL", "rows.Csv"])
def test_the_ending_may_be_written_large(capfd: Capture, name: str) -> None:
    assert command(output=name, count=3) == 0
    assert files() == {name}


def test_missing_rows_end_with_1_and_the_others_in_the_partial_file(
    monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    served_by(monkeypatch, lambda rows, sample: [{"id": number if number != 7 else 0} for number in rows])
    assert command("--rows-per-request", 10) == 1
    assert files() == {"rows.jsonl.partial", "rows.jsonl.journal"}
    assert [row["id"] for row in lines_of("rows.jsonl.partial")] == [n for n in range(1, 46) if n != 7]
    err = capfd.readouterr().err
    assert "44 of 45 rows" in err
    assert "rows.jsonl.partial" in err
    assert "id: 0 is less than the minimum of 1" in err
    assert "1 row is missing" in err.splitlines()[-1]


def test_an_error_that_stops_everything_is_said_once_and_keeps_the_rows(
    monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    def dies_later(rows: list[int], sample: int) -> object:
        return ProviderError(Fault.FATAL, "402: no money left") if 31 in rows else all_right(rows, sample)

    served_by(monkeypatch, dies_later)
    assert command("--rows-per-request", 10, "--concurrency", 1, count=10_000) == 1
    assert len(lines_of("rows.jsonl.partial")) == 30
    assert "402: no money left" in capfd.readouterr().err.splitlines()[-1]


def test_nothing_made_leaves_only_what_was_paid_for(monkeypatch: pytest.MonkeyPatch, capfd: Capture) -> None:
    served_by(monkeypatch, lambda rows, sample: "no")
    assert command() == 1
    assert files() == {"rows.jsonl.journal"}
    assert "0 of 45 rows" in capfd.readouterr().err


def test_an_existing_file_is_refused_with_the_hint_and_replaced_when_told(capfd: Capture) -> None:
    Path("rows.jsonl").write_text("old\n")
    assert command() == 2
    assert "--overwrite" in capfd.readouterr().err
    assert Path("rows.jsonl").read_text() == "old\n"
    assert command("--overwrite") == 0
    assert len(lines_of("rows.jsonl")) == 45


def test_paid_rows_of_an_earlier_run_are_not_overwritten_unasked(capfd: Capture) -> None:
    Path("rows.jsonl.partial").write_text("paid\n")
    assert command() == 2
    assert "rows.jsonl.partial" in capfd.readouterr().err
    assert files() == {"rows.jsonl.partial"}
    assert Path("rows.jsonl.partial").read_text() == "paid\n"


def test_a_dry_run_makes_no_call_and_no_file(capfd: Capture) -> None:
    assert command("--dry-run", "--endpoint", "openai:m@http://127.0.0.1:9/v1", "--endpoint", "local") == 0
    out, _ = capfd.readouterr()
    assert "3 of up to 20 rows" in out
    assert "openai:m: cost unknown" in out
    assert "local: free" in out
    assert "| Row 20" in out
    assert files() == set()


def test_a_dry_run_notes_a_missing_key_and_an_existing_file(monkeypatch: pytest.MonkeyPatch, capfd: Capture) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    Path("rows.jsonl").write_text("old\n")
    assert command("--dry-run", "--endpoint", "anthropic:claude-haiku-4-5") == 0
    out, err = capfd.readouterr()
    assert "note       endpoint 'anthropic:claude-haiku-4-5': no API key" in out
    assert "note       -o rows.jsonl: exists" in out
    assert err == ""
    assert Path("rows.jsonl").read_text() == "old\n"


def test_a_dry_run_prices_what_has_a_price(capfd: Capture) -> None:
    Path("c.toml").write_text(
        '[engine]\nbudget_usd = 0.001\n[[endpoints]]\nprovider = "openai"\nmodel = "m"\n'
        'base_url = "http://127.0.0.1:9/v1"\nprice = {input_usd_per_mtok = 1.0, output_usd_per_mtok = 10.0}\n'
    )
    assert command("--dry-run", "--config", "c.toml", output="-") == 0
    out, err = capfd.readouterr()
    assert out == ""
    assert "openai:m: about $0.0" in err
    assert "more than the budget of $0.001" in err


WRONG: list[tuple[list[str], str]] = [
    (["generate", "a.json", "-n", "-5", "-o", "x.jsonl"], "-n -5"),
    (["generate", "a.json", "-n", "many", "-o", "x.jsonl"], "'many' is no whole number"),
    (["generate", "a.json", "-n", "5"], "Missing option '-o'"),
    (["generate", "a.json", "-n", "5", "-o", "x.jsonl", "--nope"], "--nope"),
    (["generate", "a.json", "-n", "5", "-o", "x.jsonl", "--seed", str(2**64)], "--seed 18446744073709551616"),
    (["generate", "a.json", "-n", "5", "-o", "x.jsonl", "--seed", str(-(2**63) - 1)], "2**64 - 1"),
    (["generate", "a.json", "-n", "5", "-o", "x.jsonl", "--rows-per-request", "0"], "--rows-per-request 0"),
    (["generate", "a.json", "-n", "5", "-o", "x.jsonl", "--concurrency", "-1"], "--concurrency -1"),
    (["generate", "a.json", "-n", "5", "-o", "x.jsonl", "--max-tokens", "0"], "--max-tokens 0"),
    (["generate", "a.json", "-n", "5", "-o", "x.jsonl", "--temperature", "3"], "--temperature 3"),
    (["generate", "a.json", "-n", "5", "-o", "x.jsonl", "--temperature", "hot"], "'hot' is no number"),
    (["generate", "a.json", "-n", "5", "-o", "x.jsonl", "--budget-usd", "nan"], "--budget-usd nan"),
    (["generate", "a.json", "-n", "5", "-o", "x.jsonl", "--endpoint", "nobody:m"], "unknown provider 'nobody'"),
    (["generate", "a.json", "-n", "5", "-o", "x.jsonl", "--endpoint", "anthropic:m"], "ANTHROPIC_API_KEY"),
    (["generate", "a.json", "-n", "5", "-o", "x.jsonl", "--endpoint", "openai:m@http://"], "'http://' is not valid"),
    (["generate", "a.json", "-n", "5", "-o", "x.jsonl", "--endpoint", "openai:m@http://h:99999"], "h:99999"),
    (["generate", "a.json", "-n", "5", "-o", "x.jsonl", "--endpoint", "openai:m@http://a b/v1"], "'http://a b/v1'"),
    (["generate", "a.json", "-n", "abc", "-o", "x.jsonl"], "see synth-actors generate --help"),
    (["generate", "a.json", "-n", "5", "-o", ""], "-o '': is no name; give a file"),
    (["generate", "a.json", "-n", "5", "-o", "x.xlsx"], "'.xlsx' is no format"),
    (["generate", "a.json", "-n", "5", "-o", "-", "--resume"], "give a file to use --resume"),
    (["generate", "a.json", "-n", "5", "-o", "none/x.jsonl"], "there is no folder none"),
    (["generate", "a.json", "-n", "5", "-o", "/proc/x.jsonl"], "/proc/x.jsonl: cannot be written"),
    (["generate", "none.json", "-n", "5", "-o", "x.jsonl"], "SCHEMA none.json: no such file"),
    (["generate", "bad.json", "-n", "5", "-o", "x.jsonl"], "SCHEMA bad.json: not a valid JSON Schema"),
    (["generate", "bad.json", "-n", "5", "-o", "x.jsonl"], "at #/type"),
    (["generate", "bad.json", "-n", "5", "-o", "x.jsonl"], "$schema names 'http://json-schema.org/draft-07/schema#'"),
    (["generate", "none:Model", "-n", "5", "-o", "x.jsonl"], "no module 'none'"),
    (["generate", "json:dumps", "-n", "5", "-o", "x.jsonl"], "not a pydantic model class"),
    (["generate", "a.json", "-n", "5", "-o", "x.jsonl", "--config", "none.toml"], "none.toml"),
    (["config", "--endpoint", "nobody"], "unknown provider 'nobody'"),
    (["frobnicate"], "frobnicate"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=[words for _, words in WRONG])
def test_wrong_input_is_one_line_and_leaves_nothing(arguments: list[str], words: str, capfd: Capture) -> None:
    Path("bad.json").write_text('{"$schema": "http://json-schema.org/draft-07/schema#", "type": "nonsense"}')
    assert run_command(arguments) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert words in err
    assert files() == {"bad.json"}


def test_config_shows_what_is_in_force(capfd: Capture) -> None:
    Path("c.toml").write_text("[engine]\nmax_concurrency = 3\n")
    assert run_command(["config", "--config", "c.toml", "--endpoint", "openai:m@http://127.0.0.1:9/v1"]) == 0
    out = capfd.readouterr().out
    assert "max_concurrency = 3" in out
    assert 'base_url = "http://127.0.0.1:9/v1"' in out


def test_help_teaches(capfd: Capture) -> None:
    assert run_command(["--help"]) == 0
    assert "synth-actors generate customers.schema.json -n 1000 -o customers.jsonl" in capfd.readouterr().out
    assert run_command([]) == 0
    assert "Usage" in capfd.readouterr().out
    assert run_command(["generate", "--help"]) == 0
    assert "Exit status: 0 all rows are there" in capfd.readouterr().out


def test_progress_says_rate_and_time_to_go(capfd: Capture) -> None:
    report = RowsReport(asked=1000, valid=340, missing=10)
    assert line_of(report, 10.0) == "340 of 1000 rows, 10 missing, 34.0 rows/s, about 19 s to go"
    assert line_of(RowsReport(asked=5), 0.0) == "0 of 5 rows, 0.0 rows/s"
    lines = Lines()
    lines.show(report)
    assert capfd.readouterr().err == ""
    lines.show(report)
    assert capfd.readouterr().err.startswith("340 of 1000 rows")


def test_a_bar_is_drawn_on_stderr(capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    bar = Bar()
    bar.show(RowsReport(asked=1000, valid=0))
    bar.show(RowsReport(asked=1000, valid=340))
    bar.close()
    out, err = capfd.readouterr()
    assert out == ""
    assert "340/1000" in err


def test_a_fallback_that_made_everything_is_named_in_the_summary(
    monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    served_by(monkeypatch, all_right)
    broken = RowServer(lambda rows, sample: ProviderError(Fault.FAILED, "HTTP 500: boom"), name="first")
    spare = RowServer(all_right, name="spare")
    served_by_all(monkeypatch, broken, spare)
    assert command("--concurrency", 1) == 0
    err = capfd.readouterr().err
    assert "first: 0 answers, 3 of 3 calls failed (3 failed), last: HTTP 500: boom" in err
    assert "spare: 3 answers" in err


def test_what_an_endpoint_said_stands_in_the_progress_line() -> None:
    report = RowsReport(asked=1000)
    assert line_of(report, 10.0, "a: no connection") == "0 of 1000 rows, 0.0 rows/s; a: no connection"


def test_rows_that_repeat_are_a_finding(monkeypatch: pytest.MonkeyPatch, capfd: Capture) -> None:
    served_by(monkeypatch, lambda rows, sample: [{"id": 1} for _ in rows])
    assert command() == 0
    err = capfd.readouterr().err
    assert "findings   1" in err
    assert "high     few distinct rows, only 1 of 45 rows (2.2%)" in err


def test_many_invalid_rows_are_a_finding_also_when_all_are_there_in_the_end(
    monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    served_by(monkeypatch, lambda rows, sample: [{"id": number if sample else 0} for number in rows])
    assert command() == 0
    err = capfd.readouterr().err
    assert "medium   45 of 90 rows that came were invalid (50.0%)" in err
