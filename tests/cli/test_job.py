"""Do `init`, `run` and `status` do and say the right thing in every state of a job?  In this process."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from synth_actors.cli.app import run_command
from synth_actors.datasets.jobs.job import JobSpec
from synth_actors.datasets.jobs.job_file import load_job
from synth_actors.datasets.jobs.journal_file import read_standing
from synth_actors.datasets.jobs.journal_tables import UncertainCall
from synth_actors.datasets.jobs.open_job import open_job
from synth_actors.datasets.jobs.run_job import run_job
from synth_actors.providers.base import Fault, ProviderError
from tests.datasets.row_server import RowServer, Script

Capture = pytest.CaptureFixture[str]
SCHEMA = {
    "type": "object",
    "properties": {"id": {"type": "integer", "minimum": 1, "maximum": 10**9}},
    "required": ["id"],
    "additionalProperties": False,
}
JOB = """
[job]
schema = "a.json"
count = 60
rows_per_request = 6
concurrency = 2
output = "rows.jsonl"
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.json").write_text(json.dumps(SCHEMA))
    Path("job.toml").write_text(JOB)


def files() -> set[str]:
    return {path.name for path in Path().iterdir()} - {"a.json", "job.toml"}


def rewrite(old: str, new: str) -> None:
    text = Path("job.toml").read_text()
    assert old in text
    Path("job.toml").write_text(text.replace(old, new))


def ids(rows: list[int], sample: int) -> object:
    return [{"id": number} for number in rows]


def spec_with(script: Script = ids, *, delay_s: float = 0.0) -> JobSpec:
    """The job of the file, made by a model that calls itself local and yet may cost something."""
    server = RowServer(script, name="local", delay_s=delay_s)
    server.model = ""
    spec = load_job(Path("job.toml"))
    return JobSpec(**{**{name: getattr(spec, name) for name in JobSpec.model_fields}, "endpoints": [server]})


def down_from(first: int) -> Script:
    def answer(rows: list[int], sample: int) -> object:
        return ProviderError(Fault.FATAL, "401: wrong key") if rows[0] >= first else ids(rows, sample)

    return answer


def stopped_halfway() -> None:
    """A run has left answers, rows and a journal."""
    (error,) = stop(spec_with(down_from(31)))
    assert "wrong key" in error
    assert files() == {"rows.jsonl.journal", "rows.jsonl.partial"}


def stop(spec: Any) -> Sequence[str]:
    async def run() -> Sequence[str]:
        async with open_job(spec) as job:
            return [str((await job.finish()).error)]

    return trio.run(run)


# init


def test_init_writes_a_job_that_runs_as_it_is_and_never_replaces_one(capfd: Capture) -> None:
    Path("job.toml").unlink()
    assert run_command(["init"]) == 0
    assert "wrote job.toml; try: synth-actors run\n" in capfd.readouterr().out
    written = Path("job.toml").read_text()
    assert run_command(["init"]) == 2
    assert "job.toml: exists; give another name, or remove it" in capfd.readouterr().err
    assert Path("job.toml").read_text() == written
    assert run_command(["init", "other.toml"]) == 0
    assert "try: synth-actors run other.toml" in capfd.readouterr().out
    assert run_command(["run"]) == 0
    assert run_command(["status"]) == 0


def test_init_into_a_folder_that_is_not_there_says_so(capfd: Capture) -> None:
    assert run_command(["init", "nowhere/job.toml"]) == 2
    assert "nowhere/job.toml: cannot be written (No such file or directory)" in capfd.readouterr().err


# run


def test_run_makes_the_job_of_the_file_and_knows_it_the_next_time(capfd: Capture) -> None:
    assert run_command(["run"]) == 0
    out, err = capfd.readouterr()
    assert out == ""
    assert "60 of 60 rows" in err
    assert "-> rows.jsonl" in err
    assert "manifest   manifest.json" in err
    assert files() == {"rows.jsonl", "manifest.json", "rows.jsonl.journal"}
    before = Path("rows.jsonl").stat().st_mtime_ns
    for wish in ([], ["--resume"]):
        assert run_command(["run", "job.toml", *wish]) == 0
        err = capfd.readouterr().err
        assert "60 of 60 rows" in err
    assert Path("rows.jsonl").stat().st_mtime_ns == before
    assert read_standing(Path("rows.jsonl.journal")).answers == 10


