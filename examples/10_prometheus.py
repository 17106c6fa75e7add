"""Let Prometheus read what an engine does: GET /metrics, from the program's own registry."""

from urllib.request import urlopen

import trio
from prometheus_client import CollectorRegistry, start_http_server

from synth_actors import open_engine
from synth_actors.telemetry.prometheus import collector

SHOWN = ("synth_actors_requests_total", "synth_actors_cache_lookups_total", "synth_actors_response_seconds_count")


def scraped(port: int) -> str:
    """What Prometheus gets."""
    with urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        text: str = page.read().decode()
        return text


async def main() -> None:
    registry = CollectorRegistry()
    server, _ = start_http_server(0, addr="127.0.0.1", registry=registry)  # 0: any free port; usual is 9464
    async with open_engine(["local"]) as engine:
        registry.register(collector(engine))
        await engine.generate_batch([f"Fact {number % 40} about otters." for number in range(100)])
        text = await trio.to_thread.run_sync(scraped, server.server_address[1])
    server.shutdown()
    server.server_close()
    print("\n".join(line for line in text.splitlines() if line.startswith(SHOWN)))


if __name__ == "__main__":
    trio.run(main)
