"""Which figures are there, in which unit, and what are they called wherever they are shown?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import griffe

from docs.generator import commands, otel, rules
from docs.generator.markdown import code, table
from docs.generator.source import Field, fields_of, first_sentence, named, one_line, plain_type
from synth_actors.request_log import FIELDS
from synth_actors.snapshot import SERIES
from synth_actors.telemetry.metric import Metric
from synth_actors.telemetry.metric_names import BUCKETS_S, LEFT_OUT, METRICS

PATH = "docs/reference/metrics.md"
UNITS = (
    ("bytes_per_s", "bytes/s"),
    ("tokens_per_s", "tokens/s"),
    ("_per_s", "1/s"),
    ("_s", "s"),
    ("bytes_per_call", "bytes"),
    ("_bytes", "bytes"),
    ("usd_per_mtok", "USD per 1,000,000 tokens"),
    ("_usd", "USD"),
    ("per_minute", "1/min"),
    ("_rate", "share"),
    ("_share", "share"),
    ("_tokens", "tokens"),
    ("wall_time", "s since 1970"),
)
"""What the end of a name says of the unit, the longest ends first."""
SNAPSHOTS = (
    ("Snapshot", "snapshot", ""),
    ("Counters", "snapshot", "snapshot.counters"),
    ("LatencySummary", "histogram", "snapshot.latency[name], snapshot.series[i].summary"),
    ("SeriesSnapshot", "snapshot", "snapshot.series[i]"),
    ("CacheSnapshot", "snapshot", "snapshot.cache"),
    ("CurvesSnapshot", "snapshot", "snapshot.cache.curves"),
    ("SizePoint", "snapshot", "snapshot.cache.curves.size[i]"),
    ("TtlPoint", "snapshot", "snapshot.cache.curves.ttl[i]"),
    ("DurableSnapshot", "snapshot", "snapshot.cache.durable"),
    ("RouterSnapshot", "snapshot", "snapshot.router"),
    ("EndpointSnapshot", "snapshot", "snapshot.router.endpoints[name]"),
    ("RateLimitSnapshot", "snapshot", "snapshot.router.endpoints[name].rate_limits[kind]"),
    ("MemorySnapshot", "snapshot", "snapshot.memory"),
    ("MailboxSnapshot", "snapshot", "snapshot.mailboxes[actor]"),
    ("LoopSnapshot", "snapshot", "snapshot.loop"),
)
"""(class, module, where one finds it)."""


def page() -> tuple[str, str]:
    """(path, text)."""
    blocks = [
        "# Metrics",
        "<!-- written by `make docs`: change the sources, not this page -->",
        _CONTENTS,
        *_snapshots(),
        *_interval(),
        *_prometheus(),
        *otel.blocks(),
        *_records(),
        *rules.blocks(),
        *commands.blocks(),
    ]
    return PATH, "\n\n".join(blocks) + "\n"


_CONTENTS = """\
Every figure, by where it is shown: [the snapshot](#the-snapshot) of `engine.metrics()`, [an interval](#an-interval) of
`PerformanceMonitor`, [Prometheus](#prometheus), [OpenTelemetry](#opentelemetry), [log records](#log-records); then
[the rules](#rules-and-thresholds) of `analyze`, and [the options](#options-of-the-command-line) of the command line.

A unit stands in the name: `_s` seconds, `_bytes` bytes, `_usd` US dollars; a share is 0.0 to 1.0. Without a unit it is
a number of things. In Prometheus `_seconds`, `_bytes`, `_usd`, `_ratio`, and `_total` for what only grows."""


def unit_of(field: Field) -> str:
    """The unit that a name says; nothing where it says none."""
    return next((unit for end, unit in UNITS if field.name.endswith(end)), "")


def _snapshots() -> Iterator[str]:
    yield "## The snapshot"
    yield one_line(_doc(named("snapshot")).partition("\n\n")[2])
    yield "`snapshot.latency` and `snapshot.series` hold durations of these names:"
    yield table(("series", "what it lasts"), _series())
    for name, module, where in SNAPSHOTS:
        cls = named(f"{module}.{name}")
        yield f"### {name}"
        yield (f"`{where}`. " if where else "") + one_line(_doc(cls))
        yield table(("field", "type", "unit", "meaning", "Prometheus"), list(_rows(name, cls)))


def _series() -> list[tuple[str, str]]:
    said = one_line(_doc(named("snapshot.SERIES")))
    rows = []
    for name, following in zip(SERIES, (*SERIES[1:], ""), strict=True):
        meaning = said.partition(f"`{name}`: ")[2]
        meaning = meaning.partition(f" `{following}`: ")[0] if following else meaning
        if not meaning:
            raise ValueError(f"snapshot.SERIES: its docstring does not say what `{name}` is, or in another order")
        rows.append((code(name), meaning))
    return rows


def _rows(name: str, cls: griffe.Object) -> Iterator[tuple[str, ...]]:
    for field in fields_of(cls):
        shown = [metric for metric in METRICS if f"{name}.{field.name}" in metric.origin]
        meaning = field.comment or (shown[0].help if len(shown) == 1 else "")
        families = ", ".join(code(_family(metric, field.name)) for metric in shown)
        if len(shown) > 2:
            families = f"[the {len(shown)} {shown[0].kind}s](#prometheus)"
        yield code(field.name), code(field.type), unit_of(field), meaning, families
    for key, member in cls.members.items():
        if isinstance(member, griffe.Attribute) and "property" in member.labels:
            kind, _bounds = plain_type(str(member.annotation), member.module)
            unit = unit_of(Field(name=key, type=kind, default="", bounds=(), comment=""))
            yield code(key), code(kind), unit, first_sentence(_doc(member)), ""


def _family(metric: Metric, field: str) -> str:
    """The name of a metric, with the value of its label where that tells one field from the others."""
    values = [each.partition("=")[0] for each in metric.fields if each.endswith(f"={field}")]
    return f'{metric.name}{{{metric.label}="{values[0]}"}}' if values else metric.name


def _interval() -> Iterator[str]:
    cls = named("policy.interval.PerformanceMetrics")
    yield "## An interval"
    yield f"`PerformanceMonitor.stop()` and `.metrics()` give a `PerformanceMetrics`. {one_line(_doc(cls))}"
    rows = [(code(field.name), code(field.type), unit_of(field), field.comment) for field in fields_of(cls)]
    yield table(("field", "type", "unit", "meaning"), rows)


def _prometheus() -> Iterator[str]:
    yield "## Prometheus"
    yield (
        "What `telemetry.prometheus.collector(engine)` and `--metrics-port` expose; how to use it:"
        " [monitoring](../how-to/monitoring.md). A histogram has `_bucket`, `_count` and `_sum`."
    )
    heads = ("name", "kind", "unit", "labels", "what it says", "comes from")
    rows = [
        (code(each.name), each.kind, each.unit, _codes(each.labels), each.help, _codes(each.origin)) for each in METRICS
    ]
    yield table(heads, rows)
    bounds = ", ".join(f"{bound:g}" for bound in BUCKETS_S)
    yield f"The upper bounds of histograms, in seconds: {bounds}, and `+Inf`."
    yield "Not exported:"
    yield table(("field", "why"), [(code(field), reason) for field, reason in LEFT_OUT.items()])


def _records() -> Iterator[str]:
    module = named("request_log")
    yield "## Log records"
    yield one_line(_doc(module).partition("\n\n")[2]).partition(". ")[0] + "."
    rows = [
        tuple(first_sentence(_doc(member)).split(": ", 1))
        for name, member in module.members.items()
        if isinstance(member, griffe.Function) and name.startswith("log_")
    ]
    yield table(("level", "when"), rows)
    yield f"{one_line(_doc(named('request_log.FIELDS')))} {_codes(FIELDS)}."


def _codes(names: Iterable[str]) -> str:
    return ", ".join(map(code, names))


def _doc(found: griffe.Object) -> str:
    if found.docstring is None:
        raise ValueError(f"{found.path} has no docstring, which the page of metrics shows")
    return found.docstring.value
