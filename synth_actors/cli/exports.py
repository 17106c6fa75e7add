"""Where do the figures of a run go while it runs, beside the lines of progress?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from synth_actors.cli.metrics_port import MetricsPage, check_port
from synth_actors.cli.report_file import check_page
from synth_actors.datasets.jobs.export import manifest_of
from synth_actors.datasets.jobs.prepared import STDOUT, Prepared
from synth_actors.datasets.outputs.sinks import partial_of
from synth_actors.engine import Engine
from synth_actors.errors import ConfigError
from synth_actors.telemetry.recording import Recorder, recorded

FLAGS = ("--metrics-port", "--hlog", "--report")
"""What a complaint about them begins with."""
POINTS_EVERY_S = 0.25
"""So that a run of seconds is a picture, too; in a long one they become further apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exports:
    """What was typed after `FLAGS`; `live`: the run is watched in the terminal."""

    metrics_port: int | None = None
    hlog: str | None = None
    report: str | None = None
    live: bool = False

    def check(self, prepared: Prepared) -> None:
        """Raises `ConfigError` for what is wrong with them in this run."""
        check_port(self.metrics_port)
        if self.live and not prepared.config.metrics:
            raise ConfigError("--live: metrics = false records no durations; leave out one of the two")
        if self.hlog is not None:
            _check_file("--hlog", self.hlog, "run.hlog", prepared)
        if self.report is not None:
            _check_file("--report", self.report, "report.html", prepared)
            check_page("--report", Path(self.report))
            if self.hlog is not None and Path(self.hlog).absolute() == Path(self.report).absolute():
                raise ConfigError(f"--report {self.report}: is the file of --hlog; name another, such as report.html")


def _check_file(flag: str, name: str, example: str, prepared: Prepared) -> None:
    if not name:
        raise ConfigError(f"{flag} '': names no file; give one, such as {example}")
    if name == STDOUT:
        raise ConfigError(f"{flag} {STDOUT}: stdout has rows or nothing; give a file, such as {example}")
    if not prepared.config.metrics:
        raise ConfigError(f"{flag} {name}: metrics = false records no durations; leave out one of the two")
    file = Path(name).absolute()
    if any(file.is_relative_to(path.absolute()) for path in _files_of(prepared)):
        raise ConfigError(f"{flag} {name}: is a file of this run itself; name another, such as {example}")


def _files_of(prepared: Prepared) -> Iterator[Path]:
    """What a run writes; what lies in a folder that it writes counts, too."""
    yield prepared.journal
    if prepared.output is not None:
        yield from (prepared.output, partial_of(prepared.output), manifest_of(prepared.output))
    if prepared.config.cache.path is not None:
        yield Path(prepared.config.cache.path)


Exporting = Callable[[Engine | None], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def exporting(
    engine: Engine | None, *, exports: Exports, page: MetricsPage | None, keep: Callable[[Recorder], None]
) -> AsyncIterator[None]:
    """Export the figures of `engine` while the block runs; None: nothing is asked for, so there are none.

    For a report they are recorded, and `keep` gets the recorder.

    Raises:
        ConfigError: the file cannot be written, or is no interval log.
    """
    async with AsyncExitStack() as stack:
        if engine is not None and page is not None:
            page.show(engine)
        if engine is not None and exports.hlog is not None:
            from synth_actors.telemetry.hlog import log_intervals

            try:
                await stack.enter_async_context(log_intervals(engine, exports.hlog))
            except ConfigError as exc:
                raise ConfigError(f"--{exc}") from exc
        if engine is not None and exports.report is not None:
            keep(await stack.enter_async_context(recorded(engine, interval_s=POINTS_EVERY_S)))
        yield
