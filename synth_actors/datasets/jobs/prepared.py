"""What does it take to run a job?  Everything made ready and checked before anything is asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synth_actors.datasets.jobs.job import JobSpec
from synth_actors.datasets.jobs.job_file import load_job
from synth_actors.datasets.jobs.job_run import Making
from synth_actors.datasets.jobs.journal import Tariff
from synth_actors.datasets.jobs.journal_file import LEAST_RESERVE_BYTES, Standing, journal_of
from synth_actors.datasets.jobs.judge import Dedup
from synth_actors.datasets.outputs.sinks import FileInfo, check_target
from synth_actors.datasets.plan import Plan
from synth_actors.datasets.quality.quality_report import QualityReport
from synth_actors.datasets.report import RowsReport
from synth_actors.datasets.size import CHARACTERS_PER_TOKEN
from synth_actors.errors import ConfigError
from synth_actors.policy.pricing import upper_estimate_usd
from synth_actors.providers.prices import price_of
from synth_actors.schema import output_of

if TYPE_CHECKING:
    from synth_actors.config import Endpoint, EngineConfig
    from synth_actors.storage.opening import Durability
    from synth_actors.types import Request

STDOUT = "-"
MOST_RESERVE_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A job that can be opened.

    `target` is where the rows go: a path, with a / at its end a folder, or `-`.  `config` holds the whole budget.  A
    job that is a `short` one leaves nothing but its output: no manifest, and no journal once it is complete.
    """

    making: Making
    identity: Mapping[str, Any]
    endpoints: tuple[Endpoint, ...]
    config: EngineConfig
    target: str
    journal: Path
    durability: Durability
    notes: tuple[str, ...] = ()
    label: str = "job.schema"  # what messages call the schema
    short: bool = False

    @property
    def output(self) -> Path | None:
        """The file or folder; None for stdout."""
        return None if self.target == STDOUT else Path(self.target)

    @property
    def reserve_bytes(self) -> int:
        """Room on the disk for the answers of all calls that may be out when it is full, each as long as may be."""
        plan = self.making.plan
        most_tokens = plan.request(plan.rows_of(0), 0, {}).max_tokens
        wanted = self.config.max_concurrency * most_tokens * CHARACTERS_PER_TOKEN
        return min(max(LEAST_RESERVE_BYTES, wanted), MOST_RESERVE_BYTES)

    def tariff(self) -> Tariff:
        """What the calls of this job may cost."""
        endpoints = {endpoint.name: endpoint for endpoint in self.endpoints}

        def most_usd(request: Request, name: str) -> float | None:
            endpoint = endpoints[name]
            if (price := price_of(endpoint)) is None:
                return None
            return upper_estimate_usd(request, output_of(request.output_schema), price, endpoint.extra_body)

        return Tariff(
            free=frozenset(name for name, endpoint in endpoints.items() if endpoint.provider == "local"),
            most_usd=most_usd,
        )

    def facts(
        self, files: tuple[FileInfo, ...], report: RowsReport, quality: QualityReport, after: Standing
    ) -> dict[str, Any]:
        """What the manifest says of the job and its rows."""
        job = self.identity["job"]
        usage = dataclasses.asdict(report.usage)
        return {
            "digest": digest_of(files),
            "schema": job["schema"],
            "count": job["count"],
            "seed": job["seed"],
            "job": {name: value for name, value in job.items() if name not in ("schema", "count", "seed")},
            "columns": self.identity["columns"],
            "dedup": self.identity["dedup"],
            "limits": self.identity["limits"],
            "models": after.models,
            "cost_usd": usage.pop("cost_usd"),
            "tokens": usage,
            "uncertain_calls": [dataclasses.asdict(call) for call in after.uncertain],
            "rows": rows_facts(report),
            "quality": quality.as_dict(),
            "runs": after.runs,
        }


def rows_facts(report: RowsReport) -> dict[str, Any]:
    """The counters of a report, and what 1,000 valid rows cost."""
    counts = {name: value for name, value in dataclasses.asdict(report).items() if name != "usage"}
    return {**counts, "cost_usd_per_1000_valid_rows": report.cost_usd_per_1000}


def digest_of(files: tuple[FileInfo, ...]) -> str:
    """The SHA-256 of an output: of its file, or of the digests of its shards in their order."""
    if len(files) == 1:
        return f"sha256:{files[0].sha256}"
    return "sha256:" + sha256("".join(each.sha256 for each in files).encode()).hexdigest()


def prepare(spec: JobSpec | Mapping[str, Any] | str | Path) -> Prepared:
    """A job that can be opened; its output need not be writable yet.

    Raises:
        ConfigError: something in it is wrong.
    """
    if isinstance(spec, str | Path):
        spec = load_job(Path(spec))
    elif isinstance(spec, Mapping):
        spec = JobSpec(**spec)
    if not isinstance(spec, JobSpec):
        raise ConfigError(f"job {spec!r}: give the path of a job file, a JobSpec, or its fields as a dict")
    if spec.target is None:
        raise ConfigError('job.output: is missing; give a file such as output = "rows.jsonl"')
    return prepared_of(spec, spec.target, journal_of(Path(spec.target)))


def prepared_of(spec: JobSpec, target: str, journal: Path) -> Prepared:
    """A job that writes `target` and keeps its journal at `journal`."""
    schema, columns = spec.row_schema, spec.drawn
    encoder = check_target(target, schema, overwrite=True)
    dedup = Dedup(exact=spec.dedup.exact, near=spec.dedup.near, max_attempts=spec.dedup.max_attempts)
    return Prepared(
        making=Making(
            plan=Plan(schema, spec.rows_job(), columns),
            schema=schema,
            columns=columns,
            dedup=dedup,
            problem=encoder.problem,
        ),
        identity=spec.identity(),
        endpoints=spec.endpoints_resolved(),
        config=spec.engine_config(),
        target=target,
        journal=journal,
        durability=spec.durability,
        notes=spec.notes,
    )
