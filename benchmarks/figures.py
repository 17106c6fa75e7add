"""How is a figure written?"""

from __future__ import annotations

from benchmarks.result import Spread


def spread_text(values: Spread | None) -> str:
    """Median, smallest and largest; `-` for none."""
    if values is None:
        return "-"
    return f"{number(values.median)} [{number(values.min)} - {number(values.max)}]"


def number(value: float) -> str:
    """Three digits, or all before the point."""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 1 else f"{value:.3f}"
