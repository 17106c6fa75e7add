"""How do the flags of `generate` become a run and an exit status?

Everything that can be wrong without a call is found here, before the first one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trio
import typer

from synth_actors.cli import settings as limits
from synth_actors.cli.dry_run import missing_keys, plan_text
from synth_actors.cli.progress import display_for
from synth_actors.cli.run import Ending, Run, run
from synth_actors.cli.settings import check_access, load_settings
from synth_actors.cli.summary import summary
from synth_actors.config import Endpoint, EngineConfig
from synth_actors.datasets.plan import RowsJob
from synth_actors.datasets.row_schema import RowSchema
from synth_actors.datasets.schema_source import load_schema
from synth_actors.datasets.sinks import check_target, open_sink
from synth_actors.engine import open_engine
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
    overwrite: bool = False
    config: Path | None = None


def make_rows(flags: Flags, *, dry_run: bool) -> int:
    """Run, or show what would be run; the exit status.

    Raises:
        ConfigError: something is wrong with the input; nothing was sent and no file is left behind.
    """
    plan = _decide(flags)
    schema = _row_schema(flags.schema, plan)
    _check_for_local(flags.schema, plan, schema)
    if dry_run:
        _show_plan(flags, plan, schema)
        return 0
    for endpoint in plan.settings.endpoints:
        check_access(endpoint)  # a missing key is said before the client library takes seconds to import
    sink = open_sink(flags.output, schema, overwrite=flags.overwrite)
    ending = run(plan, sink, display_for(rows_on_stdout=flags.output == "-"))
    if isinstance(ending.error, BrokenPipeError):
        raise ending.error
    if isinstance(ending.error, ConfigError) and not sink.rows:
        raise ending.error
    typer.echo(summary(ending, sink, flags.output), err=True)
    return _status(ending)


def _decide(flags: Flags) -> Run:
    limits.COUNT.check(flags.count)
    limits.SEED.check(flags.seed)
    limits.ROWS_PER_REQUEST.check(flags.rows_per_request)
    limits.CONCURRENCY.check(flags.concurrency)
    limits.MAX_TOKENS.check(flags.max_tokens)
    limits.TEMPERATURE.check(flags.temperature)
    limits.BUDGET_USD.check(flags.budget_usd)
    job = RowsJob(
        count=flags.count,
        rows_per_request=flags.rows_per_request,
        seed=flags.seed,
        instructions=flags.instructions,
        max_tokens=flags.max_tokens,
        temperature=flags.temperature,
    )
    settings = load_settings(flags.config, flags.endpoints, concurrency=flags.concurrency, budget_usd=flags.budget_usd)
    return Run(settings=settings, schema=load_schema(flags.schema, _warn), job=job, in_thread=flags.output == "-")


def _warn(text: str) -> None:
    typer.echo(f"synth-actors: {text}", err=True)


def _row_schema(argument: str, plan: Run) -> RowSchema:
    try:
        return RowSchema(plan.schema)
    except ConfigError as exc:
        _, _, reason = str(exc).partition(": ")
        raise ConfigError(f"SCHEMA {argument}: {reason}") from None


def _check_for_local(argument: str, plan: Run, schema: RowSchema) -> None:
    """What the offline provider cannot honour is said with its place in the user's schema, not in that of a request."""
    if all(endpoint.provider != "local" for endpoint in plan.settings.endpoints):
        return
    from synth_actors.providers.local import check_schema

    try:
        check_schema(schema.json_schema)
    except ConfigError as exc:
        raise ConfigError(f"SCHEMA {argument}: {exc}") from None


def _show_plan(flags: Flags, plan: Run, schema: RowSchema) -> None:
    check_target(flags.output, schema, overwrite=True)
    notes, usable = missing_keys(plan.settings.endpoints)
    try:
        check_target(flags.output, schema, overwrite=flags.overwrite)
    except ConfigError as exc:  # of no account yet: no file is written
        notes.append(str(exc))
    trio.run(_open_and_close, usable, plan.settings.engine)
    typer.echo(plan_text(plan, flags.output, notes), err=flags.output == "-")


async def _open_and_close(endpoints: Sequence[Endpoint], config: EngineConfig) -> None:
    """What is wrong with an endpoint is found when the engine opens; no call is made."""
    async with open_engine(endpoints, config):
        pass


def _status(ending: Ending) -> int:
    if ending.complete:
        return 0
    if ending.signal is not None:
        typer.echo("synth-actors: interrupted", err=True)
        return 128 + ending.signal
    if ending.error is not None:
        typer.echo(f"synth-actors: {' '.join(str(ending.error).split())}", err=True)
        return 2 if isinstance(ending.error, ConfigError) else 1
    typer.echo(f"synth-actors: {ending.report.missing} rows are missing", err=True)
    return 1
