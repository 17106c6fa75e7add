"""Where can Prometheus read the figures of a run while it runs?

The port is taken before anything is asked for, so that one that is in use costs nothing.  Only programs of this machine
reach it: the page has no password, and says what a run costs and which models it uses.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from synth_actors.cli.settings import Limit
from synth_actors.engine import Engine
from synth_actors.errors import ConfigError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

HOST = "127.0.0.1"
METRICS_PORT = Limit("--metrics-port", 0, 65535, "a port from 1 to 65535, or 0 for any free one")


class MetricsPage:
    """What is served; empty before `show` and when the engine is closed."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def show(self, engine: Engine) -> None:
        """Serve the figures of `engine` from now on.  To be called in its trio run."""
        from synth_actors.telemetry.prometheus import collector

        self._registry.register(collector(engine))


def check_port(port: int | None) -> None:
    """Raises `ConfigError` when a port is given and is none, or cannot be served since a package is missing."""
    from synth_actors.telemetry.prometheus import require_client

    if port is None:
        return
    METRICS_PORT.check(port)
    try:
        require_client()
    except ConfigError as exc:
        raise ConfigError(str(exc).replace("telemetry.prometheus", f"--metrics-port {port}")) from exc


@contextmanager
def metrics_page(port: int | None, say: Callable[[str], None]) -> Iterator[MetricsPage | None]:
    """Serve a page at `port` while the block runs, in a thread of its own; None: nothing.  `say` says which port it is.

    Raises:
        ConfigError: the port is in use, or may not be used.
    """
    if port is None:
        yield None
        return
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    try:
        server, thread = start_http_server(port, addr=HOST, registry=registry)
    except OSError as exc:
        raise ConfigError(f"--metrics-port {port}: {_trouble(exc)}; give another, or 0 for any free one") from exc
    try:
        say(f"metrics: http://{HOST}:{server.server_address[1]}/metrics")
        yield MetricsPage(registry)
    finally:
        with suppress(OSError):  # nobody can do anything about it, and the run is over
            server.shutdown()
            server.server_close()
        thread.join()


def _trouble(exc: OSError) -> str:
    return "is in use" if exc.errno == errno.EADDRINUSE else f"cannot be used ({exc.strerror})"
