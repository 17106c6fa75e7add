"""How does Prometheus read the figures of an engine?

`collector(engine)` goes into the program's own registry.  Prometheus' server asks in a thread of its own; only trio's
thread may look at the engine, so a snapshot is taken there, and made into text by the thread that asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import ref

import trio

from synth_actors.errors import ConfigError, EngineClosedError
from synth_actors.histogram import Histogram
from synth_actors.snapshot import SeriesSnapshot, Snapshot
from synth_actors.telemetry.metric import Metric, points
from synth_actors.telemetry.metric_names import BUCKETS_S, METRICS

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

    from synth_actors.engine import Engine

PATIENCE_S = 5.0
"""How long a scrape waits for trio's thread; Prometheus itself gives up after 10 s by default."""
PAUSE_S = 0.0002
PAUSE_EVERY = 50
SERIES_BETWEEN = 5
"""So many samples are made into text, or series into samples, about 0.3 ms, before trio's thread gets Python's lock if
it waits for it.

Without a pause it would get it after 5 ms (`sys.getswitchinterval`), and again and again in one scrape.
"""
_BOUNDS = (*map(repr, BUCKETS_S), "+Inf")
INSTALL = "prometheus-client is not installed: pip install 'synth-actors[prometheus]'"


def require_client() -> None:
    """Raises `ConfigError`, with the remedy, when the package `prometheus-client` is not installed."""
    try:
        import prometheus_client  # noqa: F401  (whether it can be imported is the question)
    except ImportError as exc:
        raise ConfigError(f"telemetry.prometheus: {INSTALL}") from exc


class EngineCollector:
    """What `collector` gives: for `CollectorRegistry.register`.

    It may be asked in any thread.  Once the engine is closed it yields nothing.  It keeps no engine alive: a registry
    may last as long as the program and get one engine after another.
    """

    def __init__(self, engine: Engine, token: trio.lowlevel.TrioToken) -> None:
        self._engine = ref(engine)
        self._token = token

    def describe(self) -> list[Family]:
        """Nothing, so that registering does not collect."""
        return []

    def collect(self) -> Iterator[Family]:
        """The families of one snapshot.

        Raises:
            TimeoutError: trio's thread is blocked and has not answered for `PATIENCE_S`.
        """
        is_trio_thread = self._is_in_its_run()
        snapshot = self._snapshot() if is_trio_thread else self._snapshot_from_outside()
        if snapshot is None:
            return
        for family in families(snapshot, pause=_no_pause if is_trio_thread else _pause):
            if not is_trio_thread:
                family.samples = _Paced(family.samples)
            yield family

    def _is_in_its_run(self) -> bool:
        return trio.lowlevel.in_trio_run() and trio.lowlevel.current_trio_token() is self._token

    def _snapshot(self) -> Snapshot | None:
        engine = self._engine()
        if engine is None:
            return None
        with suppress(EngineClosedError):
            return engine.metrics_now(histograms=True)
        return None

    def _snapshot_from_outside(self) -> Snapshot | None:
        """Not `trio.from_thread.run_sync`: that waits for ever, also when trio's thread waits for this one."""
        answer: Future[Snapshot | None] = Future()

        def take() -> None:
            try:
                answer.set_result(self._snapshot())
            except BaseException as exc:  # noqa: BLE001  (it is raised to whoever asked; here it would end the trio run)
                answer.set_exception(exc)

        try:
            self._token.run_sync_soon(take)
        except trio.RunFinishedError:
            return None
        try:
            return answer.result(PATIENCE_S)
        except TimeoutError:
            raise TimeoutError(f"trio's thread has not answered for {PATIENCE_S:g} s: something blocks it") from None

    def __repr__(self) -> str:
        engine = self._engine()
        return f"<EngineCollector of {'an engine that is gone' if engine is None else repr(engine)}>"


def _pause() -> None:
    time.sleep(PAUSE_S)


def _no_pause() -> None:
    """Whoever waits for the lock is not helped by who holds the loop."""


class _Paced(list[Any]):
    """Samples; who makes text of them pauses from time to time."""

    def __iter__(self) -> Iterator[Any]:
        for place, sample in enumerate(super().__iter__()):
            if place % PAUSE_EVERY == 0:
                _pause()
            yield sample


def collector(engine: Engine) -> EngineCollector:
    """A collector of the engine's figures for a `prometheus_client` registry, of which each may hold one open engine.

    Must be called in the engine's trio run.

    Example:
        registry = CollectorRegistry()
        async with open_engine(["local"]) as engine:
            registry.register(collector(engine))
            server, thread = start_http_server(9464, addr="127.0.0.1", registry=registry)

    Raises:
        ConfigError: it is called elsewhere, or `prometheus-client` is not installed.
    """
    require_client()
    if not trio.lowlevel.in_trio_run():
        raise ConfigError("telemetry.prometheus: call collector(engine) inside the engine's `async with` block")
    return EngineCollector(engine, trio.lowlevel.current_trio_token())


def families(snapshot: Snapshot, *, pause: Callable[[], None] = _no_pause) -> Iterator[Family]:
    """The metrics of `METRICS`, as `prometheus_client` has them; also those that have no sample.

    `pause` is called from time to time while a family of many series is made.
    """
    for metric in METRICS:
        yield _histogram(metric, snapshot, pause) if metric.kind == "histogram" else _plain(metric, snapshot)


def _plain(metric: Metric, snapshot: Snapshot) -> Family:
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

    make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = make(metric.name, metric.help, labels=metric.labels, unit=metric.unit)
    for labels, value in points(metric, snapshot):
        family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, snapshot: Snapshot, pause: Callable[[], None]) -> Family:
    from prometheus_client.metrics_core import HistogramMetricFamily

    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels, unit=metric.unit)
    chosen = [series for series in snapshot.series if series.name == metric.series]
    for place, series in enumerate(chosen):
        if place % SERIES_BETWEEN == 0:
            pause()
        if series.histogram is not None:
            family.add_metric(_labels(metric, series, snapshot), *_buckets(series.histogram))
    return family


def _labels(metric: Metric, series: SeriesSnapshot, snapshot: Snapshot) -> list[str]:
    endpoint = snapshot.router.endpoints.get(series.endpoint)
    values = {
        "actor": series.actor,
        "endpoint": series.endpoint,
        "model": "" if endpoint is None else endpoint.model,
        "outcome": series.outcome,
    }
    return [values[name] for name in metric.labels]


def _buckets(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    """Counts up to each bound, as they are written, and the sum of all durations in seconds."""
    counts = [*histogram.at_most(BUCKETS_S), histogram.count]
    return list(zip(_BOUNDS, map(float, counts), strict=True)), histogram.total_s
