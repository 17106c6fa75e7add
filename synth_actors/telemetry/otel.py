"""How do traces and metrics of the engine get into OpenTelemetry?

One tree of spans for each request, under the caller's current span:

    synth_actors.generate            from submission to answer, in the caller's task
      cache fetch                    a question to the durable tier
      queue                          from accepted to dispatched, once for each call
      chat MODEL                     one call, CLIENT, current while the provider makes it

A request that joined another's flight has a link to that one's span instead of calls of its own.  No exception is
recorded, since its text may hold a part of an answer: a failed span has `error.type`.  `docs/how-to/opentelemetry.md`
shows the set-up.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from importlib import metadata
from typing import Any
from weakref import WeakKeyDictionary

from synth_actors.errors import ConfigError
from synth_actors.providers.base import Fault
from synth_actors.snapshot import Snapshot
from synth_actors.telemetry import otel_attributes as names
from synth_actors.telemetry.otel_figures import FIGURES, EngineFigures, Figure
from synth_actors.tracing import AttemptEnd, AttemptStart, AttemptTrace, RequestTrace
from synth_actors.types import Request, Response

try:
    from opentelemetry import context as otel_context
    from opentelemetry import metrics, trace
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode
except ImportError as exc:
    raise ConfigError("telemetry.otel: OpenTelemetry is missing: pip install 'synth-actors[otel]'") from exc

logger = logging.getLogger("synth_actors")

SCOPE = "synth_actors"
SCHEMA_URL = "https://opentelemetry.io/schemas/1.41.0"


class OpenTelemetryTracing:
    """Spans and metrics by the GenAI semantic conventions: `open_engine(..., tracing=OpenTelemetryTracing())`.

    Without a `tracer_provider` or a `meter_provider` the process's own are used.  With `capture_content` the spans of
    calls hold prompts, answers and error messages; without, no text of either.  One may serve any number of engines.
    Export in the background (`BatchSpanProcessor`): what a span processor does when a span ends, it does in trio's
    thread.

    Raises:
        ConfigError: OpenTelemetry is not installed (on import), a provider is none, or `capture_content` is no bool.
    """

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        capture_content: bool = False,
    ) -> None:
        if not isinstance(capture_content, bool):
            raise ConfigError(f"OpenTelemetryTracing: capture_content={capture_content!r}: give True or False")
        _check_provider("tracer_provider", tracer_provider, "get_tracer")
        _check_provider("meter_provider", meter_provider, "get_meter")
        self._tracer = trace.get_tracer(SCOPE, _version(), tracer_provider, schema_url=SCHEMA_URL)
        self._meters = _meters_of(metrics.get_meter_provider() if meter_provider is None else meter_provider)
        self._capture_content = capture_content
        self._figures = self._meters.figures
        self._is_given = tracer_provider is not None or meter_provider is not None

    def request(self, request: Request, *, number: int, streamed: bool) -> RequestTrace:
        """Begin the span of a request, under the caller's current one."""
        parent = otel_context.get_current()
        name = "synth_actors.stream" if streamed else "synth_actors.generate"
        span = self._tracer.start_span(name, parent, attributes=names.of_request(request, number))
        return _RequestSpans(self, request, span, trace.set_span_in_context(span, parent))

    def opened(self, take: Callable[[], Snapshot]) -> Callable[[], None]:
        """Report the figures of an engine until it closes."""
        if not self._is_given and isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            logger.warning(
                "OpenTelemetryTracing: no tracer provider is set, so the spans go nowhere; "
                "call opentelemetry.trace.set_tracer_provider(...) or give tracer_provider"
            )
        return self._figures.opened(take)

    def __repr__(self) -> str:
        return f"<OpenTelemetryTracing capture_content={self._capture_content} {self._figures!r}>"


def _check_provider(name: str, given: object, has: str) -> None:
    if given is not None and not callable(getattr(given, has, None)):
        raise ConfigError(
            f"OpenTelemetryTracing: {name} is an object of class {type(given).__name__}, which has no {has}();"
            f" give a {'TracerProvider' if has == 'get_tracer' else 'MeterProvider'} of opentelemetry.sdk"
        )


class _Meters:
    """The instruments: those of calls are told, those of the engine are asked."""

    def __init__(self, meter: metrics.Meter) -> None:
        self.tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=names.TOKEN_BUCKETS,
        )
        self.duration = _durations(meter, "duration", "GenAI operation duration.")
        self.first_chunk = _durations(meter, "time_to_first_chunk", "Time to receive the first chunk.")
        self.next_chunk = _durations(meter, "time_per_output_chunk", "Time per output chunk after the first one.")
        self.figures = EngineFigures()
        for figure in FIGURES:
            create: Callable[..., Any] = getattr(meter, f"create_observable_{figure.kind}")
            create(figure.name, [_observe(self.figures, figure)], unit=figure.unit, description=figure.description)


_MADE: WeakKeyDictionary[metrics.MeterProvider, _Meters] = WeakKeyDictionary()
_MAKING = threading.Lock()


def _meters_of(provider: metrics.MeterProvider) -> _Meters:
    """Those of `provider`, made once, in whichever thread: a second instrument of the same name is never asked."""
    with _MAKING:
        made = _MADE.get(provider)
        if made is None:
            made = _MADE[provider] = _Meters(provider.get_meter(SCOPE, _version(), SCHEMA_URL))
        return made


