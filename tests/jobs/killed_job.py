"""What does a job do that is killed again and again?  It is run, ended, and all accounts of it are compared."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.jobs.ledger_server import SCHEMA, reply
from tests.jobs.ledgers import Ledger, Written, question_of, text_of, wait_until_quiet, written_in

LOOK_EVERY_S = 0.0005
MOST_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What kind of job it is."""

    count: int
    in_flight: int
    output: str
    durability: str = "process"
    stream: str = "never"

    def job_file(self, base_url: str) -> str:
        return f"""
[job]
count = {self.count}
schema = "schema.json"
output = "{self.output}"
rows_per_request = 4
concurrency = {self.in_flight}
durability = "{self.durability}"
[[job.endpoints]]
provider = "openai"
model = "ledger"
base_url = "{base_url}"
stream = "{self.stream}"
price = {{input_usd_per_mtok = 1.0, output_usd_per_mtok = 2.0}}
"""


@dataclass
class Figures:
    """What happened over many kills; these are counted by their moment and by what was found on the disk then."""

    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    jobs: int = 0
    begun: int = 0
    repeated: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    uncertain: int = 0
    unheard: int = 0
    answered_and_lost: int = 0
    committed: int = 0

    def __str__(self) -> str:
        kills = "\n".join(
            f"  {count:3} kills, {moment}: {phase}" for (moment, phase), count in sorted(self.kills.items())
        )
        return (
            f"{self.kills.total()} kills of {self.jobs} jobs, {self.begun} calls, {self.committed} answers committed\n"
            f"{kills}\n  in flight at the kills {self.in_flight}, at most {self.most_in_flight} at once\n"
            f"  uncertain {self.uncertain}: {self.unheard} never reached the server, {self.answered_and_lost} were"
            f" answered\n  repeated {self.repeated}"
        )


class Run:
    """One process that runs a job."""

    def __init__(self, folder: Path, output: Path, *, resume: bool) -> None:
        self.output = output
        self.partial = output.with_name(output.name + ".partial")
        self.journal = output.with_name(output.name + ".journal")
        self.log = folder / "log"
        command = [sys.executable, "-m", "synth_actors", "run", "job.toml", *(["--resume"] if resume else [])]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.begun_at = time.monotonic()

    def ends_within(self, seconds: float) -> bool:
        """Whether the process has ended before so many seconds were over."""
        try:
            self.process.wait(timeout=max(0.0, seconds))
        except subprocess.TimeoutExpired:
            return False
        return True

    def sees(self, happens: Callable[[], bool]) -> bool:
        """Wait for something on the disk; False when the process ended before."""
        until = time.monotonic() + MOST_S
        while not happens():
            assert time.monotonic() < until, self.log.read_text()
            if self.ends_within(LOOK_EVERY_S):
                return False
        return True

    def kill(self) -> bool:
        """Kill it with -9; False when it had ended before."""
        self.process.kill()
        return self.process.wait() < 0

    def end(self) -> int:
        """Its exit status, when it ends by itself."""
        return self.process.wait(timeout=MOST_S)


@dataclass(frozen=True, kw_only=True)
class Undisturbed:
    """How the job goes when nobody kills it: what comes out, and when its first call is made and its end is there."""

    content: dict[str, bytes]
    manifest: dict[str, object]
    answers: int
    begins_s: float
    lasts_s: float


