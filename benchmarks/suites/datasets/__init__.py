"""How fast does a job make rows, in how much memory, and how soon does it go on?

Everything is the real command, `synth-actors run`, in a process of its own, with rows of ten fields through `local`.
"""

from __future__ import annotations

from benchmarks.case import Aim, Case
from benchmarks.suites.datasets.runs import Jobs

ROWS = 100_000
"""At a concurrency of 100; ten times as many for the large one."""
SMALL = 10_000


def datasets(concurrency: int) -> tuple[Case, ...]:
    """The suite; at a concurrency of 100 these are the sizes of its aims."""
    jobs = Jobs()
    rows = ROWS * concurrency // 100
    many, small = 10 * rows, SMALL * concurrency // 100

    def aim(limit: float, *, of: str = "value", at: str = "most") -> Aim | None:
        return Aim(limit=limit, of=of, at=at) if concurrency == 100 else None  # type: ignore[arg-type]

    return (
        Case(
            name=f"{rows:,} rows, equal ones replaced",
            unit="rows/s",
            measure=lambda load: jobs.rate(load, rows, near=False),
            aim=aim(15_000, at="least"),
        ),
        Case(
            name=f"{rows:,} rows, near duplicates too",
            unit="rows/s",
            measure=lambda load: jobs.rate(load, rows, near=True),
        ),
        Case(
            name=f"{rows:,} rows, peak memory",
            unit="MB",
            measure=lambda load: jobs.peak(load, rows, near=True),
            aim=aim(250),
        ),
        Case(
            name=f"{many:,} rows, peak memory beside {rows:,}",
            unit="MB",
            measure=lambda load: jobs.peak(load, many, near=False, beside=rows),
            aim=aim(1.1, of="ratio"),
        ),
        Case(
            name=f"{rows:,} rows, killed at nine tenths: resume until the next answer",
            unit="s",
            measure=lambda load: jobs.resumed_after(load, rows),
            aim=aim(3),
        ),
        Case(
            name=f"{small:,} rows, complete: run again",
            unit="s",
            measure=lambda load: jobs.again(load, small),
            aim=aim(2),
        ),
        Case(name="init and run", unit="s", measure=jobs.first, aim=aim(10)),
    )
