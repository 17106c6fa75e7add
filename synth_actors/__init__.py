"""An embedded actor-model concurrency engine on trio that makes synthetic data with LLMs.

What is written down before a run (requests, configuration, errors) is imported at once.  What runs is imported when it
is first used, so that a program which only builds requests, or `--help`, pays for no engine.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from synth_actors.config import CacheConfig, Endpoint, EngineConfig, Price
from synth_actors.errors import (
    BudgetExceededError,
    ConfigError,
    DeadlineExceededError,
    EngineClosedError,
    GenerationError,
    OutputInvalidError,
    OverloadedError,
    RateLimitedError,
    SynthActorsError,
)
from synth_actors.providers.base import Provider
from synth_actors.types import Chunk, Message, Outcome, Request, Response, Usage

if TYPE_CHECKING:
    from synth_actors.attempt_log import AttemptLog
    from synth_actors.datasets import generate_rows
    from synth_actors.engine import Engine, open_engine
    from synth_actors.findings import BottleneckReport
    from synth_actors.policy.bottlenecks import BottleneckAnalyzer, analyze
    from synth_actors.policy.rules.thresholds import Thresholds
    from synth_actors.snapshot import Snapshot
    from synth_actors.telemetry import PerformanceMonitor

_HOME = {
    "AttemptLog": "attempt_log",
    "BottleneckAnalyzer": "policy.bottlenecks",
    "BottleneckReport": "findings",
    "Engine": "engine",
    "PerformanceMonitor": "telemetry",
    "Snapshot": "snapshot",
    "Thresholds": "policy.rules.thresholds",
    "analyze": "policy.bottlenecks",
    "generate_rows": "datasets",
    "open_engine": "engine",
}

__all__ = [
    "AttemptLog",
    "BottleneckAnalyzer",
    "BottleneckReport",
    "BudgetExceededError",
    "CacheConfig",
    "Chunk",
    "ConfigError",
    "DeadlineExceededError",
    "Endpoint",
    "Engine",
    "EngineClosedError",
    "EngineConfig",
    "GenerationError",
    "Message",
    "Outcome",
    "OutputInvalidError",
    "OverloadedError",
    "PerformanceMonitor",
    "Price",
    "Provider",
    "RateLimitedError",
    "Request",
    "Response",
    "Snapshot",
    "SynthActorsError",
    "Thresholds",
    "Usage",
    "analyze",
    "generate_rows",
    "open_engine",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
