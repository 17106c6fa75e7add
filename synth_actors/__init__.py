"""An embedded actor-model concurrency engine on trio that makes synthetic data with LLMs."""

from synth_actors.attempt_log import AttemptLog
from synth_actors.config import CacheConfig, Endpoint, EngineConfig, Price
from synth_actors.engine import Engine, open_engine
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
from synth_actors.policy.bottlenecks import analyze
from synth_actors.providers.base import Provider
from synth_actors.snapshot import BottleneckReport, Snapshot
from synth_actors.types import Chunk, Message, Outcome, Request, Response, Usage

__all__ = [
    "AttemptLog",
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
    "Price",
    "Provider",
    "RateLimitedError",
    "Request",
    "Response",
    "Snapshot",
    "SynthActorsError",
    "Usage",
    "analyze",
    "open_engine",
]