def test_a_run_that_was_stopped_is_not_begun_again_by_accident_and_resume_goes_on(capfd: Capture) -> None:
    stopped_halfway()
    assert run_command(["run"]) == 2
    assert "holds 5 answers of an earlier run; go on with them by --resume" in capfd.readouterr().err
    assert run_command(["run", "--resume"]) == 0
    assert "60 of 60 rows" in capfd.readouterr().err
    standing = read_standing(Path("rows.jsonl.journal"))
    assert (standing.answers, standing.runs) == (10, 2)
    assert [json.loads(line)["id"] for line in Path("rows.jsonl").read_text().splitlines()][:30] == list(range(1, 31))


def test_resume_without_a_journal_starts_afresh_and_says_so(capfd: Capture) -> None:
    assert run_command(["run", "--resume"]) == 0
    assert "rows.jsonl.journal: there is no such journal, so the job starts afresh" in capfd.readouterr().err


def test_a_changed_job_is_refused_with_the_difference_and_a_fork_begins_it_beside(capfd: Capture) -> None:
    stopped_halfway()
    rewrite("count = 60", "count = 66\nseed = 1")
    assert run_command(["run", "--resume"]) == 2
    err = capfd.readouterr().err
    assert "job.count: 60 -> 66" in err
    assert "job.seed: 0 -> 1" in err
    assert "--fork" in err
    assert run_command(["run", "--fork"]) == 0
    assert "what the earlier run has left is kept as rows.jsonl.journal.1" in capfd.readouterr().err
    assert read_standing(Path("rows.jsonl.journal.1")).answers == 5


def test_a_change_that_decides_about_no_row_is_no_change() -> None:
    stopped_halfway()
    rewrite("concurrency = 2", 'concurrency = 9\nbudget_usd = 3.5\ndurability = "power"')
    assert run_command(["run", "--resume"]) == 0


def test_an_output_that_is_in_the_way_is_not_replaced(capfd: Capture) -> None:
    Path("rows.jsonl").write_text("mine")
    assert run_command(["run"]) == 2
    assert "rows.jsonl: exists" in capfd.readouterr().err
    assert files() == {"rows.jsonl"}
    assert run_command(["run", "--overwrite"]) == 0
    assert len(Path("rows.jsonl").read_text().splitlines()) == 60


def test_a_dry_run_shows_the_plan_and_leaves_nothing(capfd: Capture) -> None:
    assert run_command(["run", "--dry-run"]) == 0
    out = capfd.readouterr().out
    assert "10" in out
    assert "Write 6 rows (series 0):" in out
    assert files() == set()


