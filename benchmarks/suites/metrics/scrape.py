"""What does a scrape by Prometheus come to, without the network?"""

from __future__ import annotations

import trio

from synth_actors import Engine
from synth_actors.telemetry.prometheus import collector


class Scraper:
    """Makes the text of `/metrics` as prometheus_client's own server does: in a thread.

    Raises:
        ConfigError: `prometheus-client` is not installed; the other suites do without.
    """

    def __init__(self, engine: Engine) -> None:
        asked = collector(engine)
        from prometheus_client import CollectorRegistry, generate_latest

        self._registry, self._text_of = CollectorRegistry(), generate_latest
        self._registry.register(asked)

    async def scrape(self) -> int:
        """How many bytes there were."""
        return len(await trio.to_thread.run_sync(self._text_of, self._registry))
