"""What held the engine back in this report?"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.result import Report
from synth_actors import analyze


def analysis_of(report: Report) -> str:
    """The findings of the analyzer about each recording of the report, and what they would bring; a text for people."""
    parts = [f"# {report.command}, {report.started_at}", *_parts(report)]
    return "\n\n".join(parts) + "\n"


def _parts(report: Report) -> Iterator[str]:
    if not report.recordings:
        yield "No engine was recorded: the suites of this report look at parts of it."
    for recorded in report.recordings:
        recording = recorded.recording
        about = f" ({recording.about})" if recording.about else ""
        yield f"{recorded.suite}: {recording.title}{about}\n{analyze(recording.last)}"
