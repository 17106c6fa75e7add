"""What holds: the flags, else the configuration file, else the defaults?"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synth_actors.config import CacheConfig, Endpoint, EngineConfig, as_endpoint
from synth_actors.datasets.jobs.endpoint_tables import endpoint_of, table_of
from synth_actors.errors import ConfigError
from synth_actors.providers.access import access_of

PARTS = ("endpoints", "engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the engine of this run is opened."""

    engine: EngineConfig
    endpoints: tuple[Endpoint, ...]


def load_settings(
    path: Path | None,
    endpoints: Sequence[str],
    *,
    concurrency: int | None = None,
    budget_usd: float | None = None,
    cache: str | None = None,
) -> Settings:
    """The settings of `path`, with what the flags give put over them; without any endpoint: `local`.

    `cache` is the file of the durable cache; what was paid does not expire there unless `path` says so.

    Raises:
        ConfigError: something is wrong; the message names the file or the flag, the value and the remedy.
    """
    document = {} if path is None else _read(path)
    where = "" if path is None else f"--config {path}: "
    flags = {"max_concurrency": concurrency, "budget_usd": budget_usd}
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        engine = _engine(document.get("engine", {}), given, cache)
        of_file = [endpoint_of(each) for each in _array(document.get("endpoints", ["local"]))]
    except ConfigError as exc:
        raise ConfigError(f"{where}{exc}") from None
    return Settings(engine=engine, endpoints=tuple(map(as_endpoint, endpoints or of_file)))


def check_access(endpoint: Endpoint) -> None:
    """Raises `ConfigError` when the address or the key of an endpoint is wrong or missing."""
    if isinstance(endpoint.provider, str) and endpoint.provider != "local":
        access_of(endpoint)


def _read(path: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"--config {path}: cannot be read ({exc.strerror}); give a TOML file") from None
    except ValueError as exc:  # not UTF-8, or not TOML
        raise ConfigError(f"--config {path}: is no TOML: {exc}") from None
    for name in document:
        if name not in PARTS:
            raise ConfigError(f"--config {path}: {name}: unknown; known are [engine], [engine.cache] and [[endpoints]]")
    return document


def _engine(table: Any, given: dict[str, Any], cache: str | None) -> EngineConfig:
    fields = table_of("engine", table)
    of_cache = table_of("engine.cache", fields.get("cache", {}))
    if cache is not None:
        of_cache = {"ttl_s": None, **of_cache, "path": cache}
    return EngineConfig(**{**fields, **given, "cache": CacheConfig(**of_cache)})


def _array(value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ConfigError(f"endpoints: {value!r} is not valid: give an array of strings, or tables [[endpoints]]")
    return value


@dataclass(frozen=True, slots=True)
class Limit:
    """What a number given as a flag may be."""

    flag: str
    least: float
    most: float
    words: str

    def check(self, value: float | None) -> None:
        """Raises `ConfigError` when `value` is given and out of range; no number at all (nan) is so too."""
        if value is not None and not self.least <= value <= self.most:
            raise ConfigError(f"{self.flag} {value}: is not valid: give {self.words}")


COUNT = Limit("-n", 1, 10**9, "a number of rows from 1 up to 1,000,000,000")
SEED = Limit("--seed", -(2**63), 2**64 - 1, "a whole number from -2**63 to 2**64 - 1")
ROWS_PER_REQUEST = Limit("--rows-per-request", 1, 10_000, "a number from 1 to 10000")
CONCURRENCY = Limit("--concurrency", 1, 100_000, "a number from 1 to 100000")
MAX_TOKENS = Limit("--max-tokens", 1, 10**9, "a number from 1 up")
TEMPERATURE = Limit("--temperature", 0.0, 2.0, "a number from 0 to 2")
BUDGET_USD = Limit("--budget-usd", 1e-9, 1e12, "dollars above 0")
