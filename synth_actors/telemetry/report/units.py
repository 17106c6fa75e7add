"""How is a figure written for people?  Three digits that count, and its unit; `page.js` writes them alike."""

from __future__ import annotations

from math import floor, log10

NONE = "-"
"""Where there is no figure."""
_BYTES = ("B", "KiB", "MiB", "GiB", "TiB")


def number(value: float) -> str:
    """Three digits, or all before the point."""
    size = abs(value)
    if size >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 9.995 else f"{value:.2f}"


def count(value: float) -> str:
    """A whole number, or what `number` makes of another."""
    return f"{value:,.0f}" if float(value).is_integer() else number(value)


def duration(seconds: float) -> str:
    """Microseconds, milliseconds or seconds."""
    size = abs(seconds)
    if size == 0.0:
        return "0 s"
    if size < 0.0009995:
        return f"{number(seconds * 1e6)} µs"
    return f"{number(seconds * 1e3)} ms" if size < 0.9995 else f"{number(seconds)} s"


def size_of(amount: float) -> str:
    """Bytes, KiB, MiB, ..."""
    left, unit = float(amount), 0
    while abs(left) >= 999.5 and unit < len(_BYTES) - 1:
        left, unit = left / 1024, unit + 1
    return f"{left:.0f} B" if unit == 0 else f"{number(left)} {_BYTES[unit]}"


def dollars(usd: float | None) -> str:
    """Cents, and of less than a dollar three digits; "unknown" for None: something unpriced was among it."""
    if usd is None:
        return "unknown"
    if usd == 0.0:
        return "$0"
    if abs(usd) >= 1:
        return f"${usd:,.2f}"
    return f"${usd:.{min(12, 2 - floor(log10(abs(usd))))}f}"


def share(value: float) -> str:
    """Per cent."""
    return f"{number(value * 100)} %"


def rate(per_second: float) -> str:
    """So many a second."""
    return f"{number(per_second)}/s"
