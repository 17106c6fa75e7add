"""What do the headers of an answer say about the server's rate limits?

Two families of names are known, whoever sends them: Anthropic's `anthropic-ratelimit-WHAT-FIELD`, whose reset is a
time (RFC 3339), and OpenAI's `x-ratelimit-FIELD-WHAT`, whose reset is a duration (`6m0s`, `120ms`, or plain seconds).
What cannot be read is None, never an error: a header is a hint.

Anthropic's `tokens` is whichever of its limits is the tightest now, so it is left out where the limits of input and
output are named themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

from synth_actors.providers.base import Allowance, RateLimits

_ANTHROPIC = b"anthropic-ratelimit-"
_OPENAI = b"x-ratelimit-"
_KNOWN = {
    b"requests": "requests",
    b"tokens": "tokens",
    b"input-tokens": "input_tokens",
    b"output-tokens": "output_tokens",
}
_NUMBER = re.compile(rb"\d{1,15}(?:\.\d{0,15})?")
_PART = re.compile(rb"(\d{1,15}(?:\.\d{0,15})?)(d|h|ms|m|s|us|ns)")
_DURATION = re.compile(rb"(?:%b)+" % _PART.pattern)
_SECONDS = {b"d": 86_400.0, b"h": 3600.0, b"m": 60.0, b"s": 1.0, b"ms": 1e-3, b"us": 1e-6, b"ns": 1e-9}

Values = dict[bytes, bytes]


def rate_limits(headers: Iterable[tuple[bytes, bytes]], *, now: float) -> RateLimits | None:
    """What `headers` (name and value, as they were sent) say; None when no such header is among them.

    `now` is Unix time, and counts only where the server sent no `date`: neither clock has to be right.
    """
    # Most servers send none of these, and every answer comes through here: one pass, no copy.
    named = [(name, value) for name, value in headers if b"ratelimit" in name.lower()]
    if not named:
        return None
    found: dict[str, Values] = {}
    for name, value in named:
        if (place := _place(name)) is not None:
            what, field = place
            found.setdefault(what, {})[field] = value
    if not found:
        return None
    if "input_tokens" in found or "output_tokens" in found:
        found.pop("tokens", None)
    sent = _server_time(headers)
    made = {what: _allowance(values, now if sent is None else sent) for what, values in found.items()}
    return RateLimits(**made)


@lru_cache(maxsize=64)
def _place(name: bytes) -> tuple[str, bytes] | None:
    """Which limit, and which of its values, a header is about."""
    name = name.lower()
    if name.startswith(_ANTHROPIC):
        what, _, field = name.removeprefix(_ANTHROPIC).rpartition(b"-")
    elif name.startswith(_OPENAI):
        field, _, what = name.removeprefix(_OPENAI).partition(b"-")
    else:
        return None
    known = _KNOWN.get(what)
    return (known, field) if known is not None and field in (b"limit", b"remaining", b"reset") else None


def _allowance(values: Values, now: float) -> Allowance:
    return Allowance(
        limit=_number(values.get(b"limit")),
        remaining=_number(values.get(b"remaining")),
        reset_s=_reset_s(values.get(b"reset"), now),
    )


def _number(value: bytes | None) -> float | None:
    return float(value) if value is not None and _NUMBER.fullmatch(value) else None


def _reset_s(value: bytes | None, now: float) -> float | None:
    if value is None:
        return None
    if (seconds := _number(value)) is not None:
        return seconds
    if _DURATION.fullmatch(value):
        return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(value))
    until = _time(value)
    return None if until is None else max(0.0, until - now)


@lru_cache(maxsize=64)
def _time(value: bytes) -> float | None:
    try:
        time = datetime.fromisoformat(value.decode("ascii"))
        return None if time.tzinfo is None else time.timestamp()  # without a zone it is nobody's time
    except (ValueError, OverflowError):
        return None


def _server_time(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    return next((_date(value) for name, value in headers if name.lower() == b"date"), None)


@lru_cache(maxsize=64)
def _date(value: bytes) -> float | None:
    try:
        return parsedate_to_datetime(value.decode("latin-1")).timestamp()
    except (ValueError, OverflowError):
        return None