class KilledJob:
    """A job in a folder of its own, its ledger, and what both accounts said after the last kill."""

    def __init__(self, folder: Path, name: str, shape: Shape, address: str, ledgers: Path) -> None:
        self.shape = shape
        self.folder = folder / name
        self.folder.mkdir()
        (self.folder / "schema.json").write_text(json.dumps(SCHEMA))
        (self.folder / "job.toml").write_text(shape.job_file(f"{address}/{name}/v1"))
        self.output = self.folder / shape.output
        self.ledger = Ledger(ledgers / f"{name}.ledger")
        self.written = Written({}, {}, None)
        self._address = address
        self._in_flight: Counter[object] = Counter()  # how many kills met each question

    def start(self) -> Run:
        return Run(self.folder, self.output, resume=self.written.standing is not None)

    def content(self) -> dict[str, bytes]:
        """The output, file by file."""
        if self.output.is_dir():
            return {each.name: each.read_bytes() for each in sorted(self.output.iterdir())}
        return {"": self.output.read_bytes()}

    def manifest(self) -> dict[str, object]:
        """What the manifest says, without what the kills leave in it."""
        document: dict[str, object] = json.loads((self.folder / "manifest.json").read_bytes())
        return {name: value for name, value in document.items() if name not in ("uncertain_calls", "runs")}

    def forecast(self, expected: Undisturbed) -> Forecast:
        """Of the next run, which has only the rest to do."""
        left = 1.0 - len(self.written.answers) / expected.answers
        ends_s = expected.begins_s + left * (expected.lasts_s - expected.begins_s)
        size = sum(map(len, expected.content.values()))
        return Forecast(begins_s=expected.begins_s, ends_s=ends_s, size=size)

    def undisturbed(self) -> Undisturbed:
        """Run it to its end."""
        run = self.start()
        run.sees(self.ledger.path.exists)
        begins_s = time.monotonic() - run.begun_at
        assert run.end() == 0, run.log.read_text()
        lasts_s = time.monotonic() - run.begun_at
        written = self.look()
        assert self.ledger.begun.total() == len(self.ledger.answered) == len(written.answers)
        assert not written.calls
        return Undisturbed(
            content=self.content(),
            manifest=self.manifest(),
            answers=len(written.answers),
            begins_s=begins_s,
            lasts_s=lasts_s,
        )

    # ------------------------------------------------------------------------------------------------ the two accounts

    def look(self) -> Written:
        """What the journal says now: nothing that it held is lost or changed, and no answer is another one's."""
        wait_until_quiet(self._address)
        before, after = self.written, written_in(self.folder / f"{self.output.name}.journal")
        assert before.answers.items() <= after.answers.items(), "a committed answer is lost"
        assert before.calls.items() <= after.calls.items(), "the list of uncertain calls has lost one"
        for question in after.answers.keys() - before.answers.keys():
            assert text_of(after.answers[question]) == reply(*question)[0]
        new = self.ledger.read()
        again = new.keys() & before.answers.keys()
        assert not again, f"committed, and asked again: {again}"
        assert set(new.values()) <= {1}, "one run has asked a question twice"
        assert all(len(words) == 1 for words in self.ledger.words.values()), "a question in other words"
        self._new_begun, self._new_calls = new, [after.calls[each] for each in after.calls.keys() - before.calls.keys()]
        self.written = after
        return after

    def compare(self, moment: str, figures: Figures) -> None:
        """After a kill at some moment: what is uncertain was in flight, and all that was in flight is uncertain."""
        written = self.look()
        uncertain = [question_of(call) for call in self._new_calls]
        out = self._new_begun.keys() - written.answers.keys()
        assert len(uncertain) == len(set(uncertain)) <= self.shape.in_flight
        assert out <= set(uncertain), "the server has heard of it, the list has not"
        assert not set(uncertain) & written.answers.keys(), "uncertain, and answered in the journal"
        assert self.ledger.answered - written.answers.keys() <= written.uncertain()
        self._check_list(written)
        self._in_flight.update(uncertain)
        figures.in_flight += len(out)
        figures.most_in_flight = max(figures.most_in_flight, len(uncertain))
        figures.uncertain += len(uncertain)
        figures.unheard += len(set(uncertain) - out)
        figures.answered_and_lost += len(out & self.ledger.answered)
        figures.kills[moment, self.phase()] += 1

    def _check_list(self, written: Written) -> None:
        """The list that a user is shown is the table, each call with the most that it may cost."""
        shown = () if written.standing is None else written.standing.uncertain
        assert [(each.run, each.rows) for each in shown] == [(each[1], each[2]) for each in written.calls.values()]
        assert all(each.most_usd is not None and each.most_usd > 0.0 for each in shown)

    def phase(self) -> str:
        """Where the kill has met the job, by what is on the disk."""
        partial = self.output.with_name(self.output.name + ".partial")
        if self.written.standing is None or self.written.standing.job is None:
            return "before the journal"
        if self.output.exists():
            return "complete" if (self.folder / "manifest.json").exists() else "before the manifest"
        if "export" in self.written.standing.facts:
            return "before the rename"
        return "while writing rows" if size_of(partial) > 0 else "while asking"

    def check_end(self, expected: Undisturbed, figures: Figures) -> None:
        """The job is complete: as if nothing had happened."""
        written = self.look()
        assert self.content() == expected.content, "other bytes than undisturbed"
        assert self.manifest() == expected.manifest
        assert len(written.answers) == expected.answers
        assert not self._new_calls, "a run that ended by itself has left uncertain calls"
        assert self.ledger.answered == written.answers.keys()
        for call in written.calls.values():
            assert call[4] >= written.answers[question_of(call)][-1], "it may have cost more than the list says"
        repeated = {question: count - 1 for question, count in self.ledger.begun.items() if count > 1}
        for question, count in repeated.items():
            assert count <= self._in_flight[question], "repeated, and not in flight at a kill"
        figures.jobs += 1
        figures.begun += self.ledger.begun.total()
        figures.repeated += sum(repeated.values())
        figures.committed += len(written.answers)


