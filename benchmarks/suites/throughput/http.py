"""How many requests per second over HTTP: by many callers or one, answered before or not, with faults or without?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import takewhile
from time import perf_counter

import trio

from benchmarks.asking import MAX_TOKENS, Hits, asking, first_call, prompts
from benchmarks.bare_http import bare_calls, body_of
from benchmarks.case import Load, Measured, NotMeasured
from benchmarks.closed_loop import Loop, closed_loop
from benchmarks.engines import MODEL, local_server, recorded_engine, upstream
from synth_actors import Endpoint, EngineConfig
from synth_actors.telemetry.recording import Recording

LATENCY_S = 0.05
OPERATIONS_PER_CALL = 5
HITS_PER_CALL = 5
MOST_S = 4.0
"""No call is begun later while the server fails: where faults slow an engine down, that shows in the rate by then."""
FAULTS = {"fail": 0.02, "reject": 0.02, "retry_after": 0.05}
ROUNDS = 20
ENDPOINT_ROUNDS = 3
"""Calls of each caller where they go to a real endpoint: enough for a figure, and little to pay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """`bare_s` is what the bare loop took for as many calls; None where no local server is asked.

    `problem` is why `again`, requests that were answered before, is no figure of the cache.
    """

    many: Loop
    alone: Loop
    again: Loop
    problem: str | None
    recording: Recording
    bare_s: float | None

    @property
    def calls(self) -> int:
        return len(self.many.durations_s) + self.many.failures


def uncached(load: Load) -> Measured:
    """New requests by all callers."""
    run = _run(load)
    run.many.check()
    run.alone.check()
    return Measured(
        value=run.many.per_s,
        bare=None if run.bare_s is None else run.calls / run.bare_s,
        ideal=None if load.endpoint else load.concurrency / LATENCY_S,
        beside={"one after another": run.alone.per_s},
        recording=run.recording,
    )


def one_after_another(load: Load) -> Measured:
    """New requests by one caller, of the same run."""
    alone = _run(load).alone
    alone.check()
    return Measured(value=alone.per_s, ideal=None if load.endpoint else 1 / LATENCY_S)


def cached(load: Load) -> Measured:
    """Requests that were answered before, of the same run."""
    run = _run(load)
    if run.problem is not None:
        raise NotMeasured(run.problem)
    run.again.check()
    return Measured(value=run.again.per_s)


def with_faults(load: Load) -> Measured:
    """Answers per second while the server fails and refuses."""
    loop, recording = _faulty(load)
    return Measured(value=loop.per_s, ideal=load.concurrency / LATENCY_S, recording=recording)


def failed(load: Load) -> Measured:
    """Of the same run."""
    loop, _ = _faulty(load)
    return Measured(value=100 * loop.failures / (loop.failures + len(loop.durations_s)))


@lru_cache(maxsize=1)
def _run(load: Load) -> _Run:
    with upstream(load, latency=LATENCY_S) as endpoint:
        if load.repeat % 2:  # in turns first, as `timing.side_by_side`
            bare_s = _bare_s(load, endpoint)
            return trio.run(_engine, load, endpoint, bare_s)
        run = trio.run(_engine, load, endpoint, None)
        return replace(run, bare_s=_bare_s(load, endpoint))


def calls_of(load: Load) -> int:
    """So many of each kind."""
    rounds = ENDPOINT_ROUNDS if load.endpoint else ROUNDS
    return max(load.concurrency, min(rounds * load.concurrency, load.operations // OPERATIONS_PER_CALL))


def _bare_s(load: Load, endpoint: Endpoint | str) -> float | None:
    if isinstance(endpoint, str):
        return None
    assert endpoint.base_url is not None, "the local server has one"
    bodies = [body_of(prompt, model=MODEL, max_tokens=MAX_TOKENS) for prompt in prompts(calls_of(load), "many")]
    return trio.run(bare_calls, endpoint.base_url, load.concurrency, bodies)


async def _engine(load: Load, endpoint: Endpoint | str, bare_s: float | None) -> _Run:
    config, calls = EngineConfig(max_concurrency=load.concurrency), calls_of(load)
    async with recorded_engine(load, endpoint, config, title="uncached, then cached") as (engine, recorder):
        hits = Hits(engine)
        await first_call(engine)
        many = await closed_loop(load.concurrency, asking(engine, prompts(calls, "many")))
        few = max(2, calls // load.concurrency)  # as long as the others take, about
        alone = await closed_loop(1, hits.remembering(prompts(few, "alone")))
        again = await closed_loop(load.concurrency, hits.again(HITS_PER_CALL * calls))
        problem = hits.problem(again)
    return _Run(many=many, alone=alone, again=again, problem=problem, recording=recorder.recording(), bare_s=bare_s)


@lru_cache(maxsize=1)
def _faulty(load: Load) -> tuple[Loop, Recording]:
    with local_server(load, latency=LATENCY_S, seed=load.repeat + 1000, **FAULTS) as endpoint:
        return trio.run(_engine_with_faults, load, endpoint)


async def _engine_with_faults(load: Load, endpoint: Endpoint) -> tuple[Loop, Recording]:
    config = EngineConfig(max_concurrency=load.concurrency)
    async with recorded_engine(load, endpoint, config, title="2 % 5xx and 2 % 429") as (engine, recorder):
        end_s = perf_counter() + MOST_S
        begun = takewhile(lambda _: perf_counter() < end_s, prompts(calls_of(load), "faulty"))
        loop = await closed_loop(load.concurrency, asking(engine, begun))
    return loop, recorder.recording()
