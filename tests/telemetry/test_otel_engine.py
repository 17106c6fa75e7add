"""Has every request of a real engine one tree of spans, whatever happens to it?

100 at once: hits, followers, retried, cancelled, streamed, failed ones; looked at in the SDK's memory and in a
collector that has decoded OTLP.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Tracer
from requests import Session

from synth_actors import CacheConfig, Engine, EngineConfig, GenerationError, Response, open_engine
from synth_actors.providers.base import Call, Fault
from synth_actors.telemetry.otel import OpenTelemetryTracing
from synth_actors.testing import ScriptedProvider, Step
from tests.engine.support import ONE_DOLLAR, dollar_endpoint
from tests.telemetry.otel_spans import Telemetry
from tests.telemetry.otlp_collector import Collector, collecting
from tests.telemetry.trees import Forest, Node, from_otlp, from_sdk

KINDS = ("hit", "shared", "shared", "retried", "cancelled", "streamed", "rejected", "plain", "left", "joined")
AT_ONCE = 100

REQUEST, STREAM, CHAT = "synth_actors.generate", "synth_actors.stream", "chat script"


class Script:
    """What a call comes to is said by its prompt: `KIND NUMBER`."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def __call__(self, call: Call) -> Step:
        prompt = call.request.prompt or ""
        self.calls[prompt] += 1
        kind = prompt.split()[0]
        if kind == "retried" and self.calls[prompt] == 1:
            return Step(fault=Fault.FAILED, status=500, delay_s=0.01)
        if kind == "rejected":
            return Step(fault=Fault.REJECTED, status=400, delay_s=0.01)
        if kind == "streamed":
            return Step(text="a b c", chunks=3, gap_s=0.01, delay_s=0.01)
        return Step(delay_s=10.0 if kind in ("cancelled", "left") else 0.05)


class Callers:
    """Each makes one request under a span of its own, which says which case it is."""

    def __init__(self, engine: Engine, tracer: Tracer) -> None:
        self._engine = engine
        self._tracer = tracer

    async def run(self, number: int) -> None:
        kind = KINDS[number % len(KINDS)]
        with self._tracer.start_as_current_span("caller", attributes={"kind": kind, "number": number}):
            await getattr(self, f"_{kind}")(number)

    async def _ask(self, prompt: str) -> Response:
        return await self._engine.generate(prompt, max_tokens=100)  # with more, it would be streamed

    async def _hit(self, number: int) -> None:
        assert (await self._ask("hit")).cached

    async def _shared(self, number: int) -> None:
        await self._ask(f"shared {number // 10}")  # two of each ten ask the same

    async def _retried(self, number: int) -> None:
        assert (await self._ask(f"retried {number}")).attempts == 2

    async def _cancelled(self, number: int) -> None:
        with trio.move_on_after(0.02):
            await self._ask(f"cancelled {number}")

    async def _streamed(self, number: int) -> None:
        async with self._engine.stream(f"streamed {number}", max_tokens=100) as stream:
            assert [chunk.text async for chunk in stream] == ["a ", "b ", "c"]

    async def _rejected(self, number: int) -> None:
        with suppress(GenerationError):
            await self._ask(f"rejected {number}")

    async def _plain(self, number: int) -> None:
        await self._ask(f"plain {number}")

    async def _left(self, number: int) -> None:
        with trio.move_on_after(0.02):
            await self._ask(f"left {number}")

    async def _joined(self, number: int) -> None:
        await trio.sleep(0.01)  # behind the one that leaves
        await self._ask(f"left {number - 1}")


async def a_hundred_at_once(telemetry: Telemetry) -> Script:
    """Everything that can happen to a request, at the same time."""
    script = Script()
    config = EngineConfig(max_concurrency=20, outage_patience_s=3600)
    tracer = telemetry.provider.get_tracer("program")
    async with open_engine(dollar_endpoint(ScriptedProvider(script)), config, tracing=telemetry.tracing) as engine:
        with tracer.start_as_current_span("program"):
            await engine.generate("hit", max_tokens=100)
            callers = Callers(engine, tracer)
            async with trio.open_nursery() as nursery:
                for number in range(AT_ONCE):
                    nursery.start_soon(callers.run, number)
    return script


def assert_trees(forest: Forest) -> None:
    """Each caller's tree is that of its case, and there is nothing else."""
    assert forest.problems() == []
    [program] = forest.roots()
    callers = [node for node in forest.below(program) if node.name == "caller"]
    assert len(callers) == AT_ONCE
    for caller in callers:
        request = forest.one_below(caller)
        assert request.name == (STREAM if caller.attributes["kind"] == "streamed" else REQUEST)
        EXPECTED[caller.attributes["kind"]](forest, request, [node.name for node in forest.below(request)])
    seen = {request.attributes["synth_actors.request_id"] for request in forest.named(REQUEST) + forest.named(STREAM)}
    assert seen == {f"req-{number}" for number in range(1, AT_ONCE + 2)}
    assert all(node.kind == ("CLIENT" if node.name == CHAT else "INTERNAL") for node in forest.nodes.values())


