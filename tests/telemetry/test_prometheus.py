"""Does Prometheus get every figure of a snapshot, in time, in its own format, and from whichever thread it asks?"""

from __future__ import annotations

import dataclasses
import gc
import re
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from synth_actors import ConfigError, Endpoint, Engine, EngineConfig, GenerationError, Price, open_engine, snapshot
from synth_actors.providers.base import Fault
from synth_actors.snapshot import SERIES
from synth_actors.telemetry import prometheus
from synth_actors.telemetry.metric import PREFIX
from synth_actors.telemetry.metric_names import BUCKETS_S, LEFT_OUT, METRICS
from synth_actors.telemetry.prometheus import collector
from synth_actors.testing import ScriptedProvider, Step
from tests.engine.support import dollar_endpoint

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples_of(text: bytes) -> Samples:
    """Value by name and labels, read by prometheus_client's parser."""
    return {
        (sample.name.removeprefix(PREFIX), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def value_of(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, tuple(sorted(labels.items()))))


def registered(engine: Any) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(collector(engine))
    return registry


def scrape(engine: Any) -> Samples:
    return samples_of(generate_latest(registered(engine)))


# ---------------------------------------------------------------------------------------------------------- the table

LEADS_TO_OTHERS = {
    *(f"Snapshot.{name}" for name in ("series", "cache", "router", "memory", "loop", "counters", "mailboxes")),
    *("CacheSnapshot.curves", "CacheSnapshot.durable", "RouterSnapshot.endpoints", "EndpointSnapshot.rate_limits"),
}
ARE_LABELS = {
    *("EndpointSnapshot.name", "EndpointSnapshot.model"),
    *(f"SeriesSnapshot.{name}" for name in ("name", "endpoint", "outcome", "actor")),
}
OF_CURVES = {"SizePoint", "TtlPoint"}


def fields_of_snapshots() -> Iterator[str]:
    for kind in vars(snapshot).values():
        if not isinstance(kind, type) or kind.__module__ != snapshot.__name__ or kind.__name__ in OF_CURVES:
            continue
        if dataclasses.is_dataclass(kind):
            yield from (f"{kind.__qualname__}.{field.name}" for field in dataclasses.fields(kind))


def test_every_field_of_a_snapshot_is_exported_or_left_out_for_a_reason() -> None:
    fields = set(fields_of_snapshots())
    exported = {origin for metric in METRICS for origin in metric.origin}
    assert exported - fields == {"LatencySummary.out_of_range"}
    assert not exported & set(LEFT_OUT)
    assert fields == (exported - {"LatencySummary.out_of_range"}) | set(LEFT_OUT) | LEADS_TO_OTHERS | ARE_LABELS
    assert all(LEFT_OUT.values())


def test_every_series_is_exported() -> None:
    assert [metric.series for metric in METRICS if metric.series] == list(SERIES)


def test_the_state_that_each_part_begins_in_is_among_its_states() -> None:
    for metric in METRICS:
        if metric.kind == "state":
            part = getattr(snapshot, metric.source)
            begins = next(field.default for field in dataclasses.fields(part) if field.name == "state")
            assert begins in metric.states


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_name_follows_the_conventions(metric: Any) -> None:
    assert re.fullmatch(PREFIX + r"[a-z][a-z_]*[a-z]", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.name.endswith("_info") == (metric.kind == "info")
    assert not metric.name.endswith(("_count", "_sum", "_bucket", "_s"))
    assert metric.help.endswith(".")
    assert ("_s" in metric.fields[0][-2:]) <= ("second" in metric.name)
    assert metric.fields[0].endswith("_bytes") <= ("_bytes" in metric.name)


def test_no_two_metrics_have_one_name() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_the_bounds_rise_from_a_tenth_of_a_millisecond_to_ten_minutes() -> None:
    assert list(BUCKETS_S) == sorted(set(BUCKETS_S))
    assert (BUCKETS_S[0], BUCKETS_S[-1]) == (0.0001, 600.0)


# ----------------------------------------------------------------------------------------------------------- figures


async def test_both_formats_of_prometheus_are_read_by_its_own_parsers() -> None:
    async with open_engine(["local"]) as engine:
        await engine.generate_batch([f"p{number % 20}" for number in range(50)], max_tokens=30)
        registry = registered(engine)
        plain = {family.name for family in text_string_to_metric_families(generate_latest(registry).decode())}
        text = generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call]
        strict = {family.name for family in parse_openmetrics(text)}  # type: ignore[no-untyped-call]
    names = {metric.name.removesuffix("_total") for metric in METRICS}
    assert plain == names
    assert strict == names


async def test_what_is_scraped_is_what_the_snapshot_says(autojump_clock: Any) -> None:
    script = [Step(fault=Fault.FAILED), *(Step(delay_s=0.3) for _ in range(3)), Step(delay_s=2.0)]
    config = EngineConfig(max_concurrency=1, budget_usd=20.0)
    async with open_engine([dollar_endpoint(ScriptedProvider(script))], config) as engine:
        for number in range(4):
            await engine.generate(f"p{number}", max_tokens=5)
        await engine.generate("p0", max_tokens=5)
        samples = scrape(engine)
        now = engine.metrics_now()
    of_endpoint = {"endpoint": "scripted", "model": "script"}
    assert value_of(samples, "requests_submitted_total") == 5
    assert value_of(samples, "requests_total", outcome="succeeded") == 5
    assert value_of(samples, "paid_calls_total") == 5
    assert value_of(samples, "retries_total", reason="failed") == 1
    assert value_of(samples, "endpoint_failures_total", **of_endpoint, reason="failed") == 1
    assert value_of(samples, "cache_lookups_total", result="hit") == 1
    assert value_of(samples, "cache_lookups_total", result="miss") == 4
    assert value_of(samples, "cost_usd_total") == now.counters.cost_usd == 4.0
    assert value_of(samples, "budget_usd") == 20.0
    assert value_of(samples, "tokens_total", kind="output") == now.counters.output_tokens == 20
    assert value_of(samples, "memory_state", state="ok") == 1
    assert value_of(samples, "memory_state", state="slowed") == 0
    assert value_of(samples, "endpoint_info", **of_endpoint, provider="ScriptedProvider") == 1
    assert value_of(samples, "mailbox_depth", actor="router") == 0
    assert value_of(samples, "samples_out_of_range_total", series="response") == 0


async def test_durations_are_in_the_buckets_that_they_belong_to(autojump_clock: Any) -> None:
    script = [*(Step(delay_s=0.3) for _ in range(3)), Step(delay_s=2.0), Step(delay_s=700.0, fault=Fault.REJECTED)]
    endpoint = Endpoint(provider=ScriptedProvider(script), attempt_timeout_s=1000.0)
    async with open_engine([endpoint], EngineConfig(max_concurrency=1)) as engine:
        for number in range(4):
            await engine.generate(f"p{number}", max_tokens=5)
        with pytest.raises(GenerationError):
            await engine.generate("p4", max_tokens=5)
        samples = scrape(engine)
    success = {"endpoint": "scripted", "model": "script", "outcome": "success"}
    by_bound = {bound: value_of(samples, "service_seconds_bucket", **success, le=bound) for bound in bounds()}
    assert {by_bound[bound] for bound in bounds() if float(bound) < 0.3} == {0.0}
    assert {by_bound[bound] for bound in bounds() if 0.3 < float(bound) < 2.0} == {3.0}
    assert {by_bound[bound] for bound in bounds() if float(bound) > 2.0} == {4.0}
    assert value_of(samples, "service_seconds_count", **success) == 4
    assert value_of(samples, "service_seconds_sum", **success) == pytest.approx(2.9)
    rejected = {**success, "outcome": "rejected"}
    assert value_of(samples, "service_seconds_bucket", **rejected, le="600.0") == 0
    assert value_of(samples, "service_seconds_bucket", **rejected, le="+Inf") == 1


def bounds() -> list[str]:
    return [*map(str, BUCKETS_S), "+Inf"]


async def test_durations_out_of_range_are_summed_over_endpoints_and_outcomes(autojump_clock: Any) -> None:
    providers = [ScriptedProvider(lambda call: Step(delay_s=4000.0), name=name) for name in ("a", "b")]
    endpoints = [Endpoint(provider=provider, attempt_timeout_s=5000.0) for provider in providers]
    async with open_engine(endpoints) as engine:
        for name in ("a", "b", "a"):
            await engine.generate("p", max_tokens=5, cache="bypass", endpoints=(name,))
        samples = scrape(engine)
    assert value_of(samples, "samples_out_of_range_total", series="service") == 3
    assert value_of(samples, "samples_out_of_range_total", series="ttft") is None
    of_a = {"endpoint": "a", "model": "script", "outcome": "success"}
    assert value_of(samples, "service_seconds_count", **of_a) == value_of(samples, "service_seconds_sum", **of_a) == 0


async def test_what_is_not_known_has_no_sample() -> None:
    unpriced = ScriptedProvider(name="unpriced")
    async with open_engine([unpriced]) as engine:
        await engine.generate("p")
        samples = scrape(engine)
        assert engine.metrics_now().counters.cost_usd is None
    assert value_of(samples, "paid_calls_total") == 1
    names = {name for name, _ in samples}
    assert not {"cost_usd_total", "endpoint_cost_usd_total", "budget_usd", "cache_file_used_bytes"} & names


async def test_any_name_of_an_endpoint_and_no_text_of_a_server_comes_through() -> None:
    name = 'a "b"\\n\n{c="d"}, é'
    provider = ScriptedProvider([Step(fault=Fault.REJECTED, message="sk-canary in a message")])
    price = Price(input_usd_per_mtok=1.0, output_usd_per_mtok=1.0)
    endpoint = Endpoint(provider=provider, name=name, model="m", price=price)
    async with open_engine([endpoint]) as engine:
        with pytest.raises(GenerationError, match="sk-canary"):
            await engine.generate("p")
        text = generate_latest(registered(engine))
    assert value_of(samples_of(text), "endpoint_calls_total", endpoint=name, model="script") == 1
    assert b"canary" not in text


@pytest.mark.parametrize("field", ["name", "model"])
async def test_a_name_that_no_exporter_can_write_is_refused_when_the_engine_opens(field: str) -> None:
    provider = ScriptedProvider(name="scripted")
    setattr(provider, field, "half \ud800")
    with pytest.raises(ConfigError, match=rf"{field}='half \\ud800': no exporter can write half of a surrogate pair"):
        async with open_engine([provider]):
            pytest.fail("it was opened")


async def test_an_engine_without_durations_has_its_counters() -> None:
    async with open_engine(["local"], EngineConfig(metrics=False)) as engine:
        await engine.generate("p")
        samples = scrape(engine)
    assert value_of(samples, "requests_total", outcome="succeeded") == 1
    assert not [name for name, _ in samples if name.endswith("_bucket")]


# ------------------------------------------------------------------------------------------------------------ threads


async def test_another_thread_gets_the_same_as_trios_own() -> None:
    async with open_engine(["local"]) as engine:
        await engine.generate("p")
        registry = registered(engine)
        here = samples_of(generate_latest(registry))
        there = samples_of(await trio.to_thread.run_sync(generate_latest, registry))
    assert here.keys() <= there.keys()
    assert value_of(there, "requests_total", outcome="succeeded") == 1


async def test_a_hundred_scrapes_while_requests_run_are_all_whole() -> None:
    async with open_engine(["local"]) as engine:
        registry = registered(engine)
        seen: list[float] = []

        async def scrape_often() -> None:
            for _ in range(25):
                text = await trio.to_thread.run_sync(generate_latest, registry)
                count = value_of(samples_of(text), "requests_total", outcome="succeeded")
                assert count is not None
                seen.append(count)

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(scrape_often)
            await engine.generate_batch([f"p{number}" for number in range(300)], max_tokens=5)
    assert len(seen) == 100


async def test_who_makes_text_in_a_thread_lets_trios_in_between_and_trios_own_never_sleeps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    async with open_engine(["local"]) as engine:
        await engine.generate_batch([f"p{number % 20}" for number in range(50)], max_tokens=30)
        registry = registered(engine)
        monkeypatch.setattr("synth_actors.telemetry.prometheus.time.sleep", slept.append)
        generate_latest(registry)
        assert slept == []
        for make in (generate_latest, generate_openmetrics):
            page = await trio.to_thread.run_sync(make, registry)
            lines = [line for line in page.decode().splitlines() if not line.startswith("#")]
            assert len(slept) >= len(lines) / prometheus.PAUSE_EVERY
            assert set(slept) == {prometheus.PAUSE_S}
            slept.clear()


def test_nothing_and_no_error_comes_after_the_engine_or_the_run_has_ended() -> None:
    registry = CollectorRegistry()

    async def program() -> bytes:
        async with open_engine(["local"]) as engine:
            registry.register(collector(engine))
        assert await trio.to_thread.run_sync(generate_latest, registry) == b""
        return generate_latest(registry)

    assert trio.run(program) == b""
    assert generate_latest(registry) == b""


def test_a_registry_keeps_no_engine_alive_and_may_get_the_next_one() -> None:
    registry = CollectorRegistry()
    engines: list[weakref.ref[Engine]] = []

    async def program() -> None:
        for number in range(3):
            async with open_engine(ScriptedProvider()) as engine:
                registry.register(collector(engine))
                engines.append(weakref.ref(engine))
                await engine.generate_batch(["p"] * number)
                assert value_of(samples_of(generate_latest(registry)), "requests_submitted_total") == number
            del engine

    trio.run(program)
    gc.collect()
    assert [engine() for engine in engines] == [None] * 3
    assert generate_latest(registry) == b""
    shown = [repr(each) for each in registry._collector_to_names]
    assert shown == ["<EngineCollector of an engine that is gone>"] * 3


async def test_registering_takes_no_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_engine(["local"]) as engine:
        taken: list[object] = []
        monkeypatch.setattr(engine, "metrics_now", lambda **how: taken.append(how))
        registered(engine)
        assert taken == []


async def test_a_scrape_that_trios_thread_waits_for_fails_and_hangs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "PATIENCE_S", 0.05)
    async with open_engine(["local"]) as engine:
        registry = registered(engine)
        raised: list[BaseException] = []

        def ask() -> None:
            try:
                generate_latest(registry)
            except TimeoutError as exc:
                raised.append(exc)

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()  # the loop is blocked meanwhile
        await trio.lowlevel.checkpoint()
        assert value_of(scrape(engine), "uptime_seconds") is not None  # and the engine does not mind
    assert [str(exc) for exc in raised] == ["trio's thread has not answered for 0.05 s: something blocks it"]


async def test_an_error_in_taking_the_snapshot_reaches_who_asked_and_not_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(**_how: object) -> None:
        raise KeyError("a bug")

    async with open_engine(["local"]) as engine:
        registry = registered(engine)
        monkeypatch.setattr(engine, "metrics_now", broken)
        with pytest.raises(KeyError, match="a bug"):
            await trio.to_thread.run_sync(generate_latest, registry)
        assert (await engine.generate("p")).text
    gc.collect()


# ------------------------------------------------------------------------------------------------------------- errors


def test_a_collector_is_made_inside_trio() -> None:
    with pytest.raises(ConfigError, match=r"call collector\(engine\) inside the engine's `async with` block"):
        collector(None)  # type: ignore[arg-type]


async def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    async with open_engine(["local"]) as engine:
        with pytest.raises(ConfigError, match=r"pip install 'synth-actors\[prometheus\]'"):
            collector(engine)
