"""What did the engine count when questions came again?"""

from __future__ import annotations

from functools import lru_cache, partial
from random import Random

import trio

from benchmarks.case import Load, Measured, NotMeasured
from benchmarks.closed_loop import closed_loop
from benchmarks.engines import recorded_engine, upstream
from benchmarks.suites.eviction.workloads import ASKED_EACH, zipf
from synth_actors import CacheConfig, Endpoint, EngineConfig
from synth_actors.telemetry.recording import Recording

EXPONENT = 0.9
HELD = 0.5
"""Of the questions."""
LATENCY_S = 0.02
OPERATIONS_PER_QUESTION = 20
ENDPOINT_QUESTIONS = 20
MAX_TOKENS = 100
SEED = 9


def hits(load: Load) -> Measured:
    """Percent of the lookups."""
    run = _run(load)
    return Measured(value=100 * run.last.cache.hit_rate, recording=run)


def paid(load: Load) -> Measured:
    """Percent of the requests."""
    counters = _run(load).last.counters
    return Measured(value=100 * counters.paid_calls / counters.succeeded, beside={"without a cache": 100.0})


def tokens(load: Load) -> Measured:
    """Percent of the tokens that the requests would have used as calls."""
    last = _run(load).last
    used = last.counters.input_tokens + last.counters.output_tokens
    return Measured(value=100 * last.cache.saved_tokens / (last.cache.saved_tokens + used))


def dollars(load: Load) -> Measured:
    """Percent of what the requests would have cost as calls."""
    last = _run(load).last
    spent, saved = last.counters.cost_usd, last.cache.saved_usd
    if spent is None or saved is None or not spent + saved:
        raise NotMeasured(f"{load.endpoint}: the price of a call is not known")
    return Measured(value=100 * saved / (saved + spent))


def answer(mark: str, load: Load) -> Measured:
    """Milliseconds, beside those of a call."""
    latency = _run(load).last.latency
    cached_s, called_s = (getattr(latency[name], mark) for name in ("cached_response", "response"))
    return Measured(value=cached_s * 1e3, beside={"a call": called_s * 1e3})


@lru_cache(maxsize=1)
def _run(load: Load) -> Recording:
    questions = max(2, load.operations // OPERATIONS_PER_QUESTION)
    if load.endpoint:
        questions = min(questions, ENDPOINT_QUESTIONS)
    with upstream(load, latency=LATENCY_S, chunks=100) as endpoint:
        run = trio.run(_engine, load, endpoint, questions)
    if not run.last.counters.succeeded:
        raise NotMeasured(f"{load.endpoint}: no call was answered")
    return run


async def _engine(load: Load, endpoint: Endpoint | str, questions: int) -> Recording:
    asked = zipf(EXPONENT, questions, Random(SEED))
    config = EngineConfig(
        max_concurrency=load.concurrency, cache=CacheConfig(max_entries=max(1, int(HELD * questions)))
    )
    about = f"{ASKED_EACH * questions:,} requests for {questions:,} questions, a cache of {config.cache.max_entries:,}"
    async with recorded_engine(load, endpoint, config, title="Zipf 0.9", about=about) as (engine, recorder):
        ask = partial(engine.generate, max_tokens=MAX_TOKENS)
        await closed_loop(load.concurrency, (partial(ask, f"Question {number} about otters?") for number in asked))
    return recorder.recording()
