"""Which adapter serves an endpoint?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from synth_actors.providers.base import Provider

if TYPE_CHECKING:
    from synth_actors.config import Endpoint
    from synth_actors.providers.http_client import Transport


def build_provider(endpoint: Endpoint, transport: Transport = "lean") -> Provider:
    """The adapter for an endpoint, ready to be called; its client library is imported here and not earlier.

    `transport` carries the calls of "anthropic" and "openai"; a provider of the user's own has its own.

    Raises:
        ConfigError: the endpoint cannot be used, a missing key above all.  Nothing was sent.
    """
    if not isinstance(endpoint.provider, str):
        return endpoint.provider
    if endpoint.provider == "local":
        from synth_actors.providers.local import LocalProvider

        return LocalProvider(endpoint)
    if endpoint.provider == "anthropic":
        from synth_actors.providers.anthropic import AnthropicProvider

        return AnthropicProvider(endpoint, transport)
    from synth_actors.providers.openai_compatible import OpenAICompatibleProvider

    return OpenAICompatibleProvider(endpoint, transport)
