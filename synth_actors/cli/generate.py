"""How do the flags of `generate` become a job and an exit status?

Everything that can be wrong without a call is found here, before the first one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typer
from pydantic import BaseModel

from synth_actors.cli import settings as limits
from synth_actors.cli.ending import run_and_tell, show_plan
from synth_actors.cli.exports import Exports
from synth_actors.cli.settings import load_settings
from synth_actors.datasets.jobs.beginning import Wish
from synth_actors.datasets.jobs.job import DedupSpec, JobSpec, LimitsSpec, usual_concurrency
from synth_actors.datasets.jobs.journal_file import journal_of
from synth_actors.datasets.jobs.prepared import STDOUT, Prepared, prepared_of
from synth_actors.datasets.outputs.sinks import check_target, partial_of
from synth_actors.datasets.row_schema import RowSchema
from synth_actors.datasets.schema_source import load_schema
from synth_actors.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What was typed after `synth-actors generate`, `--dry-run` apart."""

    schema: str
    count: int
    output: str
    endpoints: tuple[str, ...] = ()
    seed: int = 0
    concurrency: int | None = None
    rows_per_request: int = 20
    instructions: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    budget_usd: float | None = None
    cache: str | None = None
    wish: Wish = field(default_factory=Wish)
    config: Path | None = None
    exports: Exports = field(default_factory=Exports)


def make_rows(flags: Flags, *, dry_run: bool) -> int:
    """Run, or show what would be run; the exit status.

    Raises:
        ConfigError: something is wrong with the input; nothing was sent and no file is left behind.
    """
    _check(flags)
    schema = load_schema(flags.schema, _warn)
    _check_schema(flags, schema)
    check_target(flags.output, RowSchema(schema), overwrite=True)
    _check_cache(flags)
    with _journal(flags) as journal:
        prepared = _prepared(flags, schema, journal)
        if dry_run:
            return show_plan(prepared, flags.wish, flags.exports)
        return run_and_tell(prepared, flags.wish, flags.exports)


def _check(flags: Flags) -> None:
    limits.COUNT.check(flags.count)
    limits.SEED.check(flags.seed)
    limits.ROWS_PER_REQUEST.check(flags.rows_per_request)
    limits.CONCURRENCY.check(flags.concurrency)
    limits.MAX_TOKENS.check(flags.max_tokens)
    limits.TEMPERATURE.check(flags.temperature)
    limits.BUDGET_USD.check(flags.budget_usd)
    if flags.output == STDOUT and (flags.wish.resume or flags.wish.fork):
        raise ConfigError(f"-o {STDOUT}: leaves nothing to go on with; give a file to use --resume or --fork")


def _warn(text: str) -> None:
    typer.echo(f"synth-actors: {text}", err=True)


def _check_schema(flags: Flags, schema: type[BaseModel] | Mapping[str, Any]) -> None:
    """What is wrong with a schema is said with the name that was typed, and before anything about the output."""
    try:
        RowSchema(schema)
    except ConfigError as exc:
        _, _, reason = str(exc).partition(": ")
        raise ConfigError(f"SCHEMA {flags.schema}: {reason}") from None


def _check_cache(flags: Flags) -> None:
    """The file of the cache may be none of those that the run writes: it would be replaced by rows."""
    if flags.cache is None or flags.output == STDOUT:
        return
    output = Path(flags.output)
    for path in (output, partial_of(output), journal_of(output), Path(flags.schema)):
        if Path(flags.cache).absolute() == path.absolute():
            raise ConfigError(
                f"--cache {flags.cache}: is a file of this run itself; name another, such as answers.cache"
            )


@contextmanager
def _journal(flags: Flags) -> Iterator[Path]:
    """Beside the file; for rows on stdout somewhere for as long as the run lasts."""
    if flags.output != STDOUT:
        yield journal_of(Path(flags.output))
        return
    with TemporaryDirectory(prefix="synth-actors-") as folder:
        yield Path(folder, "journal")


def _prepared(flags: Flags, schema: type[BaseModel] | Mapping[str, Any], journal: Path) -> Prepared:
    settings = load_settings(
        flags.config,
        flags.endpoints,
        concurrency=flags.concurrency,
        budget_usd=flags.budget_usd,
        cache=flags.cache,
    )
    spec = JobSpec(
        schema=schema if isinstance(schema, type) else dict(schema),
        count=flags.count,
        seed=flags.seed,
        instructions=flags.instructions,
        endpoints=settings.endpoints,
        rows_per_request=flags.rows_per_request,
        dedup=DedupSpec(exact=False, near=None),
        limits=LimitsSpec(max_tokens=flags.max_tokens, temperature=flags.temperature),
    )
    prepared = prepared_of(spec, flags.output, journal)
    config = settings.engine
    if "max_concurrency" not in config.model_fields_set:
        config = config.model_copy(update={"max_concurrency": usual_concurrency(settings.endpoints)})
    return replace(prepared, config=config, label=f"SCHEMA {flags.schema}", short=True, notes=())
