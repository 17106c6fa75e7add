"""How does a job file become a run, and what does one say of a job that runs or ran?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import typer

from synth_actors.cli.ending import run_and_tell, show_plan
from synth_actors.cli.exports import FLAGS, Exports
from synth_actors.cli.remedies import in_words_of_a_file
from synth_actors.cli.summary import cost_text, uncertain_lines
from synth_actors.datasets.jobs.beginning import Wish, exported_files, is_intact
from synth_actors.datasets.jobs.job_identity import differences
from synth_actors.datasets.jobs.job_template import TEMPLATE
from synth_actors.datasets.jobs.journal_file import Standing, read_standing
from synth_actors.datasets.jobs.journal_tables import EXPORT
from synth_actors.datasets.jobs.prepared import Prepared, prepare
from synth_actors.errors import ConfigError
from synth_actors.storage.files import is_in_use


def run_file(path: Path, wish: Wish, exports: Exports, *, dry_run: bool) -> int:
    """Run the job in a file, or show what would be run; the exit status.

    Raises:
        ConfigError: something is wrong with the job; nothing was sent.
    """
    try:
        prepared = prepare(path)
        return show_plan(prepared, wish, exports) if dry_run else run_and_tell(prepared, wish, exports)
    except ConfigError as exc:
        said = in_words_of_a_file(str(exc))
        of_file = not said.startswith((f"{path}: ", *FLAGS))
        raise ConfigError(f"{path}: {said}" if of_file else said) from exc


def write_template(path: Path) -> None:
    """Write a commented job file.

    Raises:
        ConfigError: there is one already, or it cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except FileExistsError:
        raise ConfigError(f"{path}: exists; give another name, or remove it") from None
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be written ({exc.strerror}); choose a folder that can") from None
    name = "" if path == Path("job.toml") else f" {path}"
    typer.echo(f"wrote {path}; try: synth-actors run{name}")


def show_status(path: Path) -> int:
    """Say how far the job in a file is: 0 when it is complete, 1 when it is not.

    Raises:
        ConfigError: the job file is wrong.
    """
    prepared = prepare(path)
    if not prepared.journal.exists():
        typer.echo(f"{path}: not begun; start it with: synth-actors run {path}")
        return 1
    standing = read_standing(prepared.journal)
    changes = differences(standing.job or prepared.identity, prepared.identity)
    typer.echo("\n".join(_lines(path, prepared, standing, changes)))
    return 0 if EXPORT in standing.facts and not changes else 1


def _lines(path: Path, prepared: Prepared, standing: Standing, changes: list[str]) -> Iterator[str]:
    job = prepared.making.plan.job
    runs = is_in_use(prepared.journal)
    done = EXPORT in standing.facts
    state = "running" if runs and not done else "changed" if changes else "complete" if done else "incomplete"
    yield f"{path}: {state}"
    yield f"  rows       {standing.made} of {job.count} made, to {prepared.target}"
    models = ", ".join(f"{count} by {model}" for model, count in standing.models.items())
    runs_text = f"{standing.runs} run{'' if standing.runs == 1 else 's'}"
    yield f"  answers    {standing.answers} in {runs_text}{': ' if models else ''}{models}"
    yield f"  cost       {cost_text(standing.usage, short=False)}{_budget(prepared)}"
    out = [call for call in standing.uncertain if runs and call.run == standing.runs and call.ended is None]
    if out:
        yield f"  calls      {len(out)} under way"
    uncertain = [call for call in standing.uncertain if call not in out]
    yield from (f"  {name:<11}{text}" for name, text in uncertain_lines(uncertain))
    yield f"  journal    {prepared.journal}{_age(prepared.journal)}"
    if changes:
        yield f"  changed    the job file asks for something else than the journal: {'; '.join(changes)}"
    elif done:
        yield from _about_output(path, Path(prepared.target), standing)
    elif not runs:
        yield f"  resume     synth-actors run {path} --resume"


def _about_output(path: Path, output: Path, standing: Standing) -> Iterator[str]:
    if not output.exists():
        yield f"  output     is not there any more; synth-actors run {path} writes it again, and asks nothing"
    elif not is_intact(output, exported_files(standing.facts)):
        yield "  output     was changed after it was written; --resume --overwrite writes it again, and asks nothing"


def _budget(prepared: Prepared) -> str:
    budget_usd = prepared.config.budget_usd
    return "" if budget_usd is None else f" of ${budget_usd:g}"


def _age(journal: Path) -> str:
    newest = max(
        beside.stat().st_mtime for beside in (journal, journal.with_name(journal.name + "-wal")) if beside.exists()
    )
    return f", last written {max(0.0, time.time() - newest):.0f} s ago"