# ------------------------------------------------------------------------------------------------- the moments of kills


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """When a run makes its first call, when it is over, and how large its output is in the end."""

    begins_s: float
    ends_s: float
    size: int


Moment = Callable[[Run, random.Random, Forecast], bool]
"""Waits until it has come; False when the process ended before."""


def any_time(run: Run, chance: random.Random, forecast: Forecast) -> bool:
    """At any time of the run."""
    return not run.ends_within(chance.uniform(0.9 * forecast.begins_s, forecast.ends_s))


def opening(run: Run, chance: random.Random, forecast: Forecast) -> bool:
    """While the job opens its files."""
    if run.partial.exists():  # of an earlier run
        return not run.ends_within(chance.uniform(0.6, 1.0) * forecast.begins_s)
    return run.sees(run.partial.exists) and not run.ends_within(chance.uniform(0.0, 0.02))


def checkpoint(run: Run, chance: random.Random, forecast: Forecast) -> bool:
    """While SQLite moves the log into the database, or right after."""
    wal = run.journal.with_name(run.journal.name + "-wal")
    if run.ends_within(forecast.begins_s) or not run.sees(lambda: size_of(wal) > 0):
        return False
    before, most = modified(run.journal), 0

    def moved() -> bool:
        nonlocal most
        most = max(most, size_of(wal))
        return modified(run.journal) != before or size_of(wal) < most

    return run.sees(moved) and not run.ends_within(chance.choice([0.0, 0.0005, 0.002]))


def exporting(run: Run, chance: random.Random, forecast: Forecast) -> bool:
    """While rows are written to the output: when some share of it is there, or right after the last one."""
    before, size = modified(run.partial), chance.choice([chance.random(), 1.0]) * forecast.size

    def written() -> bool:
        return modified(run.partial) != before and size_of(run.partial) >= size

    return run.sees(lambda: written() or run.output.exists()) and not run.ends_within(chance.uniform(0.0, 0.01))


def publishing(run: Run, chance: random.Random, forecast: Forecast) -> bool:
    """When the output has got its name."""
    return run.sees(run.output.exists) and not run.ends_within(chance.choice([0.0, 0.001]))


EARLY: tuple[Moment, ...] = (any_time, any_time, opening, checkpoint, checkpoint)
LATE: tuple[Moment, ...] = (exporting, exporting, exporting, publishing)


def size_of(path: Path) -> int:
    """Bytes in a file or in the files of a folder; -1 when there is none."""
    try:
        if path.is_dir():
            return sum(each.stat().st_size for each in path.iterdir())
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def modified(path: Path) -> int:
    """When a file, or one in the folder, was written last."""
    try:
        paths = [path, *path.iterdir()] if path.is_dir() else [path]
        return max(os.stat(each).st_mtime_ns for each in paths)
    except FileNotFoundError:
        return 0
