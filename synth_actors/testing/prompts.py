"""How much does a simulated server read, and what does it say?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synth_actors.types import Request

CHARS_PER_TOKEN = 4
_FILLER = "All otters swim. "


def prompt_of(request: Request) -> str:
    """All that the model reads of a request."""
    if request.prompt is not None and request.system is None:
        return request.prompt
    return "\n".join([request.system or "", *(message.content for message in request.as_messages())])


def tokens_of(text: str) -> int:
    """How many tokens a text has, at least 1."""
    return max(1, -(-len(text) // CHARS_PER_TOKEN))


def said(tokens: int) -> str:
    """A text of so many tokens."""
    length = tokens * CHARS_PER_TOKEN
    return (_FILLER * (length // len(_FILLER) + 1))[:length]


def holds_keyword(schema: Any, keywords: frozenset[str]) -> bool:
    """Whether one of `keywords` is a key anywhere in `schema`."""
    if isinstance(schema, Mapping):
        return not keywords.isdisjoint(schema) or any(holds_keyword(value, keywords) for value in schema.values())
    return isinstance(schema, list | tuple) and any(holds_keyword(value, keywords) for value in schema)
