"""Whoever asks for figures in the wrong place, or after the end, is told so in words that name what they know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from synth_actors import ConfigError, Engine, EngineClosedError, PerformanceMonitor, open_engine
from synth_actors.testing import ScriptedProvider


async def watched(engine: Engine) -> None:
    async with engine.watch_metrics():
        pytest.fail("it was entered")


async def monitored(engine: Engine) -> None:
    PerformanceMonitor(engine).start()
    await trio.lowlevel.checkpoint()


async def looked(engine: Engine) -> None:
    engine.metrics_now()
    await trio.lowlevel.checkpoint()


ASKS: list[Callable[[Engine], Awaitable[object]]] = [Engine.metrics, looked, watched, monitored]


@pytest.mark.parametrize("ask", [*ASKS, Engine.optimize])
async def test_after_the_end_it_is_the_engine_that_was_closed(ask: Callable[[Engine], Awaitable[object]]) -> None:
    async with open_engine(ScriptedProvider()) as engine:
        pass
    with pytest.raises(EngineClosedError, match=r"^the engine was closed"):
        await ask(engine)


@pytest.mark.parametrize("ask", ASKS)
async def test_another_trio_run_is_told_whose_figures_these_are(ask: Callable[[Engine], Awaitable[object]]) -> None:
    async with open_engine(ScriptedProvider()) as engine:
        with pytest.raises(ConfigError, match=r"this is another trio run than the engine's; .*from_thread\.run_sync"):
            await trio.to_thread.run_sync(trio.run, ask, engine)


async def test_a_thread_is_told_where_to_ask_and_what_it_is_told_works() -> None:
    async with open_engine(ScriptedProvider()) as engine:
        with pytest.raises(ConfigError, match=r"there is no trio run here; .*from_thread\.run_sync"):
            await trio.to_thread.run_sync(engine.metrics_now)
        snapshot = await trio.to_thread.run_sync(lambda: trio.from_thread.run_sync(engine.metrics_now))
    assert snapshot.counters.submitted == 0
