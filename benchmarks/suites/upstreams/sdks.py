"""How does one call a server with the SDK of its maker, and nothing else?

The SDKs as they come, without their own retries: a call that fails is counted, not hidden.  They are imported when
they are used, since that takes seconds.
"""

from __future__ import annotations

from typing import Protocol

from benchmarks.server import PATHS

MODEL = "otter"
MAX_TOKENS = 100


class Sdk(Protocol):
    """What is measured beside."""

    async def call(self, prompt: str) -> str:
        """The text of an answer."""
        ...

    async def read_stream(self, prompt: str) -> int:
        """How many pieces of text a streamed answer had."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


def sdk_for(kind: str, url: str) -> Sdk:
    """The SDK for "anthropic" or "openai"."""
    return AnthropicSdk(url) if kind == "anthropic" else OpenAISdk(url + PATHS["openai"])


class AnthropicSdk:
    """AsyncAnthropic."""

    def __init__(self, url: str) -> None:
        from anthropic import AsyncAnthropic

        self._client = AsyncAnthropic(api_key="none", base_url=url, max_retries=0)

    async def call(self, prompt: str) -> str:
        """The text of an answer."""
        message = await self._client.messages.create(
            model=MODEL, max_tokens=MAX_TOKENS, messages=[{"role": "user", "content": prompt}]
        )
        return "".join(block.text for block in message.content if block.type == "text")

    async def read_stream(self, prompt: str) -> int:
        """The number of text deltas."""
        pieces = 0
        async with await self._client.messages.create(
            model=MODEL, max_tokens=MAX_TOKENS, messages=[{"role": "user", "content": prompt}], stream=True
        ) as events:
            async for event in events:
                pieces += event.type == "content_block_delta"
        return pieces

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()


class OpenAISdk:
    """AsyncOpenAI."""

    def __init__(self, url: str) -> None:
        from openai import AsyncOpenAI

        self._client = AsyncOpenAI(api_key="none", base_url=url, max_retries=0)

    async def call(self, prompt: str) -> str:
        """The text of an answer."""
        completion = await self._client.chat.completions.create(
            model=MODEL, max_tokens=MAX_TOKENS, messages=[{"role": "user", "content": prompt}]
        )
        return completion.choices[0].message.content or ""

    async def read_stream(self, prompt: str) -> int:
        """The number of deltas with text."""
        pieces = 0
        async with await self._client.chat.completions.create(
            model=MODEL,
            max_tokens=MAX_TOKENS,
            messages=[{"role": "user", "content": prompt}],
            stream=True,
            stream_options={"include_usage": True},
        ) as chunks:
            async for chunk in chunks:
                pieces += bool(chunk.choices and chunk.choices[0].delta.content)
        return pieces

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()
