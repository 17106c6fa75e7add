"""What holds it back, and what would change that?

Each rule looks at one snapshot and says nothing, or one finding: the figures that show it and a setting with the value
it should get.  What a snapshot cannot tell has no rule.
"""

from __future__ import annotations

from collections.abc import Callable

from synth_actors.findings import BottleneckReport, Finding
from synth_actors.policy.rules import cache, errors, memory, speed
from synth_actors.policy.rules.thresholds import DEFAULT_THRESHOLDS, SEVERITIES, Thresholds
from synth_actors.snapshot import Snapshot

Rule = Callable[[Snapshot, Thresholds], Finding | None]

RULES: tuple[Rule, ...] = (
    speed.engine_is_saturated,
    speed.endpoint_is_saturated,
    speed.requests_wait,
    speed.calls_are_slow,
    memory.memory_is_not_reclaimable,
    memory.memory_slows_the_engine,
    memory.cache_fills_memory,
    memory.memory_is_tight,
    cache.cache_is_too_small,
    cache.entries_expire_too_soon,
    errors.requests_fail,
    errors.endpoint_fails,
)


def analyze(snapshot: Snapshot, thresholds: Thresholds = DEFAULT_THRESHOLDS) -> BottleneckReport:
    """Apply every rule; the findings come most severe first."""
    findings = [finding for rule in RULES if (finding := rule(snapshot, thresholds)) is not None]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity), reverse=True)
    return BottleneckReport(bottlenecks=tuple(findings))
