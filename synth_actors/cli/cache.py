"""How does one look at the file of the durable cache, and empty it?

The command `cache` with its three parts; heavy imports are made inside, so that `--help` is quick.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

CACHE_HELP = """Look at the file in which answers outlive a run (engine.cache.path), check it, empty it.

FILE is that file; it may be left out when --config names it.  An engine may use the file meanwhile.  A file that is
not there is never made.

\b
Examples:
  synth-actors cache stats answers.cache
  synth-actors cache verify --config engine.toml
  synth-actors cache clear answers.cache --older-than 30d

\b
Exit status: 0 all is well, 1 the file is damaged, in use or without room, 2 wrong input.
"""

STATS_HELP = """Show what stands in FILE: answers by endpoint and model, bytes, age, dollars.

Where ttl_s stands under [engine.cache] of --config: how many are older than that, else how many are older than an hour,
a day and thirty days.  A time to live belongs to an engine, not to the file.

\b
Examples:
  synth-actors cache stats answers.cache
  synth-actors cache stats --config engine.toml
"""

CLEAR_HELP = """Delete answers from FILE and give their room back to the disk; without an option: all of them.

What is deleted is paid again when it is asked for.  On a terminal it is asked for confirmation first; elsewhere, as in
a script, or with --yes, it is not.  --expired needs ttl_s under [engine.cache] of --config.

\b
Examples:
  synth-actors cache clear answers.cache                       all answers
  synth-actors cache clear answers.cache --dry-run             only says what would go
  synth-actors cache clear answers.cache --older-than 12h      30s, 15m, 12h, 7d, 2w
  synth-actors cache clear --config engine.toml --expired      older than engine.cache.ttl_s, or of the future
  synth-actors cache clear answers.cache --damaged             rows that `verify` counts
"""

VERIFY_HELP = """Check every page, index and row of FILE; nothing is changed.

A damaged row is never served: an engine that meets one deletes it.  A damaged file is set aside by the next engine
that meets the damage, which begins a fresh one.

\b
Examples:
  synth-actors cache verify answers.cache && echo whole

\b
Exit status: 0 it is whole, 1 it is damaged, 2 wrong input or no right to read it.
"""

File = Annotated[
    Path | None, typer.Argument(metavar="FILE", readable=False, help="The file; else the one that --config names.")
]
Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="TOML with [engine.cache].")]
Expired = Annotated[bool, typer.Option("--expired", help="Those older than ttl_s of --config, or of the future.")]
OlderThan = Annotated[str | None, typer.Option("--older-than", metavar="AGE", help="30s, 15m, 12h, 7d or 2w.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would go; nothing is changed.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask on a terminal.")]
Damaged = Annotated[bool, typer.Option("--damaged", help="Those that are not what was written.")]

cache = typer.Typer(help=CACHE_HELP, rich_markup_mode=None)


@cache.callback(invoke_without_command=True)
def show_help(context: typer.Context) -> None:
    """Without a part of it: the help."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@cache.command(help=STATS_HELP)
def stats(file: File = None, config: Config = None) -> None:
    """Show what stands in the file."""
    from synth_actors.cli.cache_file import place_of, stats_lines

    typer.echo("\n".join(stats_lines(*place_of("stats", file, config))))


@cache.command(help=CLEAR_HELP)
def clear(
    file: File = None,
    expired: Expired = False,
    older_than: OlderThan = None,
    damaged: Damaged = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    config: Config = None,
) -> int:
    """Delete answers; 1 when somebody said no."""
    from synth_actors.cli.cache_file import cleared_lines, doomed, place_of, which_of

    path, ttl_s = place_of("clear", file, config)
    which = which_of(expired=expired, older_than=older_than, damaged=damaged, ttl_s=ttl_s)
    if dry_run:
        typer.echo(doomed(path, which)[1])
        return 0
    if not yes and sys.stdin.isatty() and sys.stderr.isatty():
        count, line = doomed(path, which)
        if count and not _is_wanted(f"{line}. Delete? [y/N] "):
            typer.echo(f"{path}: nothing went", err=True)
            return 1
    typer.echo("\n".join(cleared_lines(path, which)))
    return 0


def _is_wanted(question: str) -> bool:
    """What the terminal answers; its end (Ctrl-D) is a no.  Ctrl-C leaves as `KeyboardInterrupt`, as everywhere."""
    typer.echo(question, nl=False, err=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        typer.echo(err=True)
    return answer.strip().lower() in ("y", "yes")


@cache.command(help=VERIFY_HELP)
def verify(file: File = None, config: Config = None) -> int:
    """Check the file."""
    from synth_actors.cli.cache_file import place_of, verified

    path, _ = place_of("verify", file, config)
    lines, is_whole = verified(path)
    typer.echo("\n".join(lines))
    return 0 if is_whole else 1
