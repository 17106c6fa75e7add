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
from synth_actors.tier.clearing import Everything, Older, Stale, Which, Worth, Wrong, clear, would_go
from synth_actors.tier.survey import Share, Survey, survey, verify

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
    if "\0" in (named := str(file or cache.path)):
        raise ConfigError(f"--config {config}: engine.cache.path={named!r}: has a NUL byte in it; name a file")
    return Path(named), cache.ttl_s if "ttl_s" in cache.model_fields_set else None


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
    ages_s = AGES_S if ttl_s is None else {f"ttl_s={ttl_s:g}": ttl_s}
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
        yield "  by endpoint (model) and identity"
    for share in found.shares[:MOST_SHARES]:
        name = f"{share.endpoint} ({share.model})" if share.model else share.endpoint
        text = f"{_answers(share.rows)}, {_size(share.text_bytes)}, {_dollars([share])}, {share.tokens:,} tokens"
        yield f"    {name} {share.identity}: {text}"
    if (more := len(found.shares) - MOST_SHARES) > 0:
        yield f"    and {more} more"


def cleared_lines(path: Path, which: Which) -> Iterator[str]:
    """Delete these rows, and say what went.

    Raises:
        ConfigError: there is no cache there, or it may not be written.
        StorageError: it is damaged, has no room, or others keep it locked.
    """
    with _as_input():
        cleared = clear(path, which)
    yield f"{path}: {_answers(cleared.gone.rows)} went, {cleared.left:,} are left"
    yield f"  stood for  {_worth(cleared.gone)}"
    yield f"  file       {_size(cleared.before_bytes)} before, {_size(cleared.after_bytes)} now"
    if cleared.not_given_back is not None:
        yield f"  free room  stays in the file: {cleared.not_given_back}"


def doomed(path: Path, which: Which) -> tuple[int, str]:
    """How many rows `clear` would delete, and a line that says so; nothing is changed.

    Raises:
        ConfigError: there is no cache there, or it may not be read.
        StorageError: it is damaged.
    """
    with _as_input():
        worth, left = would_go(path, which)
    stand_for = f"{'it stands' if worth.rows == 1 else 'they stand'} for {_worth(worth)}"
    return worth.rows, f"{path}: {_answers(worth.rows)} would go, {left:,} would be left; {stand_for}"


def verified(path: Path) -> tuple[list[str], bool]:
    """What is right or wrong with the file, and whether it is whole.

    Raises:
        ConfigError: there is no cache there.
        StorageError: it cannot be read.
    """
    with _as_input():
        count, wrong = verify(path)
    if not wrong:
        return [f"{path}: whole, {_answers(count)}"], True
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
    verb = "is" if found.ahead == 1 else "are"
    of_future = f"; {found.ahead:,} {verb} of the future and not served" if found.ahead else ""
    shares = [f"{older:,} ({older / found.rows:.1%})" for older in found.older]
    if ttl_s is not None:
        return f"{shares[0]} {'is' if found.older[0] == 1 else 'are'} older than {ages[0]}{of_future}"
    return ", ".join(f"{age}: {share}" for age, share in zip(ages, shares, strict=True)) + of_future


def _dollars(shares: list[Share] | tuple[Share, ...]) -> str:
    return _priced(sum(share.cost_usd for share in shares), sum(share.unpriced for share in shares))


def _worth(worth: Worth) -> str:
    return f"{_priced(worth.cost_usd, worth.unpriced)} and {worth.tokens:,} tokens"


def _priced(cost_usd: float, unpriced: int) -> str:
    return f"${cost_usd:.4f} (and {_answers(unpriced)} of unknown cost)" if unpriced else f"${cost_usd:.4f}"


def _answers(count: int) -> str:
    return f"{count:,} answer{'s' * (count != 1)}"


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
