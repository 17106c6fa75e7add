"""What does a job file say?"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from synth_actors.datasets.columns.column_specs import ColumnSpec
from synth_actors.datasets.jobs.endpoint_tables import table_of
from synth_actors.datasets.jobs.job import DedupSpec, JobSpec, LimitsSpec
from synth_actors.errors import ConfigError
from synth_actors.validated import Validated

TABLES = ("job", "columns", "dedup", "limits")
KEYS: dict[str, frozenset[str]] = {
    "job": frozenset(JobSpec.model_fields) - {*TABLES, "folder"},
    "dedup": frozenset(DedupSpec.model_fields),
    "limits": frozenset(LimitsSpec.model_fields),
}
REQUIRED = {
    "schema": 'schema = "customers.schema.json"',
    "count": "count = 1000",
    "output": 'output = "customers.jsonl"',
}
KNOWN_TABLES = "known are [job], [columns.NAME], [dedup] and [limits]"

Part = TypeVar("Part", bound=Validated)


def load_job(path: Path) -> JobSpec:
    """The job that the TOML file `path` describes; what it names is looked for in the folder of the file.

    Raises:
        ConfigError: something is wrong; the message names the file, the key, the value and the remedy.
    """
    try:
        return _job(_document(path), path.parent)
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc}") from None


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as exc:
        raise ConfigError(f"cannot be read ({exc.strerror}); give a job file, or write one with `init`") from None
    except ValueError as exc:  # not UTF-8, or not TOML
        is_twice = re.search("overwrite|immutable", str(exc))
        twice = "; a key is given twice, perhaps as `schema = ...` and as the table [job.schema]" if is_twice else ""
        raise ConfigError(f"is no TOML: {exc}{twice}") from None


def _job(document: dict[str, Any], folder: Path) -> JobSpec:
    for name in document:
        if name not in TABLES:
            raise ConfigError(_unknown_table(name))
    tables = {name: table_of(name, document.get(name, {})) for name in TABLES}
    for name, keys in KEYS.items():
        _refuse_unknown(name, tables[name], keys)
    job = tables["job"]
    for key, example in REQUIRED.items():
        if key not in job:
            raise ConfigError(f"job.{key}: is missing; give {example} below [job]")
    columns: dict[str, ColumnSpec] = {}
    for name, table in _columns(tables["columns"]):
        if name in columns:
            raise ConfigError(f"columns.{name}: is given twice, with and without quotes; leave one out")
        columns[name] = _part(ColumnSpec, f"columns.{name}", table)
    dedup, limits = _part(DedupSpec, "dedup", tables["dedup"]), _part(LimitsSpec, "limits", tables["limits"])
    return _part(JobSpec, "job", {**job, "columns": columns, "dedup": dedup, "limits": limits, "folder": folder})


def _part(model: type[Part], name: str, table: Mapping[str, Any]) -> Part:
    """`model` made of `table`; messages name the table and not the model."""
    try:
        return model(**table)
    except ConfigError as exc:
        found = str(exc)
        raise ConfigError(
            f"{name}{found[len(model.__name__) :]}" if found.startswith(model.__name__) else found
        ) from None


def _columns(tables: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """By name; in TOML `[columns.address.city]` is a table in a table, and means `[columns."address.city"]`."""
    for name, value in tables.items():
        table = table_of(f"columns.{prefix}{name}", value)
        if _holds_columns(table):
            yield from _columns(table, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", table


def _holds_columns(table: Mapping[str, Any]) -> bool:
    weighted = list(table) == ["values"] and not any(isinstance(each, Mapping) for each in _values(table["values"]))
    return bool(table) and all(isinstance(each, Mapping) for each in table.values()) and not weighted


def _values(table: Any) -> Collection[Any]:
    return table.values() if isinstance(table, Mapping) else ()


def _unknown_table(name: str) -> str:
    if name in ("endpoints", "schema"):
        brackets = f"[[job.{name}]]" if name == "endpoints" else f"[job.{name}]"
        return f"{name}: stands outside of [job]; write {name} = ... below [job], or {brackets}"
    for table, keys in KEYS.items():
        if name in keys:
            return f"{name}: stands outside of its table; put it below [{table}]"
    return f"[{name}]: unknown table; {_near(name, TABLES)}{KNOWN_TABLES}"


def _refuse_unknown(name: str, table: Mapping[str, Any], keys: Collection[str]) -> None:
    for key in table:
        if key in keys:
            continue
        if key in TABLES:
            raise ConfigError(f"{name}.{key}: is a table of its own; write [{key}], not [{name}.{key}]")
        owners = [f"[{other}]" for other, its in KEYS.items() if key in its]
        hint = f"it belongs to {' or '.join(owners)}; " if owners else _near(key, keys)
        raise ConfigError(f"{name}.{key}: unknown key; {hint}known keys are {', '.join(sorted(keys))}")


def _near(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}? " if near else ""
