"""Is a key seen anywhere that a user, an operator or a file may show it?

    with watching(monkeypatch) as watch:
        ...
    assert watch.leaks() == []

Every engine that is opened meanwhile gets the canaries for its key, and hands over what it can show: its logs, spans,
snapshots, reports, reprs, exceptions and exports.  The canaries are looked for as they are, and in each of the forms in
which a server may give a key back.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import generate_latest
from pydantic import SecretStr

from synth_actors import Endpoint, EngineClosedError, Request, analyze, per_endpoint, wiring
from synth_actors.front import Front
from synth_actors.snapshot import Snapshot
from synth_actors.telemetry.hgrm import write_percentiles
from synth_actors.telemetry.hlog import HlogWriter, tag_of
from synth_actors.telemetry.logs import JsonFormatter
from synth_actors.telemetry.otel import OpenTelemetryTracing
from synth_actors.telemetry.prometheus import families
from synth_actors.wiring import Wiring

KEY = "sk-canary+0123456789/never=shown~"
PASSWORD = "canary-password-Zq81"
HEADER = "canary-header-Xw27"
CANARIES = (KEY, PASSWORD, HEADER, "sk-canary-0123456789-do-not-show")
"""The last one is that of the other tests of faults."""
ENVIRONMENT = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY")
SHORTEST = 12
"""So much of the beginning of a canary is one: what is cut off must not show most of it."""
TRACED = 200
"""Requests of one engine that have spans."""
RENDERED = 200
"""Exceptions of one test that are looked at with their tracebacks; each takes a millisecond."""


def forms_of(secret: str) -> set[str]:
    """The beginning of `secret` in each of the encodings that a server may give it back in."""
    parts = {secret[:SHORTEST], quote(secret, safe="")[:SHORTEST], quote_plus(secret)[:SHORTEST]}
    for before in ("", ":", "::"):  # a part of three bytes may begin at any of them
        encoded = base64.b64encode((before + secret).encode()).decode()
        # The first characters hold bits of what stands before, the last ones of what comes behind.
        parts.add(encoded[-(-8 * len(before) // 6) : SHORTEST + 4])
    return parts


FORMS = {form for canary in CANARIES for form in forms_of(canary)}


@dataclass(frozen=True, slots=True)
class Leak:
    """Where a canary was seen, and the text around it."""

    place: str
    text: str


@dataclass
class Watch:
    """What may show a key: texts by the place where they stand."""

    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)
    folders: list[Path] = field(default_factory=list)
    engines: int = 0
    exceptions: list[BaseException] = field(default_factory=list)  # looked at later: tests have clocks of their own
    records: list[logging.LogRecord] = field(default_factory=list)
    _leaks: list[Leak] = field(default_factory=list)
    _lasting: set[Leak] = field(default_factory=set)

    def look(self, place: str, text: str) -> None:
        """Note each canary in `text`, which was shown at `place`."""
        for form in FORMS:
            if (at := text.find(form)) >= 0:
                self._leaks.append(Leak(place, text[max(0, at - 80) : at + 80]))

    @cached_property
    def tracing(self) -> OpenTelemetryTracing:
        """One that shows all that it may."""
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        meters = MeterProvider([self.reader], shutdown_on_exit=False)
        return OpenTelemetryTracing(provider, meters, capture_content=True)

    def look_at_exception(self, exc: BaseException) -> None:
        """Its text, its arguments, what it was raised from, and the traceback as Python prints it."""
        self.look("exception", "".join(traceback.format_exception(exc)))
        for link in _chain(exc):
            self.look("exception", f"{link} {link!r} {link.args!r} {getattr(link, '__dict__', None)!r}")

    def look_at_record(self, record: logging.LogRecord) -> None:
        """All that it carries, and how it is written, as text and by the library's own formatter."""
        place = f"log {record.name}"
        self.look(place, f"{record.getMessage()} {record.__dict__!r}")
        if record.levelno > logging.DEBUG or record.exc_info:  # of those below there are many, and they are alike
            self.look(place, logging.Formatter().format(record))
            self.look(place, JsonFormatter().format(record))

    def look_at_engine(self, opened: Wiring) -> None:
        """All that one that is open shows."""
        self.engines += 1
        inside = [getattr(provider, "__dict__", None) for provider in opened._providers]
        for part in (opened, opened.config, *opened._endpoints, *opened._providers, *inside):
            self.look("repr", f"{part!r} {part}")
        with suppress(EngineClosedError):  # a bug has ended it
            self.look_at_snapshot(opened.snapshot_now(histograms=True))

    def look_at_snapshot(self, snapshot: Snapshot) -> None:
        """It, and all that is made of it."""
        self.look("repr", repr(snapshot))
        self.look("snapshot", json.dumps(asdict(snapshot), default=str))
        self.look("report", f"{analyze(snapshot)!r} {analyze(snapshot)}")
        self.look("prometheus", prometheus_text(snapshot))
        self.look("hlog", hlog_text(snapshot))

    def leaks(self) -> list[Leak]:
        """What was found so far, with spans, metrics and files; each once, and none of them the next time."""
        for exc in self.exceptions[:RENDERED]:
            self.look_at_exception(exc)
        for record in self.records:
            self.look_at_record(record)
        self.exceptions.clear()
        self.records.clear()
        for span in self.exporter.get_finished_spans():
            self.look("span", f"{span.name} {span.attributes!r} {span.events!r} {span.status.description}")
        self.exporter.clear()
        if (data := self.reader.get_metrics_data()) is not None:
            self.look("metric", data.to_json())
        for folder in self.folders:
            for path in filter(Path.is_file, sorted(folder.rglob("*"))):
                self.look(f"file {path.name}", path.read_bytes().decode("latin-1"))
        found, self._leaks = [leak for leak in dict.fromkeys(self._leaks) if leak not in self._lasting], []
        self._lasting |= {leak for leak in found if leak.place == "metric"}  # which are collected again each time
        return found


