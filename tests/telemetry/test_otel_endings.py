"""Does every span end, is every request answered, and no key shown, when something goes wrong?"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from pydantic import SecretStr

from synth_actors import (
    CacheConfig,
    ConfigError,
    Endpoint,
    Engine,
    EngineClosedError,
    EngineConfig,
    GenerationError,
    open_engine,
)
from synth_actors.actors.cache import CacheActor
from synth_actors.actors.router import RouterActor
from synth_actors.per_endpoint import destination_of
from synth_actors.providers.base import Call, Fault
from synth_actors.telemetry.logs import JsonFormatter
from synth_actors.telemetry.otel import OpenTelemetryTracing
from synth_actors.testing import ScriptedProvider, Step
from synth_actors.tracing import Destination
from tests.engine.durable import SlowTier, in_place_of_the_file
from tests.providers.server import json_reply, serving
from tests.telemetry.otel_spans import Telemetry
from tests.telemetry.trees import from_sdk

CANARY = "sk-canary-0123456789"
REQUEST = "synth_actors.generate"


def fails_at_first() -> Any:
    """A script: every tenth prompt fails once."""
    seen: set[str] = set()

    def script(call: Call) -> Step:
        prompt = call.request.prompt or ""
        if prompt in seen or not prompt.endswith("1"):
            return Step()
        seen.add(prompt)
        return Step(fault=Fault.FAILED)

    return script


@pytest.mark.parametrize("ending", ["left", "drained", "cancelled"])
async def test_every_span_ends_however_the_engine_does(ending: str, autojump_clock: Any) -> None:
    telemetry = Telemetry()
    config = EngineConfig(max_concurrency=2, drain_timeout_s=0.0 if ending == "left" else 100.0)
    provider = ScriptedProvider(lambda call: Step(delay_s=1.0))

    async def ask(engine: Engine, number: int) -> None:
        with suppress(EngineClosedError):
            await engine.generate(f"prompt {number}")

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with open_engine(provider, config, tracing=telemetry.tracing) as engine:
                for number in range(10):
                    nursery.start_soon(ask, engine, number)
                await trio.sleep(1.5)
                if ending == "cancelled":
                    scope.cancel()
    telemetry.assert_each_ended_once()
    forest = from_sdk(telemetry.spans)
    assert forest.problems() == []
    ended = Counter(node.attributes["synth_actors.outcome"] for node in forest.named(REQUEST))
    assert ended == ({"succeeded": 10} if ending == "drained" else {"succeeded": 2, "failed": 8})


@pytest.mark.parametrize("ending", ["left", "refreshed", "closed"])
async def test_the_span_of_a_question_to_the_file_ends_when_nobody_wants_to_know_any_more(
    ending: str, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_place_of_the_file(monkeypatch, SlowTier(delay_s=50.0))
    telemetry = Telemetry()
    config = EngineConfig(cache=CacheConfig(path="in place of a file"), drain_timeout_s=0.0)

    async def ask(engine: Engine) -> None:
        with suppress(EngineClosedError), trio.move_on_after(1.0 if ending == "left" else 100.0):
            await engine.generate("x")

    async with (
        trio.open_nursery() as nursery,
        open_engine(ScriptedProvider(), config, tracing=telemetry.tracing) as engine,
    ):
        nursery.start_soon(ask, engine)
        await trio.sleep(2.0)
        if ending == "refreshed":
            await engine.generate("x", cache="refresh")
        in_time = len(from_sdk(telemetry.spans).named("cache fetch"))
    assert in_time == (ending != "closed")
    telemetry.assert_each_ended_once()
    [fetch] = from_sdk(telemetry.spans).named("cache fetch")
    assert fetch.attributes == {"synth_actors.cache.found": False}


@pytest.mark.parametrize(("owner", "method"), [(RouterActor, "_finished"), (CacheActor, "_land")])
async def test_every_span_ends_when_a_bug_ends_the_engine(
    owner: type, method: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: Any
) -> None:
    def crash(*args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(owner, method, crash)
    telemetry = Telemetry()

    async def ask(engine: Engine, number: int) -> None:
        with suppress(EngineClosedError):
            await engine.generate(f"prompt {number}")

    config = EngineConfig(max_concurrency=2)

    async def run() -> None:
        async with (
            open_engine(ScriptedProvider(), config, tracing=telemetry.tracing) as engine,
            trio.open_nursery() as nursery,
        ):
            for number in range(5):
                nursery.start_soon(ask, engine, number)

    with pytest.raises(ZeroDivisionError):
        await run()
    telemetry.assert_each_ended_once()
    assert Counter(node.is_error for node in from_sdk(telemetry.spans).named(REQUEST)) == {True: 5}


async def test_who_leaves_before_the_cache_has_taken_the_question_gets_no_link_and_no_warning(
    autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry = Telemetry()

    async def ask(engine: Engine, scope: trio.CancelScope) -> None:
        with scope:
            await engine.generate("same")

    async def cancel(scopes: list[trio.CancelScope]) -> None:
        for scope in scopes:
            scope.cancel()

    provider = ScriptedProvider(lambda call: Step(delay_s=1.0))
    async with open_engine(provider, tracing=telemetry.tracing) as engine, trio.open_nursery() as nursery:
        nursery.start_soon(engine.generate, "same")
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(10):
            first, second = ([trio.CancelScope() for _ in range(20)] for _ in range(2))
            for scope in first:
                nursery.start_soon(ask, engine, scope)
            await trio.testing.wait_all_tasks_blocked()
            await cancel(first)  # so that the mailbox is not empty, and the next ones wait there
            for scope in second:
                nursery.start_soon(ask, engine, scope)
            nursery.start_soon(cancel, second)
            await trio.lowlevel.checkpoint()
            nursery.start_soon(cancel, second)
        mailboxes = engine.metrics_now().mailboxes
    assert mailboxes["cache"].peak > 20
    assert [record.getMessage() for record in caplog.records if "span" in record.getMessage()] == []
    telemetry.assert_each_ended_once()
    assert {len(node.links) for node in from_sdk(telemetry.spans).named(REQUEST)} == {0, 1}


async def test_a_trace_that_is_not_sampled_is_not_exported_and_the_engine_does_not_care(autojump_clock: Any) -> None:
    telemetry = Telemetry()
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(telemetry.count)
    tracing = OpenTelemetryTracing(provider, telemetry.meter_provider, capture_content=True)
    async with open_engine(ScriptedProvider(), tracing=tracing) as engine:
        await engine.generate("x")
    assert telemetry.count.begun == []
    [calls] = telemetry.points("synth_actors.calls")
    assert calls.value == 1


# -------------------------------------------------------------------------------------------- exporters that misbehave


class RaisingExporter(SpanExporter):
    def export(self, spans: Any) -> SpanExportResult:
        raise ZeroDivisionError


class RaisingProcessor(SpanProcessor):
    """One step worse than an exporter: the SDK itself lets this one's exceptions through."""

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        if span.name != REQUEST:
            raise ZeroDivisionError("on_start")

    def on_end(self, span: ReadableSpan) -> None:
        raise ZeroDivisionError("on_end")