def _version() -> str:
    return metadata.version("synth-actors")


def _durations(meter: metrics.Meter, what: str, description: str) -> metrics.Histogram:
    return meter.create_histogram(
        f"gen_ai.client.operation.{what}",
        unit="s",
        description=description,
        explicit_bucket_boundaries_advisory=names.DURATION_BUCKETS_S,
    )


def _observe(
    figures: EngineFigures, figure: Figure
) -> Callable[[metrics.CallbackOptions], Iterable[metrics.Observation]]:
    def observe(_options: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        return [metrics.Observation(value, dict(labels)) for value, labels in figures.points(figure)]

    return observe


class _RequestSpans:
    """The span of one request, and those that begin and end elsewhere under it."""

    __slots__ = ("_context", "_fetch", "_queue", "_request", "_span", "_tracing")

    def __init__(self, tracing: OpenTelemetryTracing, request: Request, span: Span, context: Context) -> None:
        self._tracing = tracing
        self._request = request
        self._span = span
        self._context = context  # the caller's, with this span as the current one
        self._fetch: Span | None = None
        self._queue: Span | None = None

    def joined(self, leader: RequestTrace) -> None:
        if isinstance(leader, _RequestSpans):
            self._span.add_link(leader._span.get_span_context(), {"synth_actors.link": "leader"})

    def fetch_began(self) -> None:
        self._fetch = self._tracing._tracer.start_span("cache fetch", self._context)

    def fetch_ended(self, *, found: bool) -> None:
        span, self._fetch = self._fetch, None
        if span is not None:
            span.set_attribute("synth_actors.cache.found", found)
            span.end()

    def queue_began(self) -> None:
        self._queue = self._tracing._tracer.start_span("queue", self._context)

    def queue_ended(self, endpoint: str | None) -> None:
        span, self._queue = self._queue, None
        if span is not None:
            if endpoint is not None:
                span.set_attribute("synth_actors.endpoint", endpoint)
            span.end()

    def attempt_began(self, start: AttemptStart) -> AttemptTrace:
        tracing = self._tracing
        attributes = names.of_call(self._request, start)
        if tracing._capture_content:
            attributes |= names.input_content(self._request)
        name = f"{names.OPERATION} {start.destination.model}".rstrip()
        span = tracing._tracer.start_span(name, self._context, SpanKind.CLIENT, attributes)
        return _CallSpan(tracing, start, span, trace.set_span_in_context(span, self._context))

    def ended(self, outcome: Response | Exception | None) -> None:
        span = self._span
        try:
            span.set_attributes(names.of_outcome(outcome))
            if isinstance(outcome, Exception):
                span.set_status(Status(StatusCode.ERROR))
        finally:
            span.end()


class _CallSpan:
    """The span of one call, current in the generator's task while the call runs."""

    __slots__ = ("_context", "_first_at_s", "_labels", "_last_at_s", "_span", "_start", "_token", "_tracing")

    def __init__(self, tracing: OpenTelemetryTracing, start: AttemptStart, span: Span, context: Context) -> None:
        self._tracing = tracing
        self._start = start
        self._span = span
        self._context = context
        self._token = otel_context.attach(context)
        self._labels = names.of_destination(start.destination)
        self._first_at_s: float | None = None
        self._last_at_s = start.at_s

    def chunk(self, at_s: float) -> None:
        if self._first_at_s is None:
            self._first_at_s = at_s
        else:  # at once: 10,000 of them at the end of a long answer would hold trio's thread up for 0.15 s
            self._tracing._meters.next_chunk.record(at_s - self._last_at_s, self._labels, self._context)
        self._last_at_s = at_s

    def ended(self, end: AttemptEnd) -> None:
        otel_context.detach(self._token)
        try:
            self._describe(end)
            self._measure(end)
        finally:
            self._span.end()

    def _describe(self, end: AttemptEnd) -> None:
        span, captured = self._span, self._tracing._capture_content
        span.set_attributes(names.of_end(end))
        if self._first_at_s is not None:
            span.set_attribute("gen_ai.response.time_to_first_chunk", self._first_at_s - self._start.at_s)
        if end.answer is None:
            shown = captured and end.fault != Fault.BUG.value  # what that one says nobody has looked through for keys
            span.set_status(Status(StatusCode.ERROR, end.message if shown else None))
        elif captured:
            span.set_attributes(names.output_content(end.answer))

    def _measure(self, end: AttemptEnd) -> None:
        meters, context, labels = self._tracing._meters, self._context, dict(self._labels)
        if end.answer is not None and end.answer.model:
            labels["gen_ai.response.model"] = end.answer.model
        for kind, count in (("input", names.input_tokens(end.usage)), ("output", end.usage.output_tokens)):
            if count:  # 0 is "not known", too
                meters.tokens.record(count, labels | {"gen_ai.token.type": kind}, context)
        if self._first_at_s is not None:
            meters.first_chunk.record(self._first_at_s - self._start.at_s, labels, context)
        if end.fault is not None:
            labels["error.type"] = end.fault
        meters.duration.record(end.at_s - self._start.at_s, labels, context)
