"""Which adapter serves an endpoint?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from synth_actors.providers.base import Provider

if TYPE_CHECKING:
    from synth_actors.config import Endpoint


def build_provider(endpoint: Endpoint) -> Provider:
    """The adapter for an endpoint, ready to be called; its client library is imported here and not earlier.

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

        return AnthropicProvider(endpoint)
    from synth_actors.providers.openai_compatible import OpenAICompatibleProvider

    return OpenAICompatibleProvider(endpoint)
