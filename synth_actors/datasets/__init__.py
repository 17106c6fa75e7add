"""How does a schema become rows, and rows a file?"""

from __future__ import annotations

from synth_actors.datasets.columns.column_specs import ColumnSpec
from synth_actors.datasets.jobs.job import DedupSpec, JobSpec, LimitsSpec
from synth_actors.datasets.jobs.job_file import load_job
from synth_actors.datasets.jobs.job_result import JobIncompleteError, JobResult
from synth_actors.datasets.jobs.journal_file import JobChangedError
from synth_actors.datasets.jobs.open_job import Job, JobRows, open_job
from synth_actors.datasets.jobs.run_job import run_job
from synth_actors.datasets.report import RowsReport
from synth_actors.datasets.rows import Rows, generate_rows

__all__ = [
    "ColumnSpec",
    "DedupSpec",
    "Job",
    "JobChangedError",
    "JobIncompleteError",
    "JobResult",
    "JobRows",
    "JobSpec",
    "LimitsSpec",
    "Rows",
    "RowsReport",
    "generate_rows",
    "load_job",
    "open_job",
    "run_job",
]
