"""What does a new user see who gives a dummy key, a wrong path or a small bound?"""

from __future__ import annotations

from typing import Any

import pytest

from synth_actors import ConfigError, Endpoint, EngineConfig, GenerationError, Price, open_engine
from synth_actors.providers.build import build_provider
from synth_actors.providers.secrets import Secrets
from synth_actors.testing import Constant, HiddenLimits, Pace, ScriptedProvider, Step
from tests.providers.dialects import DIALECTS, Dialect
from tests.providers.server import json_reply, serving


@pytest.mark.parametrize(("key", "shown"), [("x", "max: x"), ("none", "max: x"), ("xxxxxx", "max: x")])
def test_a_dummy_key_mangles_no_message(key: str, shown: str) -> None:
    assert Secrets([key]).scrub("max: x") == shown
    assert Secrets(["sk-123"]).scrub("it is sk-123") == "it is [key]"


def test_a_wrong_path_of_certificates_is_not_blamed_on_a_proxy() -> None:
    with pytest.raises(ConfigError, match=r"verify='/nowhere\.pem'") as caught:
        build_provider(Endpoint(provider="openai", model="m", base_url="https://127.0.0.1:1", verify="/nowhere.pem"))
    assert "proxy" not in str(caught.value)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
async def test_an_answer_beyond_the_bound_costs_nobody_knows_what_and_not_nothing(dialect: Dialect) -> None:
    price = Price(input_usd_per_mtok=1.0, output_usd_per_mtok=2.0)
    async with serving() as server:
        server.answer = lambda _: json_reply(dialect.whole())
        endpoint = dialect.endpoint(server.url).model_copy(update={"price": price, "stream": "never"})
        async with open_engine(endpoint, EngineConfig(max_response_bytes=20)) as engine:
            with pytest.raises(GenerationError, match="max_response_bytes=20") as caught:
                await engine.generate("p")
            assert caught.value.usage is not None
            assert caught.value.usage.cost_usd is None
            assert (await engine.metrics()).counters.cost_usd is None


def test_a_simulated_server_refuses_what_makes_no_sense_at_once() -> None:
    wrong: list[Any] = [
        lambda: Pace(ttft_s=0.5),  # type: ignore[arg-type]
        lambda: Pace(slots=0),
        lambda: HiddenLimits(max_concurrency=0),
    ]
    for make in wrong:
        with pytest.raises(ValueError, match="give"):
            make()
    assert Pace(ttft_s=Constant(value=0.5)).slots is None
    assert HiddenLimits(neighbour_share=0.5).neighbour_from_s == 0.0


async def test_a_metering_that_nobody_knows_is_refused() -> None:
    class Metre(ScriptedProvider):
        output_metering = "metre"

    with pytest.raises(ConfigError, match="output_metering='metre': give 'meter' or 'reserve'"):
        async with open_engine(Metre([Step()])):
            pass
