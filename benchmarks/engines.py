"""Which endpoint is measured, and how is an engine opened for it?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from benchmarks.case import Load, NotMeasured
from benchmarks.server import PATHS, serving
from synth_actors import Endpoint, Engine, EngineConfig, Price, open_engine
from synth_actors.telemetry.recording import Recorder, recorded

MODEL = "otter"
PRICE = Price(input_usd_per_mtok=1.0, output_usd_per_mtok=5.0)
"""What the local server is said to cost, so that savings have a figure."""


@contextmanager
def local_server(load: Load, **options: float) -> Iterator[Endpoint]:
    """An OpenAI-compatible server in a process of its own, that behaves as `options` say; see `benchmarks.server`.

    Raises:
        NotMeasured: another endpoint was asked for, and nobody can make that one behave so.
    """
    if load.endpoint is not None:
        raise NotMeasured(f"needs a server that does as it is told, and not {load.endpoint}; leave out --endpoint")
    with serving(**options) as url:
        yield Endpoint(provider="openai", model=MODEL, base_url=url + PATHS["openai"], name="server", price=PRICE)


@contextmanager
def upstream(load: Load, **options: float) -> Iterator[Endpoint | str]:
    """The endpoint of `--endpoint`; by default the local server with these options."""
    if load.endpoint is not None:
        yield load.endpoint
        return
    with local_server(load, **options) as endpoint:
        yield endpoint


@asynccontextmanager
async def recorded_engine(
    load: Load,
    endpoints: Endpoint | str | Sequence[Endpoint | str],
    config: EngineConfig,
    *,
    title: str,
    about: str = "",
    interval_s: float = 0.25,
) -> AsyncIterator[tuple[Engine, Recorder]]:
    """An engine under `load`'s budget and tracing, and what records it; after the block, `recorder.recording()`."""
    if load.budget is not None:
        config = config.model_copy(update={"budget_usd": load.budget.left_usd})
    async with open_engine(endpoints, config, tracing=load.tracing) as engine:
        try:
            async with recorded(engine, title=title, about=about, interval_s=interval_s) as recorder:
                yield engine, recorder
        finally:
            if load.budget is not None:
                load.budget.spent_usd += engine.metrics_now().router.budget_spent_usd or 0.0
