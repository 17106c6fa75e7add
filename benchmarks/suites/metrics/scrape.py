"""What does a scrape by Prometheus come to, without the network?"""

from __future__ import annotations

import trio
from prometheus_client import CollectorRegistry, generate_latest

from synth_actors import Engine
from synth_actors.telemetry.prometheus import collector


class Scraper:
    """Makes the text of `/metrics` as prometheus_client's own server does: in a thread."""

    def __init__(self, engine: Engine) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(collector(engine))

    async def scrape(self) -> int:
        """How many bytes there were."""
        return len(await trio.to_thread.run_sync(generate_latest, self._registry))
