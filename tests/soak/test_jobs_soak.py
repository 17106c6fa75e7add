"""A job that is killed with -9 again and again: no paid answer lost, none paid twice that was there, the same bytes.

A hundred kills in `make soak`, a third at each number of calls in flight, in about four minutes; six in `make test`.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from synth_actors.cli.app import run_command
from tests.conftest import Soak
from tests.jobs import ledger_server
from tests.jobs.killed_job import EARLY, LATE, Figures, KilledJob, Moment, Shape, Undisturbed, any_time
from tests.servers import first_line, running

OPERATIONS_PER_KILL = 3000
"""In the soak's own count, so that its 100,000 are 34 kills at each number of calls in flight."""
FEW = 5
ROWS = {1: 120, 32: 800, 256: 2400}
"""Of a job in the full soak: about two seconds; with fewer kills jobs are half as long."""
SHAPES = (
    ("rows.jsonl", "process", "never"),
    ("rows.csv", "process", "always"),
    ("rows.parquet", "power", "never"),
    ("rows/", "process", "always"),
    ("rows.parquet/", "power", "never"),
)


@pytest.fixture
def address(soak: Soak, tmp_path: Path) -> Iterator[str]:
    """Of a server that keeps its ledgers in `ledgers`."""
    (ledgers := tmp_path / "ledgers").mkdir()
    with running([sys.executable, ledger_server.__file__, str(ledgers), "--seed", str(soak.seed)], tmp_path) as process:
        yield first_line(process, tmp_path)


@pytest.mark.parametrize("in_flight", [1, 32, 256])
def test_a_job_killed_at_random_moments_loses_no_answer_and_ends_as_if_undisturbed(
    in_flight: int, soak: Soak, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times = -(-soak.count // OPERATIONS_PER_KILL)
    rows = ROWS[in_flight] // (1 if times > FEW else 2)
    kills = Kills(tmp_path, address, Size(rows, in_flight), random.Random(f"{soak.seed}/{in_flight}"), capsys)
    kills.kill(times)
    figures = kills.figures
    assert figures.repeated <= figures.in_flight <= figures.uncertain <= in_flight * figures.kills.total()
    with capsys.disabled():
        sys.stdout.write(f"\n{in_flight} in flight: {figures}\n")


@dataclass(frozen=True)
class Size:
    """How many rows a job has, and how many calls are in flight."""

    rows: int
    in_flight: int


class Kills:
    """Kills jobs with so many calls in flight, as often as is wanted."""

    def __init__(
        self, folder: Path, address: str, size: Size, chance: random.Random, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.figures = Figures()
        self._folder = folder
        self._address = address
        self._size = size
        self._chance = chance
        self._capsys = capsys
        self._jobs = 0
        self._undisturbed: dict[Shape, Undisturbed] = {}
        self._shapes = chance.sample(SHAPES, len(SHAPES))

    def kill(self, times: int) -> None:
        """Kill one job after the other, each several times, until so many runs were killed."""
        while (left := times - self.figures.kills.total()) > 0:
            output, durability, stream = self._shapes[self.figures.jobs % len(SHAPES)]
            shape = Shape(
                count=self._size.rows,
                in_flight=self._size.in_flight,
                output=output,
                durability=durability,
                stream=stream,
            )
            if shape not in self._undisturbed:
                self._undisturbed[shape] = self._job(shape).undisturbed()
            self._kill(self._job(shape), self._undisturbed[shape], self._moments(left))

    def _job(self, shape: Shape) -> KilledJob:
        self._jobs += 1
        return KilledJob(self._folder, f"job{self._jobs}", shape, self._address, self._folder / "ledgers")

    def _moments(self, most: int) -> list[Moment]:
        """What ends the runs of one job: some in the middle of its calls, then some at its end."""
        early, late = self._chance.randint(0, 2), self._chance.randint(1, 2)
        moments = [any_time, *self._chance.choices(EARLY, k=early), *self._chance.choices(LATE, k=late)]
        return [*moments[: most - 1], moments[-1]] if most < len(moments) else moments

    def _kill(self, job: KilledJob, expected: Undisturbed, moments: list[Moment]) -> None:
        for moment in moments:
            run = job.start()
            if moment(run, self._chance, job.forecast(expected)) and run.kill():
                job.compare(moment.__name__, self.figures)
            elif run.end() == 0:
                break
            else:
                pytest.fail(f"{run.process.returncode}: {run.log.read_text()}")
        else:
            run = job.start()
            assert run.end() == 0, run.log.read_text()
        job.check_end(expected, self.figures)
        _is_recognised(job, self._capsys)


def _is_recognised(job: KilledJob, capsys: pytest.CaptureFixture[str]) -> None:
    """A complete job is said to be complete, and asks nothing when it is run again."""
    begun, path = job.ledger.begun.total(), str(job.folder / "job.toml")
    capsys.readouterr()
    assert run_command(["status", path]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"{path}: complete"
    assert run_command(["run", path]) == 0
    job.look()
    assert job.ledger.begun.total() == begun
