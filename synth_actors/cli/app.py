"""What does the user type, and with which status does it end?

0 all rows are there, 1 some are not, 2 the input is wrong, 128 + n after signal n (130 after Ctrl-C).  What is wrong is
said in one line on stderr.  Heavy imports are made inside the commands, so that `--help` is quick.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from synth_actors.cli.cache import cache
from synth_actors.cli.warnings import warnings_said
from synth_actors.errors import ConfigError, SynthActorsError

PROGRAM = "synth-actors"

app = typer.Typer(name=PROGRAM, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
app.add_typer(cache, name="cache")


def _whole(text: str | int) -> int:
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no whole number") from None


def _decimal(text: str | float) -> float:
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number") from None


Schema = Annotated[str, typer.Argument(metavar="SCHEMA", help="A JSON Schema file, or package.module:PydanticModel.")]
Count = Annotated[int, typer.Option("-n", "--count", metavar="COUNT", parser=_whole, help="How many rows.")]
Output = Annotated[
    str,
    typer.Option(
        "-o", "--output", metavar="FILE", help="A .jsonl, .csv or .parquet file, or a folder/ of shards; - is stdout."
    ),
]
Endpoints = Annotated[
    list[str] | None,
    typer.Option("--endpoint", metavar="E", help="local, anthropic:MODEL or openai:MODEL@BASE_URL; may be repeated."),
]
Seed = Annotated[int, typer.Option("--seed", metavar="S", parser=_whole, help="Another seed gives other rows.")]
Concurrency = Annotated[
    int | None, typer.Option("--concurrency", metavar="N", parser=_whole, help="Calls at once.  [100; only local: 8]")
]
PerRequest = Annotated[
    int, typer.Option("--rows-per-request", metavar="K", parser=_whole, help="Rows that one call asks for.")
]
Instructions = Annotated[str | None, typer.Option("--instructions", metavar="TEXT", help="What the rows are about.")]
MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens", metavar="N", parser=_whole, help="Per call.  [by the schema]")
]
Temperature = Annotated[
    float | None, typer.Option("--temperature", metavar="T", parser=_decimal, help="0 to 2.  [the endpoint's]")
]
Budget = Annotated[
    float | None, typer.Option("--budget-usd", metavar="D", parser=_decimal, help="Stop before this is passed.")
]
CacheFile = Annotated[
    str | None,
    typer.Option("--cache", metavar="FILE", help="Keep answers in FILE, and pay for none that is there already."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan and the estimated cost; make no call.")]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace the output when all rows are there; begin anew, but with --resume."),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on where an earlier run stopped; what was answered is not asked again.")
]
Fork = Annotated[bool, typer.Option("--fork", help="Set the journal of an earlier run aside and begin anew.")]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        "--metrics-port", metavar="PORT", parser=_whole, help="Serve Prometheus at 127.0.0.1:PORT/metrics; 0: any free."
    ),
]
Hlog = Annotated[
    str | None, typer.Option("--hlog", metavar="FILE", help="Write durations into an HDR interval log, each second.")
]
Report = Annotated[
    str | None, typer.Option("--report", metavar="FILE.html", help="Write a page about the run when it has ended.")
]
Live = Annotated[bool, typer.Option("--live", help="Watch throughput, durations, endpoints, memory in the terminal.")]
JobFile = Annotated[Path, typer.Argument(metavar="JOB", help="A job file.")]
JOB_FILE = Path("job.toml")
Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="TOML: [engine], [engine.cache], [[endpoints]].")
]


PROGRAM_HELP = """Realistic synthetic records from LLMs: as many as you ask for, each valid.

\b
Try it without any key:
  synth-actors generate customers.schema.json -n 1000 -o customers.jsonl

\b
Then with a model; a second endpoint takes over when the first fails:
  synth-actors generate shop.models:Order -n 500 -o orders.csv \\
    --endpoint anthropic:claude-haiku-5-5 \\
    --endpoint openai:my-model@http://127.0.0.1:8000/v1 \\
    --instructions "Orders of a bicycle shop in Lyon" --budget-usd 2

\b
Or as a job in a file, which also says what varies and what counts as a duplicate:
  synth-actors init && synth-actors run
"""

GENERATE_HELP = """Make COUNT valid rows that follow SCHEMA and write them to FILE.

FILE appears when all rows are there.  After Ctrl-C, or when some rows cannot be made, the others stand in FILE.partial
and every answer in FILE.journal: the same command with --resume goes on there.  In a .csv file a nested value is JSON
in its cell and null is an empty cell.

\b
Examples:
  synth-actors generate customers.schema.json -n 1000 -o customers.jsonl
  synth-actors generate shop.models:Order -n 50 -o - | head
  synth-actors generate shop.models:Order -n 2000 -o more.jsonl --cache answers.cache
  synth-actors generate customers.schema.json -n 100000 -o big.csv \\
    --endpoint anthropic:claude-haiku-5-5 --dry-run

\b
Exit status: 0 all rows are there, 1 some are missing, 2 wrong input, 130 after Ctrl-C.
"""

RUN_HELP = """Run the job in the file JOB; without it, job.toml.

