"""May this job begin, does it go on, or is it done?

A journal holds answers that were paid for: no such one is deleted here, and none is gone on with by another job.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from synth_actors.datasets.jobs.export import manifest_of
from synth_actors.datasets.jobs.job_identity import differences
from synth_actors.datasets.jobs.journal import Journal
from synth_actors.datasets.jobs.journal_file import JobChangedError, Standing, read_standing, remove, set_aside
from synth_actors.datasets.jobs.journal_tables import EXPORT
from synth_actors.datasets.jobs.prepared import Prepared
from synth_actors.datasets.outputs.destinations import FileInfo, partial_of, real_path
from synth_actors.datasets.outputs.sinks import Sink, open_sink
from synth_actors.errors import ConfigError
from synth_actors.storage.errors import LockedError, StorageError, os_error
from synth_actors.storage.files import is_in_use

GIVEN_UP = "given_up"
"""The fact that rows were given up, as often as they may be tried: the next run tries them as often again."""
ROUNDS = "rounds"
"""The fact how many runs were begun after rows had been given up, and the first one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to happen with what earlier runs have left.

    `resume`: go on with their journal.  `overwrite`: the output may be replaced, and without `resume` the journal too.
    `fork`: set their journal aside, and what it has made, and begin another.
    """

    resume: bool = False
    overwrite: bool = False
    fork: bool = False

    def __post_init__(self) -> None:
        """Raises `ConfigError` when going on and beginning another are both asked for."""
        if self.resume and self.fork:
            raise ConfigError("--resume goes on with the journal, --fork begins another: give one of them")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a job starts: at what its journal says (None: at nothing); `notes` are for the user."""

    standing: Standing | None = None
    notes: tuple[str, ...] = ()


def make_room(journal: Path, identity: Mapping[str, Any], wish: Wish, output: Path | None = None) -> Start:
    """See to it that the journal at `journal` may be opened by this job, which writes `output`.

    Raises:
        JobChangedError: it was begun by another job.
        ConfigError: it holds answers, and nobody said what to do with them.
        StorageError: it is damaged, or in use.
    """
    if not journal.exists():
        return Start(notes=(f"{journal}: there is no such journal, so the job starts afresh",) if wish.resume else ())
    if is_in_use(journal):
        raise LockedError(f"journal {journal}: another run of this job uses it now; wait for it, or stop it")
    if wish.fork:
        return Start(notes=(_fork(journal, output, wish),))
    standing = read_standing(journal)
    if standing.job is None:
        note = f"{journal}: nothing was ever written in it, so the job starts afresh"
        return Start(notes=(note,) if wish.resume else ())
    changes = differences(standing.job, identity)
    is_done = EXPORT in standing.facts and not changes
    if wish.overwrite and not wish.resume and not is_done:  # what is complete is only written again
        return Start(notes=_replace(journal, standing))
    if changes:
        raise JobChangedError(_changed(journal, changes))
    if wish.resume or EXPORT in standing.facts or not (standing.answers or standing.uncertain):
        return Start(standing=standing)
    raise ConfigError(
        f"{journal}: holds {standing.answers} answers of an earlier run; go on with them by --resume (resume=True), or"
        " begin anew by --overwrite (overwrite=True)"
    )


def _fork(journal: Path, output: Path | None, wish: Wish) -> str:
    """What was set aside: the rows, too, since a damaged journal may hold fewer of them; and a finished output."""
    others = [] if output is None else [partial_of(real_path(output))]
    if output is not None and output.exists() and not wish.overwrite:
        if not _is_of(journal, output):
            raise ConfigError(f"{output}: exists; give another output, or add --overwrite to replace it in the end")
        others += [output, manifest_of(output)]
    try:
        kept = set_aside(journal, *(path for path in others if path.exists()))
    except OSError as exc:
        raise os_error(exc, "journal", journal) from exc
    return "what the earlier run has left is kept as " + " and ".join(map(str, kept))


def _is_of(journal: Path, output: Path) -> bool:
    """Whether the output is, byte for byte, what the job of this journal has written."""
    try:
        return is_intact(output, exported_files(read_standing(journal).facts))
    except StorageError:  # nobody can tell
        return False


def _replace(journal: Path, standing: Standing) -> tuple[str, ...]:
    if standing.usage.cost_usd == 0.0 and not standing.uncertain:
        remove(journal)  # nothing in it was paid for
        return ()
    return (f"the earlier journal, with {standing.answers} answers, is kept as {set_aside(journal)[0]}",)


def _changed(journal: Path, changes: list[str]) -> str:
    return (
        f"{journal}: was begun by another job ({'; '.join(changes)}); take the change back to go on, or begin"
        " another by --fork (fork=True; this journal is kept)"
    )


def exported_files(facts: Mapping[str, str]) -> tuple[FileInfo, ...]:
    """The files of the finished output, as the journal knows them; none when it was never finished."""
    return tuple(FileInfo(**each) for each in orjson.loads(facts.get(EXPORT, "[]")))


def is_intact(output: Path, files: tuple[FileInfo, ...]) -> bool:
    """Whether `output` is there, byte for byte as it was finished."""
    return bool(files) and all(
        _digest(output / each.name if output.is_dir() else output) == each.sha256 for each in files
    )


def _digest(path: Path) -> str:
    digest = sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return ""
    return digest.hexdigest()


def open_output(prepared: Prepared, wish: Wish, start: Start) -> Sink | None:
    """Where the rows of this job go; None when they are there already, byte for byte.

    Raises:
        ConfigError: something else is there, or it cannot be written.
    """
    output, goes_on = prepared.output, start.standing is not None
    if start.standing is not None and output is not None:
        if is_intact(output, exported_files(start.standing.facts)):
            return None
        if output.exists() and not wish.overwrite:
            raise ConfigError(
                f"{output}: exists and is not what this job has written; move it, or write it again"
                " from the journal by --resume --overwrite"
            )
    return open_sink(prepared.target, prepared.making.schema, overwrite=wish.overwrite or goes_on)


async def rounds_of(journal: Journal, before: Standing) -> int:
    """How often each row may be tried as often as the job says: once more for every run that gave rows up."""
    rounds = int(before.facts.get(ROUNDS, "1"))
    if before.facts.get(GIVEN_UP, "0") != "0":
        rounds += 1
        await journal.note(**{ROUNDS: str(rounds), GIVEN_UP: "0"})
    return rounds
