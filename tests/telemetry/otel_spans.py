"""What do the tests of OpenTelemetry share?  An SDK that keeps everything in memory, and looks at its tree of spans."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from synth_actors.telemetry.otel import OpenTelemetryTracing


class Count(SpanProcessor):
    """How many spans have begun, and how often each one has ended."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.begun.append(span.context.span_id)

    def on_end(self, span: ReadableSpan) -> None:
        assert span.context is not None
        self.ended.append(span.context.span_id)


class Telemetry:
    """A tracing whose spans and metrics stay here."""

    def __init__(self, **fields: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.count = Count()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(self.count)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self.tracing = OpenTelemetryTracing(self.provider, self.meter_provider, **fields)

    @property
    def spans(self) -> list[ReadableSpan]:
        """Every span that has ended, in that order."""
        return list(self.exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """Those with this name."""
        return [span for span in self.spans if span.name == name]

    def assert_each_ended_once(self) -> None:
        """Every span that has begun has ended, once."""
        assert sorted(self.count.begun) == sorted(self.count.ended) == sorted(set(self.count.ended))

    def points(self, name: str) -> list[Any]:
        """The points of one metric, as they are collected now."""
        return points(self.reader, name)

    def values(self, name: str) -> dict[tuple[tuple[str, Any], ...], Any]:
        """The value of each of its points, by sorted attributes."""
        return {
            tuple(sorted((point.attributes or {}).items())): point.value
            for point in self.points(name)
            if isinstance(point, NumberDataPoint)
        }


def points(reader: InMemoryMetricReader, name: str) -> list[HistogramDataPoint | NumberDataPoint | Any]:
    """The points of one metric."""
    data = reader.get_metrics_data()
    return [
        point
        for resource in ([] if data is None else data.resource_metrics)
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in metric.data.data_points
    ]


def span_id(span: ReadableSpan) -> int:
    assert span.context is not None
    found: int = span.context.span_id
    return found


def parent_id(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def children(spans: Iterable[ReadableSpan], parent: ReadableSpan) -> list[ReadableSpan]:
    """In the order in which they began."""
    found = [span for span in spans if parent_id(span) == span_id(parent)]
    return sorted(found, key=lambda span: span.start_time or 0)
