"""Do the engine's own figures come out of trio's thread: fresh if it has time, old if it has none, and never hung?"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import replace
from math import inf
from typing import Any

import pytest
import trio
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    PeriodicExportingMetricReader,
)

from synth_actors.snapshot import (
    CacheSnapshot,
    Counters,
    EndpointSnapshot,
    MemorySnapshot,
    RouterSnapshot,
    Snapshot,
)
from synth_actors.telemetry import otel_figures
from synth_actors.telemetry.otel import OpenTelemetryTracing
from synth_actors.telemetry.otel_figures import FIGURES, EngineFigures
from tests.telemetry.otel_spans import Telemetry, points

ENDPOINT = EndpointSnapshot(name="a", model="m", in_flight=2, attempts=9, failures={"failed": 3}, cost_usd=1.5)
SNAPSHOT = Snapshot(
    taken_at_s=1.0,
    wall_time=0.0,
    latency={},
    cache=CacheSnapshot(hits=4, misses=5, follows=6, entries=7, footprint_bytes=8),
    router=RouterSnapshot(backlog=1, delayed=2, retries=3, endpoints={"a": ENDPOINT}),
    memory=MemorySnapshot(rss_bytes=1000, limit_bytes=2000),
    counters=Counters(submitted=10, succeeded=5, failed=2, cancelled=1, waiting=2),
    mailboxes={},
)
LOCAL = ("synth_actors.endpoint", "a")
EXPECTED = {
    "synth_actors.requests": {
        (("synth_actors.outcome", "succeeded"),): 5,
        (("synth_actors.outcome", "failed"),): 2,
        (("synth_actors.outcome", "cancelled"),): 1,
    },
    "synth_actors.requests.waiting": {(): 2},
    "synth_actors.cache.lookups": {
        (("synth_actors.cache.result", "hit"),): 4,
        (("synth_actors.cache.result", "miss"),): 5,
        (("synth_actors.cache.result", "follow"),): 6,
    },
    "synth_actors.cache.entries": {(): 7},
    "synth_actors.cache.size": {(): 8},
    "synth_actors.router.backlog": {(("synth_actors.state", "ready"),): 1, (("synth_actors.state", "delayed"),): 2},
    "synth_actors.router.retries": {(): 3},
    "synth_actors.calls": {(LOCAL,): 9},
    "synth_actors.calls.in_flight": {(LOCAL,): 2},
    "synth_actors.calls.failures": {(("error.type", "failed"), LOCAL): 3},
    "synth_actors.cost": {(LOCAL,): 1.5},
    "synth_actors.memory.rss": {(): 1000},
    "synth_actors.memory.limit": {(): 2000},
}


class Engine:
    """Counts how often it was looked at, and says so as its number of retries."""

    def __init__(self) -> None:
        self.looks = 0
        self.threads: set[int] = set()

    def take(self) -> Snapshot:
        self.looks += 1
        self.threads.add(threading.get_ident())
        return replace(SNAPSHOT, router=replace(SNAPSHOT.router, retries=self.looks))


@pytest.fixture(autouse=True)
def _every_look_is_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otel_figures, "REUSE_S", 0.0)


async def test_every_figure_is_in_the_snapshot_and_in_the_table_of_this_test() -> None:
    telemetry = Telemetry()
    close = telemetry.tracing.opened(lambda: SNAPSHOT)
    assert {figure.name for figure in FIGURES} == EXPECTED.keys()
    assert {name: telemetry.values(name) for name in EXPECTED} == EXPECTED
    close()


async def test_unknown_cost_is_no_cost_at_all() -> None:
    telemetry = Telemetry()
    unpriced = replace(SNAPSHOT.router, endpoints={"a": replace(ENDPOINT, cost_usd=None)})
    close = telemetry.tracing.opened(lambda: replace(SNAPSHOT, router=unpriced))
    assert telemetry.values("synth_actors.cost") == {}
    close()


@pytest.mark.parametrize("unknown_first", [False, True])
async def test_what_several_engines_cost_is_not_known_if_one_of_them_does_not_know(unknown_first: bool) -> None:
    telemetry = Telemetry()
    unpriced = replace(SNAPSHOT.router, endpoints={"a": replace(ENDPOINT, cost_usd=None)})
    snapshots = [SNAPSHOT, replace(SNAPSHOT, router=unpriced)]
    if unknown_first:
        snapshots.reverse()
    first = telemetry.tracing.opened(lambda: snapshots[0])
    assert telemetry.values("synth_actors.cost") == ({} if unknown_first else {(LOCAL,): 1.5})
    first()
    second = telemetry.tracing.opened(lambda: snapshots[1])
    assert telemetry.values("synth_actors.cost") == {}
    second()
    assert telemetry.values("synth_actors.cost") == {}
    assert telemetry.values("synth_actors.calls") == {(LOCAL,): 18}


async def test_another_thread_gets_a_snapshot_of_now_taken_in_trios_thread() -> None:
    telemetry, engine = Telemetry(), Engine()
    close = telemetry.tracing.opened(engine.take)
    found = await trio.to_thread.run_sync(telemetry.values, "synth_actors.router.retries")
    assert found[()] > 1
    assert engine.threads == {threading.get_ident()}
    close()


async def test_one_look_of_a_reader_takes_one_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otel_figures, "REUSE_S", 3600.0)
    telemetry, engine = Telemetry(), Engine()
    close = telemetry.tracing.opened(engine.take)
    assert telemetry.values("synth_actors.router.retries") == {(): 1}
    assert engine.looks == 1
    close()


async def test_trios_own_thread_looks_itself() -> None:
    telemetry, engine = Telemetry(), Engine()
    close = telemetry.tracing.opened(engine.take)
    assert telemetry.values("synth_actors.router.retries")[()] > 1
    close()


async def test_who_asks_while_trios_thread_is_held_up_gets_the_snapshot_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otel_figures, "PATIENCE_S", 0.01)
    telemetry, engine = Telemetry(), Engine()
    close = telemetry.tracing.opened(engine.take)
    found: list[Any] = []
    asker = threading.Thread(target=lambda: found.append(telemetry.values("synth_actors.router.retries")))
    asker.start()
    asker.join(timeout=30)  # trio's thread waits here: nothing of it can run
    assert found == [{(): 1}]
    await trio.testing.wait_all_tasks_blocked()  # what was asked for is taken now, and hurts nobody
    close()


async def test_a_look_that_has_waited_in_vain_waits_once_and_not_for_each_instrument(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(otel_figures, "PATIENCE_S", 0.01)
    monkeypatch.setattr(otel_figures, "REUSE_S", 1000.0)
    figures, engine = EngineFigures(), Engine()
    close = figures.opened(engine.take)
    figures._live[0]._looked_at = -inf  # long ago

    def ask() -> None:
        for figure in FIGURES:
            figures.points(figure)

    asker = threading.Thread(target=ask)
    asker.start()
    asker.join(timeout=30)
    await trio.testing.wait_all_tasks_blocked()
    assert engine.looks == 2  # at the opening, and the one that was asked for
    close()


async def test_what_is_asked_for_and_comes_after_the_end_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otel_figures, "PATIENCE_S", 0.01)
    telemetry, engine = Telemetry(), Engine()
    close = telemetry.tracing.opened(engine.take)
    asker = threading.Thread(target=telemetry.values, args=("synth_actors.router.retries",))
    asker.start()
    asker.join(timeout=30)
    close()
    looks = engine.looks
    await trio.testing.wait_all_tasks_blocked()
    assert engine.looks == looks


class Quiet(MetricExporter):
    def __init__(self) -> None:
        super().__init__()
        self.exports = 0

    def export(self, metrics_data: Any, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        self.exports += 1
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        pass


async def test_a_meter_provider_may_be_flushed_and_shut_down_while_the_engine_is_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(otel_figures, "PATIENCE_S", 0.01)
    exporter = Quiet()
    provider = MeterProvider([PeriodicExportingMetricReader(exporter, 3_600_000)], shutdown_on_exit=False)
    close = OpenTelemetryTracing(meter_provider=provider).opened(Engine().take)
    provider.force_flush()  # looks in this thread
    provider.shutdown()  # joins the reader's thread, which looks a last time
    assert exporter.exports == 2
    close()


def test_after_the_run_has_ended_the_counters_stand_and_the_rest_is_gone() -> None:
    telemetry, engine = Telemetry(), Engine()

    async def run() -> None:
        telemetry.tracing.opened(engine.take)()

    trio.run(run)
    assert telemetry.values("synth_actors.router.retries") == {(): engine.looks}
    assert telemetry.values("synth_actors.calls") == EXPECTED["synth_actors.calls"]
    assert telemetry.values("synth_actors.memory.rss") == {}


def test_an_engine_whose_run_has_ended_without_closing_it_says_what_it_said_last() -> None:
    telemetry, engine = Telemetry(), Engine()

    async def run() -> None:
        telemetry.tracing.opened(engine.take)

    trio.run(run)
    asker = threading.Thread(target=lambda: found.append(telemetry.values("synth_actors.calls")))
    found: list[Any] = []
    asker.start()
    asker.join(timeout=30)
    assert found == [EXPECTED["synth_actors.calls"]]


async def test_engines_of_one_process_are_added_up_but_its_memory_is_not() -> None:
    telemetry = Telemetry()
    closers = [telemetry.tracing.opened(lambda: SNAPSHOT) for _ in range(3)]
    closers.pop()()
    assert telemetry.values("synth_actors.calls") == {(LOCAL,): 27}
    assert telemetry.values("synth_actors.calls.in_flight") == {(LOCAL,): 4}
    assert telemetry.values("synth_actors.memory.rss") == {(): 1000}
    for close in closers:
        close()


async def test_two_tracings_with_one_meter_provider_report_all_of_their_engines() -> None:
    telemetry = Telemetry()
    other = OpenTelemetryTracing(telemetry.provider, telemetry.meter_provider)
    closers = [telemetry.tracing.opened(lambda: SNAPSHOT), other.opened(lambda: SNAPSHOT)]
    assert telemetry.values("synth_actors.calls") == {(LOCAL,): 18}
    for close in closers:
        close()


def test_two_threads_that_begin_at_once_share_the_instruments_of_a_provider() -> None:
    both = threading.Barrier(2)
    made: list[str] = []

    class Slow(MeterProvider):
        def get_meter(self, name: str, *args: Any, **fields: Any) -> Any:
            made.append(name)
            with suppress(threading.BrokenBarrierError):  # the other one waits elsewhere
                both.wait(0.2)
            return super().get_meter(name, *args, **fields)

    provider = Slow(shutdown_on_exit=False)
    threads = [threading.Thread(target=OpenTelemetryTracing, args=(None, provider)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == ["synth_actors"]


async def test_a_snapshot_that_fails_leaves_the_one_before_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    telemetry, snapshots = Telemetry(), iter([SNAPSHOT])
    close = telemetry.tracing.opened(lambda: next(snapshots))
    assert telemetry.values("synth_actors.router.retries") == {(): 3}
    assert "no figures for OpenTelemetry" in caplog.text
    close()
    assert telemetry.values("synth_actors.router.retries") == {(): 3}


async def test_who_has_set_no_provider_is_told(caplog: pytest.LogCaptureFixture) -> None:
    OpenTelemetryTracing().opened(Engine().take)()
    assert "call opentelemetry.trace.set_tracer_provider(...)" in caplog.text
    caplog.clear()
    Telemetry().tracing.opened(Engine().take)()
    assert caplog.text == ""


async def test_figures_can_be_read_without_a_meter() -> None:
    figures, engine = EngineFigures(), Engine()
    close = figures.opened(engine.take)
    assert repr(figures) == "<EngineFigures open=1>"
    assert figures.points(FIGURES[0])
    close()


async def test_two_readers_at_once_do_not_wait_for_each_other_for_ever() -> None:
    readers = [InMemoryMetricReader(), InMemoryMetricReader()]
    provider = MeterProvider(readers, shutdown_on_exit=False)
    close = OpenTelemetryTracing(meter_provider=provider).opened(Engine().take)
    async with trio.open_nursery() as nursery:
        for reader in readers:
            nursery.start_soon(trio.to_thread.run_sync, points, reader, "synth_actors.calls")
    close()
