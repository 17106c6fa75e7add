"""Is what an earlier run has left gone on with, kept or refused, as it was wished for?"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import pytest

from synth_actors.datasets.block import Ask
from synth_actors.datasets.jobs.beginning import Wish, exported_files, is_intact, make_room
from synth_actors.datasets.jobs.journal import Tariff
from synth_actors.datasets.jobs.journal_file import JobChangedError, journal_of, open_journal, read_standing
from synth_actors.datasets.jobs.journal_tables import EXPORT
from synth_actors.datasets.outputs.sinks import FileInfo
from synth_actors.errors import ConfigError
from synth_actors.storage.errors import DamagedError, LockedError
from synth_actors.types import Answer, Request, Usage
from tests.storage.support import names

JOB = {"version": 1, "job": {"seed": 0}}
OTHER = {"version": 1, "job": {"seed": 1}}
TARIFF = Tariff(free=frozenset({"local"}), most_usd=lambda request, endpoint: 1.0)
State = Literal["none", "begun", "answered", "free", "uncertain", "complete"]
RESUME, OVERWRITE, FORK = Wish(resume=True), Wish(overwrite=True), Wish(fork=True)
BOTH = Wish(resume=True, overwrite=True)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "rows.jsonl"


def write(path: Path, text: str) -> None:
    path.write_text(text)


async def leave(output: Path, state: State) -> Path:
    """The journal of a run that came so far."""
    path = journal_of(output)
    if state == "none":
        return path
    async with open_journal(path, JOB, TARIFF, durability="process") as (journal, _):
        if state != "begun":
            endpoint = "local" if state == "free" else "paid"
            journal.expect(b"key", 0, Ask((0,), 0, {}, 1), Request(prompt="p"))
            await journal.before_send(b"key", 1, endpoint)
            if state != "uncertain":
                answer = Answer(text="[]", stop_reason="end", endpoint=endpoint, model="m")
                await journal.received(b"key", 1, answer, Usage(cost_usd=0.0 if state == "free" else 0.5))
        if state == "complete":
            await journal.note(**{EXPORT: "[]"})
    return path


def outcome(output: Path, job: Any, wish: Wish) -> str:
    """What becomes of it, in a word."""
    journal = journal_of(output)
    before = names(output.parent)
    try:
        start = make_room(journal, job, wish, output)
    except ConfigError as exc:
        assert names(output.parent) == before, "what is refused is not touched"
        said = str(exc)
        assert "--" in said, "it says what helps"
        return "changed" if isinstance(exc, JobChangedError) else "refused"
    if start.standing is not None:
        assert journal.exists()
        return "goes on"
    if not journal.exists() and journal.with_name(journal.name + ".1").exists():
        assert read_standing(journal.with_name(journal.name + ".1")).job == JOB
        return "kept"
    return "removed" if before and not names(output.parent) else "begins"


@pytest.mark.parametrize(
    ("state", "wish", "same", "changed"),
    [
        ("none", Wish(), "begins", "begins"),
        ("none", RESUME, "begins", "begins"),
        ("none", FORK, "begins", "begins"),
        ("begun", Wish(), "goes on", "changed"),
        ("begun", OVERWRITE, "removed", "removed"),
        ("answered", Wish(), "refused", "changed"),
        ("answered", RESUME, "goes on", "changed"),
        ("answered", OVERWRITE, "kept", "kept"),
        ("answered", BOTH, "goes on", "changed"),
        ("answered", FORK, "kept", "kept"),
        ("free", Wish(), "refused", "changed"),
        ("free", OVERWRITE, "removed", "removed"),
        ("free", FORK, "kept", "kept"),
        ("uncertain", Wish(), "refused", "changed"),
        ("uncertain", RESUME, "goes on", "changed"),
        ("uncertain", OVERWRITE, "kept", "kept"),
        ("complete", Wish(), "goes on", "changed"),
        ("complete", RESUME, "goes on", "changed"),
        ("complete", OVERWRITE, "goes on", "kept"),
        ("complete", FORK, "kept", "kept"),
    ],
)
async def test_what_becomes_of_the_journal_of_an_earlier_run(
    output: Path, state: State, wish: Wish, same: str, changed: str
) -> None:
    for job, expected in ((JOB, same), (OTHER, changed)):
        for each in output.parent.iterdir():
            each.unlink()
        await leave(output, state)
        assert outcome(output, job, wish) == expected, job


async def test_a_journal_in_use_is_left_alone_whatever_is_wished(output: Path) -> None:
    path = journal_of(output)
    async with open_journal(path, JOB, TARIFF, durability="process"):
        for wish in (Wish(), RESUME, OVERWRITE, FORK, BOTH):
            with pytest.raises(LockedError, match="another run of this job uses it now"):
                make_room(path, JOB, wish, output)


async def test_a_fork_keeps_the_rows_of_the_earlier_run_under_the_number_of_its_journal(output: Path) -> None:
    await leave(output, "answered")
    partial = output.with_name("rows.jsonl.partial")
    write(partial, "rows")
    start = make_room(journal_of(output), OTHER, FORK, output)
    assert start.notes == (f"what the earlier run has left is kept as {journal_of(output)}.1 and {partial}.1",)
    assert names(output.parent) == ["rows.jsonl.journal.1", "rows.jsonl.partial.1"]


async def test_a_fork_may_not_replace_an_output_unasked(output: Path) -> None:
    await leave(output, "answered")
    write(output, "mine")
    before = names(output.parent)
    with pytest.raises(ConfigError, match="exists; give another output, or add --overwrite"):
        make_room(journal_of(output), OTHER, FORK, output)
    assert names(output.parent) == before
    assert make_room(journal_of(output), OTHER, Wish(fork=True, overwrite=True), output).standing is None


def test_a_file_that_is_no_journal_is_refused_and_a_fork_sets_it_aside(output: Path) -> None:
    journal_of(output).write_bytes(b"no database " * 1000)
    for wish in (Wish(), RESUME, OVERWRITE):
        with pytest.raises(DamagedError, match="--fork"):
            make_room(journal_of(output), JOB, wish, output)
    make_room(journal_of(output), JOB, FORK, output)
    assert names(output.parent) == ["rows.jsonl.journal.1"]


def info(name: str, text: str) -> FileInfo:
    return FileInfo(name=name, bytes=len(text), rows=1, sha256=sha256(text.encode()).hexdigest())


def test_an_output_is_intact_byte_for_byte_or_not_at_all(output: Path) -> None:
    assert not is_intact(output, ()), "it was never finished"
    assert not is_intact(output, (info("rows.jsonl", "a"),)), "it is not there"
    output.write_text("a")
    assert is_intact(output, (info("rows.jsonl", "a"),))
    output.write_text("b")
    assert not is_intact(output, (info("rows.jsonl", "a"),))


def test_a_folder_is_intact_when_all_its_shards_are(tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    shards = (info("part-00000.jsonl", "a"), info("part-00001.jsonl", "b"))
    (folder / "part-00000.jsonl").write_text("a")
    assert not is_intact(folder, shards)
    (folder / "part-00001.jsonl").write_text("b")
    assert is_intact(folder, shards)


def test_the_files_of_a_finished_output_are_read_from_the_journal() -> None:
    assert exported_files({}) == ()
    text = '[{"name": "rows.jsonl", "bytes": 1, "rows": 1, "sha256": "00"}]'
    assert exported_files({EXPORT: text}) == (FileInfo(name="rows.jsonl", bytes=1, rows=1, sha256="00"),)
