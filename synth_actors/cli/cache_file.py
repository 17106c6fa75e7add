"""What does one say of a cache file, and which file and which rows are meant?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from synth_actors.cli.settings import load_settings
from synth_actors.errors import ConfigError
from synth_actors.storage.errors import MismatchError, ReadOnlyError
from synth_actors.tier.survey import Everything, Older, Share, Stale, Survey, Which, Wrong, clear, survey, verify

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
AGES_S = {"an hour": 3600.0, "a day": 86_400.0, "30 days": 30 * 86_400.0}
MOST_SHARES = 20
LONGEST_AGE_S = 1e11


def place_of(command: str, file: Path | None, config: Path | None) -> tuple[Path, float | None]:
    """The file that is meant, and the time to live in seconds that the configuration gives, None where it gives none.

    The engine's default is none that anybody has given: what it calls expired may be wanted by others.

    Raises:
        ConfigError: none is named, or the configuration is wrong.
    """
    if config is None:
        if file is None:
            raise ConfigError(f"cache {command}: give FILE, or --config with a path under [engine.cache]")
        return file, None
    cache = load_settings(config, ()).engine.cache
    if file is None and cache.path is None:
        raise ConfigError(f"--config {config}: engine.cache.path: is not set; set it, or give FILE")
    return file or Path(cache.path or ""), cache.ttl_s if "ttl_s" in cache.model_fields_set else None


def which_of(*, expired: bool, older_than: str | None, damaged: bool, ttl_s: float | None) -> Which:
    """The rows that are meant.

    Raises:
        ConfigError: two kinds were asked for, an age is none, or nobody says when answers expire.
    """
    if expired + damaged + (older_than is not None) > 1:
        raise ConfigError("--expired, --older-than, --damaged: give one of them")
    if older_than is not None:
        return Older(time.time() - _age_s(older_than))
    if expired:
        if ttl_s is None:
            raise ConfigError(
                "--expired: no ttl_s is given; give --config with ttl_s under [engine.cache], or --older-than AGE"
            )
        return Stale(time.time(), ttl_s)
    return Wrong() if damaged else Everything()


def _age_s(text: str) -> float:
    number, unit = text[:-1], text[-1:]
    try:
        age_s = float(number) * UNITS_S[unit]
    except (ValueError, KeyError):
        age_s = -1.0
    if not 0 <= age_s <= LONGEST_AGE_S:
        raise ConfigError(f"--older-than {text!r}: is no age; give a number with s, m, h, d or w, as 12h or 7d")
    return age_s


def stats_lines(path: Path, ttl_s: float | None) -> Iterator[str]:
    """What stands in the file.

    Raises:
        ConfigError: there is no cache there.
        StorageError: it cannot be read, or is damaged.
    """
    now = time.time()
    ages_s = AGES_S if ttl_s is None else {f"ttl_s={ttl_s:g} s": ttl_s}
    with _as_input():
        found = survey(path, now=now, ages_s=tuple(ages_s.values()))
    yield f"{path}: durable cache"
    yield f"  answers    {found.rows:,}, {_size(sum(share.text_bytes for share in found.shares))} of text"
    yield f"  file       {_size(found.file_bytes)}, {_size(found.free_bytes)} of it free{_log(found)}"
    yield f"  stands for {_dollars(found.shares)} and {sum(share.tokens for share in found.shares):,} tokens"
    if found.oldest_at is not None and found.newest_at is not None:
        yield f"  stored     from {_moment(found.oldest_at, now)} to {_moment(found.newest_at, now)}"
    if found.rows:
        yield f"  {'older than' if ttl_s is None else 'expired   '} {_older(found, tuple(ages_s), ttl_s)}"
    if found.shares:
        yield "  by endpoint and model"
    for share in found.shares[:MOST_SHARES]:
        name = f"{share.endpoint} ({share.model})" if share.model else share.endpoint
        text = f"{share.rows:,} answers, {_size(share.text_bytes)}, {_dollars([share])}, {share.tokens:,} tokens"
        yield f"    {name}: {text}"
    if (more := len(found.shares) - MOST_SHARES) > 0:
        yield f"    and {more} more"


def cleared_lines(path: Path, which: Which) -> Iterator[str]:
    """Delete these rows, and say what went.

    Raises:
        ConfigError: there is no cache there.
        StorageError: it cannot be written, or is damaged.
    """
    with _as_input():
        gone = clear(path, which)
    yield f"{path}: {gone.rows:,} answers went, {gone.left:,} are left"
    yield f"  stood for  ${gone.cost_usd:.4f} and {gone.tokens:,} tokens"
    yield f"  file       {_size(gone.before_bytes)} before, {_size(gone.after_bytes)} now"
    if gone.not_given_back is not None:
        yield f"  free room  stays in the file: {gone.not_given_back}"


def verified(path: Path) -> tuple[list[str], bool]:
    """What is right or wrong with the file, and whether it is whole.

    Raises:
        ConfigError: there is no cache there.
        StorageError: it cannot be read.
    """
    with _as_input():
        count, wrong = verify(path)
    if not wrong:
        return [f"{path}: whole, {count:,} answers"], True
    return [f"{path}: damaged", *(f"  {line}" for line in wrong), f"  {_what_helps(wrong)}"], False


def _what_helps(wrong: list[str]) -> str:
    if len(wrong) == 1 and "rows are not what was written" in wrong[0]:
        return "they are never served; delete them with: synth-actors cache clear FILE --damaged"
    return "nothing wrong is served; an engine that meets the damage sets the file aside and begins a fresh one"


@contextmanager
def _as_input() -> Iterator[None]:
    """What the user can mend by naming another file is wrong input."""
    try:
        yield
    except (MismatchError, ReadOnlyError) as exc:
        raise ConfigError(str(exc)) from exc


def _older(found: Survey, ages: tuple[str, ...], ttl_s: float | None) -> str:
    of_future = f"; {found.ahead:,} are of the future and not served" if found.ahead else ""
    shares = [f"{older:,} ({older / found.rows:.1%})" for older in found.older]
    if ttl_s is not None:
        return f"{shares[0]} are older than {ages[0]}{of_future}"
    return ", ".join(f"{age}: {share}" for age, share in zip(ages, shares, strict=True)) + of_future


def _dollars(shares: list[Share] | tuple[Share, ...]) -> str:
    unpriced = sum(share.unpriced for share in shares)
    text = f"${sum(share.cost_usd for share in shares):.4f}"
    return f"{text} (and {unpriced:,} answers of unknown cost)" if unpriced else text


def _log(found: Survey) -> str:
    return f"; {_size(found.log_bytes)} in the log beside it" if found.log_bytes else ""


def _moment(stored_at: float, now: float) -> str:
    try:
        text = datetime.fromtimestamp(stored_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        text = f"{stored_at:g} s"
    age_s = now - stored_at
    unit = next((unit for unit in ("w", "d", "h", "m") if abs(age_s) >= 2 * UNITS_S[unit]), "s")
    return f"{text} ({abs(age_s) / UNITS_S[unit]:.0f} {unit} {'ago' if age_s >= 0 else 'ahead'})"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.1f} MiB" if size_bytes >= 2**20 else f"{size_bytes / 2**10:,.1f} KiB"
