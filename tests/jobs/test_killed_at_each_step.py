"""Does a job that is killed right between two steps of its beginning or its end come out the same?

Random kills rarely meet the moments between the last row and the manifest: here each of them is met.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from synth_actors.cli.app import run_command
from tests.jobs import dies_at

JOB = """
[job]
count = 60
output = "{output}"
rows_per_request = 5
[job.schema]
type = "object"
required = ["name", "age"]
properties = {{name = {{type = "string"}}, age = {{type = "integer"}}}}
"""
STEPS = [
    ("synth_actors.datasets.jobs.beginning", "open_sink", "after"),
    ("synth_actors.storage.sqlite", "open_writer", "before"),
    ("synth_actors.storage.sqlite", "open_writer", "after"),
    ("synth_actors.datasets.jobs.journal_file", "_begin_run", "after"),
    ("synth_actors.datasets.outputs.sinks", "Sink.seal", "before"),
    ("synth_actors.datasets.outputs.sinks", "Sink.seal", "after"),
    ("synth_actors.datasets.jobs.journal", "Journal.note", "after"),
    ("synth_actors.datasets.outputs.sinks", "Sink.publish", "after"),
    ("synth_actors.datasets.jobs.journal", "Journal.end_run", "after"),
    ("synth_actors.datasets.jobs.open_job", "write_whole", "before"),
    ("synth_actors.datasets.jobs.open_job", "write_whole", "after"),
    ("synth_actors.storage.sqlite", "Store._close", "before"),
    ("synth_actors.storage.sqlite", "Store._end", "after"),
]
"""Of a run from its beginning to its end: the module and the name of what is done, and when the kill comes."""
OF_FOLDERS = [step for step in STEPS if step[1] in ("open_sink", "Sink.seal", "Journal.note", "Sink.publish")]


def job_in(folder: Path, output: str) -> Path:
    folder.mkdir(exist_ok=True)
    (path := folder / "job.toml").write_text(JOB.format(output=output))
    return path


def left(folder: Path, output: str) -> dict[str, bytes]:
    """All files but the journal and the manifest, whose times differ, by their names."""
    found = {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}
    known = {f"{output.rstrip('/')}.journal", "manifest.json"}
    assert known <= found.keys()
    return {name: content for name, content in found.items() if name not in known}


def counted(folder: Path) -> object:
    """What a manifest says of the rows."""
    document = json.loads((folder / "manifest.json").read_bytes())
    return document["digest"], document["rows"], document["quality"], document["models"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each kind of output, in which it was made without a kill."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for output in ("rows.jsonl", "rows/"):
        assert run_command(["run", str(job_in(folder / output.replace("/", "-"), output))]) == 0
    return folder


def killed(path: Path, module: str, name: str, when: str, *arguments: str) -> None:
    command = [sys.executable, dies_at.__file__, module, name, when, "1", "run", path.name, *arguments]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


@pytest.mark.parametrize(
    ("output", "module", "name", "when"),
    [*(("rows.jsonl", *step) for step in STEPS), *(("rows/", *step) for step in OF_FOLDERS)],
)
def test_a_job_killed_between_two_steps_goes_on(
    output: str,
    module: str,
    name: str,
    when: str,
    undisturbed: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected = undisturbed / output.replace("/", "-")
    path = job_in(tmp_path / "job", output)
    killed(path, module, name, when)
    assert run_command(["run", str(path), "--resume"]) == 0, capsys.readouterr().err
    assert left(path.parent, output) == left(expected, output)
    assert counted(path.parent) == counted(expected)
    capsys.readouterr()
    assert run_command(["status", str(path)]) == 0
    assert capsys.readouterr().out.startswith(f"{path}: complete\n")