def test_a_dry_run_of_a_paid_job_needs_no_key_and_estimates_dollars(capfd: Capture) -> None:
    rewrite("count = 60", 'count = 60\nendpoints = ["anthropic:claude-haiku-4-5"]')
    assert run_command(["run", "--dry-run"]) == 0
    assert re.search(r"\$\d", capfd.readouterr().out)
    assert run_command(["run"]) == 2
    assert "ANTHROPIC_API_KEY" in capfd.readouterr().err
    assert files() == set()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[job", "job.toml: is no TOML"),
        ("", 'job.toml: job.schema: is missing; give schema = "customers.schema.json" below [job]'),
        (JOB.replace("count = 60", "count = 0"), "job.toml: job.count"),
        (JOB.replace("count", "cuont"), "cuont"),
        (JOB + "[dedupe]\n", "dedupe"),
        (JOB.replace("a.json", "b.json"), "b.json"),
        (JOB.replace("rows.jsonl", "rows.xlsx"), "rows.xlsx"),
        (JOB.replace("rows.jsonl", "nowhere/rows.jsonl"), "there is no folder nowhere"),
        (JOB + '[columns.id]\npython = "no_such_module:id"\n', "no_such_module"),
        (JOB + "[columns.id]\nvalues = []\n", "columns.id"),
        (JOB.replace("count = 60", 'count = 60\nendpoints = ["nobody:m"]'), "nobody"),
    ],
)
@pytest.mark.parametrize("command", ["run", "status"])
def test_a_wrong_job_file_is_told_in_one_line_and_leaves_nothing(
    capfd: Capture, command: str, text: str, words: str
) -> None:
    Path("job.toml").write_text(text)
    assert run_command([command]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert words in err
    assert err.startswith("synth-actors: ")
    assert err.count("\n") == 1
    assert files() == set()


def test_a_job_file_that_is_not_there_is_told_with_how_to_write_one(capfd: Capture) -> None:
    for command in ("run", "status"):
        assert run_command([command, "none.toml"]) == 2
        assert "none.toml: cannot be read (No such file or directory); give a job file, or write one with `init`" in (
            capfd.readouterr().err
        )


# status


def test_the_status_of_a_job_that_was_not_begun(capfd: Capture) -> None:
    assert run_command(["status"]) == 1
    assert capfd.readouterr().out == "job.toml: not begun; start it with: synth-actors run job.toml\n"


def test_the_status_of_a_job_that_was_stopped(capfd: Capture) -> None:
    stopped_halfway()
    assert run_command(["status"]) == 1
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "job.toml: incomplete"
    assert "  rows       30 of 60 made, to rows.jsonl" in lines
    assert any(line.startswith("  answers    5 in 1 run") for line in lines)
    assert any(line.startswith("  journal    rows.jsonl.journal, last written ") for line in lines)
    assert lines[-1] == "  resume     synth-actors run job.toml --resume"


async def test_the_status_of_a_job_that_runs(capfd: Capture) -> None:
    async with open_job(spec_with()) as job:
        rows = job.rows()
        await rows.receive()
        assert run_command(["status"]) == 1
        lines = capfd.readouterr().out.splitlines()
        assert lines[0] == "job.toml: running"
        assert not [line for line in lines if line.startswith("  resume")]


def test_the_status_of_a_job_that_is_complete(capfd: Capture) -> None:
    run_job(spec_with())
    assert run_command(["status"]) == 0
    out = capfd.readouterr().out
    assert out.startswith("job.toml: complete\n")
    assert "  rows       60 of 60 made, to rows.jsonl\n" in out
    assert "  resume" not in out


def test_the_status_of_a_job_whose_output_is_gone(capfd: Capture) -> None:
    run_job(spec_with())
    Path("rows.jsonl").unlink()
    assert run_command(["status"]) == 0
    assert "synth-actors run job.toml writes it again, and asks nothing" in capfd.readouterr().out
    assert run_command(["run"]) == 0
    assert read_standing(Path("rows.jsonl.journal")).answers == 10
    assert len(Path("rows.jsonl").read_text().splitlines()) == 60


@pytest.mark.parametrize("complete", [True, False])
def test_a_job_that_was_changed_is_not_complete_whatever_its_journal_says(capfd: Capture, complete: bool) -> None:
    if complete:
        run_job(spec_with())
    else:
        stopped_halfway()
    rewrite("count = 60", "count = 61")
    assert run_command(["status"]) == 1
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "job.toml: changed"
    assert "  changed    the job file asks for something else than the journal: job.count: 60 -> 61" in lines


def written_calls() -> tuple[UncertainCall, ...]:
    journal = Path("rows.jsonl.journal")
    return read_standing(journal).uncertain if journal.exists() else ()


async def test_the_status_counts_calls_that_may_be_on_the_bill(capfd: Capture) -> None:
    spec = spec_with(delay_s=1000.0)
    async with trio.open_nursery() as nursery, open_job(spec) as job:
        nursery.start_soon(job.finish)
        while len(written_calls()) < 2:
            await trio.lowlevel.checkpoint()
        assert run_command(["status"]) == 1
        assert "  calls      2 under way" in capfd.readouterr().out
        nursery.cancel_scope.cancel()
    assert run_command(["status"]) == 1
    out = capfd.readouterr().out
    assert "  uncertain  2 calls have brought no answer and may be on the bill" in out
    assert "rows 1-6 at local" in out


# generate


def generate(*arguments: str) -> int:
    return run_command(["generate", "a.json", "-n", "45", "-o", "rows.jsonl", *arguments])


def test_generate_resumes_nothing_when_there_is_nothing_and_says_so(capfd: Capture) -> None:
    assert generate("--resume") == 0
    assert "rows.jsonl.journal: there is no such journal, so the job starts afresh" in capfd.readouterr().err
    assert files() == {"rows.jsonl"}


def test_generate_with_resume_does_not_replace_a_file_that_is_there(capfd: Capture) -> None:
    assert generate() == 0
    before = Path("rows.jsonl").read_bytes()
    assert generate("--resume") == 2
    assert "rows.jsonl: exists" in capfd.readouterr().err
    assert Path("rows.jsonl").read_bytes() == before
    assert files() == {"rows.jsonl"}


def test_generate_to_stdout_leaves_nothing_to_go_on_with(capfd: Capture) -> None:
    assert run_command(["generate", "a.json", "-n", "3", "-o", "-", "--resume"]) == 2
    assert "leaves nothing to go on with" in capfd.readouterr().err


def test_generate_does_not_go_on_with_the_journal_of_another_job(capfd: Capture) -> None:
    stopped_halfway()
    assert generate("--resume") == 2
    assert "was begun by another job" in capfd.readouterr().err
    assert generate("--fork") == 0
    assert files() == {"rows.jsonl", "rows.jsonl.journal.1", "rows.jsonl.partial.1"}