def calls_of(forest: Forest, request: Node) -> list[Node]:
    return [node for node in forest.below(request) if node.name == CHAT]


def is_hit(forest: Forest, request: Node, below: list[str]) -> None:
    assert below == []
    assert request.attributes["synth_actors.source"] == "cache"


def is_one_of_two(forest: Forest, request: Node, below: list[str]) -> None:
    source = request.attributes["synth_actors.source"]
    assert below == (["queue", CHAT] if source == "call" else [])
    assert len(request.links) == (source == "shared")
    for link in request.links:
        assert forest.nodes[link].attributes["synth_actors.source"] == "call"


def is_retried(forest: Forest, request: Node, below: list[str]) -> None:
    assert below == ["queue", CHAT, "queue", CHAT]
    first, second = calls_of(forest, request)
    assert first.is_error
    assert (first.attributes["error.type"], first.attributes["http.response.status_code"]) == ("failed", 500)
    assert not second.is_error
    assert [call.attributes["synth_actors.attempt"] for call in (first, second)] == [1, 2]
    assert request.attributes["synth_actors.attempts"] == 2


def is_cancelled(forest: Forest, request: Node, below: list[str]) -> None:
    assert request.attributes["synth_actors.outcome"] == "cancelled"
    assert not request.is_error
    if below != ["queue"]:  # it left before its turn came
        assert below == ["queue", CHAT]
        assert calls_of(forest, request)[0].attributes["error.type"] == "abandoned"


def is_streamed(forest: Forest, request: Node, below: list[str]) -> None:
    assert below == ["queue", CHAT]
    [call] = calls_of(forest, request)
    assert call.attributes["gen_ai.request.stream"] is True
    assert call.attributes["gen_ai.response.time_to_first_chunk"] == pytest.approx(0.01)


def is_rejected(forest: Forest, request: Node, below: list[str]) -> None:
    assert below == ["queue", CHAT]
    assert request.is_error
    assert request.attributes["error.type"] == "GenerationError"
    assert calls_of(forest, request)[0].attributes["error.type"] == "rejected"


def is_plain(forest: Forest, request: Node, below: list[str]) -> None:
    assert below == ["queue", CHAT]
    assert request.attributes["synth_actors.source"] == "call"
    [call] = calls_of(forest, request)
    assert "gen_ai.request.stream" not in call.attributes
    assert call.attributes["gen_ai.usage.output_tokens"] == ONE_DOLLAR.output_tokens
    assert call.attributes["synth_actors.cost_usd"] == pytest.approx(1.0)


def has_left(forest: Forest, request: Node, below: list[str]) -> None:
    assert request.attributes["synth_actors.outcome"] == "cancelled"
    assert below == ["queue", CHAT]  # the call goes on for the one that joined


def has_joined(forest: Forest, request: Node, below: list[str]) -> None:
    assert below == []
    assert request.attributes["synth_actors.source"] == "call"  # it pays, since the first has left
    [leader] = [forest.nodes[link] for link in request.links]
    [call] = calls_of(forest, leader)
    assert not call.is_error
    assert call.ended_at > leader.ended_at


EXPECTED: dict[str, Callable[[Forest, Node, list[str]], None]] = {
    "hit": is_hit,
    "shared": is_one_of_two,
    "retried": is_retried,
    "cancelled": is_cancelled,
    "streamed": is_streamed,
    "rejected": is_rejected,
    "plain": is_plain,
    "left": has_left,
    "joined": has_joined,
}


async def test_every_request_of_a_hundred_has_its_own_tree(autojump_clock: Any) -> None:
    telemetry = Telemetry()
    script = await a_hundred_at_once(telemetry)
    telemetry.assert_each_ended_once()
    forest = from_sdk(telemetry.spans)
    assert_trees(forest)
    assert len(forest.named(CHAT)) == script.calls.total()  # every call under its request, and none twice
    assert Counter(node.attributes.get("synth_actors.source") for node in forest.named(REQUEST))["shared"] == 10


def without_proxies() -> Session:
    session = Session()
    session.trust_env = False
    return session


def otlp_metrics(collector: Collector) -> PeriodicExportingMetricReader:
    exporter = OTLPMetricExporter(f"{collector.url}/v1/metrics", session=without_proxies())
    return PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)