Every call is written down in OUTPUT.journal before it is made, and its answer when it is there.  However a run ends,
the same command with --resume goes on: nothing that was answered is asked again.  Ctrl-C, or SIGTERM, asks for
nothing more and waits for the calls that are out; a second Ctrl-C stops at once.  Beside the output stands a
manifest.json.

\b
Examples:
  synth-actors init && synth-actors run
  synth-actors run overnight.toml --dry-run
  synth-actors run overnight.toml --resume

\b
Exit status: 0 all rows are there, 1 some are missing (--resume goes on), 2 wrong input, 130 after Ctrl-C.
"""

STATUS_HELP = """Show how far the job in the file JOB is; without it, job.toml.

Rows, answers, cost, and the calls whose answer never arrived: those may be on the bill.  It may be asked while the job
runs.

\b
Exit status: 0 the job is complete, 1 it is not, 2 wrong input.
"""


def main() -> None:
    """The command: run it and exit with its status."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Run the command line `arguments` and return the exit status."""
    try:
        with warnings_said(partial(typer.echo, err=True)):
            status = app(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    except typer.TyperException as exc:
        return _refuse(f"{exc.format_message().rstrip('.')}; see {_helper(exc)} --help", 2)
    except ConfigError as exc:
        return _refuse(str(exc), 2)
    except SynthActorsError as exc:
        return _refuse(str(exc), 1)
    except KeyboardInterrupt:
        return _refuse("interrupted", 130)
    except BrokenPipeError:
        return _nobody_reads()
    except OSError as exc:
        return _refuse(str(exc), 1)
    return int(status or 0)


def _helper(exc: typer.TyperException) -> str:
    """The command whose help says more."""
    context = getattr(exc, "ctx", None)
    return PROGRAM if context is None else str(context.command_path)


def _refuse(message: str, status: int) -> int:
    typer.echo(f"{PROGRAM}: {' '.join(message.split())}", err=True)
    return status


def _nobody_reads() -> int:
    """`| head` has seen enough: say nothing, and keep Python from saying something when it closes stdout."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _show_version(wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import version

    typer.echo(f"{PROGRAM} {version(PROGRAM)}")
    raise typer.Exit


@app.callback(invoke_without_command=True, help=PROGRAM_HELP)
def synth_actors(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Realistic synthetic records from LLMs."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(help=GENERATE_HELP)
def generate(
    schema: Schema,
    count: Count,
    output: Output,
    endpoint: Endpoints = None,
    seed: Seed = 0,
    concurrency: Concurrency = None,
    rows_per_request: PerRequest = 20,
    instructions: Instructions = None,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    budget_usd: Budget = None,
    cache_file: CacheFile = None,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
    resume: Resume = False,
    fork: Fork = False,
    config: Config = None,
    metrics_port: MetricsPort = None,
    hlog: Hlog = None,
    report: Report = None,
    live: Live = False,
) -> int:
    """Make COUNT rows."""
    try:
        from synth_actors.cli.exports import Exports
        from synth_actors.cli.generate import Flags, make_rows
        from synth_actors.datasets.jobs.beginning import Wish
    except KeyboardInterrupt:
        return _refuse("interrupted", 130)
    given = Flags(
        schema=schema,
        count=count,
        output=output,
        endpoints=tuple(endpoint or ()),
        seed=seed,
        concurrency=concurrency,
        rows_per_request=rows_per_request,
        instructions=instructions,
        max_tokens=max_tokens,
        temperature=temperature,
        budget_usd=budget_usd,
        cache=cache_file,
        wish=Wish(resume=resume, overwrite=overwrite, fork=fork),
        config=config,
        exports=Exports(metrics_port=metrics_port, hlog=hlog, report=report, live=live),
    )
    return make_rows(given, dry_run=dry_run)


@app.command(help=RUN_HELP)
def run(
    job: JobFile = JOB_FILE,
    resume: Resume = False,
    overwrite: Overwrite = False,
    fork: Fork = False,
    dry_run: DryRun = False,
    metrics_port: MetricsPort = None,
    hlog: Hlog = None,
    report: Report = None,
    live: Live = False,
) -> int:
    """Run a job."""
    try:
        from synth_actors.cli.exports import Exports
        from synth_actors.cli.job import run_file
        from synth_actors.datasets.jobs.beginning import Wish
    except KeyboardInterrupt:
        return _refuse("interrupted", 130)
    exports = Exports(metrics_port=metrics_port, hlog=hlog, report=report, live=live)
    return run_file(job, Wish(resume=resume, overwrite=overwrite, fork=fork), exports, dry_run=dry_run)


@app.command(help=STATUS_HELP)
def status(job: JobFile = JOB_FILE) -> int:
    """Show how far a job is."""
    from synth_actors.cli.job import show_status

    return show_status(job)


@app.command()
def init(job: JobFile = JOB_FILE) -> None:
    """Write a commented job file that works as it is, without a key: `synth-actors run` runs it."""
    from synth_actors.cli.job import write_template

    write_template(job)


@app.command("config")
def show_config(endpoint: Endpoints = None, config: Config = None) -> None:
    """Show the configuration in force as TOML, without its secrets.

    The output is a file for --config: change what you want to change and leave out the rest.
    """
    from synth_actors.cli.effective import settings_text
    from synth_actors.cli.settings import load_settings

    typer.echo(settings_text(load_settings(config, endpoint or ())))
