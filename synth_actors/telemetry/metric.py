"""How is a figure of a snapshot read as a metric?

Which there are stands in `metric_names`.  A figure that is None, since there is none or it is not known, has no sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from synth_actors.histogram import LatencySummary
from synth_actors.snapshot import Snapshot

PREFIX = "synth_actors_"
UNITS = ("seconds", "bytes", "usd", "ratio")

Kind = Literal["counter", "gauge", "info", "state", "histogram"]
"""`info` is 1, with the text as a label; `state` is 1 for the state it is in and 0 for the others."""

Source = Literal[
    "Snapshot",
    "Counters",
    "CacheSnapshot",
    "CurvesSnapshot",
    "DurableSnapshot",
    "RouterSnapshot",
    "EndpointSnapshot",
    "RateLimitSnapshot",
    "MemorySnapshot",
    "MailboxSnapshot",
    "LoopSnapshot",
    "LatencySummary",
    "SeriesSnapshot",
]

LABELS: Mapping[Source, tuple[str, ...]] = {
    "EndpointSnapshot": ("endpoint", "model"),
    "RateLimitSnapshot": ("endpoint", "model", "kind"),
    "MailboxSnapshot": ("actor",),
    "LatencySummary": ("series",),
}
"""What tells the parts of a snapshot apart that there are several of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One family.  `name` is what a query says, `source` and `fields` where the figure stands in a snapshot.

    With one field that is a mapping, `label` is what its keys are; with several fields, `label` has the value that
    stands before the `=` of each: ("hit=hits", "miss=misses").
    """

    name: str
    kind: Kind
    help: str
    source: Source
    fields: tuple[str, ...]
    label: str = ""
    states: tuple[str, ...] = ()
    series: str = ""  # which of SERIES, of a histogram

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its labels, in the order of a point's values."""
        own = LABELS.get(self.source, ())
        if self.kind == "histogram":
            return ("actor",) if self.series == "mailbox_wait" else ("endpoint", "model", "outcome")
        return (*own, self.label) if self.label else own

    @property
    def unit(self) -> str:
        """The unit that its name ends with; "" for what is only counted."""
        last = self.name.removesuffix("_total").rpartition("_")[2]
        return last if last in UNITS else ""

    @property
    def origin(self) -> tuple[str, ...]:
        """The fields, each as `Class.field`."""
        return tuple(f"{self.source}.{field.rpartition('=')[2]}" for field in self.fields)


Point = tuple[tuple[str, ...], float]


def points(metric: Metric, snapshot: Snapshot) -> Iterator[Point]:
    """The samples of any metric but a histogram: the values of its labels, and its own."""
    for labels, owner in _owners(metric.source, snapshot):
        for field in metric.fields:
            fixed, _, name = field.rpartition("=")
            value = getattr(owner, name)
            if value is None:
                continue
            if metric.kind == "state":
                yield from (((*labels, state), float(state == value)) for state in metric.states)
            elif metric.kind == "info":
                yield (*labels, str(value)), 1.0
            elif isinstance(value, Mapping):
                yield from (((*labels, key), float(each)) for key, each in value.items())
            else:
                yield ((*labels, fixed) if fixed else labels), float(value)


def _owners(source: Source, snapshot: Snapshot) -> Iterator[tuple[tuple[str, ...], object]]:
    endpoints = snapshot.router.endpoints.values()
    if source == "EndpointSnapshot":
        yield from (((each.name, each.model), each) for each in endpoints)
    elif source == "RateLimitSnapshot":
        for each in endpoints:
            yield from (((each.name, each.model, kind), limit) for kind, limit in each.rate_limits.items())
    elif source == "MailboxSnapshot":
        yield from (((actor,), mailbox) for actor, mailbox in snapshot.mailboxes.items())
    elif source == "LatencySummary":
        yield from (((name,), LatencySummary(out_of_range=count)) for name, count in _out_of_range(snapshot).items())
    elif (owner := _only_owner(source, snapshot)) is not None:
        yield (), owner


def _only_owner(source: Source, snapshot: Snapshot) -> object | None:
    parts: dict[str, object | None] = {
        "Snapshot": snapshot,
        "Counters": snapshot.counters,
        "CacheSnapshot": snapshot.cache,
        "CurvesSnapshot": snapshot.cache.curves,
        "DurableSnapshot": snapshot.cache.durable,
        "RouterSnapshot": snapshot.router,
        "MemorySnapshot": snapshot.memory,
        "LoopSnapshot": snapshot.loop,
    }
    return parts[source]


def _out_of_range(snapshot: Snapshot) -> Mapping[str, int]:
    """Of all endpoints and outcomes, by name of the series."""
    counts: Counter[str] = Counter()
    for series in snapshot.series:
        counts[series.name] += series.summary.out_of_range
    return counts


def one(kind: Kind, source: Source, field: str, name: str, text: str, label: str = "") -> Metric:
    """The figure in one `field`, or one for each key of a mapping by `label`."""
    return Metric(name=PREFIX + name, kind=kind, help=text, source=source, fields=(field,), label=label)


def several(source: Source, label: str, fields: str, name: str, text: str) -> Metric:
    """A counter; `fields` are `LABEL_VALUE=FIELD`, separated by blanks."""
    return Metric(
        name=PREFIX + name, kind="counter", help=text, source=source, fields=tuple(fields.split()), label=label
    )


def state(source: Source, name: str, text: str, states: tuple[str, ...]) -> Metric:
    """One of `states`, in the field `state`: 1 for the one that it is, 0 for the others."""
    return Metric(
        name=PREFIX + name, kind="state", help=text, source=source, fields=("state",), label="state", states=states
    )


def durations(series: str, name: str, text: str) -> Metric:
    """The histogram of one series, in seconds."""
    return Metric(
        name=PREFIX + name, kind="histogram", help=text, source="SeriesSnapshot", fields=("histogram",), series=series
    )
