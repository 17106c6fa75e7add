"""Is that a time between two looks?"""

from __future__ import annotations

from math import inf

from synth_actors.errors import ConfigError


def checked_interval(who: str, interval_s: object) -> float:
    """`interval_s`, seconds above 0.

    Raises:
        ConfigError: it is no number, or not above 0, or without end; the message begins with `who`.
    """
    if isinstance(interval_s, bool) or not isinstance(interval_s, int | float) or not 0 < interval_s < inf:
        raise ConfigError(f"{who}: interval_s={interval_s!r}: give seconds above 0, such as 1.0")
    return float(interval_s)
