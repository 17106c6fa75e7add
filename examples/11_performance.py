"""What does each setting bring?  Measured, found by `analyze`, applied, and measured again.

The model is simulated and so is the time, so a run takes seconds and gives the same figures on every machine.  What the
figures mean stands in docs/how-to/performance.md.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio

from synth_actors import (
    CacheConfig,
    Endpoint,
    Engine,
    EngineConfig,
    PerformanceMonitor,
    Price,
    analyze,
    open_engine,
)
from synth_actors.findings import Finding
from synth_actors.telemetry import PerformanceMetrics
from synth_actors.testing import Constant, LogNormal, Pace, SimulatedProvider, simulate

CHANCE = random.Random(7)
PRICE = Price(input_usd_per_mtok=1.0, output_usd_per_mtok=5.0)
USUAL = Pace(ttft_s=LogNormal(median=0.3, sigma=0.3), token_s=Constant(value=0.01), output_tokens=Constant(value=50))
SLOW = Pace(ttft_s=LogNormal(median=1.5, sigma=0.3), token_s=Constant(value=0.04), output_tokens=Constant(value=50))


def endpoint(name: str, pace: Pace = USUAL) -> Endpoint:
    return Endpoint(provider=SimulatedProvider(pace=pace, seed=1, name=name), name=name, price=PRICE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`callers` send `prompts`, each one after another; `rule` is what `analyze` should find."""

    title: str
    prompts: Sequence[str]
    callers: int
    config: EngineConfig
    rule: str
    endpoints: Callable[[], list[Endpoint]] = lambda: [endpoint("model")]
    shown: Callable[[PerformanceMetrics], str]


def popular(count: int, prompts: int) -> list[str]:
    """A few prompts are asked for often, most of them now and then (Zipf 0.9)."""
    weights = [1 / rank**0.9 for rank in range(1, prompts + 1)]
    return [f"Describe product {number}." for number in CHANCE.choices(range(prompts), weights, k=count)]


def formatted(count: int, prompts: int) -> list[str]:
    """The same, with blanks as templates leave them."""
    return [
        prompt.replace(" ", CHANCE.choice(("  ", " "))) + CHANCE.choice(("", "\n"))
        for prompt in popular(count, prompts)
    ]


def share(metrics: PerformanceMetrics) -> str:
    return f"hit rate {metrics.hit_rate:.0%}, {metrics.paid_calls:,} calls, ${metrics.cost_usd:.2f}"


def speed(metrics: PerformanceMetrics) -> str:
    return f"{metrics.throughput_per_s:.1f} requests/s, p99 {metrics.p99_s:.2f} s"


CASES = (
    Case(
        title="caching, size: 4,000 requests for 800 prompts",
        prompts=popular(4_000, 800),
        callers=20,
        config=EngineConfig(cache=CacheConfig(max_entries=80)),
        rule="cache_is_too_small",
        shown=share,
    ),
    Case(
        title="caching, formatting: 3,000 requests for 800 prompts",
        prompts=formatted(3_000, 800),
        callers=20,
        config=EngineConfig(),
        rule="prompts_differ_in_formatting",
        shown=share,
    ),
    Case(
        title="routing: two endpoints, one of them slow",
        prompts=[f"Row {number}" for number in range(1_000)],
        callers=20,
        config=EngineConfig(routing="least_loaded"),
        rule="endpoint_is_slow",
        endpoints=lambda: [endpoint("near"), endpoint("far", SLOW)],
        shown=speed,
    ),
    Case(
        title="concurrency: 60 callers, 10 places",
        prompts=[f"Row {number}" for number in range(2_000)],
        callers=60,
        config=EngineConfig(max_concurrency=10),
        rule="engine_is_saturated",
        shown=speed,
    ),
)


async def work(engine: Engine, prompts: Sequence[str]) -> None:
    for prompt in prompts:
        await engine.generate(prompt, max_tokens=200)


async def measure(case: Case, config: EngineConfig) -> tuple[PerformanceMetrics, Finding | None]:
    """What the engine did, and what `analyze` says of it by the rule of this case."""
    async with open_engine(case.endpoints(), config) as engine:
        with PerformanceMonitor(engine) as monitor:
            async with trio.open_nursery() as nursery:
                for number in range(case.callers):
                    nursery.start_soon(work, engine, case.prompts[number :: case.callers])
        report = analyze(await engine.metrics())
    found = [finding for finding in report.bottlenecks if finding.rule == case.rule]
    return monitor.metrics(), found[0] if found else None


def changed(config: EngineConfig, finding: Finding) -> EngineConfig:
    """The configuration with the settings that a finding asks for."""
    own = {each.name: each.then for each in finding.settings if each.where == "EngineConfig"}
    cache = {each.name: each.then for each in finding.settings if each.where == "CacheConfig"}
    return config.model_copy(update={**own, "cache": config.cache.model_copy(update=cache)})


async def before_and_after(case: Case) -> None:
    print(case.title)
    before, finding = await measure(case, case.config)
    print(f"  before  {case.shown(before)}")
    if finding is None:
        print(f"  found   nothing by the rule {case.rule}")
        return
    print(f"  found   {finding.rule} ({finding.severity}): {finding.remedy}")
    print(f"  would   {finding.prediction}")
    after, _ = await measure(case, changed(case.config, finding))
    print(f"  after   {case.shown(after)}")


async def share_a_call() -> None:
    """100 callers want the same thing at once; one call is paid."""
    async with open_engine([endpoint("model")]) as engine:
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(work, engine, ["What is an otter?"])
        counters = (await engine.metrics()).counters
        print(f"caching, at once: {counters.succeeded} callers, the same prompt\n  paid    {counters.paid_calls} call")


async def stream() -> None:
    """How long until there is something to show?"""
    async with open_engine([endpoint("model")]) as engine:
        for number in range(40):
            async with engine.stream(f"Row {number}", max_tokens=200) as chunks:
                async for _ in chunks:
                    pass
        latency = (await engine.metrics()).latency
        first, whole = latency["ttft"].p50_s, latency["response"].p50_s
        print(f"streaming: 40 answers of 50 tokens\n  p50     first text {first:.2f} s, whole answer {whole:.2f} s")


if __name__ == "__main__":
    simulate(share_a_call, seed=1)
    for each in CASES:
        simulate(before_and_after, each, seed=1)
    simulate(stream, seed=1)
