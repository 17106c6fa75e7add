"""When is a figure worth a finding?"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, Strict

from synth_actors.errors import ConfigError
from synth_actors.validated import Validated

MIB = 2**20
SEVERITIES = ("low", "medium", "high", "critical")

Real = Annotated[float, Strict(), Field(ge=0.0, allow_inf_nan=False)]
Count = Annotated[int, Strict(), Field(ge=0)]
Ratio = Annotated[float, Strict(), Field(gt=0.0, allow_inf_nan=False)]
Share = Annotated[float, Strict(), Field(ge=0.0, le=1.0)]


def _four(levels: object) -> object:
    if not isinstance(levels, tuple | list) or len(levels) != len(SEVERITIES):
        raise ValueError("give four levels, for low, medium, high, critical")
    return tuple(levels)


def _rising(levels: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    if any(level >= following for level, following in pairwise(levels)):
        raise ValueError("give four levels that rise, for low, medium, high, critical")
    return levels


def _falling(levels: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    if any(level <= following for level, following in pairwise(levels)):
        raise ValueError("give four levels that fall, for low, medium, high, critical")
    return levels


Levels = Annotated[tuple[Real, Real, Real, Real], BeforeValidator(_four), AfterValidator(_rising)]
"""From which value on something is low, medium, high, critical."""
Shares = Annotated[tuple[Share, Share, Share, Share], BeforeValidator(_four), AfterValidator(_rising)]
FallingLevels = Annotated[tuple[Real, Real, Real, Real], BeforeValidator(_four), AfterValidator(_falling)]
"""Below which value something is low, medium, high, critical."""


class Thresholds(Validated):
    """When a figure is worth a finding.  Shares are 0.0 to 1.0.

    Raises:
        ConfigError: a name is unknown, a value is none, levels do not rise; it names the field and what is possible.
    """

    # speed
    response_p99_s: Levels = (1.0, 5.0, 20.0, 60.0)  # seconds of the responses' p99
    waiting_share: Share = 0.6  # of the response's p99; above it waiting is the cause, below it the calls are
    connecting_share: Shares = (0.1, 0.25, 0.5, 0.75)  # of the time of all calls
    connections_per_call: Real = 0.5  # opened for each call; with fewer, connections are used again
    loop_wait_s: Levels = (0.05, 0.2, 1.0, 5.0)  # seconds by which the loop is late, or a message's p99 in a mailbox
    loop_late_share: Share = 0.1  # of the looks at the loop; fewer that are late are a busy moment
    loop_busy_share: Share = 0.8  # of the looks: the loop has no time left, however short each wait is
    loop_blocked_share: Share = 0.3  # of the looks; above it, what else takes long does so for want of the loop
    fewest_responses: Count = 20  # responses; a p99 of fewer is one of them
    # places
    saturated_share: Share = 0.95  # of the places that are taken
    saturated_time_share: Share = 0.2  # of the time in which anything was inside; a burst now and then is no bottleneck
    backlog_ratio: Levels = (0.25, 1.0, 10.0, 100.0)  # waiting requests for each place
    largest_raise: Annotated[float, Strict(), Field(gt=1.0, allow_inf_nan=False)] = 10.0  # times the present setting
    # limits per minute
    rate_limited_share: Shares = (0.1, 0.3, 0.6, 0.9)  # of the time in which anything was inside
    used_up_share: Share = 0.05  # of a limit per minute: with less than that left, it sets the pace
    max_tokens_ratio: Levels = (2.0, 4.0, 8.0, 16.0)  # times the longest answer
    max_tokens_margin: Annotated[float, Strict(), Field(ge=1.0, allow_inf_nan=False)] = 1.25  # above it, when remedied
    # endpoints
    slow_endpoint_ratio: Levels = (2.0, 4.0, 8.0, 16.0)  # its time for a call, times the fastest one's
    slow_endpoint_share: Share = 0.1  # of the calls that it gets
    retry_wait_share: Shares = (0.25, 0.5, 0.75, 0.9)  # of the time of requests, lost to calls that failed
    retry_ratio: Levels = (0.1, 0.25, 0.5, 1.0)  # repetitions for each request that was called for
    prompt_cache_loss_share: Shares = (0.02, 0.05, 0.1, 0.2)  # of the endpoint's cost
    # memory
    memory_share: Levels = (0.88, 0.92, 0.96, 1.0)  # of the limit
    memory_aim: Annotated[float, Strict(), Field(gt=0.0, le=1.0)] = 0.75  # of the limit, after the remedy
    cache_share: Share = 0.5  # of what was allocated since opening
    resident_per_byte: Ratio = 1.25  # resident bytes for one of the cache, until that is learned
    leak_hours_left: FallingLevels = (72.0, 24.0, 6.0, 1.0)  # hours until the limit, at the pace at which memory grows
    leak_rising_share: Share = 0.7  # of the time; what grows by steps is no leak
    leak_span_s: Real = 120.0  # seconds of growth; shorter growth is a beginning
    # cache
    fewest_lookups: Count = 200  # of the cache; a hit rate of fewer says nothing
    hit_rate_gain: Shares = (0.05, 0.15, 0.3, 0.5)  # of the lookups, that would be hits as well
    flat_share: Share = 0.02  # of the lookups: a curve that gains no more than that has flattened
    full_share: Share = 0.9  # of a bound that is reached
    eviction_share: Share = 0.1  # of what was stored
    format_share: Shares = (0.05, 0.15, 0.3, 0.5)  # of the calls
    # errors
    fewest_requests: Count = 20  # requests or calls; a share of fewer says nothing
    failures_in_vain: Count = 3  # failed calls of an endpoint that never answered
    failed_share: Shares = (0.01, 0.05, 0.1, 0.25)  # of the requests that ended
    failed_attempts: Shares = (0.1, 0.2, 0.4, 0.8)  # of one endpoint's

    def _check(self) -> str | None:
        if self.memory_aim >= self.memory_share[0]:
            return (
                f"memory_aim={self.memory_aim:g}: give less than the first of memory_share, {self.memory_share[0]:g}: "
                "a remedy that aims above it would be a finding again"
            )
        return None


DEFAULT_THRESHOLDS = Thresholds()


def thresholds_of(given: Thresholds | Mapping[str, object] | None) -> Thresholds:
    """`given`, or the defaults with what a mapping names.

    Raises:
        ConfigError: it is neither, or a name or a value of it is wrong.
    """
    if given is None:
        return DEFAULT_THRESHOLDS
    if isinstance(given, Thresholds):
        return given
    if not isinstance(given, Mapping):
        raise ConfigError(f"thresholds={given!r}: give Thresholds(...), or a mapping such as {{'hit_rate_gain': ...}}")
    if (odd := next((name for name in given if not isinstance(name, str)), None)) is not None:
        raise ConfigError(
            f"thresholds: {odd!r} is no name; known names are {', '.join(sorted(Thresholds.model_fields))}"
        )
    return Thresholds(**given)  # type: ignore[arg-type]  # checked there


def severity_of(value: float, levels: tuple[float, float, float, float]) -> str | None:
    """The highest level that `value` reaches; None below the first.  Nothing at all is never worth a finding."""
    return _reached(value, levels) if value > 0 else None


def severity_below(value: float, levels: tuple[float, float, float, float]) -> str | None:
    """The highest level that `value` has fallen to; None above the first."""
    return _reached(-value, (-levels[0], -levels[1], -levels[2], -levels[3]))


def _reached(value: float, levels: tuple[float, float, float, float]) -> str | None:
    reached = sum(value >= level for level in levels)
    return SEVERITIES[reached - 1] if reached else None


def worse_of(one: str | None, other: str | None) -> str | None:
    """The higher one of two severities."""
    return max((one, other), key=lambda severity: -1 if severity is None else SEVERITIES.index(severity))
