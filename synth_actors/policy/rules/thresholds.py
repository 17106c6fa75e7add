"""When is a figure worth a finding?"""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20
SEVERITIES = ("low", "medium", "high", "critical")

Levels = tuple[float, float, float, float]
"""From which value on something is low, medium, high, critical."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """When a figure is worth a finding.  Shares are 0.0 to 1.0."""

    response_p99_s: Levels = (1.0, 5.0, 20.0, 60.0)
    waiting_share: float = 0.6  # of the response's p99; above it waiting is the cause, below it the calls are
    fewest_responses: int = 20  # a p99 of fewer is one of them
    saturated_share: float = 0.95  # of the places that are taken
    backlog_ratio: Levels = (0.25, 1.0, 10.0, 100.0)  # waiting requests for each place
    largest_raise: float = 10.0  # times the present setting; further steps need new figures
    used_up_share: float = 0.05  # of a limit per minute: with less than that left, it sets the pace
    memory_share: Levels = (0.88, 0.92, 0.96, 1.0)  # of the limit
    memory_aim: float = 0.75  # of the limit, after the remedy
    cache_share: float = 0.5  # of what was allocated since opening
    resident_per_byte: float = 1.25  # of accounted bytes
    fewest_lookups: int = 200
    hit_rate: float = 0.5
    repeated_share: float = 0.01  # without any repeats a larger cache holds nothing more that is asked for
    eviction_share: float = 0.1  # of what was stored
    full_share: float = 0.9  # of a bound that is reached
    stale_share: Levels = (0.1, 0.25, 0.5, 0.75)  # of the lookups
    fewest_requests: int = 20
    failures_in_vain: int = 3  # of an endpoint that never answered
    failed_share: Levels = (0.01, 0.05, 0.1, 0.25)  # of the requests that ended
    failed_attempts: Levels = (0.1, 0.2, 0.4, 0.8)  # of one endpoint's


DEFAULT_THRESHOLDS = Thresholds()


def severity_of(value: float, levels: Levels) -> str | None:
    """The highest level that `value` reaches; None below the first."""
    reached = sum(value >= level for level in levels)
    return SEVERITIES[reached - 1] if reached else None
