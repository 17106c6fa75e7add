"""What is a person told of a job, and with which status does its command end?"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from pathlib import Path

import trio
import typer

from synth_actors.cli.dry_run import missing_keys, plan_text
from synth_actors.cli.exports import Exports
from synth_actors.cli.progress import display_for
from synth_actors.cli.remedies import in_words_of_a_file
from synth_actors.cli.report_file import write_page
from synth_actors.cli.run import Ending, run
from synth_actors.cli.settings import check_access
from synth_actors.cli.summary import summary
from synth_actors.config import Endpoint, EngineConfig
from synth_actors.datasets.jobs.beginning import Wish, make_room
from synth_actors.datasets.jobs.journal_tables import EXPORT
from synth_actors.datasets.jobs.prepared import Prepared
from synth_actors.datasets.outputs.sinks import check_target
from synth_actors.engine import open_engine
from synth_actors.errors import ConfigError, SynthActorsError


def run_and_tell(prepared: Prepared, wish: Wish, exports: Exports) -> int:
    """Run a job; the exit status.

    Raises:
        ConfigError: something is wrong with the input; nothing was sent and no file is left behind.
    """
    exports.check(prepared)
    _check_for_local(prepared)
    for endpoint in prepared.endpoints:
        check_access(endpoint)  # a missing key is said before the client library takes seconds to import
    _collect_seldom()
    display = display_for(
        rows_on_stdout=prepared.output is None, budget_usd=prepared.config.budget_usd, live=exports.live
    )
    ending = run(prepared, wish, display, exports)
    if exports.report is not None:
        _report(Path(exports.report), ending, prepared)
    if isinstance(ending.stopped_by, BrokenPipeError):
        raise ending.stopped_by
    if ending.error is not None:
        raise ending.error
    if isinstance(ending.stopped_by, ConfigError) and not ending.report.valid:
        raise ending.stopped_by
    text = summary(ending, prepared)
    typer.echo(text if prepared.short else in_words_of_a_file(text), err=True)
    if ending.result is not None and ending.result.complete and not prepared.short:
        typer.echo("\n".join(ending.result.quality.lines()), err=True)
    return exit_status(ending, in_file=not prepared.short)


def _report(path: Path, ending: Ending, prepared: Prepared) -> None:
    """Write it, or say why there is none: the rows are there all the same."""
    if ending.recorder is None:
        typer.echo(f"--report {path}: nothing was asked, so there is nothing to report", err=True)
        return
    try:
        write_page(path, ending.recorder.recording(), prepared, ending.report, _how(ending))
    except OSError as exc:
        typer.echo(f"--report {path}: could not be written: {exc}", err=True)


def _how(ending: Ending) -> str:
    if ending.result is not None and ending.result.complete:
        return "complete"
    if ending.signal is not None:
        return "interrupted"
    return "with rows missing" if ending.stopped_by is None else " ".join(str(ending.stopped_by).split())


def _collect_seldom() -> None:
    """Nothing here makes cycles, and looking for them took 8 % of the time: what is imported is not looked at again."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _check_for_local(prepared: Prepared) -> None:
    """What the offline provider cannot honour is said with its place in the user's schema, not in that of a request."""
    if all(endpoint.provider != "local" for endpoint in prepared.endpoints):
        return
    from synth_actors.providers.local import check_schema

    try:
        check_schema(prepared.making.schema.json_schema)
    except ConfigError as exc:
        raise ConfigError(f"{prepared.label}: {exc}") from None


def show_plan(prepared: Prepared, wish: Wish, exports: Exports) -> int:
    """Show what would be asked and what it might cost; make no call and no file, and open no port."""
    exports.check(prepared)
    _check_for_local(prepared)
    notes, usable = missing_keys(prepared.endpoints)
    notes += _about_earlier_runs(prepared, wish)
    trio.run(_open_and_close, usable, _without_file(prepared.config))
    if not prepared.short:
        notes = [in_words_of_a_file(note) for note in notes]
    typer.echo(plan_text(prepared, [*prepared.notes, *notes]), err=prepared.output is None)
    return 0


def _about_earlier_runs(prepared: Prepared, wish: Wish) -> Iterator[str]:
    """What a run would say of what earlier ones have left; nothing is touched."""
    begins_anew = wish.fork or (wish.overwrite and not wish.resume)
    try:
        if not prepared.journal.exists() or begins_anew:
            check_target(prepared.target, prepared.making.schema, overwrite=wish.overwrite)
            return
        start = make_room(prepared.journal, prepared.identity, Wish(resume=wish.resume))
    except SynthActorsError as exc:  # of no account yet
        yield str(exc)
        return
    yield from start.notes
    if start.standing is not None and EXPORT in start.standing.facts:
        yield "the job is complete: nothing would be asked"
    elif start.standing is not None:
        yield f"{start.standing.valid} of {prepared.making.plan.job.count} rows are made already"


def _without_file(config: EngineConfig) -> EngineConfig:
    """The same with a cache in memory alone: opening its file would make it.  Raises `ConfigError` for a wrong path."""
    if config.cache.path is None:
        return config
    from synth_actors.tier.opening import check_place

    if (wrong := check_place(Path(config.cache.path))) is not None:
        raise ConfigError(f"cache path={str(config.cache.path)!r}: {wrong}")
    return config.model_copy(update={"cache": config.cache.model_copy(update={"path": None})})


async def _open_and_close(endpoints: Sequence[Endpoint], config: EngineConfig) -> None:
    """What is wrong with an endpoint is found when the engine opens; no call is made."""
    async with open_engine(endpoints, config):
        pass


def exit_status(ending: Ending, *, in_file: bool = False) -> int:
    """0 when all rows are in the output; else what kept them from it is said, `in_file`: in the words of a job file."""
    if ending.result is not None and ending.result.complete:
        return 0
    if ending.signal is not None:
        typer.echo("synth-actors: interrupted", err=True)
        return 128 + ending.signal
    if ending.stopped_by is not None:
        said = " ".join(str(ending.stopped_by).split())
        typer.echo(f"synth-actors: {in_words_of_a_file(said) if in_file else said}", err=True)
        return 2 if isinstance(ending.stopped_by, ConfigError) else 1
    missing = ending.report.missing
    typer.echo(f"synth-actors: {missing} {'row is' if missing == 1 else 'rows are'} missing", err=True)
    return 1
