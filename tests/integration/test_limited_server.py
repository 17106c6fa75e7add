"""Does every prompt get its answer from servers that allow less than is asked, with few calls refused?"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from synth_actors import EngineConfig, open_engine
from synth_actors.snapshot import Snapshot
from synth_actors.types import Outcome
from tests.integration.support import PLAIN_PATHS, LimitedServer, endpoint

Serve = Callable[..., LimitedServer]

PROMPTS = 600
AT_ONCE = 100
ALLOWED = 30
MOST_REJECTED = 0.10
MOST_TO_THE_SLOW_ONE = 0.05
AS_ISSUED = ("--allow", str(ALLOWED), "--latency", "0.1", "--retry-after", "1")


@pytest.fixture(params=["anthropic", "openai"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def generate_all(config: EngineConfig, kind: str, *servers: LimitedServer) -> tuple[list[Outcome], Snapshot]:
    endpoints = [
        endpoint(kind, "otter", server.url + PLAIN_PATHS[kind]).model_copy(update={"name": f"server {number}"})
        for number, server in enumerate(servers, 1)
    ]
    with trio.fail_after(60):
        async with open_engine(endpoints, config) as engine:
            outcomes = await engine.generate_batch([f"Otter {number}?" for number in range(PROMPTS)])
            return outcomes, await engine.metrics()


def assert_all_answered(outcomes: list[Outcome], *servers: LimitedServer) -> None:
    assert [outcome.error for outcome in outcomes] == [None] * PROMPTS
    assert sum(server.figures()["accepted"] for server in servers) == PROMPTS  # and none was paid twice


def rejected_share(*servers: LimitedServer) -> float:
    accepted = sum(server.figures()["accepted"] for server in servers)
    rejected = sum(server.figures()["rejected"] for server in servers)
    return rejected / (accepted + rejected)


async def test_six_hundred_prompts_lose_none_where_thirty_at_once_are_allowed(kind: str, serve: Serve) -> None:
    server = serve(*AS_ISSUED)
    outcomes, snapshot = await generate_all(EngineConfig(max_concurrency=AT_ONCE), kind, server)
    assert_all_answered(outcomes, server)
    assert rejected_share(server) <= MOST_REJECTED
    assert server.figures()["most_in_flight"] == ALLOWED
    assert snapshot.router.in_flight == 0


@pytest.mark.parametrize("routing", ["preference", "least_loaded"])
async def test_two_endpoints_that_allow_thirty_each_lose_none_and_share_the_work(
    kind: str, routing: str, serve: Serve
) -> None:
    servers = [serve(*AS_ISSUED) for _ in range(2)]
    config = EngineConfig.model_validate({"max_concurrency": AT_ONCE, "routing": routing})
    outcomes, _ = await generate_all(config, kind, *servers)
    assert_all_answered(outcomes, *servers)
    assert rejected_share(*servers) <= MOST_REJECTED
    assert all(server.figures()["accepted"] > PROMPTS // 10 for server in servers)


async def test_the_fastest_endpoint_gets_nearly_all(kind: str, serve: Serve) -> None:
    slow, fast = (serve("--latency", latency) for latency in ("0.5", "0.05"))
    config = EngineConfig(max_concurrency=20, routing="fastest")
    outcomes, _ = await generate_all(config, kind, slow, fast)
    assert_all_answered(outcomes, slow, fast)
    assert slow.figures()["accepted"] < MOST_TO_THE_SLOW_ONE * PROMPTS
