"""A tree of spans for each request, under the program's own span.  Runs offline; `pip install 'synth-actors[otel]'`."""

import trio
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from synth_actors import open_engine
from synth_actors.telemetry.otel import OpenTelemetryTracing

# A real program exports in the background: BatchSpanProcessor(OTLPSpanExporter()), PeriodicExportingMetricReader(...).
exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
tracer_provider, meter_provider = TracerProvider(), MeterProvider([reader])
tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))


async def main() -> None:
    tracing = OpenTelemetryTracing(tracer_provider, meter_provider)
    async with open_engine(["local"], tracing=tracing) as engine:
        with tracer_provider.get_tracer("example").start_as_current_span("ask twice"):
            await engine.generate("One sentence about otters.", max_tokens=200)
            await engine.generate("One sentence about otters.", max_tokens=200)


def show(spans: tuple[ReadableSpan, ...], parent: int | None = None, depth: int = 0) -> None:
    for span in sorted(spans, key=lambda span: span.start_time or 0):
        if span.context is not None and (span.parent.span_id if span.parent else None) == parent:
            source = (span.attributes or {}).get("synth_actors.source", "")
            print("  " * depth + f"{span.name} {source}".rstrip())
            show(spans, span.context.span_id, depth + 1)


trio.run(main)
show(exporter.get_finished_spans())
resources = [] if (data := reader.get_metrics_data()) is None else data.resource_metrics
names = {m.name for resource in resources for scope in resource.scope_metrics for m in scope.metrics}
print(f"{len(names)} metrics, such as {', '.join(sorted(names)[:2])}")
