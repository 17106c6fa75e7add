"""What was found to hold the engine back?

Frozen values, JSON-able with `dataclasses.asdict`; `policy.bottlenecks` makes them of a snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType

SettingValue = float | str | bool | None | Mapping[str, str | None]

UNITS: Mapping[str, str] = MappingProxyType(
    {
        "throughput_per_s": "1/s",  # requests answered by calls, while requests wait
        "response_p99_s": "s",
        "response_mean_s": "s",
        "service_mean_s": "s",  # of one call
        "hit_rate": "share",  # of the lookups
        "cost_usd": "USD",  # of what was done so far
        "attempts": "attempts",  # for what was done so far
        "rss_bytes": "bytes",
        "memory_share": "share",  # of the limit that is resident
        "hours_left": "h",  # until the memory limit
    }
)
"""What a prediction may be about, and its unit."""
MORE_IS_BETTER = frozenset({"throughput_per_s", "hit_rate", "hours_left"})
"""Of the others less is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One change: `where` is "EngineConfig", "CacheConfig", "Endpoint" or "Request", `endpoint` whose it is.

    With `is_now_known` False a snapshot does not tell what is set now.
    """

    where: str
    name: str
    now: SettingValue
    then: SettingValue
    endpoint: str = ""
    is_now_known: bool = True

    def __str__(self) -> str:
        whose = f"name={self.endpoint!r}, " if self.endpoint else ""
        before = f"{_shown(self.now)} -> " if self.is_now_known else ""
        return f"{self.where}({whose}{self.name}={before}{_shown(self.then)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the remedy would bring, worked out from the recorded figures.

    `metric`, a key of `UNITS`, goes from `now` to `then`; `basis` says how it was worked out.
    """

    metric: str
    now: float
    then: float
    unit: str
    basis: str

    @property
    def is_better(self) -> bool:
        """Whether `then` is better than `now`, as far as both are shown."""
        if not isfinite(self.then) or _figure(self.now, self.unit) == _figure(self.then, self.unit):
            return False
        return self.then > self.now if self.metric in MORE_IS_BETTER else self.then < self.now

    def __str__(self) -> str:
        return f"{self.metric} {_figure(self.now, self.unit)} -> {_figure(self.then, self.unit)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One bottleneck: `evidence` are the figures, `remedy` is a concrete setting, `settings` the same as values.

    `remedy` names each of `settings` as `str` shows it; where `settings` is empty, it says in words what to do.
    `prediction` is None where the figures do not tell what the remedy would bring.
    """

    kind: str  # "latency" | "throughput" | "memory" | "cache" | "errors" | "rate_limit" | "cost"
    rule: str
    severity: str  # "low" | "medium" | "high" | "critical"
    what: str
    evidence: Mapping[str, float]
    cause: str = ""
    remedy: str
    settings: tuple[Setting, ...] = ()
    effort: str = "low"  # "low": a setting; "medium": other requests or another endpoint; "high": the user's program
    prediction: Prediction | None = None

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterable[str]:
        yield f"[{self.severity}] {self.what}"
        if self.cause:
            yield f"  cause:    {self.cause}"
        yield f"  remedy:   {self.remedy} (effort: {self.effort})"
        if self.prediction is not None:
            yield f"  would be: {self.prediction}; {self.prediction.basis}"
        yield f"  evidence: {', '.join(f'{name} {_number(figure)}' for name, figure in self.evidence.items())}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BottleneckReport:
    """What `analyze` found, most severe first; `recommendations` are the remedies in that order."""

    bottlenecks: tuple[Finding, ...] = ()

    @property
    def detected(self) -> bool:
        """Whether anything was found."""
        return bool(self.bottlenecks)

    @property
    def recommendations(self) -> tuple[str, ...]:
        """The remedies, each once, most severe first."""
        return tuple(dict.fromkeys(finding.remedy for finding in self.bottlenecks))

    def __str__(self) -> str:
        """Every finding with its cause, remedy, prediction and figures, for a person to read."""
        return "\n".join(map(str, self.bottlenecks)) or "nothing is known to hold it back"


def remedy_of(*settings: Setting) -> str:
    """The remedy that is to make all of these changes."""
    return " and ".join(map(str, settings))


def predicted(metric: str, now: float, then: float, basis: str) -> Prediction:
    """A prediction about a metric of `UNITS`."""
    return Prediction(metric=metric, now=now, then=then, unit=UNITS[metric], basis=basis)


def _shown(value: SettingValue) -> str:
    return f"{value:.6g}" if isinstance(value, float) and abs(value) < 1e6 else repr(value)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _figure(value: float, unit: str) -> str:
    if unit == "share":
        return f"{value:.1%}"
    if unit == "bytes":
        return f"{value / 2**20:,.1f} MiB"
    text = _number(value)
    if unit == "USD":
        return f"${text}"
    return f"{text}/s" if unit == "1/s" else f"{text} {unit}"
