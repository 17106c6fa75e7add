"""Does `generate --cache FILE` pay for no answer that is in the file?"""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path

import pytest

from synth_actors.cli.app import run_command
from synth_actors.cli.settings import load_settings
from synth_actors.tier import open_tier

Capture = pytest.CaptureFixture[str]
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.json").write_text(json.dumps(SCHEMA))


def generate(count: int, output: str, *arguments: str) -> int:
    return run_command(["generate", "s.json", "-n", str(count), "-o", output, *arguments])


def test_a_longer_run_begins_with_the_answers_of_a_shorter_one(capsys: Capture) -> None:
    assert generate(40, "a.jsonl", "--cache", "answers.cache") == 0
    assert "cache      0 hits of 2 lookups, 0 of them from " in capsys.readouterr().err
    assert generate(100, "b.jsonl", "--cache", "answers.cache") == 0
    err = capsys.readouterr().err
    assert "cache      2 hits of 5 lookups, 2 of them from " in err
    assert "answers.cache; saved " in err
    assert Path("b.jsonl").read_text().startswith(Path("a.jsonl").read_text())
    assert generate(100, "c.jsonl", "--cache", "answers.cache") == 0
    assert "5 hits of 5 lookups" in capsys.readouterr().err
    assert Path("c.jsonl").read_bytes() == Path("b.jsonl").read_bytes()


def test_what_was_paid_does_not_expire_unless_the_configuration_says_so() -> None:
    assert load_settings(None, (), cache="answers.cache").engine.cache.ttl_s is None
    assert load_settings(None, ()).engine.cache.ttl_s == 3600
    Path("c.toml").write_text("[engine.cache]\nttl_s = 60.0\nmax_entries = 7\npath = 'other.cache'\n")
    cache = load_settings(Path("c.toml"), (), cache="answers.cache").engine.cache
    assert (cache.ttl_s, cache.max_entries, cache.path) == (60.0, 7, "answers.cache")
    assert load_settings(Path("c.toml"), ()).engine.cache.path == "other.cache"


@pytest.mark.parametrize("path", ["", ".", "nowhere/answers.cache", "rows.jsonl", "rows.csv", "s.json"])
def test_a_file_that_can_be_no_cache_is_refused_in_one_line_and_left_as_it_is(capsys: Capture, path: str) -> None:
    Path("rows.jsonl").write_text('{"name": "mine"}\n')
    Path("rows.csv").write_text("name\nmine\n")
    assert generate(10, "a.jsonl", "--cache", path) == 2
    err = capsys.readouterr().err.strip()
    assert "\n" not in err
    assert "path=" in err or "durable cache" in err or "--cache s.json" in err
    assert Path("rows.jsonl").read_text() == '{"name": "mine"}\n'
    assert not Path("a.jsonl").exists()
    assert sorted(path.name for path in Path().iterdir()) == ["rows.csv", "rows.jsonl", "s.json"]


def test_the_plan_makes_no_file_and_says_what_is_wrong_with_the_path(capsys: Capture) -> None:
    assert generate(40, "a.jsonl", "--cache", "answers.cache", "--dry-run") == 0
    assert [path.name for path in Path().iterdir()] == ["s.json"]
    assert generate(40, "a.jsonl", "--cache", "nowhere/answers.cache", "--dry-run") == 2
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["a.out", "./a.out", "a.out.partial", "a.out.journal", "s.json"])
def test_a_file_of_the_run_itself_is_no_place_for_answers(capsys: Capture, path: str) -> None:
    path, output = path.replace("a.out", "a.jsonl"), "a.jsonl"
    assert generate(40, "answers.jsonl", "--cache", "answers.cache") == 0
    Path("answers.cache").rename(output)  # a cache with a name of rows
    before = Path(output).read_bytes()
    assert generate(10, output, "--overwrite", "--cache", path) == 2
    assert "a file of this run itself; name another" in capsys.readouterr().err
    assert Path(output).read_bytes() == before


def test_a_run_that_was_answered_from_the_cache_says_so(capsys: Capture) -> None:
    assert generate(40, "a.jsonl", "--cache", "answers.cache") == 0
    assert generate(40, "b.jsonl", "--cache", "answers.cache") == 0
    assert "requests   2; all from the cache" in capsys.readouterr().err


def test_answers_that_are_too_old_are_counted(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("c.toml").write_text("[engine.cache]\nttl_s = 60.0\n")
    assert generate(40, "a.jsonl", "--cache", "answers.cache", "--config", "c.toml") == 0
    later = partial(open_tier, wall=lambda: time.time() + 61)
    monkeypatch.setattr("synth_actors.wiring.open_tier", later)
    assert generate(40, "b.jsonl", "--cache", "answers.cache", "--config", "c.toml") == 0
    assert "2 answers were there but are older than ttl_s" in capsys.readouterr().err
