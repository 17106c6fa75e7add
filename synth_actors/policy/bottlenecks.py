"""What holds it back, and what would change that?

Each rule looks at one snapshot and says nothing, or one finding: the figures that show it, a setting with the value it
should get, and what that would bring by the figures recorded so far.  What a snapshot cannot tell has no rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from inspect import iscoroutine

from synth_actors.errors import ConfigError
from synth_actors.findings import BottleneckReport, Finding
from synth_actors.policy.rules import (
    cache,
    endpoints,
    errors,
    loop,
    memory,
    places,
    prompt_cache,
    rates,
    retries,
    speed,
)
from synth_actors.policy.rules.thresholds import SEVERITIES, Thresholds, thresholds_of
from synth_actors.snapshot import Snapshot

Rule = Callable[[Snapshot, Thresholds], Finding | None]

OF_FAILURES: tuple[Rule, ...] = (
    errors.requests_fail,
    errors.endpoint_fails,
    endpoints.calls_are_repeated,
    retries.retries_wait,
)
"""What calls that fail lead to: those with one remedy have one cause, and are one finding."""
RULES: tuple[Rule, ...] = (
    loop.loop_is_blocked,
    places.engine_is_saturated,
    places.endpoint_is_saturated,
    rates.rate_limit_sets_the_pace,
    rates.max_tokens_are_too_large,
    speed.requests_wait,
    speed.calls_are_slow,
    speed.connecting_takes_long,
    endpoints.endpoint_is_slow,
    memory.memory_is_not_reclaimable,
    memory.memory_leaks,
    memory.memory_slows_the_engine,
    memory.cache_fills_memory,
    memory.memory_is_tight,
    cache.cache_is_too_small,
    cache.entries_expire_too_soon,
    cache.prompts_differ_in_formatting,
    prompt_cache.prompt_cache_costs_more,
    *OF_FAILURES,
)


class BottleneckAnalyzer:
    """Analyses snapshots by thresholds of one's own.

    `thresholds` are `Thresholds`, or a mapping of their names to values: the others keep their defaults.

    Raises:
        ConfigError: a name is unknown, or a value is none; the message says which are known, and what is possible.
    """

    def __init__(self, thresholds: Thresholds | Mapping[str, object] | None = None) -> None:
        self.thresholds = thresholds_of(thresholds)

    def analyze(self, snapshot: Snapshot) -> BottleneckReport:
        """Apply every rule; the findings come most severe first, equally severe ones in the order of the rules.

        What one cause leads to, calls that fail and requests that do, is one finding: the most severe one, with what
        the others say and their figures.

        Raises:
            ConfigError: it is no `Snapshot`.
        """
        if not isinstance(snapshot, Snapshot):
            raise ConfigError(f"analyze: {_shown(snapshot)} is no Snapshot; give await engine.metrics()")
        found = (rule(snapshot, self.thresholds) for rule in RULES)
        findings = [_without_a_vain_prediction(finding) for finding in found if finding is not None]
        findings.sort(key=lambda finding: SEVERITIES.index(finding.severity), reverse=True)
        return BottleneckReport(bottlenecks=_one_for_each_cause(findings))

    def __repr__(self) -> str:
        own = {name: getattr(self.thresholds, name) for name in sorted(self.thresholds.model_fields_set)}
        return f"<BottleneckAnalyzer rules={len(RULES)} thresholds={own}>"


def analyze(snapshot: Snapshot, thresholds: Thresholds | Mapping[str, object] | None = None) -> BottleneckReport:
    """`BottleneckAnalyzer(thresholds).analyze(snapshot)`."""
    return BottleneckAnalyzer(thresholds).analyze(snapshot)


def _one_for_each_cause(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Failures with the same remedy as one; `findings` come most severe first."""
    names = {rule.__name__ for rule in OF_FAILURES}
    leading: dict[str, Finding] = {}
    for finding in findings:
        is_of_failures = finding.rule in names
        key = finding.remedy if is_of_failures else finding.rule
        first = leading.get(key)
        leading[key] = finding if first is None else _joined(first, finding)
    return tuple(leading.values())


def _joined(first: Finding, other: Finding) -> Finding:
    return replace(
        first,
        what=f"{first.what}; {other.what}",
        evidence={**other.evidence, **first.evidence},
        prediction=first.prediction or other.prediction,
    )


def _without_a_vain_prediction(finding: Finding) -> Finding:
    """What would be no better than now is not said to be what a remedy brings."""
    prediction = finding.prediction
    return finding if prediction is None or prediction.is_better else replace(finding, prediction=None)


def _shown(given: object) -> str:
    if iscoroutine(given):
        given.close()  # so that nobody is told that it was never awaited: this says so
        return "what engine.metrics() gives without await"
    return "None" if given is None else f"an object of class {type(given).__name__}"
