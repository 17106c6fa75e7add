"""What is a job: which rows, from whom, where to, within which bounds?"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, PrivateAttr, Strict, field_validator

from synth_actors.config import CacheConfig, Endpoint, EngineConfig, Real, Switch, Whole, as_endpoint
from synth_actors.datasets.columns.column_specs import ColumnSpec, json_value
from synth_actors.datasets.columns.columns import Columns
from synth_actors.datasets.jobs.endpoint_tables import endpoint_of
from synth_actors.datasets.plan import RowsJob
from synth_actors.datasets.row_schema import RowSchema
from synth_actors.datasets.schema_source import load_schema, warn_of_slips
from synth_actors.errors import ConfigError
from synth_actors.providers.base import Provider
from synth_actors.schema import canonical
from synth_actors.validated import Validated

VERSION = 1
"""Of the way in which a job becomes rows; another one gives other rows."""
OUTPUTS = (".jsonl", ".csv", ".parquet")
LOCAL_CONCURRENCY = 8
PER_MINUTE = ("requests_per_minute", "input_tokens_per_minute", "output_tokens_per_minute")


class DedupSpec(Validated):
    """Which rows count as repeated: equal ones (`exact`), and those whose words are alike at least to the share `near`.

    `near` is from 0.5 to 1; None, False or 0: only equal rows.  A repeated row is asked for again at most
    `max_attempts` times.
    """

    exact: Switch = True
    near: Real | None = Field(default=0.8, ge=0.5, le=1.0)
    max_attempts: Whole = Field(default=3, ge=0, le=1000)

    @field_validator("near", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        return None if value is False or (type(value) in (int, float) and value == 0) else value


class LimitsSpec(Validated):
    """How far a job may go; where something is None, what the engine or the endpoint says holds.

    `max_tokens` and `temperature` are those of a call.  A row is asked for at most `max_attempts` times.  `timeout_s`
    bounds a request, `outage_patience_s` its wait while every endpoint is closed to it.  The limits per minute hold at
    each endpoint that has none of its own.
    """

    max_tokens: Whole | None = Field(default=None, ge=1)
    temperature: Real | None = Field(default=None, ge=0.0, le=2.0)
    max_attempts: Whole = Field(default=4, ge=1, le=1000)
    timeout_s: Real | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    outage_patience_s: Real = Field(default=600.0, ge=0.0)
    requests_per_minute: Whole | None = Field(default=None, ge=1)
    input_tokens_per_minute: Whole | None = Field(default=None, ge=1)
    output_tokens_per_minute: Whole | None = Field(default=None, ge=1)
    memory_limit_bytes: Whole | None = Field(default=None, ge=1)
    drain_timeout_s: Real = Field(default=120.0, ge=0.0)


with warnings.catch_warnings():  # pydantic warns that the field hides `BaseModel.schema`, which is deprecated
    warnings.simplefilter("ignore", UserWarning)

    class _WithSchema(Validated):
        schema: type[BaseModel] | dict[str, Any] | str  # type: ignore[assignment]


class JobSpec(_WithSchema):
    """What `run_job` makes; in a file, `load_job` reads it.

    `schema` is a pydantic model class, a JSON Schema as a dict, or a text: the path of a JSON Schema file, or
    `package.module:Model`.  `count` rows are made, by requests for `rows_per_request` rows, `concurrency` of them at
    once (None: 100, and 8 when all is made by `local`).  `endpoints` are strings, `Endpoint`s, providers or tables.
    `output` is a file that ends in .jsonl, .csv or .parquet, or a folder, with a / at its end.  The job stops before
    `budget_usd` US dollars are passed.  What was paid for survives the end of the process, and with
    `durability="power"` a loss of power.  `columns` says by name what varies, see `ColumnSpec`.  Relative paths, and
    modules, are looked for in `folder`.

    Raises:
        ConfigError: something is wrong; the message names the field, the value and the remedy.  Files of schemas and
            values are read at once, functions imported.
    """

    count: Whole = Field(ge=1, le=10**9)
    seed: Whole = Field(default=0, ge=-(2**63), lt=2**64)
    instructions: Annotated[str, Strict()] | None = None
    endpoints: Sequence[str | Endpoint | Provider | Mapping[str, Any]] = ("local",)
    rows_per_request: Whole = Field(default=20, ge=1, le=10_000)
    concurrency: Whole | None = Field(default=None, ge=1, le=100_000)
    output: str | os.PathLike[str] | None = None
    budget_usd: Real | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    durability: Literal["process", "power"] = "process"
    columns: Mapping[str, ColumnSpec] = Field(default_factory=dict)
    dedup: DedupSpec = Field(default_factory=DedupSpec)
    limits: LimitsSpec = Field(default_factory=LimitsSpec)
    folder: Path = Path()

    _row_schema: RowSchema = PrivateAttr()
    _drawn: Columns = PrivateAttr()
    _endpoints: tuple[Endpoint, ...] = PrivateAttr()
    _notes: tuple[str, ...] = PrivateAttr()

    @property
    def row_schema(self) -> RowSchema:
        """The schema made ready."""
        return self._row_schema

    @property
    def drawn(self) -> Columns:
        """The columns made ready."""
        return self._drawn

    @property
    def notes(self) -> tuple[str, ...]:
        """What is valid and yet looks wrong, a line each."""
        return self._notes

    @property
    def target(self) -> str | None:
        """Where the rows go, with `folder` before it; a folder ends in /."""
        if self.output is None:
            return None
        output = os.fspath(self.output)
        return os.fspath(self.folder / output) + ("/" if output.endswith("/") else "")

    def endpoints_resolved(self) -> tuple[Endpoint, ...]:
        """The endpoints, with the limits per minute that they have not set themselves."""
        return tuple(map(self._limited, self._endpoints))

    def engine_config(self) -> EngineConfig:
        """How the engine of a job runs; the journal is its cache."""
        return EngineConfig(
            max_concurrency=self.concurrency or usual_concurrency(self._endpoints),
            cache=CacheConfig(enabled=False),
            budget_usd=self.budget_usd,
            memory_limit_bytes=self.limits.memory_limit_bytes,
            timeout_s=self.limits.timeout_s,
            outage_patience_s=self.limits.outage_patience_s,
            drain_timeout_s=self.limits.drain_timeout_s,
        )

    def rows_job(self) -> RowsJob:
        """What the plan of the requests is made from."""
        return RowsJob(
            count=self.count,
            rows_per_request=self.rows_per_request,
            seed=self.seed,
            instructions=self.instructions,
            max_tokens=self.limits.max_tokens,
            temperature=self.limits.temperature,
            max_attempts=self.limits.max_attempts,
        )

    def identity(self) -> dict[str, Any]:
        """What decides which rows come out, as JSON; `differences` compares two of them.

        Not in it: how fast, how dear and where to; keys, addresses and limits of endpoints.
        """
        job = {
            "schema": self._row_schema.json_schema,
            "count": self.count,
            "seed": self.seed,
            "instructions": self.instructions,
            "rows_per_request": self.rows_per_request,
            "endpoints": [model_of(endpoint) for endpoint in self._endpoints],
        }
        limits = {"max_tokens": self.limits.max_tokens, "temperature": self.limits.temperature}
        columns = self._drawn.identity()
        whole = {"version": VERSION, "job": job, "columns": columns, "dedup": self.dedup.model_dump(), "limits": limits}
        return json.loads(json.dumps(whole))  # type: ignore[no-any-return]

    @field_validator("schema", mode="plain")
    @classmethod
    def _some_schema(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return json_value(value)
        if isinstance(value, str) or (isinstance(value, type) and issubclass(value, BaseModel)):
            return value
        raise ValueError("give the path of a JSON Schema file, package.module:Model, or a JSON Schema as a table")

    @field_validator("endpoints", mode="plain")
    @classmethod
    def _several(cls, value: Any) -> Any:
        """They are looked at in `_check`, where no message can show a key."""
        return (value,) if isinstance(value, str | Endpoint | Mapping) or not isinstance(value, Sequence) else value

    @field_validator("output", mode="plain")
    @classmethod
    def _known_format(cls, value: Any) -> str | None:
        if value is None:
            return None
        if not isinstance(value, str | Path):
            raise ValueError("give a path")
        text = os.fspath(value)
        if text.endswith("/") or (isinstance(value, Path) and not value.suffix):  # a Path keeps no / at its end
            return text.rstrip("/") + "/"
        if Path(text).suffix.lower() not in OUTPUTS:
            raise ValueError("give a file that ends in .jsonl, .csv or .parquet, or a folder with / at its end")
        return text

    def _check(self) -> str | None:
        notes: list[str] = []
        self._endpoints = tuple(map(_endpoint, self.endpoints))
        object.__setattr__(self, "endpoints", self._endpoints)  # a table may hold a key, which no repr shows
        if not self._endpoints:
            return 'endpoints = [] is not valid: give at least one, such as "local"'
        self._row_schema = _row_schema(self.schema, self.folder, notes)
        self._drawn = Columns(self.columns, self._row_schema.json_schema, seed=self.seed, folder=self.folder)
        self._notes = (*(f"job.{note.removeprefix('JobSpec.')}" for note in notes), *self._drawn.notes)
        return None

    def _limited(self, endpoint: Endpoint) -> Endpoint:
        unset = (name for name in PER_MINUTE if getattr(endpoint, name) is None)
        return endpoint.model_copy(update={name: getattr(self.limits, name) for name in unset})


def usual_concurrency(endpoints: Sequence[Endpoint]) -> int:
    """Calls at once when nobody said how many: what waits for nothing gains nothing from being many."""
    return LOCAL_CONCURRENCY if all(endpoint.provider == "local" for endpoint in endpoints) else 100


def model_of(endpoint: Endpoint) -> str:
    """Who answers, as `provider:model`."""
    provider = endpoint.provider
    name, model = (provider, endpoint.model) if isinstance(provider, str) else (provider.name, provider.model)
    return f"{name}:{model}" if model else name


def _endpoint(value: Any) -> Endpoint:
    try:
        return endpoint_of(value) if isinstance(value, Mapping) else as_endpoint(value)
    except ConfigError as exc:
        raise ConfigError(f"JobSpec.endpoints: {exc}") from None


def _row_schema(schema: Any, folder: Path, notes: list[str]) -> RowSchema:
    if isinstance(schema, str):
        where = f"JobSpec.schema: {schema}"
        schema = load_schema(schema, notes.append, label="JobSpec.schema:", folder=folder)
    else:
        where = "JobSpec.schema"
        if isinstance(schema, dict):
            warn_of_slips(canonical(schema), schema, where, notes.append)
    try:
        return RowSchema(schema)
    except ConfigError as exc:
        raise ConfigError(f"{where}: {str(exc).partition(': ')[2]}") from None
