"""What does a type checker see?  This file is not run: `test_public_surface.py` has mypy read it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, assert_type

import trio

from synth_actors import (
    AttemptLog,
    Chunk,
    Engine,
    EngineConfig,
    Outcome,
    Provider,
    Request,
    Response,
    Snapshot,
    open_engine,
)
from synth_actors.batch import Outcomes
from synth_actors.datasets import Job, JobResult, JobRows, JobSpec, load_job, open_job, run_job
from synth_actors.stream import ResponseStream
from synth_actors.testing import ScriptedProvider
from synth_actors.types import Answer, Source, StopReason, Usage


class Log:
    async def before_send(self, key: bytes, attempt: int, endpoint: str) -> None: ...
    async def received(self, key: bytes, attempt: int, answer: Answer, usage: Usage) -> None: ...


log: AttemptLog = Log()
provider: Provider = ScriptedProvider()


async def requests() -> AsyncIterator[Request]:
    yield Request(prompt="p")


def prompts() -> Iterator[str]:
    yield "p"


async def engines() -> None:
    assert_type(open_engine("local"), AbstractAsyncContextManager[Engine])
    async with open_engine(["local", provider], EngineConfig(max_concurrency=5), attempt_log=log) as engine:
        assert_type(engine, Engine)
        assert_type(await engine.metrics(), Snapshot)
        assert_type(await engine.optimize(), int)
        async with engine.watch_metrics(interval_s=1.0) as snapshots:
            assert_type(snapshots, trio.MemoryReceiveChannel[Snapshot])
    open_engine(3)  # type: ignore[arg-type]
    open_engine("local", max_concurrency=3)  # type: ignore[call-arg]


async def generate(engine: Engine) -> None:
    response = await engine.generate("p", max_tokens=200, temperature=0.5, endpoints=("local",), cache="refresh")
    assert_type(response, Response)
    assert_type(await engine.generate(Request(prompt="p")), Response)
    assert_type(response.text, str)
    assert_type(response.data, Any)
    assert_type(response.usage.cost_usd, float | None)
    assert_type(response.source, Source)
    assert_type(response.stop_reason, StopReason)
    assert_type(response.cached, bool)
    assert_type(response.timings.ttft_s, float | None)
    await engine.generate("p", max_token=200)  # type: ignore[call-overload]
    await engine.generate("p", max_tokens="200")  # type: ignore[call-overload]
    await engine.generate(Request(prompt="p"), max_tokens=200)  # type: ignore[call-overload]
    await engine.generate(7)  # type: ignore[call-overload]
    Request(prompt="p", max_token=3)  # type: ignore[call-arg]


async def stream(engine: Engine) -> None:
    async with engine.stream("p", max_tokens=5) as reader:
        assert_type(reader, ResponseStream)
        async for chunk in reader:
            assert_type(chunk, Chunk)
            assert_type(chunk.text, str)
        assert_type(await reader.response(), Response)
    channel: trio.abc.ReceiveChannel[Chunk] = reader
    engine.stream(Request(prompt="p"), max_tokens=5)  # type: ignore[call-overload]
    await channel.aclose()


async def batch(engine: Engine) -> None:
    async with engine.batch(["p", Request(prompt="q")], max_tokens=5) as outcomes:
        assert_type(outcomes, Outcomes)
        async for outcome in outcomes:
            assert_type(outcome, Outcome)
            assert_type(outcome.response, Response | None)
            assert_type(outcome.error, Exception | None)
    async with engine.batch(requests()) as outcomes:
        channel: trio.abc.ReceiveChannel[Outcome] = outcomes
        await channel.receive()
    assert_type(await engine.generate_batch(prompts()), list[Outcome])
    await engine.generate_batch([1, 2])  # type: ignore[list-item]
    await engine.generate_batch(["p"], max_token=5)  # type: ignore[call-arg]


async def jobs(spec: JobSpec) -> None:
    assert_type(open_job(spec), AbstractAsyncContextManager[Job])
    async with open_job({"schema": {}, "count": 3, "output": "rows.jsonl"}, resume=True) as job:
        assert_type(job.rows(), JobRows)
        rows: trio.abc.ReceiveChannel[Any] = job.rows()
        await rows.aclose()
        assert_type(await job.finish(), JobResult)
        assert_type(job.result, JobResult | None)
        assert_type(job.notes, tuple[str, ...])
    open_job(Path("job.toml"), overwrite=True, fork=True)
    open_job("job.toml", append=True)  # type: ignore[call-arg]
    open_job(3)  # type: ignore[arg-type]


def blocking_jobs() -> None:
    assert_type(load_job(Path("job.toml")), JobSpec)
    result = run_job("job.toml", resume=True)
    assert_type(result, JobResult)
    assert_type(result.complete, bool)
    assert_type(result.output, Path | None)
    run_job(JobSpec(schema={}, count=3, endpoints=["local", provider], output=Path("rows.jsonl")))
    run_job("job.toml", True)  # type: ignore[call-arg]
    JobSpec(schema={}, cuont=3)  # type: ignore[call-arg]
