"""Does the job that `init` writes work, and every setting in it that waits for its `#` to be taken away?"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from synth_actors.datasets.jobs.job import DedupSpec, JobSpec, LimitsSpec
from synth_actors.datasets.jobs.job_file import KEYS, load_job
from synth_actors.datasets.jobs.job_template import TEMPLATE
from synth_actors.errors import ConfigError

SETTING = re.compile(r"#(?=\S)")
HEADER = re.compile(r"\[+(?P<name>[\w.]+)\]+")
KEY = re.compile(r"(?P<key>\w+) = ")

Section = list[str]
"""The lines from a header, or from the beginning, up to the next one; a header may wait for its `#`, too."""


def sections() -> list[Section]:
    found: list[Section] = [[]]
    for line in TEMPLATE.splitlines():
        if HEADER.match(SETTING.sub("", line, count=1)):
            found.append([])
        found[-1].append(line)
    return found


def settings() -> Iterator[tuple[int, int]]:
    for number, section in enumerate(sections()):
        yield from ((number, index) for index, line in enumerate(section) if index and SETTING.match(line))


def key_of(line: str) -> str | None:
    found = KEY.match(line)
    return found["key"] if found else None


def taken_away(number: int, window: range) -> str:
    """The template with the `#` taken away in a window of lines; what says the same twice goes."""
    parts = sections()
    section = parts[number]
    free = {index: SETTING.sub("", section[index], count=1) for index in (0, *window)}
    keys = {key_of(line) for line in free.values()} - {None}
    table = HEADER.match(free[0])
    parts[number] = [
        free.get(index, line) for index, line in enumerate(section) if index in free or key_of(line) not in keys
    ]
    if table and table["name"] == "job.endpoints":
        parts[1] = [line for line in parts[1] if key_of(line) != "endpoints"]
    if table and table["name"] == "job" and "schema" in keys:
        parts = [part for part in parts if not part[0].startswith("[job.schema")]
    return "\n".join(line for part in parts for line in part)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the settings name is there."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "my_columns", raising=False)
    (tmp_path / "cities.txt").write_text("Lyon\nNantes\n")
    (tmp_path / "cities.csv").write_text("name,people\nLyon,500000\n")
    (tmp_path / "seed.jsonl").write_text('{"full_name": "Ada"}\n{"full_name": "Bob"}\n')
    (tmp_path / "my_columns.py").write_text("def age(row, rng): return rng.randint(18, 90)\n")
    (tmp_path / "customers.schema.json").write_text(
        '{"type": "object", "properties": {"plan": {"type": "string"}, "signed_up_on": {"type": "string"}}}'
    )
    return tmp_path


def load(folder: Path, text: str) -> JobSpec:
    (folder / "job.toml").write_text(text)
    return load_job(folder / "job.toml")


def test_it_works_as_it_is(folder: Path) -> None:
    job = load(folder, TEMPLATE)
    assert (job.count, job.target) == (200, str(folder / "customers.jsonl"))
    assert [endpoint.name for endpoint in job.endpoints_resolved()] == ["local"]
    assert (job.dedup, job.limits, job.notes) == (DedupSpec(), LimitsSpec(), ())
    assert job.drawn.taken == {"plan", "signed_up_on"}
    assert len(job.row_schema.json_schema["properties"]) == 8


@pytest.mark.parametrize(("number", "index"), list(settings()))
def test_a_setting_is_accepted_alone_or_with_its_neighbours(folder: Path, number: int, index: int) -> None:
    waiting = [place for section, place in settings() if section == number]
    at = waiting.index(index)
    problems = []
    for first, last in sorted(
        ((a, b) for a in range(at + 1) for b in range(at, len(waiting))), key=lambda ab: ab[1] - ab[0]
    ):
        window = waiting[first : last + 1]
        try:
            load(folder, taken_away(number, range(window[0], window[-1] + 1)))
        except ConfigError as exc:
            problems.append(str(exc))
        else:
            return
    pytest.fail(f"{sections()[number][index]}: {problems}")


def test_what_is_shown_as_a_default_is_the_default(folder: Path) -> None:
    """Taking away the `#` of a setting that says what holds anyway changes nothing."""
    text = "\n".join(SETTING.sub("", line, count=1) for part in sections() for line in part)
    tables = tomllib.loads("\n".join(text[text.index("[dedup]") :].splitlines()))
    assert DedupSpec(**tables["dedup"]) == DedupSpec()
    for name in ("max_attempts", "outage_patience_s", "drain_timeout_s"):
        assert tables["limits"][name] == getattr(LimitsSpec(), name)


def test_every_key_of_a_job_is_shown() -> None:
    shown = {key_of(SETTING.sub("", line, count=1)) for part in sections() for line in part}
    assert shown >= {key for keys in KEYS.values() for key in keys}
    assert shown >= {"values", "weights", "min", "max", "step", "file", "field", "examples", "per_row", "python"}


def test_how_to_go_on_is_said_as_it_is_typed() -> None:
    assert "synth-actors run job.toml --resume" in TEMPLATE