def prometheus_text(snapshot: Snapshot) -> str:
    """What `/metrics` says."""

    class Registry:
        def collect(self) -> Any:
            return families(snapshot)

    return generate_latest(Registry()).decode()


def hlog_text(snapshot: Snapshot) -> str:
    """The interval log and the percentile tables."""
    text = io.StringIO()
    with HlogWriter(text, start_wall_s=0.0) as writer:
        for series in snapshot.series:
            if series.histogram is not None:
                writer.write(series.histogram, start_s=0.0, end_s=1.0, tag=tag_of(series))
                write_percentiles(series.histogram, text)
    return text.getvalue()


def _chain(exc: BaseException) -> Iterator[BaseException]:
    left, seen = [exc], set[int]()
    while left:
        link = left.pop()
        if id(link) not in seen:
            seen.add(id(link))
            yield link
            left += [near for near in (link.__cause__, link.__context__) if near is not None]
            left += getattr(link, "exceptions", ())


class _Listening(logging.Handler):
    """Keeps all that is logged."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(logging.DEBUG)
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging."""
        self._watch.records.append(record)


@contextmanager
def _logs(watch: Watch) -> Iterator[None]:
    handler = _Listening(watch)
    loggers = [logging.getLogger(name) for name in (None, "synth_actors", "httpx2", "httpcore2", "anthropic")]
    before = [logger.level for logger in loggers]
    loggers[0].addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        loggers[0].removeHandler(handler)
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


class _Some:
    """Has the first requests of an engine traced."""

    def __init__(self, tracing: OpenTelemetryTracing) -> None:
        self._tracing = tracing

    def request(self, request: Request, *, number: int, streamed: bool) -> Any:
        """One of many is like the others, and a span takes longer than the rest of a request."""
        return self._tracing.request(request, number=number, streamed=streamed) if number <= TRACED else None

    def opened(self, take: Callable[[], Snapshot]) -> Callable[[], None]:
        """Its figures."""
        return self._tracing.opened(take)


def with_canaries(endpoint: Endpoint) -> Endpoint:
    """The same with the canaries for another header and, if it has none of its own, its key."""
    if endpoint.provider == "local":
        return endpoint
    headers = {**endpoint.extra_headers, "x-canary-token": HEADER}
    key = endpoint.api_key or SecretStr(KEY)
    return endpoint.model_copy(update={"api_key": key, "extra_headers": headers})


@contextmanager
def watching(monkeypatch: pytest.MonkeyPatch, *, traced: bool = True) -> Iterator[Watch]:
    """Watch everything that is opened during the block, with canaries for keys."""
    watch = Watch()
    make, stop, note, checked = Wiring.__init__, Wiring.stop, Front.note_failure, per_endpoint.checked

    def making(self: Wiring, *args: Any, **fields: Any) -> None:
        try:
            make(self, *args, **fields)
        except Exception as exc:
            watch.exceptions.append(exc)
            raise
        if traced and self._tracing is None:
            self._tracing = self.front._tracing = wiring._guarded(_Some(watch.tracing))

    async def stopping(self: Wiring) -> None:
        watch.look_at_engine(self)
        await stop(self)

    def noting(self: Front, lookup: Any, exc: Exception) -> None:
        watch.exceptions.append(exc)
        note(self, lookup, exc)

    for name in ENVIRONMENT:
        monkeypatch.setenv(name, KEY)
    monkeypatch.setattr(wiring, "checked", lambda given: [with_canaries(each) for each in checked(given)])
    monkeypatch.setattr(Wiring, "__init__", making)
    monkeypatch.setattr(Wiring, "stop", stopping)
    monkeypatch.setattr(Front, "note_failure", noting)
    with _logs(watch):
        yield watch