async def test_the_same_trees_and_figures_come_out_of_a_collector(autojump_clock: Any) -> None:
    with collecting() as collector:
        telemetry = Telemetry()
        exporter = OTLPSpanExporter(f"{collector.url}/v1/traces", session=without_proxies())
        telemetry.provider.add_span_processor(BatchSpanProcessor(exporter))
        meters = MeterProvider([otlp_metrics(collector)], shutdown_on_exit=False)
        telemetry.tracing = OpenTelemetryTracing(telemetry.provider, meters)
        script = await a_hundred_at_once(telemetry)
        telemetry.provider.shutdown()
        meters.shutdown()
    assert collector.problems == []
    assert_trees(from_otlp(collector.spans))
    figures = {metric.name: metric for metric in collector.metrics}
    [calls] = figures["synth_actors.calls"].sum.data_points
    assert calls.as_int == script.calls.total()
    outcomes = {p.attributes[0].value.string_value: p.as_int for p in figures["synth_actors.requests"].sum.data_points}
    assert outcomes == {"succeeded": 71, "failed": 10, "cancelled": 20}
    durations = figures["gen_ai.client.operation.duration"].histogram.data_points
    assert sum(point.count for point in durations) == script.calls.total()
    [first] = figures["gen_ai.client.operation.time_to_first_chunk"].histogram.data_points
    assert first.count == 10
    [gaps] = figures["gen_ai.client.operation.time_per_output_chunk"].histogram.data_points
    assert gaps.count == 20


async def test_a_leader_that_stays_pays_and_its_follower_has_a_link(autojump_clock: Any) -> None:
    telemetry = Telemetry()
    provider = ScriptedProvider(lambda call: Step(delay_s=1.0))
    async with open_engine(provider, tracing=telemetry.tracing) as engine, trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(engine.generate, "same")
    forest = from_sdk(telemetry.spans)
    leader, *followers = sorted(forest.named(REQUEST), key=lambda node: node.attributes["synth_actors.request_id"])
    assert [node.name for node in forest.below(leader)] == ["queue", CHAT]
    assert [node.links for node in followers] == [(leader.id,)] * 2
    assert {node.attributes["synth_actors.source"] for node in followers} == {"shared"}


async def test_each_request_of_a_batch_is_under_what_was_current_when_it_was_opened(autojump_clock: Any) -> None:
    telemetry = Telemetry()
    tracer = telemetry.provider.get_tracer("program")
    async with open_engine(ScriptedProvider(), tracing=telemetry.tracing) as engine:
        with tracer.start_as_current_span("opens"):
            batch = engine.batch([f"item {number}" for number in range(5)])
            outcomes = await batch.__aenter__()
        with tracer.start_as_current_span("reads"):
            assert len([outcome async for outcome in outcomes]) == 5
            await batch.__aexit__(None, None, None)
    forest = from_sdk(telemetry.spans)
    assert forest.problems() == [] or all("ends after" in problem for problem in forest.problems())
    assert len(forest.below(forest.named("opens")[0])) == 5
    assert forest.below(forest.named("reads")[0]) == []


async def test_the_span_of_the_call_is_current_in_the_provider_and_nothing_else_of_a_caller_is(
    autojump_clock: Any,
) -> None:
    variable: ContextVar[str] = ContextVar("variable")
    seen: list[tuple[int, str]] = []

    def script(call: Call) -> Step:
        seen.append((trace.get_current_span().get_span_context().span_id, variable.get()))
        return Step(delay_s=1.0)

    async def ask(engine: Engine, number: int) -> None:
        variable.set(f"caller {number}")
        await engine.generate(f"prompt {number}")

    telemetry = Telemetry()
    variable.set("who opens the engine")
    async with (
        open_engine(ScriptedProvider(script), EngineConfig(max_concurrency=2), tracing=telemetry.tracing) as engine,
        trio.open_nursery() as nursery,
    ):
        await trio.testing.wait_all_tasks_blocked()  # so that a generator is started in the turn of who asks
        for number in range(4):
            nursery.start_soon(ask, engine, number)
    assert [span for span, _ in seen] == [node.id for node in from_sdk(telemetry.spans).named("chat script")]
    assert {value for _, value in seen} == {"who opens the engine"}
    assert not trace.get_current_span().get_span_context().is_valid


async def test_a_question_to_the_file_is_a_span_and_says_whether_it_was_there(tmp_path: Path) -> None:
    telemetry = Telemetry()
    config = EngineConfig(cache=CacheConfig(path=tmp_path / "answers.cache"))
    for _ in range(2):
        async with open_engine(ScriptedProvider(), config, tracing=telemetry.tracing) as engine:
            await engine.generate("kept")
    forest = from_sdk(telemetry.spans)
    assert forest.problems() == []
    first, second = forest.named(REQUEST)
    assert [node.name for node in forest.below(first)] == ["cache fetch", "queue", "chat script"]
    fetch = forest.one_below(second)
    assert fetch.attributes == {"synth_actors.cache.found": True}
    assert second.attributes["synth_actors.source"] == "cache"
