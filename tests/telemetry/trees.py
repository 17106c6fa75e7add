"""Is a heap of spans a forest as it should be, whoever has collected it?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1 import trace_pb2
from opentelemetry.sdk.trace import ReadableSpan


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One span, as the SDK or a collector has it; ids are numbers, times nanoseconds."""

    name: str
    id: int
    parent: int | None
    trace: int
    began_at: int
    ended_at: int
    attributes: dict[str, Any]
    links: tuple[int, ...]
    is_error: bool
    kind: str


class Forest:
    """Spans by id, each with its children in the order in which they began."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        every = sorted(nodes, key=lambda node: (node.began_at, node.ended_at))
        self.nodes = {node.id: node for node in every}
        assert len(self.nodes) == len(every), "a span was exported twice"

    def roots(self) -> list[Node]:
        """Those without a parent."""
        return [node for node in self.nodes.values() if node.parent is None]

    def below(self, node: Node) -> list[Node]:
        """Its children."""
        return [child for child in self.nodes.values() if child.parent == node.id]

    def named(self, name: str) -> list[Node]:
        """Every span with this name."""
        return [node for node in self.nodes.values() if node.name == name]

    def one_below(self, node: Node) -> Node:
        """Its only child."""
        [child] = self.below(node)
        return child

    def problems(self) -> list[str]:
        """Orphans, children in another trace, and times that lie outside of the parent's; nothing, if all is well.

        What a request has caused may end after it only if whoever waited has left.
        """
        found = []
        for node in self.nodes.values():
            if node.ended_at < node.began_at:
                found.append(f"{node} ends before it begins")
            if node.parent is None:
                continue
            parent = self.nodes.get(node.parent)
            if parent is None:
                found.append(f"{node} is an orphan")
                continue
            if parent.trace != node.trace:
                found.append(f"{node} is in another trace than {parent}")
            if node.began_at < parent.began_at:
                found.append(f"{node} begins before {parent}")
            if node.ended_at > parent.ended_at and not _left_early(parent):
                found.append(f"{node} ends after {parent}")
        return found


def _left_early(request: Node) -> bool:
    """Whether its caller may have left before the flight was over: cancelled, too late, or a reader of half a text."""
    outcome, error = request.attributes.get("synth_actors.outcome"), request.attributes.get("error.type")
    is_reader = request.name == "synth_actors.stream" and outcome == "failed"
    return outcome == "cancelled" or error == "DeadlineExceededError" or is_reader


def from_sdk(spans: Iterable[ReadableSpan]) -> Forest:
    """The spans that an exporter was given."""
    return Forest(_of_sdk(span) for span in spans)


def _of_sdk(span: ReadableSpan) -> Node:
    assert span.context is not None
    assert span.start_time is not None
    assert span.end_time is not None
    return Node(
        name=span.name,
        id=span.context.span_id,
        parent=None if span.parent is None else span.parent.span_id,
        trace=span.context.trace_id,
        began_at=span.start_time,
        ended_at=span.end_time,
        attributes={name: _plain(value) for name, value in (span.attributes or {}).items()},
        links=tuple(link.context.span_id for link in span.links),
        is_error=not span.status.is_ok,
        kind=span.kind.name,
    )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def from_otlp(spans: Iterable[trace_pb2.Span]) -> Forest:
    """The spans that a collector has decoded."""
    return Forest(_of_otlp(span) for span in spans)


def _of_otlp(span: trace_pb2.Span) -> Node:
    return Node(
        name=span.name,
        id=int.from_bytes(span.span_id, "big"),
        parent=int.from_bytes(span.parent_span_id, "big") if span.parent_span_id else None,
        trace=int.from_bytes(span.trace_id, "big"),
        began_at=span.start_time_unix_nano,
        ended_at=span.end_time_unix_nano,
        attributes={pair.key: _value(pair.value) for pair in span.attributes},
        links=tuple(int.from_bytes(link.span_id, "big") for link in span.links),
        is_error=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
    )


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, str(kind))
