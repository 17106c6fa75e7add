"""How long did the command take, and how much memory did it need at most?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.case import Load, Measured
from synth_actors.datasets.jobs.journal_file import read_standing
from synth_actors.storage.errors import StorageError

COMMAND = (sys.executable, "-m", "synth_actors")
SCHEMA = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "full_name": {"type": "string", "minLength": 3, "maxLength": 60},
        "email": {"type": "string", "format": "email"},
        "city": {"type": "string", "minLength": 2, "maxLength": 40},
        "plan": {"enum": ["free", "pro", "team"]},
        "age": {"type": "integer", "minimum": 18, "maximum": 90},
        "signed_up_on": {"type": "string", "format": "date"},
        "monthly_spend": {"type": "number", "minimum": 0, "maximum": 500},
        "is_active": {"type": "boolean"},
        "note": {"type": ["string", "null"], "maxLength": 120},
    },
    "additionalProperties": False,
}
SCHEMA["required"] = list(SCHEMA["properties"])  # type: ignore[call-overload]
LOOK_EVERY_S = 0.01
NINE_TENTHS = 0.9


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of the command: its wall time, and the most resident memory that it had."""

    seconds: float
    peak_mb: float


class Jobs:
    """Runs jobs; each kind once a repeat, however many cases look at it."""

    def __init__(self) -> None:
        self._ran: dict[tuple[int, int, bool], Ran] = {}

    def _made(self, load: Load, rows: int, *, near: bool) -> Ran:
        key = (load.repeat, rows, near)
        if key not in self._ran:
            with _job(rows, near=near) as folder:
                self._ran[key] = _run(folder, "run")
        return self._ran[key]

    def rate(self, load: Load, rows: int, *, near: bool) -> Measured:
        """Rows a second of wall time, start and end of the process included."""
        return Measured(value=rows / self._made(load, rows, near=near).seconds)

    def peak(self, load: Load, rows: int, *, near: bool, beside: int | None = None) -> Measured:
        """The most resident memory; `bare` is that of a job of `beside` rows."""
        bare = None if beside is None else self._made(load, beside, near=near).peak_mb
        return Measured(value=self._made(load, rows, near=near).peak_mb, bare=bare)

    def resumed_after(self, _load: Load, rows: int) -> Measured:
        """From the start of the process that resumes to its first answer in the journal."""
        with _job(rows, near=False) as folder:
            before = _killed(folder, int(NINE_TENTHS * rows))
            began = time.perf_counter()
            with _started(folder, "run", "--resume") as process:
                while _valid_and_answers(folder)[1] <= before:
                    if process.poll() is not None:
                        raise RuntimeError("the resumed run ended before it had a new answer")
                    time.sleep(LOOK_EVERY_S)
                seconds = time.perf_counter() - began
                process.kill()
        return Measured(value=seconds)

    def again(self, _load: Load, rows: int) -> Measured:
        """A complete job is run once more: nothing is asked."""
        with _job(rows, near=True) as folder:
            _run(folder, "run")
            answers = _valid_and_answers(folder)[1]
            ran = _run(folder, "run")
            if _valid_and_answers(folder)[1] != answers:
                raise RuntimeError("a complete job has asked again")
        return Measured(value=ran.seconds)

    def first(self, _load: Load) -> Measured:
        """`synth-actors init && synth-actors run` in an empty folder."""
        with TemporaryDirectory(prefix="synth-actors-") as folder:
            init, run = _run(Path(folder), "init"), _run(Path(folder), "run")
        return Measured(value=init.seconds + run.seconds)


@contextmanager
def _job(rows: int, *, near: bool) -> Iterator[Path]:
    with TemporaryDirectory(prefix="synth-actors-") as name:
        folder = Path(name)
        (folder / "schema.json").write_text(json.dumps(SCHEMA))
        dedup = "" if near else "[dedup]\nnear = false\n"
        text = f'[job]\nschema = "schema.json"\ncount = {rows}\nrows_per_request = 50\noutput = "rows.jsonl"\n{dedup}'
        (folder / "job.toml").write_text(text)
        yield folder


@contextmanager
def _started(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [*COMMAND, *arguments], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_environment()
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _environment() -> dict[str, str]:
    root = Path(__file__).resolve().parents[3]
    return {**os.environ, "PYTHONPATH": str(root)}


def _run(folder: Path, *arguments: str) -> Ran:
    began = time.perf_counter()
    process = subprocess.Popen(
        [*COMMAND, *arguments], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=_environment()
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        raise RuntimeError(f"synth-actors {' '.join(arguments)}: exit {process.returncode}: {said.decode()}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Ran(time.perf_counter() - began, usage.ru_maxrss * unit / 1e6)


def _killed(folder: Path, rows: int) -> int:
    """Run a job and kill it when `rows` rows are in its journal; how many answers it had then."""
    with _started(folder, "run") as process:
        while _valid_and_answers(folder)[0] < rows:
            if process.poll() is not None:
                raise RuntimeError("the job ended before it was killed")
            time.sleep(LOOK_EVERY_S)
        process.send_signal(signal.SIGKILL)
        process.wait()
    return _valid_and_answers(folder)[1]


def _valid_and_answers(folder: Path) -> tuple[int, int]:
    try:
        standing = read_standing(folder / "rows.jsonl.journal")
    except StorageError:  # it is being made
        return 0, 0
    return standing.valid, standing.answers
