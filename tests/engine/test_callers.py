"""What do callers meet at the edges: a door of one place, an endless input, a wrong argument, a call cut off?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

from synth_actors import (
    ConfigError,
    DeadlineExceededError,
    Endpoint,
    EngineClosedError,
    EngineConfig,
    Outcome,
    Usage,
    open_engine,
)
from synth_actors.providers.base import Call, Completion, Emit
from synth_actors.testing import ScriptedProvider, Step
from tests.engine.support import ONE_DOLLAR, assert_idle, dollar_endpoint


async def test_an_answered_stream_that_nobody_reads_holds_no_place(autojump_clock: Any) -> None:
    async with open_engine(ScriptedProvider(), EngineConfig(max_waiting=1)) as engine:
        async with engine.stream("p") as stream:
            await trio.testing.wait_all_tasks_blocked()
            await engine.generate("q")
            assert (await stream.response()).text == "ok"
        await assert_idle(engine)


async def test_a_stream_that_is_left_as_its_answer_comes_gives_one_place_back(autojump_clock: Any) -> None:
    async with open_engine(ScriptedProvider(lambda _call: Step(delay_s=1.0))) as engine:
        for _ in range(20):
            with trio.move_on_after(1.0):
                async with engine.stream("p") as stream:
                    await stream.response()
        await assert_idle(engine)


async def test_an_endless_input_is_read_no_more_once_the_engine_is_closed(autojump_clock: Any) -> None:
    async def prompts() -> AsyncIterator[str]:
        number = 0
        while True:
            yield str(number)
            number += 1

    outcomes: list[Outcome] = []
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            with pytest.raises(EngineClosedError):
                await read_all()

        async def read_all() -> None:
            async with engine.batch(prompts()) as channel:
                async for outcome in channel:
                    outcomes.append(outcome)  # noqa: PERF401  (what came before the end is looked at)

        async with open_engine(
            ScriptedProvider(lambda _call: Step(delay_s=1.0)), EngineConfig(max_concurrency=3)
        ) as engine:
            nursery.start_soon(read)
            await trio.sleep(2.5)
    assert len(outcomes) < 30


async def test_a_finite_input_has_an_outcome_for_every_item_also_when_the_engine_closes(autojump_clock: Any) -> None:
    found: list[Outcome] = []
    async with trio.open_nursery() as nursery:

        async def make() -> None:
            found.extend(await engine.generate_batch([str(number) for number in range(50)]))

        async with open_engine(
            ScriptedProvider(lambda _call: Step(delay_s=1.0)), EngineConfig(max_concurrency=3)
        ) as engine:
            nursery.start_soon(make)
            await trio.sleep(2.5)
    assert len(found) == 50
    assert isinstance(found[-1].error, EngineClosedError)


class Noting(ScriptedProvider):
    """Knows what the call has used before it hangs."""

    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        call.note_usage(Usage(input_tokens=ONE_DOLLAR.input_tokens, output_tokens=ONE_DOLLAR.output_tokens))
        return await super().generate(call, emit)


async def test_a_deadline_bills_what_the_running_call_has_noted(autojump_clock: Any) -> None:
    hanging = Noting(lambda _call: Step(delay_s=100.0))
    async with open_engine(dollar_endpoint(hanging)) as engine:
        with pytest.raises(DeadlineExceededError) as caught:
            await engine.generate("p", timeout_s=1.0)
        await trio.testing.wait_all_tasks_blocked()
        assert caught.value.usage is not None
        assert caught.value.usage.cost_usd == engine._wiring._counters().cost_usd == 1.0


@pytest.mark.parametrize(
    ("endpoints", "config", "named"),
    [
        (None, None, "endpoints"),
        (5, None, "endpoints"),
        ([], None, "endpoints"),
        ("local", {"max_concurrency": 3}, "config"),
    ],
)
async def test_wrong_arguments_are_named(endpoints: Any, config: Any, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        async with open_engine(endpoints, config):
            pass


def test_outside_trio_the_remedy_is_said() -> None:
    async def main() -> None:
        async with open_engine("local"):
            pass

    with pytest.raises(ConfigError, match=r"trio\.run"):
        asyncio.run(main())


async def test_an_engine_says_what_it_holds(autojump_clock: Any) -> None:
    async with open_engine([ScriptedProvider(name="one"), ScriptedProvider(name="two")]) as engine:
        assert "one, two" in repr(engine)


def test_no_repr_of_an_endpoint_shows_a_secret() -> None:
    endpoint = Endpoint(
        provider="openai",
        model="m",
        base_url="http://user:canary-1@host/v1",
        extra_headers={"authorization": "Bearer canary-2"},
        api_key="canary-3",  # type: ignore[arg-type]
    )
    assert "canary" not in repr(endpoint) + str(endpoint)


async def test_a_snapshot_has_counters_and_gauges(autojump_clock: Any) -> None:
    async with open_engine(
        ScriptedProvider(lambda _call: Step(delay_s=1.0)), EngineConfig(max_concurrency=2)
    ) as engine:
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(engine.generate, str(number))
            await trio.testing.wait_all_tasks_blocked()
            busy = (await engine.metrics()).gauges
        idle = await engine.metrics()
    assert (busy["in_flight"], busy["backlog"], busy["waiting"], busy["concurrency_cap"]) == (2, 3, 5, 2)
    assert (idle.gauges["in_flight"], idle.gauges["cache_entries"], idle.counters.succeeded) == (0, 5, 5)
    assert idle.gauges["rss_bytes"] > 2**20
    assert idle.gauges["mailbox_depth.router"] == 0
