"""How does a schema become rows, and rows a file?"""

from __future__ import annotations

from synth_actors.datasets.job import JobSpec
from synth_actors.datasets.job_file import load_job
from synth_actors.datasets.jobs import Job, JobIncompleteError, JobResult, JobRows, open_job
from synth_actors.datasets.journal_file import JobChangedError
from synth_actors.datasets.report import RowsReport
from synth_actors.datasets.rows import Rows, generate_rows
from synth_actors.datasets.run_job import run_job

__all__ = [
    "Job",
    "JobChangedError",
    "JobIncompleteError",
    "JobResult",
    "JobRows",
    "JobSpec",
    "Rows",
    "RowsReport",
    "generate_rows",
    "load_job",
    "open_job",
    "run_job",
]
