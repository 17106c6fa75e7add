"""Where does the HTML report of a run go?

It is written once the run has ended, however it ended, and appears as a whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from synth_actors.datasets.jobs.export import write_whole
from synth_actors.datasets.jobs.prepared import Prepared
from synth_actors.datasets.report import RowsReport
from synth_actors.errors import ConfigError
from synth_actors.telemetry.recording import Recording

SUFFIX = ".html"


def check_page(flag: str, path: Path) -> None:
    """Raises `ConfigError` when no page can be written there."""
    if path.suffix.lower() != SUFFIX:
        raise ConfigError(
            f"{flag} {path}: the report is a page; give a name that ends in {SUFFIX}, such as report.html"
        )
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigError(f"{flag} {path}: not a file in a folder that exists; make the folder first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"{flag} {path}: may not be written; choose another place")


def write_page(path: Path, recording: Recording, prepared: Prepared, rows: RowsReport, ended: str) -> None:
    """The page of a run that made `rows` and `ended` so.

    Raises:
        OSError: the disk is full, or the folder has gone.
    """
    from synth_actors.telemetry.report import page_of

    where = "stdout" if prepared.output is None else prepared.output.name
    title = f"{where}: {rows.valid:,} of {rows.asked:,} rows"
    page = page_of(
        [replace(recording, title="The run")], title=title, facts=dict(_facts(recording, prepared, rows, ended))
    )
    write_whole(path, page.encode())


def _facts(recording: Recording, prepared: Prepared, rows: RowsReport, ended: str) -> Iterator[tuple[str, str]]:
    yield "ended", ended
    yield "rows", f"{rows.valid:,} valid of {rows.asked:,} asked for, {rows.missing:,} missing"
    yield "requests", f"{rows.requests:,}, of which {rows.failed_requests:,} brought no valid row"
    cost_usd = rows.usage.cost_usd
    yield "dollars", "unknown: an endpoint has no price" if cost_usd is None else f"{cost_usd:.6g}"
    yield "tokens", f"{rows.usage.input_tokens:,} in, {rows.usage.output_tokens:,} out"
    if prepared.config.budget_usd is not None:
        yield "budget", f"${prepared.config.budget_usd:g}"
    if prepared.short:  # of a job the label is the name of a field
        yield "schema", prepared.label.removeprefix("SCHEMA ")
    yield "endpoints", ", ".join(endpoint.name for endpoint in prepared.endpoints)
    yield "output", "stdout" if prepared.output is None else prepared.output.name
    yield "lasted", f"{recording.last.taken_at_s:.1f} s"
    yield "made by", f"synth-actors {version('synth-actors')}"
