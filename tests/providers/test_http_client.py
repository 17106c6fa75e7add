"""Which transport carries the calls, and does the lean one step aside where it does not serve?"""

from __future__ import annotations

import logging

import httpx2
import pytest

from synth_actors import ConfigError, EngineConfig, open_engine
from synth_actors.config import Endpoint
from synth_actors.providers.http_client import Transport, open_client
from synth_actors.wire.reuse import Reuse
from synth_actors.wire.transport import LeanTransport
from tests.providers.dialects import Dialect
from tests.providers.server import Server, json_reply

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


async def transport_for(url: str, transport: Transport) -> httpx2.AsyncBaseTransport:
    async with open_client(Endpoint(provider="openai", model="x"), url, reuse=Reuse(), transport=transport) as client:
        return client._transport


@pytest.mark.parametrize("url", ["http://otters.example/v1", "https://otters.example/v1"])
async def test_the_lean_transport_carries_what_goes_straight_to_its_server_plain_or_not(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert isinstance(await transport_for(url, "lean"), LeanTransport)
    assert isinstance(await transport_for(url, "httpx2"), httpx2.AsyncHTTPTransport)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("variable", "url", "no_proxy", "is_lean"),
    [
        ("https_proxy", "https://otters.example/v1", "", False),
        ("https_proxy", "http://otters.example/v1", "", True),
        ("all_proxy", "http://otters.example/v1", "", False),
        ("all_proxy", "http://otters.example/v1", "otters.example", True),
    ],
)
async def test_it_steps_aside_for_those_addresses_alone_that_a_proxy_stands_before(
    variable: str, url: str, no_proxy: str, is_lean: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", no_proxy)
    assert isinstance(await transport_for(url, "lean"), LeanTransport) is is_lean


@pytest.mark.parametrize(("transport", "lines"), [("lean", 1), ("httpx2", 0)])
async def test_an_engine_behind_a_proxy_calls_through_it_and_says_once_by_which_transport(
    dialect: Dialect,
    server: Server,
    transport: Transport,
    lines: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("http_proxy", server.url)  # it is given whole addresses, as a proxy is
    server.answer = lambda _: json_reply(dialect.whole())
    with caplog.at_level(logging.INFO, logger="synth_actors"):
        async with open_engine(dialect.endpoint("http://otters.example"), EngineConfig(transport=transport)) as engine:
            for number in range(3):
                await engine.generate(f"Otters? {number}")
    assert server.last.path == f"http://otters.example{dialect.path}"
    said = [record.getMessage() for record in caplog.records if "proxy" in record.getMessage()]
    words = "a proxy of the environment stands between: transport='httpx2' carries its calls"
    assert said == [f"under-test: {words}"] * lines


def test_a_transport_that_there_is_not_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"transport.*'quic'.*lean.*httpx2"):
        EngineConfig(transport="quic")  # type: ignore[arg-type]
