from __future__ import annotations

import pytest
import trio
import trio.testing

from synth_actors import ConfigError, EngineClosedError, EngineConfig, GenerationError, PerformanceMonitor, open_engine
from synth_actors.config import Endpoint, Price
from synth_actors.policy.interval import between
from synth_actors.providers.base import Call, Fault
from synth_actors.testing import ScriptedProvider, Step
from synth_actors.types import Usage

PRICE = Price(input_usd_per_mtok=1.0, output_usd_per_mtok=10.0)


def script(call: Call) -> Step:
    """A prompt is how many seconds its answer takes; "bad" is refused."""
    if call.request.prompt == "bad":
        return Step(delay_s=1.0, fault=Fault.REJECTED)
    return Step(delay_s=float(call.request.prompt or 0), usage=Usage(input_tokens=10, output_tokens=100))


def priced() -> Endpoint:
    provider = ScriptedProvider(script)
    return Endpoint(provider=provider, model=provider.model, name=provider.name, price=PRICE)


async def test_it_measures_what_is_done_between_start_and_stop_and_nothing_else(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_engine(priced(), EngineConfig(max_concurrency=10)) as engine:
        await engine.generate("100")
        monitor = PerformanceMonitor(engine)
        monitor.start()
        await engine.generate_batch(["1", "2", "3", "4"])
        await engine.generate("1")
        with pytest.raises(GenerationError):
            await engine.generate("bad")
        metrics = monitor.stop()
        await engine.generate("50")
        assert monitor.metrics() is metrics
        assert monitor.stop() is metrics
    assert metrics.elapsed_s == pytest.approx(5.0)
    assert (metrics.submitted, metrics.succeeded, metrics.failed, metrics.paid_calls) == (6, 5, 1, 5)
    assert metrics.throughput_per_s == pytest.approx(1.0)
    assert metrics.error_rate == pytest.approx(1 / 6)
    assert metrics.hit_rate == pytest.approx(1 / 6)
    assert metrics.p50_s == pytest.approx(2.0, rel=0.001)
    assert metrics.p95_s == metrics.p99_s == metrics.p999_s == metrics.max_s == pytest.approx(4.0, rel=0.001)
    assert metrics.latency["response"].count == metrics.latency["service"].count == 4
    assert metrics.latency["cached_response"].count == 1
    assert metrics.output_tokens == 400
    assert metrics.cost_usd == pytest.approx(4 * 1010e-6)
    assert metrics.mean_in_flight == pytest.approx((1 + 2 + 3 + 4 + 1) / 5.0)
    assert metrics.rss_bytes > 0
    assert metrics.cpu_s > 0.0


async def test_it_may_be_asked_at_any_time_and_goes_on(autojump_clock: trio.testing.MockClock) -> None:
    async with open_engine(priced()) as engine, PerformanceMonitor(engine) as monitor:
        seen = []
        for second in range(1, 4):
            await engine.generate(f"1.{second}")
            seen.append(monitor.metrics().succeeded)
        assert seen == [1, 2, 3]
    assert monitor.metrics().succeeded == 3  # it was stopped at the end of its block


async def test_several_monitors_each_have_their_own_interval(autojump_clock: trio.testing.MockClock) -> None:
    async with open_engine(priced()) as engine:
        with PerformanceMonitor(engine) as whole:
            await engine.generate("1")
            with PerformanceMonitor(engine) as part:
                await engine.generate("2")
    assert (whole.metrics().succeeded, part.metrics().succeeded) == (2, 1)
    assert part.metrics().p50_s == pytest.approx(2.0, rel=0.001)


async def test_an_interval_in_which_nothing_happened_has_zeros(autojump_clock: trio.testing.MockClock) -> None:
    async with open_engine(priced()) as engine:
        await engine.generate("1")
        monitor = PerformanceMonitor(engine)
        monitor.start()
        metrics = monitor.stop()
    assert (metrics.elapsed_s, metrics.throughput_per_s, metrics.p99_s, metrics.hit_rate) == (0.0, 0.0, 0.0, 0.0)
    assert (metrics.error_rate, metrics.mean_s, metrics.cost_usd) == (0.0, 0.0, 0.0)


async def test_a_monitor_that_was_started_again_forgets_what_was_before(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_engine(priced()) as engine:
        monitor = PerformanceMonitor(engine)
        monitor.start()
        await engine.generate("1")
        monitor.stop()
        monitor.start()
        assert "running" in repr(monitor)
        await engine.generate("2")
        assert monitor.stop().succeeded == 1


async def test_what_is_wrong_with_its_use_is_said(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(ConfigError, match="no Engine"):
        PerformanceMonitor("local")  # type: ignore[arg-type]
    async with open_engine(priced()) as engine:
        monitor = PerformanceMonitor(engine)
        with pytest.raises(ConfigError, match=r"call start\(\)"):
            monitor.metrics()
        with pytest.raises(ConfigError, match=r"call start\(\)"):
            monitor.stop()
        monitor.start()
    with pytest.raises(EngineClosedError):
        monitor.metrics()
    with pytest.raises(EngineClosedError):
        engine.metrics_now()


def many(number: int) -> list[Endpoint]:
    providers = [ScriptedProvider(script) for _ in range(number)]
    return [Endpoint(provider=each, model=each.model, name=f"e{number}") for number, each in enumerate(providers)]


async def test_every_duration_of_the_interval_is_in_it_whatever_the_number_of_series(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_engine(many(8), EngineConfig(routing="weighted")) as engine:
        with PerformanceMonitor(engine) as monitor:
            await engine.generate_batch([f"0.{number}" for number in range(10, 26)])
    metrics = monitor.metrics()
    counts = {name: metrics.latency[name].count for name in ("response", "queue", "service")}
    assert counts == dict.fromkeys(counts, 16)


async def test_no_duration_of_what_was_done_just_before_is_in_it(autojump_clock: trio.testing.MockClock) -> None:
    async with open_engine(priced(), EngineConfig(max_concurrency=5000)) as engine:
        await engine.generate_batch([f"9.{number:05}" for number in range(5000)])
        with PerformanceMonitor(engine) as monitor:
            await engine.generate("0.1")
    assert monitor.metrics().latency["response"].count == 1
    assert monitor.metrics().max_s == pytest.approx(0.1, rel=0.001)


async def test_an_exception_leaves_the_block_as_itself(autojump_clock: trio.testing.MockClock) -> None:
    async def fail() -> None:
        async with open_engine(priced()) as engine:
            with PerformanceMonitor(engine):
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()


async def test_snapshots_that_do_not_belong_together_are_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with open_engine(priced()) as engine:
        first = engine.metrics_now(histograms=True)
        await engine.generate("1")
        then, bare = engine.metrics_now(histograms=True), await engine.metrics()
    with pytest.raises(ValueError, match="before the first"):
        between(then, first, cpu_s=0.0)
    with pytest.raises(ValueError, match="without histograms"):
        between(first, bare, cpu_s=0.0)
