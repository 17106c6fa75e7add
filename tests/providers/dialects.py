"""What do the two wire formats look like, said once for tests that hold for both?"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from synth_actors.config import Endpoint
from synth_actors.providers.base import Call
from synth_actors.providers.build import build_provider
from synth_actors.providers.http_provider import HttpProvider
from synth_actors.types import Request
from tests.providers.server import Reply

CANARY = "sk-canary-0123456789-do-not-show"
PIECES = ("An otter ", "swims 🦦", ", slowly.")
TEXT = "".join(PIECES)
INPUT_TOKENS = 11
OUTPUT_TOKENS = 7


def event(data: object, kind: str | None = None) -> bytes:
    named = f"event: {kind}\n" if kind else ""
    return f"{named}data: {data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)}\n\n".encode()


def anthropic_whole(text: str = TEXT, stop: str | None = "end_turn") -> dict[str, Any]:
    usage = {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS}
    content = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": text}]
    return {"type": "message", "model": "claude-x-1", "content": content, "stop_reason": stop, "usage": usage}


def anthropic_events(pieces: tuple[str, ...] = PIECES, stop: str = "end_turn") -> list[bytes]:
    start: dict[str, Any] = {"type": "message", "model": "claude-x-1", "content": [], "stop_reason": None}
    usage = {"input_tokens": INPUT_TOKENS, "output_tokens": 1}
    deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
    thought = {"type": "thinking_delta", "thinking": "hm"}
    return [
        event({"type": "message_start", "message": {**start, "usage": usage}}, "message_start"),
        event({"type": "ping"}, "ping"),
        event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        event({"type": "content_block_delta", "index": 0, "delta": thought}, "content_block_delta"),
        *(event({"type": "content_block_delta", "index": 0, "delta": delta}) for delta in deltas),
        event({"type": "content_block_stop", "index": 0}, "content_block_stop"),
        event({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": OUTPUT_TOKENS}}),
        event({"type": "message_stop"}, "message_stop"),
    ]


def openai_whole(text: str = TEXT, stop: str | None = "stop") -> dict[str, Any]:
    usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": stop}
    return {"model": "gpt-x-1", "choices": [choice], "usage": usage}


def openai_events(pieces: tuple[str, ...] = PIECES, stop: str = "stop") -> list[bytes]:
    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        return event({"model": "gpt-x-1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS}
    return [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": piece}) for piece in pieces),
        chunk({}, stop),
        event({"model": "gpt-x-1", "choices": [], "usage": usage}),
        event("[DONE]"),
    ]


@dataclass(frozen=True, slots=True)
class Dialect:
    """One wire format: how its endpoint is made and what its server says."""

    name: str
    path: str
    whole: Callable[..., dict[str, Any]]
    events: Callable[..., list[bytes]]
    model: str
    names_of_stops: dict[str, str]
    schema_key: str
    error_event: Callable[[str, str], bytes]
    base_path: str = ""

    def endpoint(self, url: str, **fields: Any) -> Endpoint:
        made: dict[str, Any] = {"api_key": CANARY, "name": "under-test", **fields}
        return Endpoint(provider=self.name, model="x", base_url=url + self.base_path, **made)

    def provider(self, url: str, **fields: Any) -> HttpProvider:
        made = build_provider(self.endpoint(url, **fields))
        assert isinstance(made, HttpProvider)
        return made

    def stream(self, *events: bytes, **fields: Any) -> Reply:
        body = b"".join(events or self.events())
        return Reply(body=body, headers={"content-type": "text/event-stream"}, **{"framing": "chunked", **fields})


ANTHROPIC = Dialect(
    name="anthropic",
    path="/v1/messages",
    whole=anthropic_whole,
    events=anthropic_events,
    model="claude-x-1",
    names_of_stops={
        "end_turn": "end",
        "stop_sequence": "stop",
        "max_tokens": "max_tokens",
        "model_context_window_exceeded": "max_tokens",
        "refusal": "refusal",
    },
    schema_key="output_config",
    error_event=lambda kind, text: event({"type": "error", "error": {"type": kind, "message": text}}, "error"),
)
OPENAI = Dialect(
    name="openai",
    path="/v1/chat/completions",
    whole=openai_whole,
    events=openai_events,
    model="gpt-x-1",
    names_of_stops={"stop": "end", "length": "max_tokens", "content_filter": "refusal"},
    schema_key="response_format",
    error_event=lambda kind, text: event({"error": {"type": kind, "message": text}}),
    base_path="/v1",
)
DIALECTS = (ANTHROPIC, OPENAI)


def call(schema: dict[str, Any] | None = None, **fields: Any) -> Call:
    return Call(request=Request(**{"prompt": "Otters?", "max_tokens": 50, **fields}), json_schema=schema)