async def everything_is_answered(tracing: OpenTelemetryTracing) -> None:
    config = EngineConfig(max_concurrency=20)
    async with open_engine(ScriptedProvider(fails_at_first()), config, tracing=tracing) as engine:
        outcomes = await engine.generate_batch([f"prompt {number}" for number in range(100)])
        assert [outcome.error for outcome in outcomes] == [None] * 100
        assert (await engine.generate("prompt 1")).cached


@pytest.mark.parametrize("processor", [SimpleSpanProcessor(RaisingExporter()), RaisingProcessor()])
async def test_an_exporter_that_raises_hurts_nobody(
    processor: SpanProcessor, autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    await everything_is_answered(OpenTelemetryTracing(provider))
    ours = [record for record in caplog.records if record.name == "synth_actors" and record.levelname == "WARNING"]
    assert len(ours) <= 1


class BlockingExporter(SpanExporter):
    """One whose collector does not answer."""

    def __init__(self) -> None:
        self.is_asked = threading.Event()
        self.may_go_on = threading.Event()

    def export(self, spans: Any) -> SpanExportResult:
        self.is_asked.set()
        self.may_go_on.wait()
        return SpanExportResult.SUCCESS


async def test_an_exporter_that_blocks_hurts_nobody(autojump_clock: Any) -> None:
    exporter = BlockingExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=10, max_export_batch_size=1))
    try:
        await everything_is_answered(OpenTelemetryTracing(provider))
        assert exporter.is_asked.is_set()
    finally:
        exporter.may_go_on.set()
        provider.shutdown()


# ----------------------------------------------------------------------------------------------------------- secrets


@pytest.mark.parametrize("capture", [False, True])
async def test_no_key_is_in_any_span_metric_or_log(capture: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    telemetry = Telemetry(capture_content=capture)
    async with serving() as server:
        server.answer = lambda seen: json_reply({"error": {"message": f"no such key: {seen.headers}"}}, status=401)
        url, key = f"{server.url}/v1", SecretStr(CANARY)
        endpoint = Endpoint(provider="openai", model="m", base_url=url, api_key=key, extra_headers={"x-key": CANARY})
        async with open_engine(endpoint, tracing=telemetry.tracing) as engine:
            with pytest.raises(GenerationError):
                await engine.generate("prompt")
            [call] = from_sdk(telemetry.spans).named("chat m")
    assert server.received[0].headers["authorization"] == f"Bearer {CANARY}"
    assert call.attributes["server.address"] == "127.0.0.1"
    assert call.attributes["server.port"] == int(server.url.rpartition(":")[2])
    assert call.attributes["gen_ai.provider.name"] == "openai"
    data = telemetry.reader.get_metrics_data()
    shown = [span.to_json() for span in telemetry.spans] + ["" if data is None else data.to_json()]
    shown += [JsonFormatter().format(record) for record in caplog.records]
    assert [text for text in shown if CANARY in text] == []


async def test_a_tracing_that_is_none_is_refused() -> None:
    for wrong in (object(), OpenTelemetryTracing):
        with pytest.raises(ConfigError, match="is no Tracing; give an OpenTelemetryTracing"):
            async with open_engine("local", tracing=wrong):  # type: ignore[arg-type]
                pass


@pytest.mark.parametrize(
    ("given", "address", "port"),
    [
        ("https://user:secret@api.example.com/v1", "api.example.com", 443),
        ("http://user:secret@api.example.com/v1", "api.example.com", 80),
        ("http://[::1]:8000/v1", "::1", 8000),
    ],
)
def test_of_an_address_only_host_and_port_are_told(given: str, address: str, port: int) -> None:
    endpoint = Endpoint(provider="openai", model="m", base_url=given)
    found = destination_of(endpoint, ScriptedProvider(model="m"))
    assert found == Destination(endpoint="openai:m", provider="openai", model="m", address=address, port=port)


def test_where_a_provider_of_the_users_own_goes_is_not_known() -> None:
    provider = ScriptedProvider(name="mine", model="m")
    found = destination_of(Endpoint(provider=provider, model="m", base_url="http://localhost"), provider)
    assert found == Destination(endpoint="mine", provider="ScriptedProvider", model="m")
