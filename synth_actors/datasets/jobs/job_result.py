"""What became of a job?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from synth_actors.datasets.jobs.journal_tables import UncertainCall
from synth_actors.datasets.outputs.sinks import FileInfo
from synth_actors.datasets.quality.quality_report import QualityReport
from synth_actors.datasets.report import RowsReport
from synth_actors.errors import SynthActorsError


class JobIncompleteError(SynthActorsError):
    """Rows are missing and nothing else went wrong; `result` says how many, and why.  The job can be resumed."""

    def __init__(self, message: str, result: JobResult) -> None:
        super().__init__(message)
        self.result = result


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What became of a job.

    `report` counts rows, `quality` looks at them.  `output` is the file or folder when it is there, `kept` where the
    rows stand when some are missing.  `uncertain` are the calls whose answer never arrived, over all runs: they may be
    on the bill beside `report.usage`.  `left_out` counts rows of which the output could not hold some key.  `error` is
    what stopped the job.
    """

    report: RowsReport
    quality: QualityReport
    output: Path | None
    files: tuple[FileInfo, ...]
    manifest: Path | None
    kept: Path | None
    kept_rows: int
    journal: Path
    uncertain: tuple[UncertainCall, ...]
    error: SynthActorsError | OSError | None
    left_out: int
    elapsed_s: float

    @property
    def complete(self) -> bool:
        """Whether all rows are there, and in the output."""
        return self.report.complete and self.error is None and bool(self.files)

    def raise_for_missing(self) -> None:
        """Raise what stopped the job, or `JobIncompleteError` when rows are missing; nothing when it is complete."""
        if self.error is not None:
            raise self.error
        if not self.complete:
            missing = f"{self.report.missing} of {self.report.asked} rows are missing"
            what = missing if self.report.missing else "all rows are made, but the job was stopped before its output"
            raise JobIncompleteError(f"{what}; run the job again with resume=True", self)
