"""How is a server asked that is known to bear everything at once?"""

from __future__ import annotations

from collections.abc import Callable

from synth_actors import Endpoint
from synth_actors.providers.base import Call, Completion, ConnectingProvider, Emit
from synth_actors.providers.build import build_provider


class Bearing:
    """The adapter of an endpoint, without the limit that an engine seeks for a server.

    `RemoteProvider` says when it is sought: when the adapter has `output_metering`, which this one has not.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._provider = build_provider(endpoint)
        self.name = self._provider.name
        self.model = self._provider.model
        self.identity = self._provider.identity

    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        """As the adapter does."""
        return await self._provider.generate(call, emit)

    def watch_connections(self, opened: Callable[[float], None]) -> None:
        """As the adapter does."""
        if isinstance(self._provider, ConnectingProvider):
            self._provider.watch_connections(opened)

    async def aclose(self) -> None:
        """As the adapter does."""
        await self._provider.aclose()


def bearing(endpoint: Endpoint | str) -> Endpoint | str:
    """The local server so asked; any other endpoint as it is, since nobody knows what it bears."""
    if isinstance(endpoint, str):
        return endpoint
    return Endpoint(provider=Bearing(endpoint), name=endpoint.name, price=endpoint.price)
