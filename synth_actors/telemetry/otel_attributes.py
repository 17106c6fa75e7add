"""How do the GenAI conventions of OpenTelemetry call what a call has asked for and got?

Names and values by the semantic conventions for generative AI, version 1.41: `gen-ai-spans` and `gen-ai-metrics`.
What is ours, and no part of them, begins with `synth_actors.`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from synth_actors.tracing import AttemptEnd, AttemptStart, Destination
from synth_actors.types import Answer, Request, Response, StopReason
from synth_actors.usage import Usage

Value = str | bool | int | float | list[str]
Attributes = dict[str, Value]

OPERATION = "chat"
FINISH_REASONS: Mapping[StopReason, str] = {
    "end": "stop",
    "stop": "stop",
    "max_tokens": "length",
    "refusal": "content_filter",
}
SAMPLING = {"top_p": float, "top_k": float, "frequency_penalty": float, "presence_penalty": float}
"""What a provider's body may have beside the fields of `Request`, in `extra`, and the conventions have a name for."""

DURATION_BUCKETS_S = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKEN_BUCKETS = tuple(4**power for power in range(14))
"""Bounds that the conventions ask for; those of durations hold for the time to the first chunk and between two, too."""


def of_destination(destination: Destination) -> Attributes:
    """What says which endpoint it was: on every span and every metric of a call."""
    found: Attributes = {"gen_ai.operation.name": OPERATION, "gen_ai.provider.name": destination.provider}
    if destination.model:
        found["gen_ai.request.model"] = destination.model
    if destination.address is not None and destination.port is not None:
        found["server.address"] = destination.address
        found["server.port"] = destination.port
    return found


def of_request(request: Request, number: int) -> Attributes:
    """The span of a whole request; it asks no particular model."""
    found: Attributes = {
        "synth_actors.request_id": f"req-{number}",
        "synth_actors.cache_mode": request.cache,
        "gen_ai.output.type": _output_type(request),
    }
    if request.namespace:
        found["synth_actors.namespace"] = request.namespace
    return found


def of_call(request: Request, start: AttemptStart) -> Attributes:
    """The span of one call, as far as it is known when it begins."""
    found = of_destination(start.destination)
    found |= {
        "synth_actors.endpoint": start.destination.endpoint,
        "synth_actors.attempt": start.number,
        "gen_ai.output.type": _output_type(request),
        "gen_ai.request.max_tokens": request.max_tokens,
    }
    if request.temperature is not None:
        found["gen_ai.request.temperature"] = request.temperature
    if request.stop:
        found["gen_ai.request.stop_sequences"] = list(request.stop)
    if request.seed is not None:
        found["gen_ai.request.seed"] = request.seed
    if start.streamed:
        found["gen_ai.request.stream"] = True
    for name, kind in SAMPLING.items():
        if isinstance(value := request.extra.get(name), int | float):
            found[f"gen_ai.request.{name}"] = kind(value)
    return found


def of_end(end: AttemptEnd) -> Attributes:
    """What is known of a call when it is over."""
    found = of_usage(end.usage)
    if end.answer is not None:
        found |= of_answer(end.answer)
    if end.fault is not None:
        found["error.type"] = end.fault
    if end.status is not None:
        found["http.response.status_code"] = end.status
    return found


def of_answer(answer: Answer) -> Attributes:
    """What the endpoint says of its answer."""
    found: Attributes = {"gen_ai.response.finish_reasons": [FINISH_REASONS[answer.stop_reason]]}
    if answer.model:
        found["gen_ai.response.model"] = answer.model
    return found


def of_usage(usage: Usage) -> Attributes:
    """Tokens and dollars; what is not known, or not used, is not there."""
    counts = {
        "gen_ai.usage.input_tokens": input_tokens(usage),
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens,
    }
    found: Attributes = {name: count for name, count in counts.items() if count}
    if usage.cost_usd:
        found["synth_actors.cost_usd"] = usage.cost_usd
    return found


def input_tokens(usage: Usage) -> int:
    """As the conventions count them: those that the provider's prompt cache gave or took are part of it."""
    return usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens


def of_outcome(outcome: Response | Exception | None) -> Attributes:
    """How a request ended; its tokens stand on the spans of its calls, once each."""
    if outcome is None:
        return {"synth_actors.outcome": "cancelled"}
    if isinstance(outcome, Exception):
        return {"synth_actors.outcome": "failed", "error.type": type(outcome).__name__}
    found: Attributes = {
        "synth_actors.outcome": "succeeded",
        "synth_actors.source": outcome.source,
        "synth_actors.endpoint": outcome.endpoint,
        "synth_actors.attempts": outcome.attempts,
        **of_answer(outcome.answer),
    }
    if outcome.usage.cost_usd:
        found["synth_actors.cost_usd"] = outcome.usage.cost_usd
    return found


def input_content(request: Request) -> Attributes:
    """The prompt, in the conventions' JSON: only for those who have asked for it."""
    messages = [_message(message.role, message.content) for message in request.as_messages()]
    found: Attributes = {"gen_ai.input.messages": _json(messages)}
    if request.system is not None:
        found["gen_ai.system_instructions"] = _json([{"type": "text", "content": request.system}])
    return found


def output_content(answer: Answer) -> Attributes:
    """The answer, in the conventions' JSON: only for those who have asked for it."""
    message = _message("assistant", answer.text) | {"finish_reason": FINISH_REASONS[answer.stop_reason]}
    return {"gen_ai.output.messages": _json([message])}


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _output_type(request: Request) -> str:
    return "text" if request.output_schema is None else "json"
