"""Do spans and metrics of a request say what the GenAI conventions ask for, and nothing of its text?

Here the engine is played by the test; `test_otel_engine.py` has the real one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from synth_actors import ConfigError, Request, Response, Usage
from synth_actors.messages import Ended
from synth_actors.providers.base import Fault
from synth_actors.request_log import FIELDS
from synth_actors.telemetry.otel import OpenTelemetryTracing
from synth_actors.telemetry.otel_attributes import DURATION_BUCKETS_S, FINISH_REASONS, TOKEN_BUCKETS
from synth_actors.telemetry.otel_figures import FIGURES
from synth_actors.tracing import AttemptEnd, AttemptStart, Destination, RequestTrace
from synth_actors.types import Answer, Timings
from tests.telemetry.otel_spans import Telemetry, attributes, children, parent_id, span_id

CLAUDE = Destination(endpoint="main", provider="anthropic", model="claude-x", address="api.example.com", port=443)
ANSWER = Answer(text="the answer", stop_reason="end", endpoint="main", model="claude-x-2026")
NEXT_CHUNK = "gen_ai.client.operation.time_per_output_chunk"
USAGE = Usage(input_tokens=10, output_tokens=5, cache_read_tokens=20, cache_write_tokens=3, cost_usd=0.25)


def response(source: Any = "call") -> Response:
    usage = USAGE if source == "call" else Usage()
    timings = Timings(queue_s=0.0, ttft_s=None, service_s=1.0, total_s=1.0)
    return Response(ANSWER, None, usage, source, 1, 7, timings)


def start(number: int = 1, **fields: Any) -> AttemptStart:
    given: dict[str, Any] = {"destination": CLAUDE, "number": number, "streamed": False, "at_s": 100.0, **fields}
    return AttemptStart(**given)


def end(**fields: Any) -> AttemptEnd:
    given: dict[str, Any] = {"at_s": 100.5, "usage": USAGE, "answer": ANSWER, **fields}
    return AttemptEnd(**given)


FAILED: dict[str, Any] = {"answer": None, "fault": "failed", "usage": Usage()}


def begin(telemetry: Telemetry, number: int = 7, *, streamed: bool = False, **fields: Any) -> RequestTrace:
    request = Request(**{"prompt": "the prompt", "system": "the system"} | fields)
    return telemetry.tracing.request(request, number=number, streamed=streamed)


def one_call(telemetry: Telemetry, *, started: AttemptStart | None = None, **fields: Any) -> None:
    request = begin(telemetry)
    call = request.attempt_began(started or start())
    assert call is not None
    call.ended(end(**fields))
    request.ended(None if fields else response())


def test_a_request_begins_under_the_current_span_and_its_parts_under_it() -> None:
    telemetry = Telemetry()
    with telemetry.provider.get_tracer("program").start_as_current_span("program"):
        request = begin(telemetry)
        request.fetch_began()
    request.fetch_ended(found=False)
    request.queue_began()
    request.queue_ended("main")
    call = request.attempt_began(start())
    assert call is not None
    call.ended(end())
    request.ended(response())
    [top], [root] = telemetry.named("synth_actors.generate"), telemetry.named("program")
    assert parent_id(top) == span_id(root)
    assert [span.name for span in children(telemetry.spans, top)] == ["cache fetch", "queue", "chat claude-x"]
    telemetry.assert_each_ended_once()


def test_a_stream_has_a_name_of_its_own() -> None:
    telemetry = Telemetry()
    begin(telemetry, streamed=True).ended(None)
    assert [span.name for span in telemetry.spans] == ["synth_actors.stream"]


def test_the_span_of_a_call_has_what_the_conventions_name() -> None:
    telemetry = Telemetry()
    request = begin(
        telemetry,
        max_tokens=77,
        temperature=0.5,
        stop=("x", "y"),
        seed=3,
        output_schema={"type": "object"},
        extra={"top_p": 0.9, "top_k": 5, "thinking": {"type": "enabled"}},
    )
    call = request.attempt_began(start(2, streamed=True))
    assert call is not None
    call.chunk(100.125)
    call.ended(end())
    request.ended(response())
    [span] = telemetry.named("chat claude-x")
    assert span.kind is SpanKind.CLIENT
    assert span.status.status_code is StatusCode.UNSET
    assert attributes(span) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-x",
        "gen_ai.request.max_tokens": 77,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.stop_sequences": ("x", "y"),
        "gen_ai.request.seed": 3,
        "gen_ai.request.stream": True,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.top_k": 5.0,
        "gen_ai.output.type": "json",
        "gen_ai.response.model": "claude-x-2026",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": 0.125,
        "gen_ai.usage.input_tokens": 33,  # with what the prompt cache gave and took
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 20,
        "gen_ai.usage.cache_creation.input_tokens": 3,
        "server.address": "api.example.com",
        "server.port": 443,
        "synth_actors.endpoint": "main",
        "synth_actors.attempt": 2,
        "synth_actors.cost_usd": 0.25,
    }


def test_a_model_in_this_process_has_no_address_and_may_have_no_name() -> None:
    telemetry = Telemetry()
    one_call(telemetry, started=start(destination=Destination(endpoint="local", provider="local", model="")))
    [span] = telemetry.named("chat")
    assert not {"server.address", "server.port", "gen_ai.request.model"} & attributes(span).keys()


def test_every_reason_to_stop_has_a_name_in_the_conventions() -> None:
    assert set(FINISH_REASONS.values()) <= {"stop", "length", "content_filter", "tool_call", "error"}


@pytest.mark.parametrize("capture", [False, True])
def test_texts_are_on_spans_only_if_asked_for(capture: bool) -> None:
    telemetry = Telemetry(capture_content=capture)
    one_call(telemetry)
    one_call(telemetry, **FAILED, message="the answer was cut")
    texts = " ".join(span.to_json() for span in telemetry.spans)
    for text in ("the prompt", "the system", "the answer", "the answer was cut"):
        assert (text in texts) is capture


def test_texts_have_the_form_of_the_conventions() -> None:
    telemetry = Telemetry(capture_content=True)
    one_call(telemetry)
    found = attributes(telemetry.named("chat claude-x")[0])
    assert json.loads(found["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "the prompt"}]}
    ]
    assert json.loads(found["gen_ai.system_instructions"]) == [{"type": "text", "content": "the system"}]
    assert json.loads(found["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "the answer"}], "finish_reason": "stop"}
    ]


def test_a_call_that_failed_is_an_error_with_its_fault_and_its_status() -> None:
    telemetry = Telemetry()
    one_call(telemetry, answer=None, fault="overloaded", status=529, message="busy", usage=Usage())
    [span] = telemetry.named("chat claude-x")
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == "overloaded"
    assert attributes(span)["http.response.status_code"] == 529
    assert not any(name.startswith("gen_ai.usage") for name in attributes(span))
    assert span.events == ()  # an exception would have its text there


def test_what_a_bug_says_is_never_on_a_span() -> None:
    telemetry = Telemetry(capture_content=True)
    one_call(telemetry, answer=None, fault=Fault.BUG.value, message="unexpected KeyError: sk-secret", usage=Usage())
    assert "sk-secret" not in telemetry.named("chat claude-x")[0].to_json()


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (
            response("shared"),
            {
                "synth_actors.outcome": "succeeded",
                "synth_actors.source": "shared",
                "synth_actors.endpoint": "main",
                "synth_actors.attempts": 1,
                "gen_ai.response.finish_reasons": ("stop",),
                "gen_ai.response.model": "claude-x-2026",
            },
        ),
        (ValueError("the answer"), {"synth_actors.outcome": "failed", "error.type": "ValueError"}),
        (None, {"synth_actors.outcome": "cancelled"}),
    ],
)
def test_a_request_says_how_it_ended(outcome: Any, expected: dict[str, Any]) -> None:
    telemetry = Telemetry()
    begin(telemetry, namespace="mine").ended(outcome)
    [span] = telemetry.spans
    assert attributes(span) == expected | {
        "synth_actors.request_id": "req-7",
        "synth_actors.cache_mode": "use",
        "synth_actors.namespace": "mine",
        "gen_ai.output.type": "text",
    }
    assert (span.status.status_code is StatusCode.ERROR) is isinstance(outcome, Exception)


def test_a_follower_has_a_link_to_its_leader_and_the_calls_stay_there() -> None:
    telemetry = Telemetry()
    leader, follower = begin(telemetry, 1), begin(telemetry, 2)
    follower.joined(leader)
    leader.ended(None)  # it leaves: the call goes on for the other one
    call = leader.attempt_began(start())
    assert call is not None
    call.ended(end())
    follower.ended(response("shared"))
    first, second = telemetry.named("synth_actors.generate")
    assert [link.context.span_id for link in second.links] == [span_id(first)]
    assert [span.name for span in children(telemetry.spans, first)] == ["chat claude-x"]
    assert children(telemetry.spans, second) == []
    telemetry.assert_each_ended_once()


def test_the_end_of_a_wait_that_never_began_is_no_span() -> None:
    telemetry = Telemetry()
    request = begin(telemetry)
    request.queue_ended(None)
    request.fetch_ended(found=True)
    assert telemetry.spans == []
    request.ended(None)


def test_the_span_of_a_call_is_current_while_it_runs_and_its_callers_baggage_is_there() -> None:
    telemetry = Telemetry()
    token = otel_context.attach(otel_context.set_value("baggage", "caller's"))
    request = begin(telemetry)
    otel_context.detach(token)
    outside = trace.get_current_span()
    call = request.attempt_began(start())
    assert call is not None
    inside = trace.get_current_span()
    assert otel_context.get_value("baggage") == "caller's"
    call.ended(end())
    assert trace.get_current_span() is outside
    request.ended(response())
    assert span_id(telemetry.named("chat claude-x")[0]) == inside.get_span_context().span_id


def test_durations_and_tokens_are_measured_with_the_buckets_of_the_conventions() -> None:
    telemetry = Telemetry()
    request = begin(telemetry)
    call = request.attempt_began(start(streamed=True))
    assert call is not None
    for at_s in (100.1, 100.3, 100.7):
        call.chunk(at_s)
    call.ended(end(at_s=102.0))
    request.ended(response())
    labels = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-x",
        "server.address": "api.example.com",
        "server.port": 443,
    }
    expected = {"duration": (1, 2.0), "time_to_first_chunk": (1, 0.1), "time_per_output_chunk": (2, 0.6)}
    for name, (count, total) in expected.items():
        [point] = telemetry.points(f"gen_ai.client.operation.{name}")
        assert point.count == count
        said_later = {} if name == "time_per_output_chunk" else {"gen_ai.response.model": "claude-x-2026"}
        assert dict(point.attributes) == labels | said_later
        assert point.sum == pytest.approx(total)
        assert point.explicit_bounds == DURATION_BUCKETS_S
    tokens = {point.attributes["gen_ai.token.type"]: point for point in telemetry.points("gen_ai.client.token.usage")}
    assert {kind: point.sum for kind, point in tokens.items()} == {"input": 33, "output": 5}
    assert tokens["input"].explicit_bounds == TOKEN_BUCKETS
    assert TOKEN_BUCKETS[-1] == 67108864


def test_each_chunk_is_measured_when_it_comes_and_not_all_of_them_at_the_end() -> None:
    telemetry = Telemetry()
    request = begin(telemetry)
    call = request.attempt_began(start(streamed=True))
    assert call is not None
    for number in range(5):
        call.chunk(100.5 + number)
        assert [point.count for point in telemetry.points(NEXT_CHUNK)] == [number] * (number > 0)
    call.ended(end(at_s=106.0))
    request.ended(response())
    [point] = telemetry.points(NEXT_CHUNK)
    assert (point.count, point.sum) == (4, 4.0)


def test_a_failed_call_is_measured_with_its_fault_and_without_tokens_it_did_not_use() -> None:
    telemetry = Telemetry()
    one_call(telemetry, **FAILED)
    [point] = telemetry.points("gen_ai.client.operation.duration")
    assert point.attributes["error.type"] == "failed"
    assert telemetry.points("gen_ai.client.token.usage") == []
    assert telemetry.points("gen_ai.client.operation.time_to_first_chunk") == []


def test_capture_content_is_a_bool() -> None:
    with pytest.raises(ConfigError, match="capture_content='yes'"):
        OpenTelemetryTracing(capture_content="yes")  # type: ignore[arg-type]


PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "opentelemetry.md"


def test_the_page_names_every_attribute_figure_field_and_fault() -> None:
    page = PAGE.read_text(encoding="utf-8")
    telemetry = Telemetry()
    request = begin(telemetry, namespace="n")
    request.fetch_began()
    request.fetch_ended(found=True)
    request.queue_began()
    request.queue_ended("main")
    call = request.attempt_began(start())
    assert call is not None
    call.ended(end())
    request.ended(response())
    ours = {name for span in telemetry.spans for name in attributes(span) if name.startswith("synth_actors.")}
    figures = {f"`{figure.name}` | {figure.unit}" for figure in FIGURES}
    faults = {fault.value for fault in Fault} | {ended.value for ended in Ended}
    missing = [name for name in ours | figures | faults | set(FIELDS) if name not in page]
    assert missing == []


def test_without_the_extra_its_import_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "synth_actors.telemetry.otel")
    with pytest.raises(ConfigError, match=r"pip install 'synth-actors\[otel\]'"):
        import_module("synth_actors.telemetry.otel")


def test_an_engine_without_tracing_does_not_import_opentelemetry() -> None:
    program = "import sys, synth_actors.engine; sys.exit('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=PAGE.parents[2]).returncode == 0


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tracer_provider": "x"}, "tracer_provider is an object of class str, which has no get_tracer"),
        ({"tracer_provider": MeterProvider()}, "tracer_provider is an object of class MeterProvider"),
        ({"meter_provider": TracerProvider()}, "meter_provider is an object of class TracerProvider"),
        ({"tracer_provider": InMemorySpanExporter()}, "give a TracerProvider of opentelemetry.sdk"),
    ],
)
def test_what_is_no_provider_is_refused_by_the_name_of_its_argument(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        OpenTelemetryTracing(**fields)
    assert said in str(raised.value)
